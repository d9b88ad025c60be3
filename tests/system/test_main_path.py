"""Files in; a trained model, metrics, predictions and a report out."""

import json
import pathlib

import numpy as np
import pytest

import vidx as library
from tests.system.conftest import losses


@pytest.fixture(scope="module")
def run(tiny, vidx, tmp_path_factory):
  """A finished tiny run."""
  workdir = tmp_path_factory.mktemp("main") / "run"
  vidx("train", f"--config={tiny}", f"--workdir={workdir}", "--config.schedule.epochs=4.0",
       "--config.eval.every_epochs=2.0")
  return workdir


def test_training_leaves_everything_a_reader_needs(run):
  for name in ("config.json", "classes.json", "provenance.json", "metrics.jsonl", "DONE.json"):
    assert (run / name).is_file(), name
  assert list((run / "tensorboard").iterdir())
  rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
  assert {"loss", "lr", "epoch", "clips_per_s", "data_wait"} <= set(rows[1])
  assert {"loss", "lr", "epoch"} <= set(rows[0]) and not {"clips_per_s", "data_wait"} & set(rows[0])  # it compiles, too
  assert len([r for r in rows if r["split"] == "val"]) == 2
  assert len(losses(run)) == 16
  provenance = json.loads((run / "provenance.json").read_text())
  assert provenance["data"]["train"]["videos"] == 32 and provenance["versions"]["jax"]


@pytest.mark.parametrize("views", ["1x1", "2x3"])
def test_evaluation_counts_every_video_once(run, vidx, views):
  done = vidx("eval", f"--workdir={run}", f"--views={views}")
  printed = dict(line.split(": ") for line in done.stdout.splitlines() if line.startswith(("top-", "mean class")))
  result = json.loads((run / "eval" / f"val-{views}.json").read_text())
  assert result["videos"] == result["evaluated"] == 11 and result["failures"] == []
  assert set(printed) == {"top-1", "top-5", "mean class"}
  assert abs(float(printed["top-1"]) - result["metrics"]["top-1"]) <= 0.05
  assert np.sum(result["confusion"]) == 11


def test_predictions_on_files_folders_and_globs(run, toy, vidx, tmp_path):
  files = sorted(pathlib.Path(toy).rglob("*.mp4"))[:2]
  bad = tmp_path / "bad.mp4"
  bad.write_text("no video")
  done = vidx("predict", f"--workdir={run}", "--json", *files, bad, check=False)
  assert done.returncode == 1 and f"cannot be read: {bad}: " in done.stderr
  found = json.loads(done.stdout)
  assert [f["path"] for f in found] == [str(f) for f in (*files, bad)]
  assert found[2]["error"] and not found[0]["error"]
  assert abs(sum(p["score"] for p in library.predict(str(run), [str(files[0])], top=8)[0]["predictions"]) - 1) < 1e-4
  many = library.predict(str(run), [str(files[0].parent / "*.mp4")])
  assert len(many) == len(list(files[0].parent.glob("*.mp4")))
  np.testing.assert_allclose(found[0]["predictions"][0]["score"], many[0]["predictions"][0]["score"], atol=1e-5)


def test_the_report_is_one_file(run, vidx):
  vidx("eval", f"--workdir={run}")
  vidx("report", f"--workdir={run}")
  html = (run / "report.html").read_text()
  assert "<video" in html and "data:video/mp4;base64," in html
  assert 'src="http' not in html and "<script src" not in html


def test_a_new_head_starts_from_the_old_trunk(run, tiny, vidx, tmp_path):
  done = vidx("train", f"--config={tiny}", f"--workdir={tmp_path / 'new'}", "--config.system.num_classes=20",
              f"--config.train.init_from={run}", "--config.train.max_steps=1")
  assert "other shape, kept fresh" in done.stdout
  report = json.loads((tmp_path / "new" / "init.json").read_text())[str(run)]
  assert report["loaded"] and len(report["other shape"]) == 2


def test_a_loaded_checkpoint_gives_model_and_variables(run):
  loaded = library.load_checkpoint(str(run))
  video = np.zeros((1, 4, 32, 32, 3), np.float32)
  out = loaded.model.apply(loaded.variables, video, train=False)
  assert out["logits"].shape == (1, 8) and len(loaded.classes) == 8
