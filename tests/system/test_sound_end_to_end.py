"""Sight and sound on Toybox `tones`: from rendered files to metrics, predictions and pictures, killed in between."""

import pathlib

import numpy as np
import pytest

from tests.data import videos
from tests.system.conftest import ROOT, goes_on_exactly
from vidx.data import toybox
from vidx.infer import evaluate, explain, load, predict
from vidx.show import maps, report
from vidx.train import config, loop

pytestmark = pytest.mark.usefixtures("plain_convolutions")


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
  root = tmp_path_factory.mktemp("tones")
  toybox.build(str(root), labels="tones", split=(16, 6, 0), size=(32, 32), frames=16, fps=12.0, workers=1)
  silent = root / "videos/val/00002.mp4"
  silent.unlink()
  videos.write(silent, np.zeros((16, 32, 32, 3), np.uint8), rate=12)
  return root


def tiny(variant, tones):
  c = config.load_file(str(ROOT / f"configs/toybox/avslowfast.py:{variant}"))
  c.data.update(root=str(tones), stride=1, short_side=32, crop=32)
  c.data.audio.update(rows=16, mels=8)
  c.system.update(stages=(1, 1), width=8, inner=8, strides=(1, 2), slow_temporal=(1, 3), fast_temporal=(3, 3),
                  fs_stages=(0, 1), afs_stages=(0, 1))
  if "avs" in c.system and c.system.avs:
    c.system.avs = ("res2", "res3")
  if variant in ("ssl", "linear"):
    c.system.update(fs_stages=(0, 0), afs_stages=(0, 0))
  c.schedule.update(epochs=1.0, warmup_epochs=0.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=6, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=1)
  return c


def trained(c, workdir, capsys):
  """Trains and goes on exactly, in its statistics too."""
  loop.train(c, str(workdir))
  again = goes_on_exactly(c, workdir, capsys, at=1, steps=2)
  a, b = (load.load_checkpoint(str(w), "last").variables["batch_stats"]["sight"]["slow"]["stem"]["conv"]["norm"]["mean"]
          for w in (workdir, again))
  np.testing.assert_array_equal(a, b)


def test_it_trains_goes_on_exactly_evaluates_views_predicts_shows_and_reports(tones, tmp_path, capsys):
  c = tiny("both", tones)
  c.system.update(hard_from=0.0, hard_share=0.5)
  c.train.precise_bn = 2
  run = tmp_path / "both"
  trained(c, run, capsys)
  result = evaluate.evaluate_workdir(str(run), clips=2, crops=3)
  assert result["evaluated"] == 6 and result["sound"] == {"with": 5, "without": 1, "damaged": 0}
  assert {"top-1", "loss"} <= set(result["metrics"])
  found = predict.predict(str(run), [str(tones / f"videos/val/0000{i}.mp4") for i in (1, 2)])
  assert [f["sound"] for f in found] == [True, False] and all(f["predictions"] and not f["error"] for f in found)
  shown = list(explain.Explainer(load.load_checkpoint(str(run)), ("input", "gradcam", "spectrogram"))(found))
  assert all(s.maps[0].where == "fast.res3" and s.maps[0].values.shape[1:] == (4, 4) for s in shown)
  heard, silent = (s.maps[-1] for s in shown)
  assert heard.kind == "spectrogram" and heard.values.shape == (1, 8, 16) and heard.values.any()
  assert not silent.values.any()
  page = maps.write(shown, found, str(tmp_path / "pictures"), "sound")
  assert pathlib.Path(page).stat().st_size > 1000
  text = pathlib.Path(report.write_report(str(run))).read_text()
  assert "top-1" in text and "with_sound" not in text


def test_a_recipe_without_labels_goes_on_as_a_linear_classifier(tones, tmp_path, capsys):
  trained(tiny("ssl", tones), tmp_path / "toybox_av_ssl", capsys)
  result = evaluate.evaluate_workdir(str(tmp_path / "toybox_av_ssl"))
  assert {"in step", "closer", "turns"} <= set(result["metrics"]) and result["headline"] == "in step"
  c = tiny("linear", tones)
  loop.train(c, str(tmp_path / "linear"), runs=str(tmp_path))
  before, after = (load.load_checkpoint(str(tmp_path / name)).variables["params"]
                   for name in ("toybox_av_ssl", "linear"))
  np.testing.assert_array_equal(before["sound"]["stem"]["conv_t"]["kernel"], after["sound"]["stem"]["conv_t"]["kernel"])
  assert "top-1" in evaluate.evaluate_workdir(str(tmp_path / "linear"))["metrics"]


def test_sound_alone_is_told_from_videos_and_from_files_of_sound(tones, tmp_path):
  c = tiny("sound", tones)
  c.data.audio.seconds = 1.0
  loop.train(c, str(tmp_path / "sound"))
  assert evaluate.evaluate_workdir(str(tmp_path / "sound"), clips=3)["evaluated"] == 6
  from tests.data import sounds
  sounds.write(tmp_path / "tone.wav", sounds.tones(1.5, 8000), 8000)
  found = predict.predict(str(tmp_path / "sound"), [str(tmp_path / "tone.wav"), str(tones / "videos/val/00001.mp4")])
  assert [f["error"] for f in found] == [None, None] and found[0]["sound"]
