"""A tiny network of every system trains, goes on exactly where it stopped, is evaluated, and predicts."""

import pathlib

import pytest

from tests.system.conftest import goes_on_exactly
from vidx.infer import evaluate, predict
from vidx.train import config, loop

TRUNK = dict(trunk="tsm_r50", block="basic", stages=(1, 1), width=8, stem="small")
SYSTEMS = [
    ("rnl", dict(TRUNK, se=True), {}),
    ("nonlocal", TRUNK, {}),
    ("tesnet", dict(trunk="resnet_18", stages=(1, 1), width=8, stem="small", placements=(("input", 4, 2),)), {}),
    ("dan", dict(TRUNK, consecutive=2, projection=dict(stride=4, kernel=5, features=4)), dict(frames=2, consecutive=2)),
    ("bqn", dict(TRUNK, quiet_size=12, lateral_size=3), dict(frames=2, consecutive=3)),
    ("ats_timesformer_joint", dict(image=16, patch=8, frames=4, dim=12, depth=2, heads=2, stages=(1,)), {}),
    ("psn", dict(trunk="resnet_18", stages=(1, 1), width=8, stem="small", keep=2, sampler_size=8,
                 sampler_fields=dict(stages=(1,), widths=(8, 8, 16))), dict(sampler="segments")),
    ("atfr_resnet3d_slim_18", dict(stages=(1, 1), widths=(8, 8), block="basic", temporal=(1, 3), stem="small"), {}),
]  # name, fields, entries of config.data


@pytest.mark.parametrize("name, fields, data", SYSTEMS)
def test_a_system_trains_resumes_evaluates_and_predicts(name, fields, data, toy, tmp_path, capsys):
  c = config.base()
  c.system = dict(name=name, **fields)
  c.data.update(root=str(toy), frames=4, short_side=20, crop=16, crop_mode="random", flip=False, workers=0)
  c.data.update(data)
  c.schedule.update(peak=0.01, epochs=1.0)
  c.train.update(batch_size=8)
  c.eval.update(batch_size=8, every_epochs=0.0)
  c.checkpoint.every_epochs = 0.0

  c.checkpoint.every_steps = 2

  loop.train(c, str(tmp_path / "whole"))
  goes_on_exactly(c, tmp_path / "whole", capsys, at=2, steps=4)
  result = evaluate.evaluate_workdir(str(tmp_path / "whole"))
  assert result["evaluated"] == 11 and 0 <= result["metrics"]["top-1"] <= 100
  assert ("savings" in result) == name.startswith(("ats_", "atfr_"))
  video = next(pathlib.Path(toy).rglob("*.mp4"))
  found, = predict.predict(str(tmp_path / "whole"), [str(video)])
  assert found["error"] is None and 0 < found["predictions"][0]["score"] <= 1
