"""Readers of Kinetics, Something-Something and HVU."""

import json
import os

import pytest

from tests.data.datasets.test_lists import touch, write
from vidx import errors
from vidx.data import datasets

HEADER = "label,youtube_id,time_start,time_end,split"


# ---------------------------------------------------------------- Kinetics


def kinetics(root, *rows):
  write(root, "train.csv", HEADER, "tai chi,-abc_DEF123,3,13,train", "abseiling,xyz,10.0,20.0,train", *rows)
  write(root, "validate.csv", HEADER + ",is_cc", "tai chi,val,0,10,validate,0")
  write(root, "test.csv", "youtube_id,time_start,time_end,split", "tst,0,10,test")
  touch(root, "videos/train/tai chi/-abc_DEF123_000003_000013.mp4", "videos/xyz_000010_000020.mkv",
        "videos/val/tai_chi/val_000000_000010.mp4", "videos/test/tst_000000_000010.mp4")
  return str(root)


def test_kinetics_finds_clips_in_class_folders_and_flat(tmp_path):
  root = kinetics(tmp_path, "abseiling,gone,1,11,train")
  train = datasets.load("kinetics", root, "train", max_missing=0.5)
  assert train.classes == ("abseiling", "tai chi")
  assert [(r.id, r.label) for r in train.records] == [
      ("-abc_DEF123_000003_000013.mp4", 1), ("xyz_000010_000020.mp4", 0)]
  assert train.records[1].media.path == os.path.join(root, "videos/xyz_000010_000020.mkv")
  assert train.missing == ("gone_000001_000011.mp4",)


def test_kinetics_takes_the_classes_of_training_in_every_split(tmp_path):
  root = kinetics(tmp_path)
  val, test = (datasets.load("kinetics", root, s) for s in ("val", "test"))
  assert val.classes == test.classes == ("abseiling", "tai chi")
  assert [r.label for r in val.records] == [1] and [r.label for r in test.records] == [-1]


def test_kinetics_reads_one_file_of_all_splits_and_a_list_of_classes(tmp_path):
  write(tmp_path, "k.csv", HEADER, "b,one,0,10,train", "a,two,0,10,val")
  write(tmp_path, "names.txt", "b", "a")
  touch(tmp_path, "one_000000_000010.mp4", "two_000000_000010.mp4")
  d = datasets.load("kinetics", str(tmp_path), "val", file="k.csv", classes="names.txt")
  assert d.classes == ("b", "a") and [(r.id, r.label) for r in d.records] == [("two_000000_000010.mp4", 1)]


@pytest.mark.parametrize("row, message", [
    ("abseiling,q,1,train", "line 4: 4 columns, but the header has 5"),
    ("abseiling,q,one,11,train", "line 4: time_start 'one' is not a number"),
    ("abseiling,q,1,nan,train", "line 4: time_end 'nan' is not a number"),
    ("abseiling,q,1,11,trian", "line 4: split 'trian' is none of"),
    ("abseiling,xyz,10,20,train", "line 4: 'xyz_000010_000020.mp4' stands already in line 3"),
])
def test_kinetics_names_the_broken_line(tmp_path, row, message):
  with pytest.raises(errors.DataError, match="train.csv, " + message):
    datasets.load("kinetics", kinetics(tmp_path, row), "train")


def test_kinetics_names_a_label_that_training_has_not(tmp_path):
  root = kinetics(tmp_path)
  write(tmp_path, "validate.csv", HEADER, "thai chi,val,0,10,validate")
  with pytest.raises(errors.DataError, match=r"validate.csv, line 2: label 'thai chi' .*\(nearest: 'tai chi'\)"):
    datasets.load("kinetics", root, "val")


def test_kinetics_reads_lists_of_frame_folders(tmp_path):
  write(tmp_path, "train_videofolder.txt", "tai_chi/a 30 1", "ab seiling/b 20 0")
  write(tmp_path, "val_videofolder.txt", "tai_chi/c 10 2", "tai_chi/d 10 1")
  touch(tmp_path, "tai_chi/a/img_00001.jpg", "ab seiling/b/img_00001.jpg", "tai_chi/c/img_00001.jpg")
  train = datasets.load("kinetics", str(tmp_path), "train")
  val = datasets.load("kinetics", str(tmp_path), "val", max_missing=0.5)
  assert train.classes == val.classes == ("0", "1", "2")
  assert [(r.id, r.label, r.media.kind, r.media.pattern) for r in train.records] == [
      ("tai_chi/a", 1, "frames", "img_{:05d}.jpg"), ("ab seiling/b", 0, "frames", "img_{:05d}.jpg")]
  assert val.missing == ("tai_chi/d",)
  write(tmp_path, "train_videofolder.txt", "tai_chi/a 30 1", "ab seiling/b 20 99999999")
  with pytest.raises(errors.DataError, match="videofolder.txt, line 2: label 99999999 would be one of 100,000,000"):
    datasets.load("kinetics", str(tmp_path), "train")
  write(tmp_path, "train_videofolder.txt", "tai_chi/a 30")
  with pytest.raises(errors.DataError, match="train_videofolder.txt, line 1: 2 columns"):
    datasets.load("kinetics", str(tmp_path), "train")
  write(tmp_path, "train_videofolder.txt", "tai_chi/a x 1")
  with pytest.raises(errors.DataError, match="line 1: num_frames 'x'"):
    datasets.load("kinetics", str(tmp_path), "train")


# ---------------------------------------------------------------- Something-Something


def ssv1(root):
  base = "something-something-v1-"
  write(root, base + "labels.csv", "Turning something, then back", "Holding something", "Moving something up")
  write(root, base + "train.csv", "100218;Holding something", "7;Turning something, then back")
  write(root, base + "validation.csv", "8;Moving something up")
  write(root, base + "test.csv", "9")
  touch(root, *(f"20bn-something-something-v1/{i}/00001.jpg" for i in (100218, 7, 8, 9)))
  return str(root)


def test_ssv1_numbers_classes_by_the_alphabet(tmp_path):
  root = ssv1(tmp_path)
  train, val, test = (datasets.load("ssv1", root, s) for s in ("train", "val", "test"))
  assert train.classes == ("Holding something", "Moving something up", "Turning something, then back")
  assert [(r.id, r.label) for r in train.records] == [("100218", 0), ("7", 2)]
  assert [r.label for r in val.records] == [1] and [r.label for r in test.records] == [-1]
  media = train.records[0].media
  assert media.kind == "frames" and media.pattern == "{:05d}.jpg" and os.path.isdir(media.path)


@pytest.mark.parametrize("line, message", [
    ("8", "line 1: 1 column"), ("8;a;b", "line 1: 3 columns"),
    ("8;Holding somethin", r"line 1: label 'Holding somethin' .*nearest: 'Holding something'"),
])
def test_ssv1_names_the_broken_line(tmp_path, line, message):
  root = ssv1(tmp_path)
  write(tmp_path, "something-something-v1-validation.csv", line)
  with pytest.raises(errors.DataError, match=message):
    datasets.load("ssv1", root, "val")


def entry(name, template, **more):
  return {"id": name, "label": template.lower(), "template": template, "placeholders": [], **more}


def ssv2(root):
  base = "something-something-v2-"
  write(root, base + "labels.json", json.dumps({"Putting something": "1", "Holding something": "0"}))
  entries = [entry("12", "Putting [something]"), entry("3", "Holding [something]"), entry("4", "Holding [something]")]
  write(root, base + "train.json", "[" + ",\n".join(json.dumps(e) for e in entries) + "]")
  write(root, base + "validation.json", json.dumps([entry("5", "Holding [something]")], indent=2))
  write(root, base + "test.json", json.dumps([{"id": "6"}]))
  touch(root, "20bn-something-something-v2/12.webm", "20bn-something-something-v2/3.webm", "videos/5.webm", "6.mp4")
  return str(root)


def test_ssv2_takes_brackets_off_templates(tmp_path):
  root = ssv2(tmp_path)
  train = datasets.load("ssv2", root, "train", max_missing=0.5)
  val, test = (datasets.load("ssv2", root, s) for s in ("val", "test"))
  assert train.classes == ("Holding something", "Putting something")
  assert [(r.id, r.label) for r in train.records] == [("12", 1), ("3", 0)] and train.missing == ("4.webm",)
  assert train.records[0].extra["label"] == "putting [something]"
  assert [r.label for r in val.records] == [0] and [r.label for r in test.records] == [-1]


@pytest.mark.parametrize("text, message", [
    ('[{"id": "12", "template": "Putting [something]"},\n{"id": "3", "template": "Puting [something]"}]',
     r"line 2: label 'Puting something' .*nearest: 'Putting something'"),
    ('[{"id": "12", "template": "Putting [something]"},\n\n{"template": "x"}]', "line 3: an entry without 'id'"),
    ('[{"id": "12"}]', "line 1: video 12 has no 'template'"),
    ('[{"id": "12", "template": "Putting something"},\n{"id": "12", "template": "Putting something"}]',
     "line 2: '12' stands already in line 1"),
    ('[{"id": "12", "template": "Putting something"},\n{"id": 3 4}]', "line 2: no JSON"),
    ('{"id": "12"}', "line 1: expected a JSON list"),
    ('[\n', "no JSON"),
])
def test_ssv2_names_the_broken_line(tmp_path, text, message):
  root = ssv2(tmp_path)
  write(tmp_path, "something-something-v2-train.json", text)
  with pytest.raises(errors.DataError, match="train.json, .*" + message):
    datasets.load("ssv2", root, "train")


@pytest.mark.parametrize("text, message", [
    ('{"a": "0", "b": "2"}', "the ids of the 2 classes are not 0 to 1"),
    ('["a", "b"]', "expected"), ('{"a": "0",}', "line 1: no JSON")])
def test_ssv2_names_broken_classes(tmp_path, text, message):
  root = ssv2(tmp_path)
  write(tmp_path, "something-something-v2-labels.json", text)
  with pytest.raises(errors.DataError, match="labels.json.*" + message):
    datasets.load("ssv2", root, "train")


# ---------------------------------------------------------------- HVU


def hvu(root, *rows):
  write(root, "HVU_Tags_Categories_V1.0.csv", "Tag,Category", "drum,object", "percussion,concept", "cymbal,object",
        "clapping,action")
  write(root, "HVU_Val_V1.0.csv", "Tags,youtube_id,time_start,time_end", "percussion|cymbal|drum,-a_b,3.5,13.5",
        "clapping,c,10.0,20.0", *rows)
  touch(root, "val/-a_b_000003_000013_.mp4", "val/c_000010_000020.mp4")
  return str(root)


def test_hvu_reads_tags_of_six_categories(tmp_path):
  d = datasets.load("hvu", hvu(tmp_path, "drum|clapping,d,0.0,2.0"), "val", max_missing=0.5)
  assert d.multilabel and d.classes == ("clapping", "percussion", "cymbal", "drum")
  assert d.categories == {"action": (0,), "attribute": (), "concept": (1,), "event": (), "object": (2, 3), "scene": ()}
  assert [(r.id, r.label) for r in d.records] == [("-a_b_000003_000013.mp4", (1, 2, 3)), ("c_000010_000020.mp4", (0,))]
  assert d.missing == ("d_000000_000002.mp4",)


def test_hvu_has_the_published_numbers_of_classes(real_data, tmp_path):
  with open(real_data("annotations/label_maps/hvu_label_map.json")) as f:
    kinds = json.load(f)
  write(tmp_path, "HVU_Tags_Categories_V1.0.csv", "Tag,Category", *(f"{t},{k}" for k, ts in kinds.items() for t in ts))
  write(tmp_path, "HVU_Train_V1.0.csv", "Tags,youtube_id,time_start,time_end",
        *(f"{ts[-1]},{k},0.0,10.0" for k, ts in kinds.items()))
  touch(tmp_path, *(f"{k}_000000_000010_.mp4" for k in kinds))
  d = datasets.load("hvu", str(tmp_path), "train")
  assert {k: len(ids) for k, ids in d.categories.items()} == {
      "action": 739, "attribute": 117, "concept": 291, "event": 69, "object": 1678, "scene": 248}
  assert len(d.classes) == 3142
  assert all(r.label[0] in d.categories[r.extra["youtube_id"]] for r in d.records)


@pytest.mark.parametrize("row, message", [
    ("drumm,d,0.0,2.0", r"line 4: label 'drumm' .*\(nearest: 'drum'\)"),
    ("drum,d,0.0", "line 4: 3 columns"),
    ("drum,d,a,2.0", "line 4: time_start 'a' is not a number"),
    ("drum,c,10.0,20.0", "line 4: .* stands already in line 3"),
])
def test_hvu_names_the_broken_line(tmp_path, row, message):
  with pytest.raises(errors.DataError, match="HVU_Val_V1.0.csv, " + message):
    datasets.load("hvu", hvu(tmp_path, row), "val")


def test_hvu_names_an_unknown_category(tmp_path):
  root = hvu(tmp_path)
  write(tmp_path, "HVU_Tags_Categories_V1.0.csv", "Tag,Category", "drum,objet")
  with pytest.raises(errors.DataError, match=r"line 2: category 'objet' .*\(nearest: 'object'\)"):
    datasets.load("hvu", root, "val")
