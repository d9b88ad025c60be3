"""Crops of public annotations, and what is said of broken ones."""

import cv2
import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import crops, datasets, triplets
from vidx.infer import triplets as build

LINE = "{video},{time},2,{kind},{thing},{presence},{x0},{x1},{y0},{y1}\n"


def line(**more):
  return LINE.format(**{**dict(video="ab__c", time=0, kind="car", thing=0, presence="present", x0=0.25, x1=0.75, y0=0,
                               y1=0.5), **more})


def test_youtube_boxes_become_clips_of_crops(tmp_path):
  for i, name in enumerate(("ab__c", "-d")):
    tiny.write_video(tmp_path / f"videos/{name}.mp4", seed=i)
  (tmp_path / "yt_bb_detection_train.csv").write_text(
      line() + line(time=200) + line(time=200, thing=1, x1=1) + line(video="-d") + line(video="-d", time=120)
      + line(kind="bus") + line(presence="absent", x0=-1) + line(video="gone") + line(time=9000)
      + line(x1=0.26, thing=7))
  (tmp_path / "yt_bb_detection_validation.csv").write_text(line(video="-d", thing=3))
  found = crops.convert(str(tmp_path), str(tmp_path / "out"))
  assert found == {"clips": 4, "images": 6, "missing": 1}
  train = triplets.read_crops(str(tmp_path / "out"), "train")
  assert train.clips == ("-d__0", "ab__c__0", "ab__c__1") and train.video.tolist() == [0, 0, 1, 1, 1]
  crop = cv2.imread(str(tmp_path / "out/clips/train/ab__c__0/00000200.jpg"))[..., ::-1].astype(int)
  assert crop.shape == (24, 32, 3)
  assert np.abs(crop - tiny.pictures(12, 0)[5, :24, 16:48]).mean() < 15
  assert build.build(str(tmp_path / "out"), clusters=2)["triplets"] == 50


def test_cars_are_sorted_by_azimuth(tmp_path):
  (tmp_path / "tripod-seq.txt").write_text(
      "2 40 30\n4 3\ntripod_seq_%02d_%03d.jpg\nbbox_%02d.txt\n4 8\n2 1\n1 -1\n")
  for s, count in ((1, 4), (2, 3)):
    (tmp_path / f"bbox_{s:02d}.txt").write_text("2.0 3 20 18\n" * count)
    for f in range(1, count + 1):
      cv2.imwrite(str(tmp_path / f"tripod_seq_{s:02d}_{f:03d}.jpg"), np.full((30, 40, 3), 40 * f, np.uint8))
  assert crops.convert(str(tmp_path), str(tmp_path / "out"), "epfl_cars") == {"classes": 5, "images": 7}
  train, val = (datasets.load("folder", str(tmp_path / "out"), split) for split in ("train", "val"))
  assert [train.classes[r.label] for r in train.records] == ["azimuth12", "azimuth00", "azimuth04", "azimuth08"]
  assert {train.classes[r.label] for r in val.records} == {"azimuth00", "azimuth14", "azimuth12"}
  assert cv2.imread(str(tmp_path / "out/frames/01_002/0.jpg")).shape == (18, 20, 3)
  assert [crops.bin_of(f, 10, 100, 1) for f in (10, 13, 14, 60, 107)] == [0, 0, 1, 8, 0]


@pytest.mark.parametrize("text, word", [
    (line(x0="x"), "line 1: .*no time and box"), (line(y1="nan"), "line 1: .*no time and box"),
    ("a,b\n", "line 1: 2 columns"), (line(kind="bus"), "no crops of car"),
    (line(video="gone"), "videos: 1 video"), (None, "holds none of")])
def test_what_cannot_be_cropped_is_said_in_one_line(tmp_path, text, word):
  if text is not None:
    (tmp_path / "yt_bb_detection_train.csv").write_text(text)
  with pytest.raises(errors.DataError, match=word) as e:
    crops.convert(str(tmp_path), str(tmp_path / "out"))
  assert "\n" not in str(e.value)


def test_a_table_that_is_no_text_is_refused(tmp_path):
  (tmp_path / "yt_bb_detection_train.csv").write_bytes(b"\xe9\xff,")
  with pytest.raises(errors.DataError, match="yt_bb_detection_train.csv cannot be read"):
    crops.convert(str(tmp_path), str(tmp_path / "out"))


def test_unknown_sources_and_broken_lists_are_refused(tmp_path):
  with pytest.raises(errors.ConfigError, match="nearest: 'ytbb'"):
    crops.convert(str(tmp_path), str(tmp_path), "ytb")
  with pytest.raises(errors.DataError, match="tripod-seq.txt: no such file"):
    crops.convert(str(tmp_path), str(tmp_path), "epfl_cars")
  listed = "1 40 30\n2\n{images}\n{places}\n{round}\n1\n1\n"
  good = dict(images="a_%02d_%03d.jpg", places="b_%02d.txt", round=4)
  for text in ("2 40 30\n4\n", *(listed.format(**{**good, **bad}) for bad in (
      dict(images="a.jpg"), dict(images="a_%d_%d_%d"), dict(places="b.txt"), dict(places="b_%y"), dict(round=0)))):
    (tmp_path / "tripod-seq.txt").write_text(text)
    with pytest.raises(errors.DataError, match="not the list of EPFL's sequences"):
      crops.convert(str(tmp_path), str(tmp_path), "epfl_cars")
  (tmp_path / "tripod-seq.txt").write_text(listed.format(**good))
  cv2.imwrite(str(tmp_path / "a_01_001.jpg"), np.zeros((9, 9, 3), np.uint8))
  for numbers in ("1 2 3\n", "1 2 nan 4\n", "1 2 x 4\n"):
    (tmp_path / "b_01.txt").write_text(numbers)
    with pytest.raises(errors.DataError, match="b_01.txt: no boxes"):
      crops.convert(str(tmp_path), str(tmp_path), "epfl_cars")
