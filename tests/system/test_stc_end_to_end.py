"""A recipe of stages: a network of images, matching without labels, and a classifier of clips that starts from it."""

import json
import shutil

import jax
import numpy as np
import pytest

from tests.system.conftest import losses
from vidx import cli, errors
from vidx.infer import evaluate, predict
from vidx.show import report
from vidx.train import config, loop, warm_start

NET = dict(trunk="resnet3d_18", stages=(1, 1), width=8, stem="small", reduction=2, frames=4)
IMAGES = dict(stages=(1, 1), width=8, stem="small")


def stage(toy, name):
  c = config.base()
  c.data.update(root=str(toy), frames=4, short_side=20, crop=16, crop_mode="corners", flip=False, workers=0,
                sampler="stride")
  c.schedule.update(peak=0.01, epochs=1.0)
  c.train.update(batch_size=8)
  c.eval.update(batch_size=8, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2, keep_last=3)
  if name == "teacher":
    c.system = dict(name="resnet_18", **IMAGES)
    c.data.frames = 1
  elif name == "match":
    c.system = dict(name="transfer", teacher="resnet_18", teacher_fields=IMAGES, student="stc", student_fields=NET,
                    frames=4, width=16, hidden=(16, 8))
    c.task = dict(name="matching")
    c.data.dataset = dict(name="videos")
    c.train.init_from = (("/teacher/", "{runs}/teacher"),)
  else:
    c.system = dict(name="stc", **NET)
    c.schedule.update(name="plateau", monitor="loss")
    c.train.update(init_from=(("", "{runs}/match", "student"),), init_exclude=("head",))
  return c


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
  folder = tmp_path_factory.mktemp("stages")
  for name in ("teacher", "match", "tuned"):
    loop.train(stage(toy, name), str(folder / name), runs=str(folder))
  return folder


def again(runs, toy, name, tmp_path):
  """The losses of a run that stopped after two steps and went on."""
  shutil.copytree(runs / name, tmp_path / name)
  last = max((tmp_path / name / "checkpoints").iterdir(), key=lambda p: int(p.name))
  assert int(last.name) > 2
  for kept in (tmp_path / name / "checkpoints").iterdir():
    if kept.name != "2":
      shutil.rmtree(kept)
  (tmp_path / name / "DONE.json").unlink()
  loop.train(stage(toy, name), str(tmp_path / name), runs=str(runs))
  return losses(tmp_path / name)


@pytest.mark.parametrize("name", ["match", "tuned"])
def test_a_stage_goes_on_exactly_where_it_stopped(name, runs, toy, tmp_path, capsys):
  assert again(runs, toy, name, tmp_path) == losses(runs / name)
  assert "resumed at step 2" in capsys.readouterr().out


def test_the_teacher_is_that_of_the_first_stage_from_beginning_to_end(runs):
  first, second = (warm_start.read_variables(str(runs / name)) for name in ("teacher", "match"))
  for collection, tree in second.items():
    kept = {k: v for k, v in first[collection].items() if k != "head"}
    jax.tree.map(np.testing.assert_array_equal, tree["teacher"], kept)


def test_the_classifier_starts_from_all_of_the_student_but_the_head(runs):
  said, = json.loads((runs / "tuned" / "init.json").read_text()).values()
  assert not said["other shape"] and not said["not in the checkpoint"] and not said["not used"]
  assert [p.split("/")[2] for p in said["excluded"]] == ["head", "head"] and len(said["loaded"]) > 20


def test_matching_is_evaluated_without_labels_predicted_and_reported(runs, toy):
  result = evaluate.evaluate_workdir(str(runs / "match"))
  assert set(result["metrics"]) >= {"match accuracy", "matches", "mismatches", "loss"}
  assert 0 <= result["metrics"]["match accuracy"] <= 100 and result["evaluated"] == result["videos"] > 1
  video = next(toy.rglob("*.mp4"))
  found, = predict.predict(str(runs / "match"), [str(video)])
  assert found["error"] is None and 0 < found["match"] < 1 and found["mismatch"] is None
  assert "match accuracy" in open(report.write_report(str(runs / "match")), encoding="utf-8").read()


def test_the_classifier_is_evaluated_on_all_of_its_clips_and_reported(runs):
  result = evaluate.evaluate_workdir(str(runs / "tuned"), clips=0, overrides=("data.sampler=non_overlapping",))
  assert 0 <= result["metrics"]["top-1"] <= 100
  assert "top-1" in open(report.write_report(str(runs / "tuned")), encoding="utf-8").read()


def refused(capsys, *args):
  assert cli.main(list(args)) == 2
  return capsys.readouterr().err.strip().splitlines()


@pytest.mark.parametrize("source, words", [
    (("", "{runs}/nothing", "student"), ["nothing", "no checkpoints"]),
    (("", "{runs}/match", "studnt"), ["no part 'studnt'", "nearest: 'student'"]),
    (("/teacher/", "{runs}/match", "student"), ["none of its parameters fits"]),
])
def test_an_earlier_stage_that_is_missing_or_does_not_fit_is_one_line(source, words, runs, toy, tmp_path):
  c = stage(toy, "tuned")
  c.train.init_from = (source,)
  with pytest.raises(errors.UserError) as e:
    loop.train(c, str(tmp_path / "run"), runs=str(runs))
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


def test_clips_of_another_length_than_the_net_s_are_one_line_and_status_2(toy, tmp_path, capsys):
  file = tmp_path / "config.py"
  file.write_text("from tests.system.test_stc_end_to_end import stage\n"
                  f"def get_config():\n  return stage({str(toy)!r}, 'tuned')\n")
  line, = refused(capsys, "train", f"--config={file}", "--config.data.frames=8", f"--workdir={tmp_path / 'run'}",
                  f"--runs={tmp_path}")
  assert "4 frames and is given 8" in line
  line, = refused(capsys, "train", f"--config={file}", f"--workdir={tmp_path / 'run'}")
  assert "{runs}/match" in line and "--runs=FOLDER" in line
