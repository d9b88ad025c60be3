"""The reader on the published annotation of HVU, without its videos."""

import collections

import numpy as np
import pytest

from vidx import errors
from vidx.data.datasets import hvu, places

CATEGORIES = {"action": 739, "attribute": 117, "concept": 291, "event": 69, "object": 1678, "scene": 248}
INSTANCES = {"object": 271_517, "concept": 83_752, "action": 67_798, "attribute": 46_646, "scene": 45_966,
             "event": 17_463}
CLIPS = {"action": 31_082, "object": 30_898, "concept": 27_946, "attribute": 23_387, "scene": 16_200, "event": 10_864}


@pytest.fixture(scope="module")
def val(real_data):
  """The validation split as if every clip were there."""
  root = real_data("hvu/HVU_Val_V1.0.csv").parent
  with pytest.MonkeyPatch.context() as patch:
    trimmed = places.trimmed
    patch.setattr(places, "trimmed", lambda videos, *where: (trimmed(videos, *where)[0],) * 2)
    return hvu.read(str(root), "val")


def test_there_are_3142_tags_of_six_categories_in_a_fixed_order(val):
  assert {name: len(ids) for name, ids in val.categories.items()} == CATEGORIES and len(val.classes) == 3142
  assert [i for ids in val.categories.values() for i in ids] == list(range(3142))
  for ids in val.categories.values():
    names = [val.classes[i] for i in ids]
    assert names == sorted(names)


def test_there_are_31171_clips_each_once(val):
  extra = [r.extra for r in val.records]
  assert len(val) == 31_171 and not val.missing
  assert len({(e["youtube_id"], e["start"]) for e in extra}) == 31_171
  assert len({e["youtube_id"] for e in extra}) == 29_633
  seconds = collections.Counter(round(e["end"] - e["start"]) for e in extra)
  assert seconds == {10: 28_577, 2: 2_594}


def test_there_are_533142_tags_of_clips(val):
  sizes = [len(r.label) for r in val.records]
  assert sum(sizes) == 533_142 and (min(sizes), max(sizes)) == (1, 31)
  assert round(np.mean(sizes), 2) == 17.10
  positives = np.bincount(np.concatenate([r.label for r in val.records]), minlength=3142)
  assert (positives.min(), positives.max()) == (2, 10_340)
  assert {name: int(positives[list(ids)].sum()) for name, ids in val.categories.items()} == INSTANCES


def test_clips_have_tags_of_some_of_the_categories(val):
  kind = np.zeros(3142, int)
  for i, ids in enumerate(val.categories.values()):
    kind[list(ids)] = i
  have = np.zeros((len(val), 6), bool)
  for row, record in enumerate(val.records):
    have[row, kind[list(record.label)]] = True
  assert dict(zip(val.categories, have.sum(0).tolist())) == CLIPS
  assert round(100 * have.all(1).mean(), 1) == 18.8


def some_clips(root):
  (root / "HVU_Tags_Categories_V1.0.csv").write_text("Tag,Category\nrun,action\ncar,object\nbeach,scene\nsand,scene\n")
  (root / "HVU_Train_V1.0.csv").write_text("Tags,youtube_id,time_start,time_end\n"
                                           "run|beach|sand,a,0.0,10.0\ncar,b,1.5,11.5\n")
  for name in ("a_000000_000010.mp4", "b_000001_000011_.mp4"):
    (root / name).touch()
  return str(root)


def test_only_some_categories_may_be_learned_and_clips_without_them_stay(tmp_path):
  d = hvu.read(some_clips(tmp_path), "train", categories=("action", "scene"))
  assert d.classes == ("run", "beach", "sand") and d.categories == {"action": (0,), "scene": (1, 2)}
  assert [r.label for r in d.records] == [(0, 1, 2), ()] and not d.missing
  with pytest.raises(errors.ConfigError, match="'scenes' is none of action, .*nearest: 'scene'"):
    hvu.read(str(tmp_path), "train", categories=("scenes",))


def test_classes_of_kinetics_stand_beside_the_tags_of_its_clips(tmp_path):
  root = some_clips(tmp_path)
  (tmp_path / "k_train.csv").write_text("label,youtube_id,time_start,time_end,split\n"
                                        "walk,z,0,10,train\nparking,b,1,11,train\n")
  d = hvu.read(root, "train", categories=("object", "scene"), kinetics="k_{split}.csv")
  assert d.named["class"].classes == ("parking", "walk") and d.classes == ("car", "beach", "sand")
  assert [(r.label, r.labels) for r in d.records] == [((0,), {"class": 0})]
  d = hvu.read(root, "train", kinetics="k_train.csv", only_class=True)
  assert d.classes == ("parking", "walk") and not d.multilabel and [r.label for r in d.records] == [0]
  with pytest.raises(errors.ConfigError, match="only_class needs data.dataset.kinetics"):
    hvu.read(root, "train", only_class=True)


@pytest.mark.parametrize("line, options, words", [
    ("run|beech,z,0,10", {}, "HVU_Train_V1.0.csv, line 4: label 'beech' is not one of the 4 classes .*nearest: 'beach'"),
    ("run,z,0,10", dict(kinetics="k.csv"), "k.csv does not exist"),
    ("run,z,zero,10", {}, "line 4: time_start 'zero'")])
def test_what_cannot_be_read_is_one_clear_line(tmp_path, line, options, words):
  root = some_clips(tmp_path)
  with open(tmp_path / "HVU_Train_V1.0.csv", "a") as f:
    f.write(line + "\n")
  with pytest.raises(errors.UserError, match=words) as e:
    hvu.read(root, "train", **options)
  assert "\n" not in str(e.value)


def test_the_counts_of_the_thesis_add_up():
  """Section 5.2, the training set."""
  annotations = 672_622, 3_418_198, 1_473_216, 245_868, 581_449, 1_108_552
  assert sum(annotations) == 7_499_905 and sum(CATEGORIES.values()) == 3142
