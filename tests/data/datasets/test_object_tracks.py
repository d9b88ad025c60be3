import cv2
import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, decode
from vidx.data.datasets import object_tracks


def image(path, value, size=(6, 8)):
  path.parent.mkdir(parents=True, exist_ok=True)
  cv2.imwrite(str(path), np.broadcast_to(np.asarray(value, np.uint8), (*size, 3)) if np.ndim(value) < 2 else value)


def test_davis(tmp_path):
  for i in range(3):
    image(tmp_path / f"JPEGImages/240p/dog/{i:05d}.jpg", 90)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 2:5 + i] = 255
    image(tmp_path / f"Annotations/240p/dog/{i:05d}.png", mask)
  record, = datasets.load("davis", str(tmp_path), "val").records
  found = object_tracks.masks(record, 0, [0, 2])
  assert record.id == "dog" and found.sum((1, 2)).tolist() == [6, 10]
  assert object_tracks.boxes_of(found).tolist() == [[2, 1, 5, 3], [2, 1, 7, 3]]
  (tmp_path / "Annotations/240p/dog/00001.png").unlink()
  with pytest.raises(errors.DataError, match="no mask of frame 00001 of 'dog'"):
    datasets.load("davis", str(tmp_path), "val")


@pytest.mark.parametrize("name, inside", [
    ("davis", "JPEGImages/480p/dog"), ("segtrack2", "JPEGImages/dog"), ("otb2013", "Deer/groundtruth_rect.txt"),
    ("imagenet_vid", "Data/VID/val/a"), ("imagenet_det", "Data/DET/val"), ("coco", "annotations"),
    ("epic100", "epic-kitchens-100-annotations/EPIC_100_train.csv"), ("ucf101", "ucfTrainTestlist/classInd.txt"),
    ("ssv2", "labels/something-something-v2-labels.json"), ("ms_tcn", "groundTruth"),
    ("breakfast", "segmentation_coarse"), ("array_record", "records-train.jsonl")])
def test_a_root_beside_that_of_the_data_set_is_answered_with_the_right_one(name, inside, tmp_path):
  right = tmp_path / "above" / "set"
  (right / inside).mkdir(parents=True)
  (right / "else").mkdir()
  for root, place in ((tmp_path / "above", right), (right / "else", right)):
    with pytest.raises(errors.DataError, match=f"the reader '{name}' reads is in {place}; name that folder as the"):
      datasets.load(name, str(root), "val")
  for root in (right, tmp_path):
    with pytest.raises(errors.UserError) as e:
      datasets.load(name, str(root), "val")
    assert "name that folder" not in str(e.value)


def test_segtrack_has_folders_for_several_objects_and_other_endings(tmp_path):
  for i in (1, 2):
    image(tmp_path / f"JPEGImages/frog/{i}.png", 9)
    image(tmp_path / f"JPEGImages/bmx/{i}.png", 9)
    image(tmp_path / f"GroundTruth/frog/{i}.bmp", 200)
    for o in (1, 2):
      image(tmp_path / f"GroundTruth/bmx/{o}/{i}.bmp", 127 if o == 1 else 128)
  bmx, frog = datasets.load("segtrack2", str(tmp_path), "test").records
  assert bmx.extra["objects"] == ("1", "2") and frog.extra["objects"] == ("1",)
  assert not object_tracks.masks(bmx, 0, [0, 1]).any() and object_tracks.masks(bmx, 1, [0, 1]).all()
  assert np.isnan(object_tracks.boxes_of(object_tracks.masks(bmx, 0, [0]))).all()


def test_masks_are_in_the_order_of_frames_whose_numbers_have_no_zeros_in_front(tmp_path):
  for i in range(8, 12):
    image(tmp_path / f"JPEGImages/frog/{i}.png", i)
    image(tmp_path / f"GroundTruth/frog/{i}.bmp", 255 * (np.arange(48).reshape(6, 8) < i))
  frog, = datasets.load("segtrack2", str(tmp_path), "test").records
  assert object_tracks.masks(frog, 0, range(4)).sum((1, 2)).tolist() == [8, 9, 10, 11]
  with decode.open_video(frog.media) as frames:
    assert frames.frames(range(4))[:, 0, 0, 0].tolist() == [8, 9, 10, 11]


def otb(tmp_path, text, name="Deer", frames=3):
  for i in range(frames):
    image(tmp_path / name / f"img/{i + 1:04d}.jpg", 9)
  (tmp_path / name / "groundtruth_rect.txt").write_text(text)


@pytest.mark.parametrize("text", ["1,2,4,3\n2,2,4,3\n3,2,4,3\n", "1\t2\t4\t3\n2 2 4 3\n3, 2, 4, 3"])
def test_otb_counts_from_1(tmp_path, text):
  otb(tmp_path, text)
  (tmp_path / "Deer/attrs.txt").write_text("FM, BC\n")
  record, = datasets.load("otb2013", str(tmp_path), "test").records
  assert record.extra["boxes"][0].tolist() == [[0, 1, 4, 4], [1, 1, 5, 4], [2, 1, 6, 4]]
  assert record.extra["attributes"] == ("FM", "BC")


@pytest.mark.parametrize("text, words", [("1,2,3", "line 1: 3 numbers"), ("1,2,x,4", "'x' is not a number"),
                                         ("1,1,2,2\n" * 4, "frame 4 of a sequence of 3")])
def test_a_bad_line_of_otb_is_named(tmp_path, text, words):
  otb(tmp_path, text)
  with pytest.raises(errors.DataError, match=words):
    datasets.load("otb2013", str(tmp_path), "test")


def test_a_target_that_is_away_is_not_annotated_and_several_targets_are_objects(tmp_path):
  otb(tmp_path, "1,1,0,0\n1,1,2,2\n", "Jogging")
  (tmp_path / "Jogging/groundtruth_rect.2.txt").write_text("NaN,NaN,NaN,NaN\n1,1,2,2\n")
  record, = datasets.load("otb2013", str(tmp_path), "test").records
  assert record.extra["objects"] == ("1", "2")
  for boxes in record.extra["boxes"]:
    assert np.isnan(boxes[[0, 2]]).all() and boxes[1].tolist() == [0, 0, 2, 2]


def test_davis_of_real_sequences(real_data):
  dataset = datasets.load("davis", str(real_data("davis2016_val")), "val")
  assert len(dataset.records) == 12
  for record in dataset.records[:2]:
    assert object_tracks.masks(record, 0, [0, 5]).any((1, 2)).all()
