"""What a user can get wrong: one clear line, exit status 2, nothing half-written, nothing lost."""

import importlib
from unittest import mock

import jax
import pytest

from tests.system.conftest import ROOT, losses
from vidx import cli, errors
from vidx.infer import evaluate
from vidx.show import report
from vidx.train import evaluator


def refused(capsys, *args):
  """The one line that `vidx ARGS` prints as it refuses."""
  assert cli.main([str(a) for a in args]) == 2
  lines = capsys.readouterr().err.strip().splitlines()
  found = [line for line in lines if line.startswith("vidx: ")]
  assert len(found) == 1, lines
  return found[0]


def train(tiny, workdir, *flags):
  return ("train", f"--config={tiny}", f"--workdir={workdir}", *flags)


@pytest.mark.parametrize("args, words", [
    (["trian"], ["trian", "'train'"]),
    (["data", "biuld"], ["biuld", "'build'"]),
    (["train", "--confg=x"], ["confg", "'config'"]),
    (["train", "--config=none.py", "--workdir=w"], ["none.py", "does not exist"]),
    (["train"], ["--config="]),
    (["eval", "--workdir=w", "--views=ten"], ["ten", "10x3"]),
    (["predict", "--workdir=w"], ["name files"]),
    (["data", "detections", "--root=.", "--out=o", "wdth=3"], ["wdth", "'width'"]),
    (["data", "detections", "--root=.", "--out=o", "width=wide"], ["width=wide", "a whole number"]),
    (["data", "detections", "--rot=."], ["rot", "'root'"]),
    (["data", "toybox", "--out=o", "fpss=3"], ["fpss", "'fps'"]),
    (["data", "toybox", "--out=o", "labels=hands"], ["--labels=hands"]),
    (["data", "toybox", "--out=o", "fps=fast"], ["fps=fast", "a number"]),
    (["data", "check", "--root=.", "max_listed=few"], ["max_listed=few", "a whole number"]),
    (["data", "check", "--root=.", "--dataset=epic100", "nuons=3"], ["nuons", "'nouns'"]),
    (["data", "build", "--root=.", "--out=o", "--dataset=epic100", "nouns=x"], ["nouns=x", "a whole number"]),
    (["data", "prepare", "--root=.", "short_side=3"], ["--short_side=3"]),
    (["data", "features", "wndow=3"], ["wndow=3", "flags"]),
    (["data", "scores", "all"], ["'all'", "flags"]),
    (["data", "fuzz", "minutes=1"], ["--minutes=1"]),
    (["train", "config=x"], ["--config=x"]),
])
def test_a_wrong_word_names_the_nearest(capsys, args, words):
  line = refused(capsys, *args)
  assert all(w in line for w in words), line


@pytest.mark.parametrize("flag, words", [
    ("--config.data.crp=3", ["data.crp", "data.crop"]),
    ("--config.system.widht=3", ["widht", "width"]),
    ("--config.system.name=tsn2", ["tsn2", "tsn"]),
    ("--config.task.label_smothing=0.1", ["label_smothing", "label_smoothing"]),
    ("--config.optimizer.name=sdg", ["sdg", "sgd"]),
    ("--config.data.sampler=unifrom", ["unifrom", "uniform"]),
    ("--config.data.dataset.name=foldr", ["foldr", "folder"]),
    ("--config.data.root=/nonexistent/videos", ["/nonexistent/videos"]),
    ("--config.data.val_split=tset", ["tset"]),
    ("--config.mesh.data=3", ["mesh", "1 devices"]),
    ("--config.train.precision=half", ["half", "bfloat16"]),
])
def test_a_config_that_cannot_be_used(capsys, tiny, tmp_path, flag, words):
  line = refused(capsys, *train(tiny, tmp_path / "run", flag))
  assert all(w in line for w in words), line
  assert not (tmp_path / "run").exists()


def table(root, text):
  root.mkdir()
  (root / "clips.csv").write_text(text)
  return f"--config.data.root={root}"


def test_an_annotation_that_cannot_be_read(capsys, tiny, tmp_path):
  empty = table(tmp_path / "empty", "path,label,split\n")
  assert "empty" in refused(capsys, *train(tiny, tmp_path / "run", empty))
  broken = table(tmp_path / "broken", "path,label,split\na.mp4,0,train\nb.mp4\n")
  line = refused(capsys, *train(tiny, tmp_path / "run", broken))
  assert "clips.csv" in line and "line 3" in line
  gone = table(tmp_path / "gone", "path,label,split\na.mp4,0,train\nb.mp4,0,val\n")
  line = refused(capsys, *train(tiny, tmp_path / "run", gone))
  assert "a.mp4" in line or "missing" in line


def test_a_label_outside_the_classes_names_the_nearest(capsys, tiny, tmp_path, toy):
  root = tmp_path / "data"
  flag = table(root, "path,label,split\na.mp4,wave,train\n")
  (root / "classes.txt").write_text("waving\nwalking\n")
  (root / "a.mp4").write_bytes(b"x")
  line = refused(capsys, *train(tiny, tmp_path / "run", flag))
  assert "wave" in line and "waving" in line


def test_a_workdir_of_another_config_is_refused_and_keeps_its_checkpoint(capsys, tiny, tmp_path):
  short = ("--config.train.max_steps=2",)
  assert cli.main(list(train(tiny, tmp_path / "run", *short))) == 0
  kept = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
  capsys.readouterr()
  line = refused(capsys, *train(tiny, tmp_path / "run", "--config.schedule.peak=0.5"))
  assert "another config" in line and "schedule.peak" in line
  line = refused(capsys, *train(tiny, tmp_path / "other", f"--config.train.init_from={tmp_path / 'none'}"))
  assert "none" in line and not (tmp_path / "other").exists()
  assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == kept


def test_a_loss_that_is_not_finite_stops_with_step_batch_and_checkpoint(capsys, tiny, tmp_path):
  line = refused(capsys, *train(tiny, tmp_path / "run", "--config.schedule.peak=1e30",
                                "--config.checkpoint.every_steps=1"))
  assert "step" in line and ".mp4" in line and "checkpoint" in line


@pytest.mark.parametrize("flags, words", [
    (["--config.eval.crops=2"], "1, 3 or 5"),
    (["--config.eval.clips=0"], "clips=0"),
    (["--config.data.test_crop=64"], "data.test_crop"),
    (["--config.schedule.name=plateau", "--config.schedule.monitor=top1"], "nearest: 'top-1'"),
])
def test_settings_of_evaluation_that_cannot_be_are_refused_before_the_first_step(capsys, tiny, tmp_path, flags, words):
  assert words in refused(capsys, *train(tiny, tmp_path / "run", *flags))
  log = tmp_path / "run" / "metrics.jsonl"
  assert not log.exists() or not log.read_text()
  if "plateau" not in flags[0]:  # for which an evaluation is made
    assert not (tmp_path / "run").exists()
    assert words in refused(capsys, *train(tiny, tmp_path / "run", *flags), "--dry_run")


def test_an_evaluation_that_fails_loses_nothing_that_was_trained(capsys, tiny, tmp_path, monkeypatch):
  def failing(*_, **__):
    raise errors.DataError("the disk does not answer")

  short = ("--config.train.max_steps=4", "--config.eval.every_epochs=1.0")
  with monkeypatch.context() as patched:
    patched.setattr(evaluator.Evaluator, "__call__", failing)
    assert "does not answer" in refused(capsys, *train(tiny, tmp_path / "run", *short))
  assert cli.main(list(train(tiny, tmp_path / "run", "--config.train.max_steps=5"))) == 0
  assert "resumed at step 4" in capsys.readouterr().out
  assert sorted(losses(tmp_path / "run")) == [1, 2, 3, 4, 5]


def test_commands_on_a_folder_that_is_no_run(capsys, tmp_path):
  for verb in (["eval"], ["report"]):
    assert str(tmp_path) in refused(capsys, *verb, f"--workdir={tmp_path}")
  assert str(tmp_path) in refused(capsys, "predict", f"--workdir={tmp_path}", "x.mp4")


@pytest.mark.parametrize("args, words", [
    (["eval", "--weights=1,2"], "--weights belongs to --fuse: add --fuse"),
    (["eval", "--supervision=2,3,4"], "--supervision belongs to --submission"),
    (["eval", "--windows=long", "--views=10x3"], "--views and --windows"),
    (["eval", "--windows=long", "--batch_size=3"], "--batch_size and --windows"),
    (["eval", "--windows=long", "--submission=x.json"], "--submission and --windows"),
    (["eval", "--windows=long", "--judges=fid=x"], "--judges and --windows"),
    (["eval", "--fuse=b", "--cluster=all"], "--fuse and --cluster"),
    (["eval", "--fuse=b", "--windows=long"], "--fuse and --windows"),
    (["eval", "--fuse=b", "--judges=fid=x"], "--judges and --fuse"),
    (["eval", "--cluster=all", "--submission=x.json"], "--submission and --cluster"),
    (["predict", "--site=res2", "v.mp4"], "--site belongs to --show"),
    (["predict", "--phrase=a dog", "--text=a dog", "v.mp4"], "--phrase and --text"),
])
def test_a_flag_that_nothing_would_read_is_refused(capsys, tmp_path, args, words):
  assert words in refused(capsys, args[0], f"--workdir={tmp_path}", *args[1:])
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags, function", [
    ([], "evaluate.evaluate_workdir"), (["--fuse=b", "--weights=1,2"], "fuse.evaluate_fused"),
    (["--cluster=all"], "cluster.cluster_workdir"), (["--windows=long"], "predict_boxes.evaluate")])
def test_every_way_of_evaluation_takes_what_the_command_gives(flags, function, tmp_path, monkeypatch):
  module, name = function.split(".")
  module = importlib.import_module(f"vidx.infer.{module}")
  called = mock.create_autospec(getattr(module, name))
  monkeypatch.setattr(module, name, called)
  assert cli.main(["eval", f"--workdir={tmp_path}", *flags]) == 0
  called.assert_called_once()


@pytest.mark.parametrize("process, written", [(0, 1), (1, 0)])
def test_of_several_processes_the_first_writes_the_report(process, written, tmp_path, monkeypatch):
  made = mock.create_autospec(report.write_report)
  monkeypatch.setattr(report, "write_report", made)
  monkeypatch.setattr(evaluate, "evaluate_workdir", mock.create_autospec(evaluate.evaluate_workdir))
  monkeypatch.setattr(jax, "process_index", lambda: process)
  assert cli.main(["eval", f"--workdir={tmp_path}", "--report"]) == 0
  assert made.call_count == written


def test_help_explains_itself(capsys):
  assert cli.main(["--help"]) == 0
  text = capsys.readouterr().out
  for verb in cli.VERBS:
    assert verb in text
    assert cli.main([*verb.split(), "--help"]) == 0
    assert "--debug" in capsys.readouterr().out


def test_the_console_script_is_the_module():
  text = (ROOT / "setup.cfg").read_text()
  assert "vidx = vidx.__main__:run" in text
