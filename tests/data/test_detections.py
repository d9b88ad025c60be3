import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import batch, detections, examples, pipeline
from vidx.data.parts.detections import Detections
from vidx.data.records import Dataset, Media, Record

TIMES = np.arange(8) / 2


def arrays(frames=8, count=3, size=4, seed=0):
  rng = np.random.default_rng(seed)
  corners = np.sort(rng.uniform(0.05, 0.95, (frames, count, 2, 2)), 2).reshape(frames, count, 4) + [0, 0, 0.01, 0.01]
  return corners, rng.uniform(0.1, 1, (frames, count)), rng.normal(size=(frames, count, size)).astype(np.float16)


@pytest.fixture
def path(tmp_path):
  detections.write(str(tmp_path / "v.npz"), TIMES, *arrays())
  return str(tmp_path / "v.npz")


def test_what_is_written_is_read_sorted_by_score_and_time(tmp_path):
  boxes, scores, feats = arrays()
  detections.write(str(tmp_path / "v.npz"), TIMES[::-1], boxes[::-1], scores[::-1], feats[::-1])
  store = detections.Store(str(tmp_path / "v.npz"))
  order = np.argsort(-scores, 1)
  np.testing.assert_allclose(store.scores, np.take_along_axis(scores, order, 1), rtol=1e-6)
  np.testing.assert_array_equal(store.feats, np.take_along_axis(feats, order[..., None], 1))
  np.testing.assert_allclose(store.time_s, TIMES)
  assert isinstance(store.feats, np.memmap)


def test_a_compressed_store_is_read_too(tmp_path, path):
  with np.load(path) as f:
    np.savez_compressed(tmp_path / "c.npz", **f)
  np.testing.assert_array_equal(detections.Store(str(tmp_path / "c.npz")).feats, detections.Store(path).feats)


def test_candidates_are_the_best_of_the_frames_around_a_time(path):
  store = detections.Store(path)
  feats, boxes, mask = store.around(1.75, 4, 2.0, 2)
  assert feats.shape == (8, 4) and mask.all()
  np.testing.assert_array_equal(feats, store.feats[2:6, :2].reshape(8, 4).astype("f"))
  np.testing.assert_array_equal(boxes, store.boxes[2:6, :2].reshape(8, 4))


def test_times_outside_the_video_and_frames_with_fewer_detections_have_none(path):
  store = detections.Store(path)
  _, boxes, mask = store.around(0.25, 4, 2.0, 5)
  np.testing.assert_array_equal(mask.reshape(4, 5), [[0] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
  assert not boxes.reshape(4, 5, 4)[0].any()
  assert not store.around(90.0, 4, 2.0, 5)[2].any()


@pytest.mark.parametrize("box, words", [
    ([0.1, 0.1, 1.2, 0.5], ["frame 3 (at", "box 0", "outside the frame"]), ([0.4, 0.1, 0.4, 0.5], ["has no area"]),
    ([0.5, 0.1, 0.4, 0.5], ["has no area"]), ([np.nan, 0.1, 0.4, 0.5], ["outside the frame"])])
def test_a_box_that_cannot_be_is_one_line_that_names_file_and_row(tmp_path, box, words):
  boxes, scores, feats = arrays()
  boxes[3, 0], scores[3, 0] = box, 2
  with pytest.raises(errors.DataError) as e:
    detections.write(str(tmp_path / "v.npz"), TIMES, boxes, scores, feats)
  assert all(w in str(e.value) for w in ["v.npz", *words]) and "\n" not in str(e.value)
  assert not (tmp_path / "v.npz").exists()
  scores[3, 0] = 0  # no detection: nobody looks at its box
  detections.write(str(tmp_path / "v.npz"), TIMES, np.nan_to_num(boxes), scores, feats)


@pytest.mark.parametrize("content", [None, b"no zip", "without"])
def test_a_missing_or_broken_store_is_one_line_that_names_it(tmp_path, content):
  path = tmp_path / "v.npz"
  if content == "without":
    np.savez(path, boxes=np.zeros((1, 1, 4)))
  elif content:
    path.write_bytes(content)
  with pytest.raises(errors.DecodeError, match="v.npz.*detections") as e:
    detections.Store(str(path))
  assert "\n" not in str(e.value)


def test_detections_of_a_video_alone_are_looked_for_near_by(tmp_path):
  video = str(tmp_path / "P01" / "videos" / "v.MP4")
  assert detections.beside(video) == video.replace(".MP4", ".npz")
  (tmp_path / "detections").mkdir()
  (tmp_path / "detections" / "v.npz").write_bytes(b"")
  assert detections.beside(video) == str(tmp_path / "detections" / "v.npz")


def one_record(tmp_path, companions=True):
  video = tiny.write_video(tmp_path / "v.mp4", 24, fps=12)
  found = {"detections": Media(str(tmp_path / "v.npz"), "detections")} if companions else {}
  return Dataset("tiny", "train", (Record("v", Media(str(video)), 0, companions=found),), ("a", "b"))


def made(tmp_path, training, **changes):
  data = tiny.data_config(**{"frames": 4, "sampler": "centre", "short_side": 48, "crop": 32, "crop_mode": "centre",
                             "flip": False, **changes})
  data.detections.update(frames=2, rate=2.0, boxes=2, size=4)
  parts = examples.make(one_record(tmp_path), data, training=training, wanted=("video", *Detections.keys), crops=1)
  return parts.train(0, np.random.default_rng(0), 0) if training else parts.evaluate(0, 0)


def test_boxes_are_in_pixels_of_the_clip_through_resize_crop_and_flip(tmp_path, path):
  example = made(tmp_path, False)
  batch.validate(batch.stack([example]))
  store = detections.Store(path)
  assert example["detections/boxes"].shape == (1, 4, 4) and example["detections/features"].shape == (1, 4, 4)
  whole = store.around(1.0, 2, 2.0, 2)[1] * [64, 48, 64, 48] - [16, 8, 16, 8]
  inside = np.clip(whole, 0, 32)
  live = example["detections/mask"][0] > 0
  np.testing.assert_allclose(example["detections/boxes"][0][live], inside[live], atol=0.1)
  np.testing.assert_array_equal(live, (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1]))


@pytest.mark.parametrize("sampler, clips", [("twice", 1), ("non_overlapping", 0)])
def test_an_empty_place_has_as_many_views_as_the_frames_beside_it(tmp_path, path, sampler, clips):
  data = tiny.data_config(sampler=sampler)
  data.detections.update(frames=2, rate=2.0, boxes=2, size=4)
  wanted = ("video", *Detections.keys)
  with pipeline.eval_batches(one_record(tmp_path), data, batch_size=2, clips=clips, wanted=wanted) as batches:
    found = next(batches)
  assert {found[key].shape[1] for key in wanted} == {2 if clips else 6}


def test_whole_frames_in_training_keep_all_boxes(tmp_path, path):
  example = made(tmp_path, True, crop_mode="whole", whole=(24, 32))
  batch.validate(batch.stack([example]))
  assert example["video"].shape == (4, 24, 32, 3) and example["detections/mask"].all()
  assert (example["detections/boxes"][:, 2] > example["detections/boxes"][:, 0]).all()


def test_a_data_set_without_detections_says_how_to_make_them(tmp_path):
  with pytest.raises(errors.DataError, match="'tiny' has none of 'v'.*vidx data detections"):
    examples.make(one_record(tmp_path, False), tiny.data_config(), training=True, wanted=Detections.keys)


def test_a_video_without_its_file_is_a_failure_that_names_it(tmp_path):
  data = tiny.data_config(frames=4)
  with pytest.raises(errors.DecodeError, match="v.npz: there are no detections"):
    examples.make(one_record(tmp_path), data, training=False, wanted=Detections.keys).evaluate(0, 0)


def test_features_of_another_size_are_one_clear_line(tmp_path, path):
  data = tiny.data_config(frames=4)
  with pytest.raises(errors.DecodeError, match="4 features per object, not 2048 as data.detections.size"):
    examples.make(one_record(tmp_path), data, training=False, wanted=Detections.keys).evaluate(0, 0)
