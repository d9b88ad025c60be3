"""A run as a program: what it says of videos without this library is what `vidx predict` says."""

import json
import os
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from tests.data import videos
from tests.system.conftest import environment, tiny, toy  # noqa: F401: fixtures
from vidx import cli, errors
from vidx.infer import export, load, predict, save
from vidx import systems

pytest.importorskip("flatbuffers", reason="exports need the extra 'export'")

ALONE = """
import runpy, sys
class Absent:
  def find_spec(self, name, *_):
    if name.partition(".")[0] in ("vidx", "flax", "optax"):
      raise ImportError(name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):  # noqa: F811
  """A run after two steps."""
  workdir = tmp_path_factory.mktemp("run") / "run"
  assert cli.main(["train", f"--config={tiny}", f"--workdir={workdir}", "--config.train.max_steps=2"]) == 0
  return workdir


def test_a_script_without_vidx_gives_the_scores_of_predict(run, toy, tmp_path, capsys):  # noqa: F811
  assert cli.main(["export", f"--workdir={run}", str(tmp_path / "out")]) == 0
  assert "video uint8 (batch, 4, 32, 32, 3)" in capsys.readouterr().out
  plain = sorted((toy / "videos").rglob("*.mp4"))[0]
  for clip in (plain, turned(plain, tmp_path / "turned.mp4", 90), turned(plain, tmp_path / "upside_down.mp4", 180)):
    same_scores(run, tmp_path / "out/example.py", clip)


def turned(path, out, angle):
  """The same pictures with a display matrix."""
  clip, _ = videos.decoded(path)
  videos.write(out, clip, rotation=angle)
  return out


def same_scores(run, script, clip):
  done = subprocess.run([sys.executable, "-c", ALONE, script, clip], check=False,
                        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  found, (entry,) = json.loads(done.stdout), predict.predict(str(run), [clip])
  assert found.keys() == {p["label"] for p in entry["predictions"]}
  for p in entry["predictions"]:
    assert found[p["label"]] == pytest.approx(p["score"], abs=1e-5)


def test_any_number_of_clips_and_three_platforms(run, tmp_path):
  facts = export.export(str(run), str(tmp_path / "out"))
  program = jax.export.deserialize(bytearray((tmp_path / "out" / export.PROGRAM).read_bytes()))
  assert program.platforms == ("cpu", "cuda", "tpu") and facts["outputs"]["scores"]["shape"][0] == "batch"
  clips = np.random.default_rng(0).integers(0, 256, (5, 4, 32, 32, 3), np.uint8)
  whole = np.asarray(program.call(clips)["scores"])
  assert whole.shape == (5, len(facts["classes"]))
  each = np.concatenate([np.asarray(program.call(clips[i:i + 1])["scores"]) for i in range(5)])
  np.testing.assert_allclose(whole, each, atol=1e-5)


SMALL = {
    "x3d_xs": dict(crop=64),
    "slowfast_r18_8x8": dict(width=8, crop=64),
    "r2plus1d_18": dict(stages=(1, 1), width=8),
    "timesformer_b": dict(dim=16, depth=1, heads=2, image=32, frames=4),
    "ats_deit_s": dict(dim=16, depth=4, heads=2, image=32),
    "rnl": dict(trunk="resnet_18", width=8),
}


@pytest.mark.parametrize("name", SMALL)
def test_systems_of_all_kinds_are_exported(name, tmp_path):
  frames, side = 8 if name != "timesformer_b" else 4, SMALL[name].get("crop", SMALL[name].get("image", 32))
  fields = {**SMALL[name], "num_classes": 3}
  model = systems.create_model(name, **fields)
  clip = jax.ShapeDtypeStruct((1, frames, side, side, 3), np.float32)
  shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), clip)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda x: np.abs(rng.normal(size=x.shape)).astype(x.dtype) * 0.1, shapes)
  (tmp_path / "run").mkdir()
  save.save_model(str(tmp_path / "run"), name, fields, variables, dict(frames=frames, crop=side, short_side=side))
  export.export(str(tmp_path / "run"), str(tmp_path / "out"))
  program = jax.export.deserialize(bytearray((tmp_path / "out" / export.PROGRAM).read_bytes()))
  loaded = load.load_checkpoint(str(tmp_path / "run"))
  clips = rng.integers(0, 256, (2, frames, side, side, 3), np.uint8)
  from vidx.nn import augment
  x = augment.normalize(clips, loaded.config.data.mean, loaded.config.data.std)
  logits = loaded.model.apply(loaded.variables, x, train=False)["logits"]
  np.testing.assert_allclose(program.call(clips)["scores"], jax.nn.softmax(logits), atol=1e-5)


def test_what_cannot_be_exported_is_one_line(run, tmp_path, capsys):
  assert cli.main(["export", f"--workdir={run}"]) == 2
  assert "one folder to write" in capsys.readouterr().err
  assert cli.main(["export", f"--workdir={run}", "/proc/none/out"]) == 2
  assert "/proc/none/out cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("program", [
    lambda loaded, clip, names, x: {"scores": jnp.zeros((3 if x.shape[0] > 4 else 2, 1))},
    lambda loaded, clip, names, x: {"scores": x.reshape(7, -1)},
    lambda loaded, clip, names, x: {"scores": jnp.zeros(int(x.sum()))},
    lambda loaded, clip, names, x: {"scores": {clip: x}["flow"]},
])
def test_a_program_that_depends_on_the_number_of_clips_is_refused_in_one_line(program, run, tmp_path, monkeypatch):
  monkeypatch.setattr(export, "_predictions", program)
  with pytest.raises(errors.ConfigError, match="cannot be exported for any number of clips") as e:
    export.export(str(run), str(tmp_path / "out"))
  assert "\n" not in str(e.value) and not (tmp_path / "out").exists()
