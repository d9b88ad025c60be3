import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.command import verb
from vidx.data import build, check
from vidx.data import clips as clips_lib
from vidx.data import datasets, frame_boxes, packed_records, pipeline, plans
from vidx.data.datasets import array_record
from vidx.data.records import Dataset, Media, Record
from vidx.data.tfds import writer


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return str(tiny.folder(tmp_path_factory.mktemp("source"), train=5, val=2))


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
  out = str(tmp_path_factory.mktemp("built") / "set")
  return out, build.build("folder", source, out, splits=("train", "val"), shards=2)


@pytest.fixture
def given(monkeypatch, tmp_path):
  """A reader that gives the data sets of the test, by split."""
  sets = {}

  def load(name, root, split, **options):
    if name == "array_record":
      return array_record.read(root, split)
    if split not in sets:
      raise errors.AbsentError(f"{root}: split '{split}' is empty.")
    return sets[split]

  monkeypatch.setattr(datasets, "load", load)
  return sets


def content(record):
  return record.id, record.label, record.span, dict(record.extra)


def assert_same(a, b):
  assert [content(r) for r in a.records] == [content(r) for r in b.records]
  assert (a.classes, a.multilabel, dict(a.categories)) == (b.classes, b.multilabel, dict(b.categories))


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_built_set_reads_as_its_source(source, built, split):
  assert_same(datasets.load("folder", source, split), datasets.load("array_record", built[0], split))


def test_bytes_go_in_as_they_are(source, built):
  for a, b in zip(datasets.load("folder", source, "train").records,
                  datasets.load("array_record", built[0], "train").records):
    with open(a.media.path, "rb") as f:
      assert array_record.read_media(b.media) == ("video", [f.read()])


def test_what_was_built_is_told_in_sentences():
  said = build.lines({
      "out": "/o", "absent": {"test": "split 'test' of /r is empty."}, "missing": ["gone.mp4"],
      "skipped": [["a.mp4", "cut off."]], "splits": {
          "train": {"videos": 1200, "bytes": 3 << 20, "shards": 2, "missing": 1, "skipped": 1},
          "val": {"videos": 3, "bytes": 0, "shards": 1, "missing": 0, "skipped": 0}}})
  assert said == [
      "train: 1,200 videos, 3.0 MiB in 2 files, 1 missing, 1 skipped", "val: 3 videos, 0.0 MiB in 1 file",
      "passed over: split 'test' of /r is empty.", "missing: gone.mp4", "skipped: a.mp4: cut off.",
      "written to /o; train on it with --config.data.dataset.name=array_record --config.data.root=/o"]


def test_no_verb_prints_a_structure_of_python(capsys):
  verb.show({"videos": 2, "bad": {"a.mp4": "cut off."}, "experts": {"rgb": 1200}, "kept": [], "none": {},
             "two": (1, 2)})
  assert capsys.readouterr().out.splitlines() == [
      "videos: 2", "bad: a.mp4: cut off.", "experts: rgb: 1,200", "two: 1", "two: 2"]


def test_the_summary_counts(built):
  out, summary = built
  assert summary["splits"]["train"]["videos"] == 5 and summary["splits"]["val"]["videos"] == 2
  assert summary["splits"]["train"]["shards"] == 2 and not summary["skipped"] and not summary["absent"]
  assert not [f for f in os.listdir(os.path.dirname(out)) if "incomplete" in f]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_from_the_built_set_equal_those_from_the_files(source, built, workers):
  made = []
  for name, root in (("folder", source), ("array_record", built[0])):
    dataset = datasets.load(name, root, "train")
    with pipeline.train_batches(dataset, tiny.data_config(workers=workers), batch_size=4, seed=0) as batches:
      made.append(next(batches))
  np.testing.assert_array_equal(made[0]["video"], made[1]["video"])
  assert made[0]["id"] == made[1]["id"]


def test_tfds_reads_it_without_tensorflow(source, built):
  program = """
      import sys
      from vidx.data import build, datasets
      build.build("folder", sys.argv[1], sys.argv[3], splits=("val",))
      datasets.load("array_record", sys.argv[3], "val")
      import tensorflow_datasets as tfds
      builder = tfds.builder_from_directory(sys.argv[2])
      data = builder.as_data_source(split="train")
      assert len(data) == 5, len(data)
      assert builder.info.features["label"].names == ["jump", "run"]
      for example in data:
        assert b"ftyp" in example["media"][0][:16] and example["kind"] == b"video", example
        assert example["label"] == (b"run" in example["id"])
      assert "tensorflow" not in sys.modules
  """
  subprocess.run([sys.executable, "-c", textwrap.dedent(program), source, built[0], built[0] + "-again"], check=True)


def test_beam_writes_the_same(source, built, tmp_path):
  pytest.importorskip("apache_beam")
  out = str(tmp_path / "beam")
  summary = build.build("folder", source, out, splits=("train", "val"), shards=2, beam_runner="DirectRunner")
  assert {**summary, "out": ""} == {**built[1], "out": ""}
  assert sorted(os.listdir(out)) == sorted(os.listdir(built[0]))
  for name in os.listdir(out):
    with open(os.path.join(out, name), "rb") as a, open(os.path.join(built[0], name), "rb") as b:
      x, y = a.read(), b.read()
    assert x == y or name == "dataset_info.json", name


def test_beam_that_is_not_installed_is_told_with_its_remedy(source, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(errors.ConfigError, match=r"pip install 'vidx\[beam\]'"):
    build.build("folder", source, str(tmp_path / "out"), splits=("val",), beam_runner="DirectRunner")
  assert not os.listdir(tmp_path)


def test_an_unknown_runner_is_told(source, tmp_path):
  pytest.importorskip("apache_beam")
  with pytest.raises(errors.ConfigError, match="--beam_runner=NoRunner"):
    build.build("folder", source, str(tmp_path / "out"), splits=("val",), beam_runner="NoRunner")


def test_frame_folders_labels_spans_and_extra_fields_survive(given, tmp_path):
  folder = tiny.write_frames(tmp_path / "frames", frames=6, seed=2)
  video = tiny.write_video(tmp_path / "v.mp4", frames=20)
  given["train"] = Dataset("hvu", "train", (
      Record("f", Media(str(folder), "frames", pattern="{:05d}.jpg"), (0, 2), extra={"note": "ä", "n": 3}),
      Record("v", Media(str(video)), (), span=(0.2, 0.5)),
  ), ("a", "b", "a"), multilabel=True, categories={"scene": (0, 1), "object": (2,)})
  out = str(tmp_path / "out")
  build.build("hvu", "", out, splits=("train",))
  read = array_record.read(out, "train")
  assert_same(given["train"], read)
  clips = clips_lib.Clips(tiny.data_config())
  for a, b in zip(given["train"].records, read.records):
    np.testing.assert_array_equal(clips.evaluate(a), clips.evaluate(b))


@pytest.mark.parametrize("least", [1, 1 << 30], ids=["columns", "records"])
def test_spans_of_frame_folders_show_the_frames_of_the_source(given, tmp_path, monkeypatch, least):
  folder = str(tiny.write_frames(tmp_path / "frames", frames=90, seed=2))
  media = [Media(folder, "frames", fps=30.0), Media(folder, "frames"),
           Media(str(tiny.write_video(tmp_path / "v.mp4", frames=60)), fps=25.0)]
  given["train"] = Dataset("epic100", "train", tuple(
      Record(f"r{i}", m, 0, span=(1.0, 2.0)) for i, m in enumerate(media)), ("a",))
  once, again = str(tmp_path / "once"), str(tmp_path / "again")
  build.build("epic100", "", once, splits=("train",))
  build.build("array_record", once, again, splits=("train",))
  monkeypatch.setattr(packed_records, "LEAST", least)
  clips = clips_lib.Clips(tiny.data_config(), timed=True)
  for root in (once, again):
    read = array_record.read(root, "train")
    assert [r.media.fps for r in read.records] == [30.0, 12.0, 25.0]
    for a, b in zip(given["train"].records, read.records):
      a, b = clips.cut(a), clips.cut(b)
      np.testing.assert_array_equal(a.indices, b.indices)
      np.testing.assert_array_equal(a.frames, b.frames)
      np.testing.assert_array_equal(a.seconds, b.seconds)


def test_spans_of_frames_without_a_stored_rate_are_an_error(given, tmp_path):
  folder = str(tiny.write_frames(tmp_path / "frames", frames=30))
  given["train"] = Dataset("epic100", "train", (
      Record("whole", Media(folder, "frames", fps=30.0), 0),
      Record("part", Media(folder, "frames", fps=30.0), 0, span=(0.2, 0.8))), ("a",))
  out = tmp_path / "out"
  build.build("epic100", "", str(out), splits=("train",))
  path = out / "records-train.jsonl"
  path.write_text(path.read_text().replace(', "fps": 30.0', ""))  # as it was written before
  whole, part = array_record.read(str(out), "train").records
  clips = clips_lib.Clips(tiny.data_config())
  np.testing.assert_array_equal(clips.evaluate(whole), clips.evaluate(given["train"].records[0]))
  with pytest.raises(errors.DataError, match="built without the rate of its frames.*build it again") as e:
    clips.evaluate(part)
  assert not isinstance(e.value, errors.DecodeError)  # which would pass the record over
  [bad] = check.check("array_record", str(out), "train")["bad"]
  assert bad["id"] == "part" and "without the rate" in bad["reason"]


def test_facts_survive(given, tmp_path):
  facts = {"pairs": np.arange(6).reshape(2, 3), "ids": ("a_1", "a_2"), "among": ("Kinetics-Sounds", (0, 1)),
           "evaluated": (1, np.int64(2))}
  given["train"] = dataclasses.replace(tiny.dataset(tmp_path, 2), facts=facts)
  build.build("tiny", "", str(tmp_path / "out"), splits=("train",))
  read = array_record.read(str(tmp_path / "out"), "train").facts
  assert read["pairs"].dtype == facts["pairs"].dtype and (read.pop("pairs") == facts.pop("pairs")).all()
  assert read == facts


BOXES = frame_boxes.frame_boxes([(0, 0, 1, 1)], [0])


@pytest.mark.parametrize("change, message", [
    (lambda d: dataclasses.replace(d, records=[dataclasses.replace(r, extra={frame_boxes.TRUTH: BOXES})
                                               for r in d.records]), "boxes of objects"),
    (lambda d: dataclasses.replace(d, records=[dataclasses.replace(r, extra={frame_boxes.PROPOSED: BOXES})
                                               for r in d.records]), "boxes of objects"),
    (lambda d: dataclasses.replace(d, plan=plans.Shuffled(np.arange(2))), "a plan of what an epoch shows"),
    (lambda d: dataclasses.replace(d, records=[dataclasses.replace(r, companions={"audio": Media("a.wav", "sound")})
                                               for r in d.records]), r"further files beside its videos \(audio\)"),
    (lambda d: dataclasses.replace(d, facts={"strange": {1, 2}}), "split 'train' has what .*a set"),
    (lambda d: dataclasses.replace(d, records=[dataclasses.replace(r, extra={"strange": BOXES})
                                               for r in d.records]), "record 'v0' has what .*a FrameBoxes"),
])
def test_what_built_files_do_not_hold_is_refused(given, tmp_path, change, message):
  (tmp_path / "data").mkdir()
  given["train"] = change(tiny.dataset(tmp_path / "data", 2))
  with pytest.raises(errors.DataError, match=message + ".*train on .* as it is"):
    build.build("tiny", "root", str(tmp_path / "out"), splits=("train",))
  assert os.listdir(tmp_path) == ["data"]


def test_broken_and_missing_files_are_left_out_and_listed(given, tmp_path):
  given["val"] = tiny.dataset(tmp_path, 4, broken=(1,), split="val")
  gone = given["val"].records[2].media.path
  os.unlink(gone)
  out = str(tmp_path / "out")
  summary = build.build("folder", "root", out)
  assert [name for name, _ in summary["skipped"]] == ["v1", "v2"] and "v1.mp4" in summary["skipped"][0][1]
  assert summary["splits"] == {"val": {**summary["splits"]["val"], "videos": 2, "skipped": 2}}
  assert sorted(summary["absent"]) == ["test", "train"]
  assert [r.id for r in array_record.read(out, "val").records] == ["v0", "v3"]


def test_a_shard_of_broken_files_alone_is_no_obstacle(given, tmp_path):
  import tensorflow_datasets as tfds
  data = tmp_path / "data"
  data.mkdir()
  given["train"] = tiny.dataset(data, 4, broken=(0, 1))
  out = str(tmp_path / "out")
  build.build("folder", "root", out, shards=2)
  assert [e["id"] for e in tfds.builder_from_directory(out).as_data_source(split="train")] == [b"v2", b"v3"]
  clips = clips_lib.Clips(tiny.data_config())
  for a, b in zip(given["train"].records[2:], array_record.read(out, "train").records):
    np.testing.assert_array_equal(clips.evaluate(a), clips.evaluate(b))


def test_a_built_set_can_be_built_again(given, tmp_path):
  folder = tiny.write_frames(tmp_path / "frames")
  given["train"] = Dataset("ssv1", "train", (
      Record("f", Media(str(folder), "frames", pattern="{:05d}.jpg"), 0),), ("a",))
  once, again = str(tmp_path / "once"), str(tmp_path / "again")
  build.build("ssv1", "", once)
  build.build("array_record", once, again, splits=("train",))
  a, b = (array_record.read(root, "train").records[0].media for root in (once, again))
  assert array_record.read_media(a) == array_record.read_media(b)


def test_a_set_without_one_good_video_leaves_nothing(given, tmp_path):
  data = tmp_path / "data"
  data.mkdir()
  given["train"] = tiny.dataset(data, 2, broken=(0, 1))
  with pytest.raises(errors.DataError, match="no video"):
    build.build("folder", "root", str(tmp_path / "out"))
  assert os.listdir(tmp_path) == ["data"]


def test_a_build_that_is_interrupted_leaves_nothing(source, tmp_path, monkeypatch):
  def stop(*args):
    raise KeyboardInterrupt

  monkeypatch.setattr(writer, "write_metadata", stop)
  with pytest.raises(KeyboardInterrupt):
    build.build("folder", source, str(tmp_path / "out"), splits=("val",))
  assert not os.listdir(tmp_path)


def test_a_full_disk_is_told_in_one_line(source, tmp_path, monkeypatch):
  from array_record.python import array_record_module

  class Full:
    def __init__(self, path, options):
      del path, options

    def write(self, data):
      raise RuntimeError("write() failed: No space left on device; writing x; at byte 65536")

  monkeypatch.setattr(array_record_module, "ArrayRecordWriter", Full)
  with pytest.raises(errors.DataError, match="cannot write .* No space left on device.$"):
    build.build("folder", source, str(tmp_path / "out"), splits=("val",))
  assert not os.listdir(tmp_path)


def test_a_folder_with_something_in_it_is_not_overwritten(source, built):
  with pytest.raises(errors.DataError, match="not empty"):
    build.build("folder", source, built[0])


def test_an_unknown_split_names_those_there_are(built):
  with pytest.raises(errors.DataError, match="it has train, val"):
    array_record.read(built[0], "dev")


def test_a_missing_shard_is_a_decode_error(built):
  with pytest.raises(errors.DecodeError, match="no such file"):
    array_record.read_media(Media(built[0] + "/gone.array_record", "array_record", 0))


@pytest.mark.parametrize("shards, lengths", [(0, [5]), (1, [5]), (2, [2, 3]), (9, [1] * 5)])
def test_shards_are_of_about_equal_length(source, shards, lengths):
  plan = writer.plan(datasets.load("folder", source, "train"), "out", shards)
  assert [len(s.records) for s in plan] == lengths


def test_a_broken_table_is_an_error_and_not_a_split_that_is_absent(tmp_path):
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "clips.csv").write_text("path,label,split\na.mp4\n")
  with pytest.raises(errors.DataError, match="line 2"):
    build.build("folder", str(tmp_path / "in"), str(tmp_path / "out"))
