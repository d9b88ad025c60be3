"""What a user can get wrong: one clear line, exit status 2, nothing half-written, nothing lost."""

import importlib
import json
from unittest import mock

from absl import flags as flags_lib
import jax
import pytest

from tests.system.conftest import ROOT, losses
from vidx import cli, errors
from vidx.command import flag_text
from vidx.infer import evaluate, kinds, load
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
    ("--config.mesh.data=3", ["mesh", "1 device:"]),
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
  assert str(tmp_path) in refused(capsys, "predict", f"--workdir={tmp_path}", ROOT / "README.md")


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


@pytest.mark.parametrize("flag", ["--root=data", "--split=test"])
def test_a_flag_of_data_sets_is_refused_where_videos_are_named(capsys, tmp_path, flag):
  assert "belongs to --dataset" in refused(capsys, "propose", ROOT / "README.md", flag, f"--out={tmp_path}")


@pytest.mark.parametrize("verb, flags, words", [
    ("eval", ["--split=tset"], "--split 'tset' is not one of train, val, test (nearest: 'test')"),
    ("eval", ["--views=0x1"], "at least 1 clip"),
    ("eval", ["--step=first"], "--step=first"),
    ("eval", ["--batch_size=-1"], "--batch_size=-1: -1 is not a non-negative"),
    ("eval", ["--fuse={run},gone"], "gone is not the folder of a run"),
    ("eval", ["--fuse={run}", "--weights=1,x"], "--weights=1,x"),
    ("eval", ["--cluster=classes.txt"], "--cluster=classes.txt: there is no such file"),
    ("eval", ["--submission=x.csv"], "--submission=x.csv: name a file that ends in .json or .zip"),
    ("eval", ["--submission=x.json", "--supervision=2,3,4.5"], "--supervision=2,3,4.5: three levels"),
    ("eval", ["--submission={run}/config.json/x.zip"], "cannot be written"),
    ("eval", ["--windows=sideways"], "mode 'sideways'"),
    ("eval", ["--windows=long,still=gone"], "still=gone is not the folder of a run"),
    ("eval", ["--judges=fid={run},psn={run}"], "psn"),
    ("eval", ["--judges=fid={run},pose=gone"], "gone is not the folder of a run"),
    ("predict", ["--show=gradcm", "{video}"], "unknown kind 'gradcm' (nearest: 'gradcam')"),
    ("predict", ["--text=a dog", "--show=gradcam", "{video}"], "of --text it is ranked or centres"),
    ("predict", ["--text=a dog", "--show=ranked,centres", "{video}"], "it is ranked or centres, one at a time"),
    ("predict", ["--phrase=a dog", "--show=ranked", "{video}"], "of --phrase it is phrases"),
    ("predict", ["--text= ", "{video}"], "the text is empty"),
    ("predict", ["--phrase=a dog; ;", "{video}"], "the phrase '' is empty"),
    ("predict", ["--index=x.npz", "{video}"], "--index belongs to --text"),
    ("predict", ["--top=0", "{video}"], "--top=0: 0 is not a positive integer"),
    ("predict", ["--top=-3", "{video}"], "--top=-3: -3 is not a positive integer"),
    ("predict", ["--threshold=-1", "{video}"], "--threshold=-1"),
    ("predict", ["--threshold=3", "{video}"], "--threshold=3"),
    ("predict", ["--show=boxes", "--out=p.json", "{video}"], "--out=p.json: with --show and --phrase it is the folder"),
    ("predict", ["--phrase=a dog", "--out=p.csv", "{video}"], "--out=p.csv: with --show and --phrase it is the folder"),
    ("predict", ["--windows=long,suppress=7", "{video}"], "suppress=7 is an overlap: write a number from 0 to 1"),
    ("predict", ["--window=0", "{video}"], "--window=0: 0 is not a positive integer"),
    ("predict", ["--stride=0", "{video}"], "--stride=0: 0 is not a positive integer"),
    ("predict", ["--views=1x2", "{video}"], "1, 3 or 5 crops"),
    ("predict", ["--out=p.xml", "{video}"], "--out=p.xml: name a file that ends in .json or .csv"),
    ("predict", ["--text=a dog", "--show=ranked", "--out=p.json", "{video}"], "ends in .html"),
    ("predict", ["--trunk=gone", "{video}"], "--trunk=gone: gone is not the folder of a run"),
    ("predict", ["--boxes=gone.csv", "{video}"], "--boxes=gone.csv: there is no such file"),
    ("predict", ["--windows=size=0", "{video}"], "size=0"),
    ("predict", ["gone.mp4"], "no video in gone.mp4"),
    ("generate", ["--out={run}/config.json", "--identities={run}", "--poses={run}"], "is no folder"),
    ("generate", ["--out={run}/made", "--identities=gone", "--poses={run}"], "gone: no images there"),
    ("generate", ["--step=first", "--out={run}/made"], "--step=first"),
    ("generate", ["--out={run}/made", "--poses={run}"], "no identities: add --identities=FOLDER"),
    ("generate", ["--out={run}/made", "--identities={run}"], "no poses or boxes: add --poses=FOLDER or --boxes=FILE"),
    ("export", [], "takes one folder to write"),
    ("export", ["{run}/config.json"], "is no folder"),
    ("export", ["--step=first", "{run}/made"], "--step=first"),
    ("report", ["--against=gone"], "--against=gone: gone is not the folder of a run"),
    ("report", ["--out={run}"], "is a folder; name a file in it"),
])
def test_flags_that_are_wrong_in_themselves_are_told_before_a_run_is_loaded(capsys, tmp_path, monkeypatch, verb, flags,
                                                                             words):
  def loaded(*_, **__):
    raise AssertionError("a run was loaded")

  monkeypatch.setattr(load, "load_checkpoint", loaded)
  monkeypatch.chdir(tmp_path)
  (tmp_path / "config.json").write_text('{"system": {"name": "tsm"}}')
  flags = [flag.format(run=tmp_path, video=ROOT / "README.md") for flag in flags]
  assert words in refused(capsys, verb, f"--workdir={tmp_path}", *flags)
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("module, function, flags, done", [
    ("vidx.data.prepare", "prepare", ["prepare", "--root=r", "--out=o"], "encoded"),
    ("vidx.data.prepare", "prepare", ["prepare", "--root=r", "--out=o"], "kept"),
    ("vidx.data.flow_extraction", "extract", ["flow", "r", "--out=o"], "written"),
    ("vidx.infer.features", "extract", ["features", "--workdir=w", "--root=r", "--out=o"], "written"),
])
@pytest.mark.parametrize("good, bad, status", [(2, {}, 0), (1, {"a": "a: it is empty"}, 1), (0, {"a": "it is empty"}, 2)])
def test_files_of_videos_that_cannot_be_made_are_named_and_end_in_a_status(capsys, monkeypatch, module, function, flags,
                                                                           done, good, bad, status):
  made = lambda *_, **__: {"videos": good + len(bad), done: good, "bad": dict(bad)}
  monkeypatch.setattr(importlib.import_module(module), function, made)
  assert cli.main(["data", *flags]) == status
  assert ["bad: a: it is empty"] * len(bad) == [s for s in capsys.readouterr().out.splitlines() if s.startswith("bad: ")]


def test_a_flag_of_one_run_takes_a_folder_with_a_comma_and_a_flag_of_several_does_not(tmp_path):
  folder = tmp_path / "a, b"
  folder.mkdir()
  (folder / "config.json").write_text("{}")
  flag_text.runs(trunk=str(folder), beside="", fuse=[str(folder), ""])
  with pytest.raises(errors.CheckpointError, match="--fuse=x,y: x is not the folder of a run"):
    flag_text.runs(fuse="x,y".split(","))


def test_a_report_of_a_folder_that_is_not_there_says_so(capsys, monkeypatch, tmp_path):
  monkeypatch.setattr("os.access", lambda *_: False)  # as whoever may not write beside it
  assert "gone is not the folder of a run" in refused(capsys, "report", f"--workdir={tmp_path}/gone")


@pytest.mark.parametrize("verb", ["predict", "eval", "generate", "data check", "bench model", "claims"])
def test_no_number_of_things_is_below_its_least(verb, capsys):
  fv = flags_lib.FlagValues()
  cli.VERBS[verb].define(fv)
  counts = [name for name in fv if isinstance(fv[name].parser, flags_lib.IntegerParser) and name != "seed"]
  for name in counts:
    assert f"--{name}=-1" in refused(capsys, *verb.split(), f"--{name}=-1", "x")


def test_an_export_without_its_package_says_so_at_once(capsys, tmp_path, monkeypatch):
  monkeypatch.setattr(load, "load_checkpoint", mock.Mock(side_effect=AssertionError("a run was loaded")))
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  assert "pip install flatbuffers" in refused(capsys, "export", f"--workdir={tmp_path}", tmp_path / "made")


@pytest.mark.parametrize("args, words", [
    (["train", "--data.root=x"], "unknown flag --data.root; write --config.data.root."),
    (["train", "--root=x"], "; write --config.data.root."),
    (["eval", "--crop=3"], "; write --config.data.crop."),
    (["train", "--batch_size=3"], "; write --config.eval.batch_size or --config.train.batch_size."),
    (["data", "check", "--data.root=x"], "unknown flag --data.root; write --root."),
    (["data", "check", "--config.data.root=x"], "unknown flag --config.data.root; write --root."),
    (["report", "--config.data.crop=3"], "unknown flag --config.data.crop"),
])
def test_a_key_of_the_config_as_a_flag_is_answered_with_how_it_is_written(capsys, args, words):
  assert words in refused(capsys, *args)


def test_the_help_lists_every_kind_of_picture(capsys):
  assert cli.main(["predict", "--help"]) == 0
  said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  --show"))
  for some in kinds.OF.values():
    assert ", ".join(some) in said
  assert {"gradcam", "spectrogram", "boxes", "memory", "people", "words", "ranked", "centres", "phrases"} <= {
      kind for some in kinds.OF.values() for kind in some}


def test_a_data_root_that_has_moved_is_answered_with_the_flag(capsys, tiny, tmp_path):
  short = ("--config.train.max_steps=1",)
  assert cli.main(list(train(tiny, tmp_path / "run", *short))) == 0
  capsys.readouterr()
  config = tmp_path / "run" / "config.json"
  text = json.loads(config.read_text())
  text["data"]["root"] = str(tmp_path / "gone")
  config.write_text(json.dumps(text))
  line = refused(capsys, "eval", f"--workdir={tmp_path / 'run'}")
  assert f"data root {tmp_path / 'gone'} does not exist" in line and "--config.data.root=FOLDER" in line


@pytest.mark.parametrize("flags, function", [
    ([], "evaluate.evaluate_workdir"), (["--fuse={}", "--weights=1,2"], "fuse.evaluate_fused"),
    (["--cluster=all"], "cluster.cluster_workdir"), (["--windows=long"], "predict_boxes.evaluate")])
def test_every_way_of_evaluation_takes_what_the_command_gives(flags, function, tmp_path, monkeypatch):
  module, name = function.split(".")
  module = importlib.import_module(f"vidx.infer.{module}")
  called = mock.create_autospec(getattr(module, name))
  monkeypatch.setattr(module, name, called)
  (tmp_path / "config.json").write_text("{}")
  assert cli.main(["eval", f"--workdir={tmp_path}", *(flag.format(tmp_path) for flag in flags)]) == 0
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
