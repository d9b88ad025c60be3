"""A workdir belongs to one config and one data set: what changed under a run is named, and nothing is written."""

import dataclasses
import json
import types

import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data.records import Target
from vidx.train import config, workdirs


@pytest.fixture
def begun(tmp_path):
  train, val = tiny.dataset(tmp_path, 4), dataclasses.replace(tiny.dataset(tmp_path, 2), split="val")
  workdir = str(tmp_path / "run")
  workdirs.claim(config.base(), workdir, train, val, main=True)
  (tmp_path / "run/checkpoints/1").mkdir(parents=True)  # it has trained
  return workdir, train, val


def relabelled(train):
  return dataclasses.replace(train, records=(dataclasses.replace(train.records[0], label=1), *train.records[1:]))


@pytest.mark.parametrize("change, message", [
    (lambda t: dataclasses.replace(t, classes=("even", "strange")), "class 1 was 'odd' and is 'strange'"),
    (lambda t: dataclasses.replace(t, classes=("odd", "even")), "other classes: class 0 was 'even' and is 'odd'"),
    (lambda t: dataclasses.replace(t, classes=("even", "odd", "new")), "other classes: there were 2 and are 3"),
    (lambda t: dataclasses.replace(t, records=t.records[:3]), "the videos of split 'train' were 4 and are 3"),
    (relabelled, "the videos of split 'train' were as many, 4, but other names, labels"),
    (lambda t: dataclasses.replace(t, named={"verb": Target(("cut",))}), "trained on other classes"),
])
def test_other_data_under_a_run_is_refused_in_one_line(change, message, begun):
  workdir, train, val = begun
  before = {p: open(f"{workdir}/{p}").read() for p in ("classes.json", "provenance.json", "config.json")}
  with pytest.raises(errors.CheckpointError, match=message) as e:
    workdirs.claim(config.base(), workdir, change(train), val, main=True)
  assert "\n" not in str(e.value) and "--workdir" in str(e.value)
  assert {p: open(f"{workdir}/{p}").read() for p in before} == before


def test_another_validation_split_is_refused_too(begun):
  workdir, train, val = begun
  with pytest.raises(errors.CheckpointError, match="the videos of split 'val' were 2 and are 1"):
    workdirs.claim(config.base(), workdir, train, dataclasses.replace(val, records=val.records[:1]), main=True)


@pytest.mark.parametrize("name", ["config.json", "classes.json", "provenance.json"])
def test_a_damaged_file_of_a_workdir_is_named(name, begun, tmp_path):
  workdir, train, val = begun
  (tmp_path / "run" / name).write_bytes(b"{\xff")
  with pytest.raises(errors.CheckpointError, match=f"{name} is damaged") as e:
    workdirs.claim(config.base(), workdir, train, val, main=True)
  assert "\n" not in str(e.value)


def test_the_same_data_goes_on_wherever_it_lies(begun, tmp_path):
  workdir, train, val = begun
  workdirs.claim(config.base(), workdir, train, val, main=True)
  elsewhere = config.base()
  elsewhere.data.root = str(tmp_path / "moved")
  workdirs.claim(elsewhere, workdir, train, val, main=True)
  (tmp_path / "run/provenance.json").unlink()  # of an earlier version, or lost
  workdirs.claim(config.base(), workdir, train, val, main=True)
  assert json.loads((tmp_path / "run/classes.json").read_text()) == ["even", "odd"]


@pytest.mark.parametrize("change, schedule, goes_on", [
    ("data.max_failures=0.5", "cosine", True), ("data.max_missing=0.5", "cosine", True),
    ("train.max_steps=3", "cosine", True), ("train.max_steps=3", "plateau", True),
    ("eval.every_epochs=2", "cosine", True), ("eval.every_epochs=2", "plateau", False),
    ("eval.crops=3", "plateau", False), ("eval.batch_size=3", "plateau", True), ("data.crop=32", "cosine", False)])
def test_what_changes_no_figure_may_change_between_two_stops(change, schedule, goes_on, begun, tmp_path):
  _, train, val = begun
  c = config.override(config.base(), [f"schedule.name={schedule}"])
  workdir = tmp_path / "stopped"
  workdirs.claim(c, str(workdir), train, val, main=True)
  (workdir / "checkpoints/1").mkdir(parents=True)
  config.override(c, [change])
  if goes_on:
    workdirs.claim(c, str(workdir), train, val, main=True)
  else:
    with pytest.raises(errors.CheckpointError, match=f"another config .{change.partition('=')[0]}"):
      workdirs.claim(c, str(workdir), train, val, main=True)


@pytest.mark.parametrize("before, now, goes_on", [
    (("^teacher/",), (), True), ((), ("^teacher/",), True), (("^teacher/", "^stem/"), ("^stem/",), True),
    (("^stem/",), ("stem/kernel$",), True), (("^stem/",), (), False), (("^teacher/",), ("^stem/",), False)])
def test_the_same_parameters_may_be_frozen_by_other_patterns_or_by_their_model(before, now, goes_on, begun, tmp_path):
  _, train, val = begun
  params = {name: {"kernel": np.zeros(2)} for name in ("teacher", "stem", "head")}
  run = types.SimpleNamespace(abstract=types.SimpleNamespace(params=params),
                              model=types.SimpleNamespace(held=("^teacher/",)))
  workdir = tmp_path / "stopped"

  def claim(frozen):
    c = config.base()
    c.optimizer.frozen = frozen
    workdirs.claim(c, str(workdir), train, val, True, run)

  claim(before)
  (workdir / "checkpoints/1").mkdir(parents=True)
  if goes_on:
    claim(now)
  else:
    with pytest.raises(errors.CheckpointError, match="another config .optimizer.frozen"):
      claim(now)


def test_words_of_the_captions_are_made_anew_until_something_has_trained(tmp_path):
  train = tiny.dataset(tmp_path, 1)
  said = lambda *texts: dataclasses.replace(
      train, records=(dataclasses.replace(train.records[0], extra={"captions": texts}),))

  def words(data):
    c = config.base()
    c.data.text.vocab = ""
    workdirs.make_vocabulary(c, str(tmp_path / "run"), data)
    with open(c.data.text.vocab, encoding="utf-8") as f:
      return f.read().split()

  assert "dog" in words(said("a dog"))
  other = words(said("a cat"))
  assert "cat" in other and "dog" not in other
  (tmp_path / "run/checkpoints/1").mkdir(parents=True)  # it has trained
  assert words(said("a bird")) == other
