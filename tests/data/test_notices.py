import os

import pytest

from vidx import errors
from vidx.data import datasets, notices
from vidx.data.records import Dataset, Media, Record, Target
from vidx.train import config, loop, workdirs


def dataset(split, *rows, classes=("a", "b", "c"), **fields):
  """Rows (path, label[, span])."""
  records = tuple(Record(r[0], Media(r[0]), *r[1:]) for r in rows)
  return Dataset("memory", split, records, classes, **fields)


def test_nothing_is_said_where_nothing_is_odd():
  splits = [dataset("train", ("1", 0), ("2", 1)), dataset("val", ("3", 1)), dataset("test", ("4", -1))]
  assert notices.about(splits) == []


def test_missing_media_and_records_without_label_are_counted_by_split():
  lines = notices.about([dataset("train", ("1", 0), ("2", -1), missing=("x.mp4",)), dataset("val", ("3", 0))])
  assert lines == ["split 'train': 1 of its 3 media are missing (x.mp4)",
                   "split 'train': 1 of its 2 records have no label"]


def test_what_readers_noted_is_said_once():
  assert notices.about([dataset(s, (s, 0), notes=("odd",)) for s in ("train", "val")]) == ["odd"]


@pytest.mark.parametrize("labels", [(0, 1, 2), ((0,), (0, 1), (2,))])
def test_a_class_that_only_validation_has_is_named(labels):
  one, two, three = labels
  line, = notices.about([dataset("train", ("1", one), ("2", two)), dataset("val", ("3", three), ("4", three))])
  assert line == "split 'val' has 1 class of which 'train' has no record: 'c' (2)"


@pytest.mark.parametrize("how", ["same", "absolute", "link", "hard link"])
def test_a_video_of_two_splits_is_named(tmp_path, monkeypatch, how):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "x.mp4").touch()
  name = {"same": "x.mp4", "absolute": str(tmp_path / "x.mp4")}.get(how, "y.mp4")
  if name == "y.mp4":
    {"link": os.symlink, "hard link": os.link}[how]("x.mp4", "y.mp4")
  line, = notices.about([dataset("train", ("x.mp4", 0)), dataset("val", (name, 0), ("z.mp4", 0))])
  assert line.startswith(f"1 of the 2 records of split 'val' are in 'train', too ({name})")


def test_parts_of_one_video_are_shared_where_they_overlap():
  train = dataset("train", ("x.mp4", 0, (0.0, 2.0)))
  assert notices.about([train, dataset("val", ("x.mp4", 0, (2.0, 4.0)))]) == []
  assert len(notices.about([train, dataset("val", ("x.mp4", 0, (1.0, 4.0)))])) == 1


def test_nothing_to_learn_from_is_an_error():
  with pytest.raises(errors.DataError, match="no record of split 'train' has a label"):
    notices.check_labels(dataset("train", ("1", -1)))
  notices.check_labels(dataset("train", ("1", -1), ("2", 0)))


def test_further_targets_count_and_a_set_without_any_needs_no_label():
  named = {"verb": Target(("cut", "wash"))}
  record = lambda i, verb: Record(str(i), Media(str(i)), labels={"verb": verb})
  train = Dataset("memory", "train", (record(1, 0), record(2, -1)), named=named)
  lines = notices.about([train, Dataset("memory", "val", (record(3, 1),), named=named)])
  assert lines == ["split 'train': 1 of its 2 records have no label",
                   "split 'val' has 1 class of which 'train' has no record: 'verb wash' (1)"]
  notices.check_labels(train)
  bare = Dataset("videos", "train", (Record("1", Media("1")),))
  notices.check_labels(bare)
  assert notices.about([bare]) == []


def test_a_single_class_is_told():
  assert notices.about([dataset("train", ("1", 0), ("2", 0), classes=("run",))]) == [
      "'run' is the only class: there is nothing that it could be told from"]
  assert notices.about([dataset("train", ("1", (0,)), ("2", ()), classes=("run",), multilabel=True)]) == []


def test_a_class_of_one_record_among_large_ones_is_told():
  many = [(f"{c}{i}", c) for c in (0, 1) for i in range(12)]
  assert notices.about([dataset("train", *many)]) == []
  assert notices.about([dataset("train", *many, ("typo", 2))]) == [
      "split 'train' has a single record of 1 class (c), and many of others: look whether the name is spelt as"
      " theirs"]
  assert notices.about([dataset("train", ("1", 0), ("2", 1), ("3", 2))]) == []


@pytest.mark.parametrize("classes, pair", [
    (("left", "right", "up"), ("left", "right")), (("Pull from left to right", "up", "pull from RIGHT to left"),
                                                   ("Pull from left to right", "pull from RIGHT to left")),
    (("left", "up"), None), (("turn left", "write right"), None), (("bright", "bleft"), None)])
def test_classes_that_a_mirror_exchanges_are_named_where_clips_are_mirrored(capsys, classes, pair):
  train, val = (dataset(split, *((f"{split}{i}", i) for i in range(len(classes))), classes=classes)
                for split in ("train", "val"))
  notices.show(train, val)
  assert capsys.readouterr().out == ""
  notices.show(train, val, flipped=True)
  assert capsys.readouterr().out == (
      f"note: classes '{pair[0]}' and '{pair[1]}' differ by side, and clips are mirrored at random: add"
      " --config.data.flip=False\n" if pair else "")


def test_training_says_all_of_it_at_its_start(tmp_path, capsys, monkeypatch):
  for i in range(12):
    (tmp_path / f"{i}.mp4").touch()
  (tmp_path / "clips.csv").write_text("path,label,split,who\n" + "".join(
      f"{i}.mp4,{'run' if i > 9 else 'jump'},{'val' if i > 9 else 'train'},me\n" for i in range(13 - 1)) +
                                      "gone.mp4,jump,train,me\n")
  monkeypatch.setattr(workdirs, "claim", lambda *args: (_ for _ in ()).throw(errors.UserError("that is enough")))
  c = config.base()
  c.data.root = str(tmp_path)
  with pytest.raises(errors.UserError, match="enough"):
    loop.train(c, str(tmp_path / "run"))
  said = capsys.readouterr().out.splitlines()
  for words in ("columns not used: who", "1 of its 11 media are missing (gone.mp4)", "'run' (2)"):
    assert any(line.startswith("note: ") and words in line for line in said)


def test_an_input_that_once_failed(case, tmp_path):
  (tmp_path / "clips.csv").write_text((case(18) / "valonlyclass.csv").read_text())
  for name in [f"testsrc{two}_{i}.mp4" for two in ("", "2") for i in range(8)]:
    (tmp_path / name).touch()
  lines = notices.about([datasets.load("folder", str(tmp_path), s) for s in ("train", "val")])
  assert lines == ["split 'val' has 1 class of which 'train' has no record: 'run' (8)"]
