"""Readers of UCF101, HMDB51 and csv lists: on the official lists, and on small ones."""

import os
import shutil

import pytest

from vidx import errors
from vidx.data import datasets


def touch(root, *paths):
  for path in paths:
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    open(os.path.join(root, path), "w").close()


def write(root, path, *lines):
  touch(root, path)
  with open(os.path.join(root, path), "w", encoding="utf-8") as f:
    f.writelines(f"{line}\n" for line in lines)


# ---------------------------------------------------------------- UCF101


@pytest.fixture(scope="module")
def ucf101(real_data, tmp_path_factory):
  """The official lists, and an empty file for every clip."""
  root = tmp_path_factory.mktemp("ucf101")
  shutil.copytree(real_data("annotations/ucf101_splits"), root / "ucfTrainTestlist")
  for name in ("trainlist01.txt", "testlist01.txt"):
    with open(root / "ucfTrainTestlist" / name) as f:
      touch(root / "UCF-101", *(line.split()[0] for line in f if line.strip()))
  return str(root)


@pytest.mark.parametrize("fold, train, test", [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_ucf101_has_the_published_counts(ucf101, fold, train, test):
  a, b = (datasets.load("ucf101", ucf101, s, fold=fold) for s in ("train", "val"))
  assert (len(a), len(b)) == (train, test)
  assert len(a.classes) == 101 and a.classes[0] == "ApplyEyeMakeup" and not a.missing and not b.missing
  assert {r.label for r in a.records} == {r.label for r in b.records} == set(range(101))
  assert not {r.id for r in a.records} & {r.id for r in b.records}
  assert all(a.classes[r.label] == r.id.split("/")[0] for r in a.records)


def small_ucf101(root):
  write(root, "ucfTrainTestlist/classInd.txt", "1 Archery", "2 HandstandPushups")
  write(root, "ucfTrainTestlist/trainlist01.txt", "Archery/v_Archery_g01_c01.avi 1",
        "HandstandPushups/v_HandStandPushups_g01_c01.avi 2")
  write(root, "ucfTrainTestlist/testlist01.txt", "Archery/v_Archery_g02_c01.avi")
  return str(root)


@pytest.mark.parametrize("base", ["UCF-101/", "", "videos/"])
@pytest.mark.parametrize("spelling", ["HandstandPushups", "HandStandPushups"])
def test_ucf101_finds_handstands_however_they_are_spelt(tmp_path, base, spelling):
  root = small_ucf101(tmp_path)
  touch(root, f"{base}Archery/v_Archery_g01_c01.avi", f"{base}{spelling}/v_{spelling}_g01_c01.avi")
  d = datasets.load("ucf101", root, "train")
  assert [r.label for r in d.records] == [0, 1]
  assert d.records[1].media.path == os.path.join(root, f"{base}{spelling}/v_{spelling}_g01_c01.avi")


def test_ucf101_finds_videos_with_another_ending(tmp_path):
  root = small_ucf101(tmp_path)
  touch(root, "UCF-101/Archery/v_Archery_g02_c01.mp4")
  assert datasets.load("ucf101", root, "test").records[0].media.path.endswith("c01.mp4")


def test_missing_videos_are_listed_and_too_many_are_an_error(tmp_path):
  root = small_ucf101(tmp_path)
  touch(root, "Archery/v_Archery_g01_c01.avi")
  d = datasets.load("ucf101", root, "train", max_missing=0.5)
  assert len(d) == 1 and d.missing == ("HandstandPushups/v_HandStandPushups_g01_c01.avi",)
  with pytest.raises(errors.DataError, match="1 of the 2 media of split 'train' .* are missing"):
    datasets.load("ucf101", root, "train")


@pytest.mark.parametrize("line, message", [
    ("Archery/a.avi 1 2", r"line 3: expected `Class/video.avi`"),
    ("Archery/a.avi x", r"line 3: label 'x' is not a whole number"),
    ("Archery/a.avi 2", r"line 3: label 2, but .* gives Archery the number 1"),
    ("Archry/a.avi 1", r"line 3: label 'Archry' is not one of the 2 classes .*\(nearest: 'Archery'\)"),
    ("Archery/v_Archery_g01_c01.avi 1", r"line 3: .* stands already in line 1"),
])
def test_ucf101_names_the_broken_line(tmp_path, line, message):
  root = small_ucf101(tmp_path)
  with open(tmp_path / "ucfTrainTestlist/trainlist01.txt", "a") as f:
    f.write(line + "\n")
  with pytest.raises(errors.DataError, match=r"trainlist01.txt, " + message) as e:
    datasets.load("ucf101", root, "train")
  assert "\n" not in str(e.value)


def test_ucf101_has_three_folds(tmp_path):
  with pytest.raises(errors.ConfigError, match="fold=4"):
    datasets.load("ucf101", small_ucf101(tmp_path), "train", fold=4)


# ---------------------------------------------------------------- HMDB51


@pytest.fixture(scope="module")
def hmdb51(real_data, tmp_path_factory):
  root = tmp_path_factory.mktemp("hmdb51")
  lists = root / "testTrainMulti_7030_splits"
  shutil.copytree(real_data("annotations/hmdb51_splits"), lists)
  for path in lists.glob("*_test_split1.txt"):
    action = path.name.removesuffix("_test_split1.txt")
    touch(root / action, *(line.split()[0] for line in path.read_text().splitlines() if line.strip()))
  return str(root)


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_hmdb51_has_the_published_counts(hmdb51, fold):
  a, b = (datasets.load("hmdb51", hmdb51, s, fold=fold) for s in ("train", "test"))
  assert (len(a), len(b), len(a.classes)) == (3570, 1530, 51) and not a.missing
  assert [sum(r.label == c for r in a.records) for c in range(51)] == [70] * 51
  assert [sum(r.label == c for r in b.records) for c in range(51)] == [30] * 51


def test_hmdb51_leaves_the_unused_out_and_names_broken_lines(tmp_path):
  write(tmp_path, "wave_test_split1.txt", "a.avi 1 ", "b.avi 2 ", "c.avi 0 ")
  touch(tmp_path, "wave/a.avi", "wave/b.avi", "wave/c.avi")
  assert [r.id for r in datasets.load("hmdb51", str(tmp_path), "train").records] == ["wave/a.avi"]
  assert [r.id for r in datasets.load("hmdb51", str(tmp_path), "val").records] == ["wave/b.avi"]
  write(tmp_path, "wave_test_split1.txt", "a.avi 1", "b.avi 3")
  with pytest.raises(errors.DataError, match="wave_test_split1.txt, line 2: '3' is none of 0"):
    datasets.load("hmdb51", str(tmp_path), "train")
  write(tmp_path, "wave_test_split1.txt", "a.avi")
  with pytest.raises(errors.DataError, match="line 1: 1 column"):
    datasets.load("hmdb51", str(tmp_path), "train")


# ---------------------------------------------------------------- csv and folder


def test_real_clips_with_folds(real_data):
  root = str(real_data("fight_surv"))
  a, b = (datasets.load("folder", root, s, train_folds="0,1", val_folds=2) for s in ("train", "val"))
  assert len(a) + len(b) == 186 and len(a.classes) == 2 and not a.missing
  assert not {r.extra["source_group"] for r in a.records} & {r.extra["source_group"] for r in b.records}
  c = datasets.load("csv", root, "train", file="clips.csv", train_folds="0,1", val_folds=2)
  assert c.records == a.records


def test_csv_of_one_file_per_split(tmp_path):
  touch(tmp_path, "a.mp4", "b c.mp4", "d.mp4")
  write(tmp_path, "train.csv", "path,label", "a.mp4,wave", '"b c.mp4",run')
  write(tmp_path, "val.csv", "label,path", "sit,d.mp4", "run,e.mp4")
  a, b = (datasets.load("csv", str(tmp_path), s, max_missing=0.5) for s in ("train", "val"))
  assert a.classes == b.classes == ("run", "sit", "wave")
  assert [(r.id, r.label) for r in a.records] == [("a.mp4", 2), ("b c.mp4", 0)]
  assert [(r.id, r.label) for r in b.records] == [("d.mp4", 1)] and b.missing == ("e.mp4",)
  with pytest.raises(errors.AbsentError, match="test.csv does not exist"):
    datasets.load("csv", str(tmp_path), "test")
  write(tmp_path, "other/train.csv", "path,label", "d.mp4,2")
  c = datasets.load("csv", str(tmp_path), "train", file="other/{split}.csv")
  assert [(r.id, c.classes[r.label]) for r in c.records] == [("d.mp4", "2")]


def test_csv_of_one_file_with_splits_or_none(tmp_path):
  touch(tmp_path, *(f"{i}.mp4" for i in range(40)))
  write(tmp_path, "all.csv", "path,label,split", "0.mp4,a,train", "1.mp4,b,validation", "2.mp4,a,test")
  assert [[r.id for r in datasets.load("csv", str(tmp_path), s, file="all.csv").records]
          for s in ("train", "val", "test")] == [["0.mp4"], ["1.mp4"], ["2.mp4"]]
  write(tmp_path, "all.csv", "path,label", *(f"{i}.mp4,{i % 2}" for i in range(40)))
  a, b = (datasets.load("csv", str(tmp_path), s, file="all.csv") for s in ("train", "val"))
  assert len(a) + len(b) == 40 and 0 < len(b) < len(a)


@pytest.mark.parametrize("lines, message", [
    (["path,lable", "a.mp4,run"], r"line 1: no column 'label' \(nearest: 'lable'\)"),
    (["path,label", "a.mp4,run,1"], r"line 2: 3 columns, but the header has 2"),
    (["path,label", "a.mp4,run", "b.mp4"], r"line 3: 1 column"),
    (["path,label", "a.mp4,wawe"], r"line 2: label 'wawe' is not one of the 2 classes .*\(nearest: 'wave'\)"),
    (["path,label", "a.mp4,7"], r"line 2: label '7' is not one of the 2 classes"),
    (["path,label", "a.mp4,run", "a.mp4,run"], r"line 3: 'a.mp4' stands already in line 2"),
    (["path,label", "a.mp4,"], r"line 2: nothing in column 'label'"),
    (["path,label", ",run"], r"line 2: nothing in column 'path'"),
    (["path,label,label", "a.mp4,run,wave"], r"line 1: two columns are named 'label'"),
    (["path,label", "a.mp4,²"], r"line 2: label '²' is not one of the 2 classes"),
    (["path,label", "a.mp4,-1"], r"line 2: label '-1' is not one of the 2 classes"),
    (["path,label", "a.mp4,run", "./a.mp4,run"], r"line 3: 'a.mp4' stands already in line 2"),
    (["path,label,fold", "a.mp4,run,x"], r"line 2: fold 'x' is not a whole number"),
    (["path,label,split", "a.mp4,run,trian"], r"line 2: split 'trian' is none of"),
])
def test_csv_names_the_broken_line(tmp_path, lines, message):
  touch(tmp_path, "a.mp4", "b.mp4")
  write(tmp_path, "classes.txt", "run", "wave")
  write(tmp_path, "train.csv", *lines)
  with pytest.raises(errors.DataError, match=r"train.csv, " + message) as e:
    datasets.load("csv", str(tmp_path), "train")
  assert "\n" not in str(e.value)


def test_folds_are_chosen_by_text_numbers_or_tuples(tmp_path):
  touch(tmp_path, *(f"{i}.mp4" for i in range(4)))
  write(tmp_path, "clips.csv", "path,label,fold,who", *(f"{i}.mp4,x,{i},me" for i in range(4)))
  for train in ("0,1", (0, 1), [0, 1], ("0", "1")):
    for val in (2, "2", (2,)):
      ids = {s: [r.id for r in datasets.load("folder", str(tmp_path), s, train_folds=train, val_folds=val).records]
             for s in ("train", "val", "test")}
      assert ids == {"train": ["0.mp4", "1.mp4"], "val": ["2.mp4"], "test": ["3.mp4"]}
  for train, val, message in (("", "", "has folds: choose them"), ("a", 2, "train_folds='a'"),
                              (0, 1.5, "val_folds=1.5"), ("0,2", "2", r"share \[2\]")):
    with pytest.raises(errors.ConfigError, match=message):
      datasets.load("folder", str(tmp_path), "train", train_folds=train, val_folds=val)


def test_a_table_may_name_folders_of_frames(tmp_path):
  touch(tmp_path, "one/00001.jpg", "two.mp4")
  write(tmp_path, "clips.csv", "path,label,split", "one,x,train", "two.mp4,y,train")
  assert [r.media.kind for r in datasets.load("folder", str(tmp_path), "train").records] == ["frames", "video"]


def test_class_folders_may_be_named_like_splits(tmp_path):
  touch(tmp_path, *(f"{c}/{i}.mp4" for c in ("train", "plane") for i in range(5)))
  a, b = (datasets.load("folder", str(tmp_path), s) for s in ("train", "val"))
  assert a.classes == ("plane", "train") and (len(a), len(b)) == (8, 2)


def test_class_folders_without_splits_give_every_class_a_fifth(tmp_path):
  touch(tmp_path, *(f"{c}/{i}.mp4" for c, n in (("a", 20), ("b", 2), ("c", 1)) for i in range(n)))
  a, b = (datasets.load("folder", str(tmp_path), s) for s in ("train", "val"))
  assert [sum(r.label == c for r in b.records) for c in range(3)] == [4, 1, 0]
  assert len(a) + len(b) == 23 and not {r.id for r in a.records} & {r.id for r in b.records}


def test_text_that_is_none_is_said_in_one_line(tmp_path):
  (tmp_path / "train.csv").write_bytes(b"path,label\n\xff\xfe\x00,1\n")
  with pytest.raises(errors.DataError, match="train.csv cannot be read as text"):
    datasets.load("csv", str(tmp_path), "train")


def test_names_of_readers_options_and_splits_are_checked(tmp_path):
  with pytest.raises(errors.ConfigError, match="nearest: 'ucf101'"):
    datasets.load("ucf11", str(tmp_path), "train")
  with pytest.raises(errors.ConfigError, match="nearest: 'fold'"):
    datasets.load("ucf101", str(tmp_path), "train", folds=1)
  with pytest.raises(errors.ConfigError, match="nearest: 'train'"):
    datasets.load("ucf101", str(tmp_path), "trian")
  with pytest.raises(errors.DataError, match="does not exist"):
    datasets.load("ucf101", str(tmp_path / "nowhere"), "train")
