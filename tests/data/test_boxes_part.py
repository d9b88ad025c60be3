"""Boxes of the moving square of tests/data/tiny.py, through everything that is done to frames."""

import dataclasses

import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import batch, detections, examples, parts, pipeline
from vidx.data.frame_boxes import frame_boxes
from vidx.data.records import Dataset, Media, Record, aligned

KEYS = ("video", "boxes", "box_label", "box_mask", "extent")
FRAMES, SEED = 12, 3


def square(t):
  x = (5 * t + 7 * SEED) % 48
  return [x / 64, 8 / 48, (x + 16) / 64, 24 / 48]


def truth(**fields):
  """The square, and in even frames a second box."""
  rows = [(t, square(t), 1, 7) for t in range(FRAMES)]
  rows += [(t, [0, 0, 0.25, 0.5], 0, 9) for t in range(0, FRAMES, 2)]
  frame, box, label, track = zip(*rows)
  return frame_boxes(**{**dict(box=box, label=label, frame=frame, track=track, source="v"), **fields})


def dataset(tmp_path, boxes=None, **fields):
  video = tiny.write_video(tmp_path / "v.mp4", FRAMES, SEED)
  extra = {} if boxes is False else {"frame_boxes": truth() if boxes is None else boxes}
  return Dataset("tiny", "train", (Record("v", Media(str(video)), extra=extra, **fields),), ("cat", "dog"))


def made(data_set, training=True, wanted=KEYS, crops=1, clips=1, seed=0, boxes=(), **changes):
  data = tiny.data_config(**{"frames": 3, "sampler": "stride", "stride": 2, "short_side": 48, "crop": 32,
                             "crop_mode": "random", "flip": True, **changes})
  data.boxes.update(dict(boxes))
  found = examples.make(data_set, data, training=training, wanted=wanted, clips=clips, crops=crops)
  return found.train(0, np.random.default_rng(seed), 0) if training else found.evaluate(0, 0)


@pytest.mark.parametrize("sampler, clips, views", [("twice", 1, 2), ("non_overlapping", 0, 1)])
def test_an_empty_place_has_as_many_views_as_the_frames_beside_it(tmp_path, sampler, clips, views):
  data = tiny.data_config(frames=3, sampler=sampler)
  with pipeline.eval_batches(dataset(tmp_path), data, batch_size=2, clips=clips, wanted=KEYS) as batches:
    found = next(batches)
  assert found["weight"].tolist() == [1, 0]
  assert {found[key].shape[1] for key in KEYS} == {views if clips else FRAMES // 3}


@pytest.mark.parametrize("seed", range(6))
def test_boxes_lie_on_the_square_after_crop_and_flip(tmp_path, seed):
  example = made(dataset(tmp_path), seed=seed)
  batch.validate(batch.stack([example]))
  assert example["boxes"].shape == (3, 2, 4) and example["extent"].tolist() == [32, 32]
  for frame, (x0, y0, x1, y1), mask in zip(example["video"], example["boxes"][:, 0].round().astype(int),
                                           example["box_mask"][:, 0]):
    grey = frame.mean(-1)
    if mask and min(x1 - x0, y1 - y0) > 4:
      assert grey[y0 + 2:y1 - 2, x0 + 2:x1 - 2].min() > 180
      grey = grey.copy()
      grey[max(0, y0 - 2):y1 + 2, max(0, x0 - 2):x1 + 2] = 0
      assert grey.max() < 180
    assert mask or grey.max() < 180


def test_padding_is_zeros_without_mask_class_and_track(tmp_path):
  example = made(dataset(tmp_path), False, crop_mode="whole", whole=(24, 32), boxes=dict(most=3), frames=4, stride=1)
  assert example["boxes"].shape == (1, 4, 3, 4) and example["box_label"].dtype == np.int32
  second = example["box_mask"][0, :, 1]
  assert sorted(second) == [0, 0, 1, 1] and not example["box_mask"][0, :, 2].any()
  assert not example["boxes"][0][second == 0, 1].any() and (example["box_label"][0][second == 0, 1] == -1).all()
  np.testing.assert_array_equal(example["box_track"][0][second > 0], [[7, 9, -1]] * 2)
  np.testing.assert_allclose(example["boxes"][0][second > 0, 1], [[0, 0, 8, 12]] * 2, atol=1e-5)


def test_every_view_has_boxes_of_its_own(tmp_path):
  example = made(dataset(tmp_path), False, crops=3, clips=2, sampler="uniform_clips")
  assert example["boxes"].shape == (6, 3, 2, 4) and len(example["video"]) == 6
  left, middle = example["boxes"][0, 0, 0], example["boxes"][1, 0, 0]
  assert left[0] >= middle[0]
  batch.validate(batch.stack([example]))


def test_the_key_frame_alone_has_no_axis_of_frames_and_boxes_may_have_several_classes(tmp_path):
  several = dataclasses.replace(dataset(tmp_path, frame_boxes([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]], [[1, 0], [1, 1]])),
                                multilabel=True)
  for training in (True, False):
    example = made(several, training, crop_mode="whole", whole=(24, 32), flip=False, boxes=dict(frames="middle"))
    view = {k: example[k] if training else example[k][0] for k in KEYS}
    np.testing.assert_array_equal(view["box_label"], [[1, 0], [1, 1]])
    np.testing.assert_allclose(view["boxes"], [[3.2, 4.8, 16, 14.4], [0, 0, 32, 24]], atol=1e-5)
    batch.validate(batch.stack([example]))


def test_a_box_that_a_crop_leaves_nothing_of_is_none(tmp_path):
  boxes = frame_boxes([[0, 0, 0.1, 1], [0.4, 0.4, 0.6, 0.6]], [0, 1])
  example = made(dataset(tmp_path, boxes), crop_mode="centre", boxes=dict(frames="middle"))
  assert example["box_mask"].tolist() == [0, 1] and not example["boxes"][0].any()


def test_proposals_are_the_best_of_their_frame_from_records_or_files(tmp_path):
  rng = np.random.default_rng(0)
  corners = np.sort(rng.uniform(0.02, 0.98, (FRAMES, 5, 2, 2)), 2).reshape(FRAMES, 5, 4) + [0, 0, 0.01, 0.01]
  scores = rng.uniform(0.1, 1, (FRAMES, 5))
  detections.write(str(tmp_path / "p.npz"), np.arange(FRAMES) / 25, corners, scores, np.zeros((FRAMES, 5, 0)))
  flat = frame_boxes(corners.reshape(-1, 4), np.full(5 * FRAMES, -1), np.repeat(np.arange(FRAMES), 5),
                     score=scores.reshape(-1))
  of_file = dataset(tmp_path, companions={"proposals": Media(str(tmp_path / "p.npz"), "detections")})
  record = of_file.records[0]
  of_record = dataclasses.replace(of_file, records=(dataclasses.replace(
      record, companions={}, extra={**record.extra, "proposed_boxes": flat}),))
  settings = dict(crop_mode="whole", whole=(48, 64), flip=False, boxes=dict(rois=3, least=0.3), frames=2, stride=3)
  a, b = (made(d, False, (*KEYS, "rois", "roi_mask"), **settings) for d in (of_file, of_record))
  for key in ("rois", "roi_mask"):
    np.testing.assert_allclose(a[key], b[key], atol=1e-4)
  assert a["rois"].shape == (1, 2, 3, 4)
  found = next(t for t in range(FRAMES) if np.allclose(a["rois"][0, 0, 0],
                                                       corners[t, scores[t].argmax()] * ([64, 48] * 2), atol=1e-3))
  order = np.argsort(-scores[found])[:3]
  np.testing.assert_array_equal(a["roi_mask"][0, 0], scores[found, order] >= 0.3)
  batch.validate(batch.stack([a]))


def test_training_may_take_the_truth_for_proposals_row_by_row(tmp_path):
  example = made(dataset(tmp_path), wanted=(*KEYS, "rois", "roi_mask"), boxes=dict(rois=9, train_rois="truth"))
  np.testing.assert_array_equal(example["rois"], example["boxes"])
  np.testing.assert_array_equal(example["roi_mask"], example["box_mask"])


def test_videos_of_which_nothing_is_known_have_an_extent_alone(tmp_path):
  example = made(dataset(tmp_path, False), False)
  assert set(example) == {"video", "extent", "label", "weight", "index", "id"}


def test_an_empty_place_is_shaped_as_an_example(tmp_path):
  for training, rois in ((True, 2), (False, 0)):
    data = tiny.data_config(frames=3, crop=32, short_side=48)
    data.boxes.update(rois=rois, train_rois="truth")
    found = examples.make(dataset(tmp_path), data, training=training, wanted=KEYS)
    own = found.train(0, np.random.default_rng(0), 0) if training else found.evaluate(0, 0)
    batch.validate(batch.stack([own, found.blank(-1, 0)]))


@pytest.mark.parametrize("boxes, words", [
    (dict(most=1), "v: a frame has 2 boxes, more than the 1 of data.boxes.most"),
    (dict(rois=4), "data set 'tiny' has no proposals of 'v'"), (dict(frames="first"), "data.boxes.frames 'first'"),
    (dict(train_rois="none"), "data.boxes.train_rois"), (dict(rois=-1), "write 0 or more")])
def test_what_does_not_fit_is_one_line(tmp_path, boxes, words):
  with pytest.raises(errors.UserError) as e:
    made(dataset(tmp_path), boxes=boxes)
  assert words in str(e.value) and "\n" not in str(e.value)


def test_a_system_that_takes_proposals_says_what_to_set():
  data = tiny.data_config()
  with pytest.raises(errors.ConfigError, match="set data.boxes.rois"):
    parts.shapes(("video", "rois"), data, 2)
  data.boxes.rois = 5
  assert parts.shapes(("video", "rois", "boxes"), data, 2)["rois"][0] == (data.frames * data.consecutive, 5, 4)


@pytest.mark.parametrize("box, words", [([0.5, 0.1, 0.4, 0.9], "swapped corners"), ([0, np.nan, 1, 1], "no numbers")])
def test_corners_that_cannot_be_are_one_line_that_names_the_frame(box, words):
  with pytest.raises(errors.DataError, match=f"v.xml, frame 5: the box .*{words}"):
    frame_boxes([[0, 0, 1, 1], box], [0, 0], [4, 5], source="v.xml")


def test_what_lies_outside_is_cut_and_what_has_no_area_is_left_out_and_counted():
  found = frame_boxes([[-0.5, 0.2, 0.5, 1.5], [1.2, 0.1, 1.3, 0.2], [0.3, 0.3, 0.3, 0.5], [0, 0, 1, 1]], [0, 1, 2, 3],
                      [9, 9, 9, 2])
  assert found.dropped == 2 and found.label.tolist() == [3, 0] and found.frame.tolist() == [2, 9]
  np.testing.assert_allclose(found.box, [[0, 0, 1, 1], [0, 0.2, 0.5, 1]])
  assert found.rows(9).tolist() == [1] and not len(found.rows(5)) and found.most() == 1


def test_boxes_count_in_the_classes_of_a_trained_model_and_in_the_fingerprint(tmp_path):
  own = dataset(tmp_path)
  moved = aligned(own, {"label": ("bird", "dog", "cat")})
  assert sorted(set(moved.records[0].extra["frame_boxes"].label.tolist())) == [1, 2]
  assert own.fingerprint() != dataset(tmp_path, frame_boxes([[0, 0, 1, 1]], [0], [0])).fingerprint()
  several = frame_boxes([[0, 0, 1, 1]], [[True, False]]).moved([2, 1], 3)
  assert several.label.tolist() == [[False, False, True]]
