import os
import pathlib
import pickle
import shutil

import cv2
import numpy as np
import pytest

from tests.data import videos
from vidx import errors
from vidx.data import check, clips, datasets, pipeline
from vidx.data.records import aligned
from vidx.train import config

ACTIONS = "".join(f'item {{\n  name: "{name}"\n  id: {i}\n}}\n' for i, name in (
    (1, "stand"), (3, "talk to"), (4, "eat")))
TRAIN = """m1,0902,0.1,0.2,0.5,0.9,1,0
m1,0902,0.1,0.2,0.5,0.9,3,0
m1,0902,0.6,0.2,0.9,0.8,4,1
m1,0903,0.1,0.2,0.5,0.9,1,0
m2,0903
"""
PEOPLE = """m1,0903,0.1,0.2,0.5,0.9,1,0.95
m1,0903,0.1,0.2,0.5,0.9,4,0.97
m1,0903,0.5,0.2,0.7,0.9,,0.99
m1,0903,0.0,0.0,0.1,0.1,,0.79
m1,0904,0.0,0.0,1.0,1.0,,0.8
"""


def movies(root, train=TRAIN, people=PEOPLE, frames=60, folder="videos_15min"):
  at = root / "annotations"
  at.mkdir()
  (at / "ava_action_list_v2.2.pbtxt").write_text(ACTIONS)
  (at / "ava_action_list_v2.2_for_activitynet_2019.pbtxt").write_text(ACTIONS[ACTIONS.index("item", 5):])
  (at / "ava_train_v2.2.csv").write_text(train)
  (at / "ava_val_v2.2.csv").write_text(TRAIN)
  (at / "ava_val_excluded_timestamps_v2.2.csv").write_text("m1,0902\n")
  if people:
    (at / "ava_val_predicted_boxes.csv").write_text(people)
  (root / folder).mkdir()
  videos.write(root / folder / "m1.mp4", videos.pictures(frames, 32, 24), rate=12)
  return str(root)


def read(root, split="train", **options):
  return datasets.load("ava", root, split, max_missing=0.5, **options)


def test_a_record_is_a_key_frame_with_all_people_and_what_each_does(tmp_path):
  d = read(movies(tmp_path))
  assert [r.id for r in d.records] == ["m1,0902", "m1,0903"] and d.missing == ()
  assert d.classes == ("stand", "talk to", "eat") and d.multilabel
  assert d.facts == {"action_ids": (1, 3, 4), "evaluated": (1, 2)}
  first = d.records[0]
  assert first.label == (0, 1, 2) and first.span == (2, 2) and first.extra["second"] == 902
  boxes = first.extra["frame_boxes"]
  np.testing.assert_allclose(boxes.box, [[0.1, 0.2, 0.5, 0.9], [0.6, 0.2, 0.9, 0.8]])
  np.testing.assert_array_equal(boxes.label, [[1, 1, 0], [0, 0, 1]])
  assert first.extra["proposed_boxes"] is boxes


def test_validation_scores_who_a_detector_found_without_excluded_seconds(tmp_path):
  d = read(movies(tmp_path), "val")
  assert [r.id for r in d.records] == ["m1,0903", "m1,0904"] and d.missing == ("m2.mp4 at 903 s",)
  found = d.records[0].extra["proposed_boxes"]
  np.testing.assert_allclose(found.score, [0.99, 0.97], rtol=1e-6)  # a box that stands twice counts once
  assert len(d.records[1].extra["frame_boxes"]) == 0 and d.records[1].label == ()
  assert len(read(str(tmp_path), "val", score=0.5).records[0].extra["proposed_boxes"]) == 3
  moved = aligned(d, {"label": ("eat", "stand", "talk to")})
  np.testing.assert_array_equal(moved.records[0].extra["frame_boxes"].label, [[0, 1, 0]])
  more = aligned(d, {"label": ("eat", "stand", "talk to", "walk")})  # classes that no box here is of, too
  np.testing.assert_array_equal(more.records[0].extra["frame_boxes"].label, [[0, 1, 0, 0]])


def test_boxes_come_from_a_pickle_too_and_the_true_ones_stand_where_there_are_none(tmp_path):
  root = movies(tmp_path, people="")
  with open(tmp_path / "people.pkl", "wb") as f:
    pickle.dump({"m1,0903": np.array([[0.1, 0.2, 0.5, 0.9, 0.9]])}, f)
  d = read(root, "val", boxes="people.pkl")
  assert len(d.records[0].extra["proposed_boxes"]) == 1 and d.notes == ()
  with pytest.raises(errors.AbsentError):
    read(root, "test")
  d = read(root, "val")
  assert d.records[0].extra["proposed_boxes"] is d.records[0].extra["frame_boxes"]
  assert "promise too much" in d.notes[0]


def test_of_the_test_split_only_people_are_known(tmp_path):
  d = read(movies(tmp_path), "test", boxes="annotations/ava_val_predicted_boxes.csv")
  assert [(r.id, r.label) for r in d.records] == [("m1,0903", -1), ("m1,0904", -1)]
  assert "frame_boxes" not in d.records[0].extra


def test_a_clip_is_centred_on_its_second_and_boxes_are_in_its_pixels(tmp_path):
  d = read(movies(tmp_path))
  c = config.base()
  c.data.update(frames=4, sampler="centre", stride=2, short_side=24, crop=24, crop_mode="random", workers=0)
  c.data.boxes.update(frames="middle", rois=3, train_rois="truth")
  assert clips.Clips(c.data).cut(d.records[0]).indices.tolist() == [[21, 23, 25, 27]]  # around frame 24, at 2 s
  assert clips.Clips(c.data).cut(d.records[0], np.random.default_rng(0)).indices.tolist() == [[21, 23, 25, 27]]
  c.data.update(whole=(24, 32), rate=24.0)
  assert set(clips.Clips(c.data).cut(d.records[0]).indices.ravel().tolist()) <= {22, 23, 24, 25, 26}
  wanted = ("video", "rois", "roi_mask", "box_label", "boxes", "box_mask")
  with pipeline.eval_batches(d, c.data, batch_size=2, wanted=wanted) as batches:
    batch, = batches
  np.testing.assert_allclose(batch["boxes"][0, 0, 0], [3.2, 4.8, 16, 21.6], rtol=1e-5)


def test_folders_of_frames_have_a_rate_and_sound_beside_them(tmp_path):
  root = movies(tmp_path, folder="elsewhere")
  (tmp_path / "frames/m1").mkdir(parents=True)
  for i in range(1, 121):
    cv2.imwrite(str(tmp_path / f"frames/m1/m1_{i:06d}.jpg"), np.full((24, 32, 3), i, np.uint8))
  (tmp_path / "audio").mkdir()
  (tmp_path / "audio/m1.wav").write_bytes(b"0")
  record = read(root).records[0]
  assert record.media.kind == "frames" and record.media.fps == 30 and record.span == (2, 2)
  assert record.companions["audio"].path.endswith("audio/m1.wav")
  c = config.base()
  c.data.update(frames=2, sampler="centre", short_side=24, crop=24)
  assert clips.Clips(c.data).cut(record).indices.tolist() == [[59, 60]]


@pytest.mark.parametrize("row, words", [
    ("m1,0902,0.1,0.2,0.5,1.9,1,0", r"line 1: the box .* leaves the frame"),
    ("m1,0902,0.5,0.2,0.1,0.9,1,0", "line 1: the corners of the box are swapped"),
    ("m1,0902,0.1,0.2,0.5,0.9,2,0", r"line 1: action '2' is not one of the 3 of .*ava_action_list_v2.2.pbtxt; name"),
    ("m1,0902,0.1,0.2,0.5,0.9,x,0", "line 1: a value is not a number"),
    ("m1,0899,0.1,0.2,0.5,0.9,1,0", "at 899 s lies before its file begins, at 900 s"),
    ("m1,0902,0.1,0.2", "line 1: 4 values"),
])
def test_a_broken_line_is_named(tmp_path, row, words):
  with pytest.raises(errors.DataError, match=words):
    read(movies(tmp_path, train=row + "\n"))


@pytest.mark.parametrize("row, words", [
    ("m1,0903,0.1,0.2,0.5,0.9,,1.2", "score 1.2 of a person"), ("m1,0903,0.9,0.2,0.5,0.9,,0.9", "swapped"),
    ("m1,0903,0.1,0.2,0.5,0.9", "6 values; a row is video, second, x0, y0, x1, y1, .action,. score"),
])
def test_a_broken_box_of_a_person_is_named(tmp_path, row, words):
  with pytest.raises(errors.DataError, match=words):
    read(movies(tmp_path, people=row + "\n"), "val")


def test_files_that_are_asked_for_must_be_there(tmp_path):
  root = movies(tmp_path)
  for option in ("file", "actions", "evaluated", "excluded", "boxes"):
    with pytest.raises(errors.AbsentError, match="none.csv does not exist"):
      read(root, **{option: "none.csv"})


def test_the_check_counts_actions_and_names_key_frames_behind_the_end(tmp_path, capsys):
  root = movies(tmp_path, frames=30)
  assert check.main("ava", root, "train") == 1
  said = capsys.readouterr().out
  assert "the point of time 3 s lies after the end (2.50 s)" in said and "eat" in said
  with pytest.raises(errors.DecodeError, match="the point of time 3 s lies after the video's end"):
    clips.frame_range(np.arange(30) / 12, (3.0, 3.0))


def test_the_public_sample_goes_through_reader_and_check(tmp_path, real_data, capsys):
  folder = real_data("ava_sample")
  for name in os.listdir(folder):
    shutil.copy(pathlib.Path(folder) / name, tmp_path)
  (tmp_path / "videos").mkdir()
  videos.write(tmp_path / "videos/0f39OWEqJ24.mp4", videos.pictures(36, 32, 24), rate=12)
  options = dict(file="ava_sample.csv", actions="action_list.txt", excluded="ava_excluded_timestamps_sample.csv",
                 begins=901.0)
  d = datasets.load("ava", str(tmp_path), "train", **options)
  assert [r.id for r in d.records] == ["0f39OWEqJ24,0902"] and d.records[0].label == (0, 1, 2)
  np.testing.assert_allclose(d.records[0].extra["frame_boxes"].box, [[0.031, 0.162, 0.670, 0.995]])
  assert check.main("ava", str(tmp_path), "train", **options) == 0
  assert "no bad files" in capsys.readouterr().out
  with pytest.raises(errors.DataError, match="action '74' is not one of the 4"):
    datasets.load("ava", str(tmp_path), "train", **{**options, "excluded": ""})
