import csv
import types

import cv2
import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, examples, pipeline, triplets
from vidx.data.parts.triplets import changed, image, moved
from vidx.data.records import Media
from vidx.train import config


def write_clips(root, split="train", clips=3, frames=4, side=20):
  """Crops of one colour per clip, brighter from frame to frame."""
  for c in range(clips):
    folder = root / "clips" / split / f"video{c}__0"
    folder.mkdir(parents=True)
    for f in range(frames):
      picture = np.full((side, side + 4, 3), 30 * f, np.uint8)
      picture[..., c % 3] = 200
      assert cv2.imwrite(str(folder / f"{f:03d}.png"), picture[..., ::-1])
  return root


def section(root, **more):
  data = config.base().data
  data.update(root=str(root), dataset=dict(name="triplets"), frames=3, crop=16, scales=(0.9, 1.1), colour_jitter=0.2,
              flip=False, workers=0)
  data.update(**more)
  return data


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = write_clips(tmp_path_factory.mktemp("crops"))
  crops = triplets.read_crops(str(root), "train")
  assert len(crops.paths) == 12 and crops.clips[0] == "video0__0" and len(set(crops.video)) == 3
  neighbour = triplets.nearest(np.eye(4)[np.arange(12) % 4], crops.video)
  triplets.write(str(root), "train", crops, triplets.plan(np.arange(12) % 4, crops.clip, neighbour, 40).draw(0, 0))
  triplets.write_crops(str(root), "train", crops, np.arange(12) % 4, neighbour)
  return root


def test_the_nearest_of_another_group_is_that_of_the_loop():
  rng = np.random.default_rng(0)
  x, group = rng.normal(size=(50, 5)), rng.integers(0, 4, 50)
  found = triplets.nearest(x, group, block=7)
  for i in range(50):
    assert found[i] == max((j for j in range(50) if group[j] != group[i]), key=lambda j: x[i] @ x[j])
  assert (triplets.nearest(x, np.zeros(50)) == -1).all()


def test_draws_are_balanced_over_the_pairs_of_clusters_that_exist():
  rng = np.random.default_rng(1)
  clip, cluster = np.repeat(np.arange(10), 6), rng.integers(0, 4, 60)
  neighbour = (np.arange(60) + 6) % 60
  _, feasible = np.unique([(cluster[i], cluster[neighbour[j]]) for i in range(60) for j in range(60)
                           if clip[i] == clip[j] and i != j], axis=0, return_counts=True)
  for count in (3 * len(feasible), 3 * len(feasible) + 2):
    drawn = triplets.plan(cluster, clip, neighbour, count).draw(3, 0)
    identity, pose, target = drawn.T
    assert (clip[identity] == clip[target]).all() and (identity != target).all() and (pose == neighbour[target]).all()
    _, times = np.unique(np.stack([cluster[identity], cluster[pose]]), axis=1, return_counts=True)
    assert len(times) == len(feasible) and times.max() - times.min() <= 1
  np.testing.assert_array_equal(drawn, triplets.plan(cluster, clip, neighbour, count).draw(3, 0))
  assert (drawn != triplets.plan(cluster, clip, neighbour, count).draw(4, 0)).any()


def drawn(root, **more):
  found = datasets.load("triplets", str(root), "train", draws=24, **more)
  return found, pipeline.train_batches(found, section(root), batch_size=6, seed=1, wanted=("video", "instances"))


def test_training_draws_its_triplets_anew_in_each_epoch_and_goes_on_exactly(root):
  found, batches = drawn(root)
  assert len(found) == 12 and found.epoch == 24
  with batches:
    seen = [next(batches) for _ in range(8)]
    state = batches.get_state()
    after = next(batches)
  first, second = (found.plan.draw(1, epoch) for epoch in (0, 1))
  np.testing.assert_array_equal(np.concatenate([b["index"] for b in seen]), [*first[:, 0], *second[:, 0]])
  assert (first != second).any()
  clip = np.repeat(np.arange(3), 4)
  for rows in (first, second):
    identity, pose, target = rows.T
    assert (clip[identity] == clip[target]).all() and (identity != target).all() and (clip[pose] != clip[target]).all()
    _, times = np.unique(np.stack([identity, pose]) % 4, axis=1, return_counts=True)
    assert times.max() - times.min() <= 1
  np.testing.assert_array_equal(np.concatenate([b["instances"] for b in seen[:4]]), clip[first[:, :2]])
  plain = examples.make(found, section(root, scales=(1.0, 1.0), colour_jitter=0.0), training=True)
  made = plain.train(0, np.random.default_rng(0), 0, (6, 3))["video"]
  np.testing.assert_array_equal(made, [image(found.records[i].media, 16) for i in (0, 6, 3)])
  _, again = drawn(root)
  with again:
    again.set_state(state)
    np.testing.assert_array_equal(next(again)["video"], after["video"])
  seen = examples.make(found, section(root), training=False, wanted=("video",)).evaluate(5, 0)
  np.testing.assert_array_equal(seen["video"][0, 2], image(found.records[6].media, 16))


def test_tables_of_which_nothing_can_be_drawn_are_refused(tmp_path):
  write_clips(tmp_path, clips=3, frames=1)
  crops = triplets.read_crops(str(tmp_path), "train")
  with pytest.raises(errors.DataError, match="train_crops.csv does not exist: make it by vidx data triplets --root="):
    drawn(tmp_path)
  with pytest.raises(errors.DataError, match="val.csv does not exist: make it by vidx data triplets .* --split=val"):
    datasets.load("triplets", str(tmp_path), "val")
  triplets.write_crops(str(tmp_path), "train", crops, np.zeros(3, int), np.asarray([1, 2, 0]))
  with pytest.raises(errors.DataError, match="two images at least"):
    drawn(tmp_path)
  (tmp_path / crops.paths[0]).unlink()
  with pytest.raises(errors.DataError, match="two images at least"):
    drawn(tmp_path, max_missing=0.5)
  with pytest.raises(errors.ConfigError, match="draws=-1"):
    datasets.load("triplets", str(tmp_path), "train", draws=-1)


def test_a_clip_of_one_image_makes_no_triplet_but_may_lend_its_pose():
  clip = np.asarray([0, 0, 1, 2, 2])
  rows = triplets.plan(np.zeros(5, int), clip, np.asarray([2, 2, 0, 2, 2]), 40).draw(0, 0)
  assert set(rows[:, 0]) == {0, 1, 3, 4} and set(rows[:, 1]) == {2}


def test_clusters_are_found_again_by_their_centres(tmp_path):
  assert triplets.read_clusters(str(tmp_path)) is None
  rng = np.random.default_rng(0)
  made = triplets.Clusters(*(rng.normal(size=s).astype("f") for s in ((4, 3), (7,), (7, 3))), "runs/vgg16", "conv4.2")
  triplets.write_clusters(str(tmp_path), made)
  known = triplets.read_clusters(str(tmp_path))
  for name in ("centres", "mean", "axes", "workdir", "site"):
    np.testing.assert_array_equal(getattr(known, name), getattr(made, name))
  x = rng.normal(size=(20, 3))
  found = known.of(x)
  assert found.dtype == np.int32 and found.tolist() == [
      min(range(4), key=lambda c: np.linalg.norm(row - made.centres[c])) for row in x]
  (tmp_path / "triplets/clusters.npz").write_bytes(b"nothing")
  with pytest.raises(errors.DataError, match="clusters.npz is damaged"):
    triplets.read_clusters(str(tmp_path))


def test_clusters_of_poses_come_with_their_images(root, tmp_path):
  drawn = datasets.load("triplets", str(root), "train", draws=24)
  train = examples.make(drawn, section(root), training=True, wanted=("video", "pose_cluster"))
  assert train.train(0, np.random.default_rng(0), 0, (6, 3))["pose_cluster"] == 6 % 4
  listed = datasets.load("triplets", str(root), "train")
  assert listed.records[0].extra["clusters"] == (-1, -1)  # the list does not tell
  write_clips(tmp_path, "val")
  crops = triplets.read_crops(str(tmp_path), "val")
  triplets.write(str(tmp_path), "val", crops, np.asarray([[0, 5, 1]]), np.arange(12) % 4)
  seen = examples.make(datasets.load("triplets", str(tmp_path), "val"), section(tmp_path), training=False,
                       wanted=("video", "pose_cluster"))
  assert seen.evaluate(0, 0)["pose_cluster"] == 5 % 4 and seen.blank(-1, 0)["pose_cluster"] == -1


def test_systems_without_room_for_all_clips_and_clusters_are_refused_in_one_line(root, tmp_path):
  write_clips(tmp_path, "val")
  crops = triplets.read_crops(str(tmp_path), "val")
  triplets.write(str(tmp_path), "val", crops, np.asarray([[0, 5, 1]]), np.arange(12) % 4)
  val = datasets.load("triplets", str(tmp_path), "val")
  sets = {draws: datasets.load("triplets", str(root), "train", draws=draws) for draws in (0, 24)}
  system = lambda **fields: types.SimpleNamespace(**fields)
  for dataset, fields, training, words in (
      (sets[24], dict(clips=2), True, "system.clips is 2, but split 'train' has 3 clips: set system.clips=3"),
      (sets[0], dict(clips=2), True, "has 3 clips"), (val, dict(poses=1), False, "split 'val' has 2 clusters"),
      (sets[24], dict(poses=3), True, "system.poses is 3, but split 'train' has 4 clusters of poses"),
      (sets[0], dict(poses=4), True, "'train' tells no clusters of poses: .*balance=True")):
    with pytest.raises(errors.ConfigError, match=words) as e:
      triplets.check_room(system(**fields), dataset, training)
    assert "\n" not in str(e.value)
  for fields in (dict(clips=3, poses=4), dict(clips=9, poses=9), dict(clips=0, poses=0), {}):
    triplets.check_room(system(**fields), sets[24], True)
  triplets.check_room(system(clips=1, poses=0), val, False)  # what was learned from were other clips


def test_without_pairs_there_are_no_triplets():
  with pytest.raises(errors.DataError, match="two images at least"):
    triplets.plan(np.zeros(3, int), np.arange(3), np.asarray([1, 2, 0]), 5)
  with pytest.raises(errors.DataError, match="two videos"):
    triplets.plan(np.zeros(3, int), np.zeros(3, int), np.full(3, -1), 5)


def test_the_reader_gives_images_with_their_clips(root):
  found = datasets.load("triplets", str(root), "train")
  assert len(found) == 40 and not found.missing
  with open(root / "triplets/train.csv", encoding="utf-8") as f:
    row = list(csv.DictReader(f))[7]
  record = found.records[7]
  assert record.media.path.endswith(row["identity"]) and record.companions["target"].path.endswith(row["target"])
  assert record.extra["clips"] == (int(row["clip"]), int(row["pose_clip"]))
  with pytest.raises(errors.DataError, match="val.csv does not exist"):
    datasets.load("triplets", str(root), "val")


def test_examples_are_three_images_and_drawn_again_the_same(root):
  found = datasets.load("triplets", str(root), "train")
  train = examples.make(found, section(root), training=True, wanted=("video", "instances"))
  one, again, other = (train.train(3, np.random.default_rng(s), 0) for s in (0, 0, 1))
  assert one["video"].shape == (3, 16, 16, 3) and one["video"].dtype == np.uint8
  np.testing.assert_array_equal(one["video"], again["video"])
  assert (one["video"] != other["video"]).any()
  assert tuple(one["instances"]) == found.records[3].extra["clips"]
  seen = examples.make(found, section(root), training=False, wanted=("video", "instances"))
  example = seen.evaluate(3, 0)
  assert example["video"].shape == (1, 3, 16, 16, 3)
  np.testing.assert_array_equal(example["video"][0, 0], image(found.records[3].media, 16))
  assert tuple(seen.blank(-1, 0)["instances"]) == (-1, -1)


def test_colours_change_with_the_identity_and_boxes_with_the_pose(root):
  rng = np.random.default_rng(0)
  picture = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
  identity, pose, target = changed([picture] * 3, section(root, scales=(1.0, 1.0)), np.random.default_rng(2))
  np.testing.assert_array_equal(identity, target)
  assert (pose != target).any()
  identity, pose, target = changed([picture] * 3, section(root, colour_jitter=0.0), np.random.default_rng(2))
  np.testing.assert_array_equal(pose, target)
  assert (identity != target).any()
  flipped = [changed([picture] * 3, section(root, colour_jitter=0.0, scales=(1.0, 1.0), flip=True),
                     np.random.default_rng(s)) for s in range(8)]
  assert {tuple((x == picture).all() for x in three) for three in flipped} == {(True,) * 3, (False,) * 3}


def test_boxes_are_moved_and_scaled_about_their_middle():
  ramp = np.repeat(np.arange(16, dtype=np.uint8)[None, :, None] * 10, 16, 0).repeat(3, 2)
  np.testing.assert_array_equal(moved(ramp, (1.0, 0.0, 0.0)), ramp)
  np.testing.assert_array_equal(moved(ramp, (1.0, 0.125, 0.0))[:, :14], ramp[:, 2:])
  assert moved(ramp, (0.5, 0.0, 0.0))[0, 0, 0] == pytest.approx(37.5, abs=1.5)


def test_gradients_tell_the_pose_of_an_edge_whatever_its_colour():
  def bar(angle, colour):
    picture = np.zeros((64, 64, 3), np.uint8)
    c, s = np.cos(angle), np.sin(angle)
    cv2.line(picture, (int(32 - 24 * c), int(32 - 24 * s)), (int(32 + 24 * c), int(32 + 24 * s)), colour, 7)
    return picture

  angles = np.arange(6) * np.pi / 6
  features = triplets.gradients([bar(a, c) for c in ((255, 60, 60), (90, 200, 255)) for a in angles])
  assert features.shape == (12, 1764)
  np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
  np.testing.assert_array_equal(triplets.nearest(features, np.repeat([0, 1], 6)) % 6, np.tile(np.arange(6), 2))


def test_a_wrong_number_of_frames_or_views_and_broken_images_are_named(root, tmp_path):
  found = datasets.load("triplets", str(root), "train")
  with pytest.raises(errors.ConfigError, match="data.frames=8"):
    examples.make(found, section(root, frames=8), training=True, wanted=("video", "instances"))
  with pytest.raises(errors.ConfigError, match="one view"):
    examples.make(found, section(root), training=False, wanted=("video", "instances"), clips=3)
  (tmp_path / "a.png").write_bytes(b"no image")
  with pytest.raises(errors.DecodeError, match="a.png"):
    image(Media(str(tmp_path / "a.png"), "image"), 8)
  with pytest.raises(errors.DataError, match="folders of images"):
    triplets.read_crops(str(tmp_path), "train")
