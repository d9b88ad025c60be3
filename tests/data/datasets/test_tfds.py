"""Image sets of TFDS: what its own reader says of them, and what is told where they are no such sets."""

import json
import pathlib
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data import image_sets, tiny
from vidx import errors, places
from vidx.data import build, check, clips, datasets, pipeline
from vidx.data.datasets import array_record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  return image_sets.prepare(tmp_path_factory.mktemp("sets"), shards=3, train=13, validation=4)


@pytest.fixture
def root(made, tmp_path):
  return pathlib.Path(shutil.copytree(made, tmp_path / "pets" / "1.0.0"))


def load(root, split="train", **options):
  return datasets.load("tfds", str(root), split, **options)


def spoil(root):
  """Damages the last picture of the first shard."""
  path = root / "pets-train.array_record-00000-of-00003"
  data = bytearray(path.read_bytes())
  data[data.rindex(b"JFIF")] ^= 0xff
  path.write_bytes(bytes(data))


@pytest.mark.parametrize("split, theirs", [("train", "train"), ("val", "validation")])
def test_it_reads_what_tfds_reads(made, split, theirs):
  builder = tfds.builder_from_directory(str(made))
  source = builder.as_data_source(split=theirs, decoders={"image": tfds.decode.SkipDecoding()})
  found = load(made, split)
  assert found.classes == tuple(builder.info.features["label"].names) and len(found) == len(source)
  for record, truth in zip(found.records, source):
    assert (record.id, record.label) == (truth["file_name"].decode(), truth["label"])
    assert array_record.read_media(record.media) == ("frames", [truth["image"]])


def test_images_are_clips_of_one_frame(made):
  builder = tfds.builder_from_directory(str(made))
  data = tiny.data_config(frames=1, short_side=32, crop=24)
  with pipeline.eval_batches(load(made, "val"), data, batch_size=4) as batches:
    batch = next(iter(batches))
  assert batch["video"].shape[-4:] == (1, 24, 24, 3)
  assert batch["label"].tolist() == [e["label"] for e in builder.as_data_source(split="validation")]
  bright = batch["video"][..., 0].astype(int).reshape(4, 24, 24)
  assert ((bright[:, :, -4:].mean((1, 2)) > bright[:, :, :4].mean((1, 2))) == batch["label"]).all()


def test_folders_above_are_those_of_their_only_version(root):
  assert load(root.parent).records == load(root.parent.parent).records == load(root).records
  shutil.copytree(root, root.parent / "1.1.0")
  with pytest.raises(errors.DataError, match="several data sets or versions.*1.0.0.*1.1.0"):
    load(root.parent)
  assert len(load(root.parent / "1.1.0")) == 13


def test_tensorflow_is_not_needed(made):
  program = """
      import sys
      from vidx.data import datasets
      assert len(datasets.load("tfds", sys.argv[1], "train")) == 13
      assert "tensorflow" not in sys.modules
  """
  subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(made)], check=True)


def test_absent_splits_say_which_there_are(made):
  with pytest.raises(errors.AbsentError, match="no split 'test': it has train, validation"):
    load(made, "test")


def test_a_damaged_record_fails_alone(root):
  whole = load(root)
  spoil(root)
  found = load(root)
  gone = [i for i, (a, b) in enumerate(zip(whole.records, found.records)) if a != b]
  assert gone == [3] and found.records[3].label == -1
  with pytest.raises(errors.DecodeError, match=r"00000-of-00003\[3\] is damaged"):
    clips.open_media(found.records[3].media)
  said = check.check("tfds", str(root), "train")
  assert [b["id"] for b in said["bad"]] == [found.records[3].id] and said["splits"]["train"]["unlabelled"] == 1


def test_names_that_are_not_unique_are_places(tmp_path):
  same = lambda i: {**image_sets.example(i), "file_name": "image.jpg"}
  root = image_sets.prepare(tmp_path, made=same, shards=1, train=3)
  assert [r.id for r in load(root).records] == [f"pets-train.array_record-00000-of-00001[{i}]" for i in range(3)]


def test_another_label_may_be_named(tmp_path):
  of = image_sets.features(coarse_label=tfds.features.ClassLabel(num_classes=5))
  root = image_sets.prepare(tmp_path, of, lambda i: {**image_sets.example(i), "coarse_label": 4 - i}, train=5)
  found = load(root, label="coarse_label")
  assert found.classes == tuple("01234") and sorted(r.label for r in found.records) == list(range(5))
  assert all(r.id.endswith(f"_{4 - r.label}.JPEG") for r in found.records)
  with pytest.raises(errors.DataError, match="no feature 'fine' of a class; .*may be coarse_label or label"):
    load(root, label="fine")


@pytest.mark.parametrize("change, words", [
    (lambda info, features: info.pop("fileFormat"), "of format tfrecord.*--file_format=array_record"),
    (lambda info, features: info.update(fileFormat="riegeli"), "of format riegeli"),
    (lambda info, features: features.pop("image"), "no feature 'image'.*file_name, label"),
    (lambda info, features: features["image"]["image"].update(dtype="float32"), "arrays of float32"),
    (lambda info, features: features.pop("label"), "no feature 'label' of a class; its features are file_name, image"),
    (lambda info, features: features["label"]["classLabel"].update(numClasses="3"), "names 2 classes, but .* says 3"),
    (lambda info, features: info["splits"][0].update(shardLengths=["5", "4", "5"]), "holds 4 records, but .* says 5"),
    (lambda info, features: info["splits"][0].update(shardLengths=["13"]), "00000-of-00001 cannot be read .no such"),
    (lambda info, features: info.update(splits={"name": 3}), "dataset_info.json is damaged"),
])
def test_what_is_no_such_set_is_told_in_a_line(root, change, words):
  info, features = (json.loads((root / name).read_text()) for name in ("dataset_info.json", "features.json"))
  assert info["splits"][0]["shardLengths"] == ["4", "5", "4"]
  change(info, features["featuresDict"]["features"])
  (root / "dataset_info.json").write_text(json.dumps(info))
  (root / "features.json").write_text(json.dumps(features))
  with pytest.raises(errors.DataError, match=words) as e:
    load(root)
  assert "\n" not in str(e.value)


def test_a_folder_that_tfds_did_not_write_is_told(tmp_path):
  with pytest.raises(errors.DataError, match="no dataset_info.json: name the folder of a version"):
    load(tmp_path)


def test_a_label_of_no_class_is_told(root):
  (root / "label.labels.txt").write_text("cat\n")
  features = json.loads((root / "features.json").read_text())
  features["featuresDict"]["features"]["label"]["classLabel"]["numClasses"] = 1
  (root / "features.json").write_text(json.dumps(features))
  with pytest.raises(errors.DataError, match="label 1, which is none of the 1 class"):
    load(root)


def test_labels_of_many_are_read_once_until_shards_change(tmp_path, monkeypatch):
  monkeypatch.setenv(places.CACHE, str(tmp_path / "cache"))
  root, seen, shard = image_sets.prepare(tmp_path / "sets", train=300), [], array_record.shard
  monkeypatch.setattr(array_record, "shard", lambda path: (seen.append(path), shard(path))[1])
  first = load(root)
  assert len(seen) == 2 and load(root).records == first.records and len(seen) == 2
  file, = (tmp_path / "cache" / "annotations").iterdir()
  file.write_bytes(file.read_bytes()[:-100])
  assert load(root).records == first.records and len(seen) == 4
  path = next(root.glob("*00000-of-00002"))
  other = image_sets.prepare(tmp_path / "other", made=lambda i: {**image_sets.example(i), "label": 0}, train=300)
  shutil.copy(other / path.name, path)
  assert load(root).records != first.records and len(seen) == 6


def test_a_set_can_be_built_of_it(made, tmp_path):
  build.build("tfds", str(made), str(tmp_path / "out"), splits=("val",))
  again = datasets.load("array_record", str(tmp_path / "out"), "val")
  for a, b in zip(load(made, "val").records, again.records):
    assert (a.id, a.label) == (b.id, b.label) and array_record.read_media(a.media) == array_record.read_media(b.media)
    with clips.open_media(b.media) as video:
      assert video.fps == 12 and np.isclose(video.duration, 1 / 12)
