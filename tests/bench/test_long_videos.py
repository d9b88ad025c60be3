"""Claims about long videos: the videos are what they are said to be, and systems are trained and scored on them."""

from flax import linen as nn
import jax
import numpy as np
import optax
import pytest

from vidx import errors
from vidx.data.toybox import kitchen
from vidx.bench import claims, long_videos
from vidx.metrics import segments

WORLD = long_videos.World(frames=48, size=12, noise=0.5, drift=0.2, period=16)


class Frames(nn.Module):
  """A linear classifier of frames that learns from their labels where it may."""

  inputs = ("features", "frame_label", "full")

  @nn.compact
  def __call__(self, features, frame_label=None, full=None, train=False):
    logits = nn.Dense(len(kitchen.CLASSES))(features)
    out = {} if train else {"predictions": {"y": logits.argmax(-1)}}
    if frame_label is not None:
      each = optax.softmax_cross_entropy_with_integer_labels(logits, frame_label).mean(1)
      out["losses"] = {"frames": full * each}
    return out


@pytest.mark.parametrize("split, count", [("train", long_videos.TRAIN), ("test", long_videos.TEST)])
def test_videos_are_of_equal_length_and_their_labels_belong_together(split, count):
  v = long_videos.videos(WORLD, split)
  assert v["features"].shape == (count, 48, 12) and v["features"].dtype == np.float32
  for labels, transcript, of_set in zip(v["frame_label"], v["transcript"], v["label"]):
    order = transcript[transcript >= 0]
    assert segments.segments(labels).classes.tolist() == order.tolist()
    assert (transcript[len(order):] == -1).all() and set(np.flatnonzero(of_set)) == set(order)


def test_videos_for_test_are_others_than_those_of_training():
  train, test = (long_videos.videos(WORLD, s)["features"] for s in ("train", "test"))
  assert not (train[:, None, 0] == test[None, :, 0]).all(-1).any()


def test_batches_are_drawn_from_the_videos_and_the_share_is_the_same_at_every_step():
  draw = jax.jit(long_videos.batches(WORLD, 0.1))
  all_videos = long_videos.videos(WORLD, "train")["features"]
  by_video = {}
  for i in range(12):
    x, _ = draw(jax.random.PRNGKey(i))
    for features, full in zip(x["features"], x["full"]):
      [video] = np.flatnonzero((all_videos == np.asarray(features)).all((1, 2)))
      assert by_video.setdefault(int(video), float(full)) == float(full) == float(video < 20)
  assert len(by_video) > 40


def test_a_system_is_trained_and_scored_on_videos_it_has_not_seen():
  taught = long_videos.measure(Frames(), WORLD, 60, 0, rate=0.1, share=1.0)["y"]
  untaught = long_videos.measure(Frames(), WORLD, 60, 0, rate=0.1, share=0.0)["y"]
  assert taught["mof"] > 90 > 50 > untaught["mof"] and taught["edit"] > untaught["edit"]


def test_the_most_frequent_action_of_training_is_counted_in_the_test():
  train, test = (long_videos.videos(WORLD, s)["frame_label"] for s in ("train", "test"))
  counts = [(train == c).sum() for c in range(len(kitchen.CLASSES))]
  assert long_videos.most_frequent(WORLD) == pytest.approx(100 * (test == int(np.argmax(counts))).mean())


def test_labels_of_real_videos_keep_their_order_and_shares_and_the_last_fifth_is_for_test(tmp_path):
  lines = ["wash:30 cut:60 wash:6", "cut:10", "peel:1 cut:1", "cut:5 peel:5 peel:2", "peel:7 stir:7"]
  (tmp_path / "runs.txt").write_text("".join(f"video{i} {line}\n" for i, line in enumerate(lines)))
  world = long_videos.World(frames=32, size=6, runs=str(tmp_path / "runs.txt"))
  train, test = (long_videos.videos(world, s) for s in ("train", "test"))
  cut, peel, stir, wash = range(long_videos.classes(world))
  assert train["frame_label"][0].tolist() == [wash] * 10 + [cut] * 20 + [wash] * 2
  assert train["frame_label"][1].tolist() == [cut] * 32
  assert train["transcript"].tolist() == [[wash, cut, wash], [cut, -1, -1], [peel, cut, -1], [cut, peel, -1]]
  assert train["label"].tolist() == [[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
  assert test["frame_label"].tolist() == [[peel] * 16 + [stir] * 16] and test["features"].shape == (1, 32, 6)
  x, _ = long_videos.batches(world, 0.5)(jax.random.PRNGKey(0))
  assert x["features"].shape == (long_videos.BATCH, 32, 6)
  (tmp_path / "runs.txt").write_text("cut:10\n" * 4)
  with pytest.raises(errors.DataError, match="4 videos"):
    long_videos.stretched(str(tmp_path / "runs.txt"), 33)


@pytest.mark.parametrize("optimiser", [dict(rate=0.1), dict(rate=3.0, momentum=0.0)])
def test_networks_are_trained_by_adamw_or_sgd(optimiser):
  found = long_videos.measure(Frames(), WORLD, 60, 0, share=1.0, **optimiser)
  assert found["y"]["mof"] > 90


@pytest.mark.parametrize("name", ["sct", "mucon", "breakfast"])
def test_the_claims_of_systems_of_long_videos_have_names_and_margins(name):
  found = claims.load(name)
  assert len({c.name for c in found}) == len(found) and all(c.margin >= 0 for c in found)


def test_claims_of_real_labels_say_what_they_lack(monkeypatch, tmp_path):
  monkeypatch.setenv("VIDX_REAL_DATA", str(tmp_path))
  with pytest.raises(errors.DataError, match="set VIDX_REAL_DATA"):
    claims.module("breakfast").world()
