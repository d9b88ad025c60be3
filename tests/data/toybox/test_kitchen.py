"""Toybox `kitchen`: videos follow the grammar, files say what is rendered, and frames tell the actions."""

import os

import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, feature_files, toybox
from vidx.data.decode import open_video
from vidx.data.toybox import kitchen
from vidx.metrics import segments

SMALL = dict(labels="kitchen", split=(3, 1, 1), size=(24, 24), frames=40, fps=12.0, workers=1)


def rng(seed):
  return np.random.default_rng(seed)


def is_of(activity, transcript):
  """Whether the steps of an activity, some left out, give the transcript: by all subsets."""
  steps = [kitchen.CLASSES.index(name) for name, _ in kitchen.ACTIVITIES[activity]]
  reached = {((), None)}
  for step in steps:
    reached |= {(done if last == step else done + (step,), step) for done, last in reached}
  return transcript in {done for done, _ in reached}


def test_transcripts_are_what_the_grammar_allows():
  seen = set()
  for i in range(120):
    found = kitchen.runs(i, 240, rng(i))
    order = tuple(c for c, _ in found)
    assert kitchen.SHORTEST <= len(order) <= kitchen.LONGEST and all(a != b for a, b in zip(order, order[1:]))
    assert is_of(tuple(kitchen.ACTIVITIES)[i % len(kitchen.ACTIVITIES)], order)
    assert all(n > 0 for _, n in found)
    seen |= set(order)
  assert seen == set(range(len(kitchen.CLASSES)))


def test_lengths_are_log_normal_and_videos_as_long_as_asked_on_average():
  videos = [kitchen.runs(i, 6000, rng(i)) for i in range(800)]
  cut = kitchen.CLASSES.index("cut")
  logs = np.log([n for v in videos for c, n in v if c == cut])
  assert abs(logs.mean() - np.log(1000 * 1.2)) < 0.05 and abs(logs.std() - 0.45) < 0.03
  centred = (logs - logs.mean()) / logs.std()
  assert abs((centred ** 3).mean()) < 0.3 and abs((centred ** 4).mean() - 3) < 0.6
  per_action = np.mean([sum(n for _, n in v) / len(v) for v in videos])
  assert 900 < per_action < 1200


@pytest.mark.parametrize("frames", [8, 37, 256])
def test_exact_videos_have_the_asked_frames(frames):
  for i in range(20):
    assert sum(n for _, n in kitchen.runs(i, frames, rng(i), exact=True)) == frames


def test_every_set_of_actions_is_not_that_of_an_activity():
  """Learning from sets needs actions that come without each other."""
  sets = [{c for c, _ in kitchen.runs(i, 240, rng(i))} for i in range(200)]
  for a in range(len(kitchen.CLASSES)):
    for b in range(len(kitchen.CLASSES)):
      assert a == b or any(a in s and b not in s for s in sets)


def test_the_hand_holds_the_tool_of_the_action():
  scene, runs = kitchen.scene(1, "train", 240, rng(1))
  labels = kitchen.frame_labels(runs)
  assert scene.frames == len(labels) and len(scene.objects[0].x) == len(labels)
  *tools, hand = scene.objects[2:]
  np.testing.assert_array_equal(hand.size > 0, labels != kitchen.CLASSES.index("idle"))
  for (name, (shape, _)), tool in zip(kitchen.TOOLS.items(), tools):
    wanted = [kitchen.CLASSES.index(n) for n, act in kitchen.ACTS.items() if act.tool == name]
    assert tool.shape == shape
    np.testing.assert_array_equal(tool.size > 0, np.isin(labels, wanted))


def test_descriptors_equal_loops():
  frames = rng(0).integers(0, 256, (12, 10, 14, 3), dtype=np.uint8)
  x = frames.astype(float)
  rows, columns = ([i * n // 4 for i in range(5)] for n in (10, 14))
  grids = [np.array([[v[:, rows[i]:rows[i + 1], columns[j]:columns[j + 1]].sum((1, 2)) * 16 / 140 for j in range(4)]
                     for i in range(4)]) for v in (x, np.abs(np.diff(x, axis=0, prepend=x[:1])).mean(-1))]
  colours = np.moveaxis(grids[0], 2, 0).reshape(12, -1)
  each = np.concatenate([(colours - np.median(colours, 0)) / 16, np.moveaxis(grids[1], 2, 0).reshape(12, -1) / 8], 1)
  wanted = [each[max(0, t - 4):t + 5].mean(0) for t in range(12)]
  found = kitchen.describe(frames)
  assert found.shape == (12, kitchen.SIZE) and found.dtype == np.float32
  np.testing.assert_allclose(found, wanted, atol=1e-4)


def accuracy(train, test):
  """Percent of frames that a linear classifier, fitted by least squares, labels rightly."""
  (x, y), (z, w) = ((np.concatenate([f for f, _ in part]), np.concatenate([l for _, l in part]))
                    for part in (train, test))
  fit = np.linalg.lstsq(np.c_[x, np.ones(len(x))], np.eye(len(kitchen.CLASSES))[y], rcond=None)[0]
  return 100 * np.mean((np.c_[z, np.ones(len(z))] @ fit).argmax(1) == w)


def test_descriptors_tell_the_actions():
  videos = []
  for i in range(24):
    scene, runs = kitchen.scene(i, "train", 60, rng(i))
    videos.append((kitchen.describe(toybox.render(scene, (24, 24))), kitchen.frame_labels(runs)))
  assert accuracy(videos[:18], videos[18:]) > 60  # the most frequent action has about a sixth of the frames


def test_prototypes_tell_the_actions_as_far_as_noise_lets_them():
  def videos(noise):
    labels = [kitchen.frame_labels(kitchen.runs(i, 120, rng(i))) for i in range(24)]
    return [(kitchen.prototype_features(y, rng(100 + i), 16, noise), y) for i, y in enumerate(labels)]

  clear, noisy = (accuracy(v[:18], v[18:]) for v in (videos(0.5), videos(3.0)))
  assert clear > 95 and 30 < noisy < 75


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  roots = {}
  for layout in ("nn_viterbi", "ms_tcn"):
    roots[layout] = str(tmp_path_factory.mktemp(layout))
    assert toybox.build(roots[layout], layout=layout, **SMALL)["videos"] == 5
  return roots


def expected(split, count):
  return [toybox.scene_of("kitchen", split, i, 40, 0)[1] for i in range(count)]


@pytest.mark.parametrize("layout", ["nn_viterbi", "ms_tcn"])
def test_files_are_read_back_with_labels_transcripts_and_sets(built, layout):
  wanted = {"train": expected("train", 3), "test": expected("val", 1) + expected("test", 1)}
  for split, runs in wanted.items():
    d = datasets.load(layout, built[layout], split)
    assert d.classes == kitchen.CLASSES and d.multilabel
    for record, found in zip(d.records, runs, strict=True):
      assert record.extra["runs"] == found and record.extra["transcript"] == tuple(c for c, _ in found)
      assert record.label == tuple(sorted({c for c, _ in found}))
      features, labels = feature_files.load(record)
      assert features.shape == (len(labels), kitchen.SIZE)
      assert segments.segments(labels).classes.tolist() == [c for c, _ in found]
      with open_video(os.path.join(built[layout], "videos", f"{record.id}.mp4")) as video:
        assert video.num_frames == len(labels)


def test_a_second_build_keeps_what_is_there_and_other_features_are_refused(built):
  root = built["nn_viterbi"]
  path = os.path.join(root, "features", "toytrain00001.npy")
  before = np.load(path)
  assert toybox.build(root, layout="nn_viterbi", **SMALL)["rendered"] == 0
  os.remove(os.path.join(root, "videos", "toytrain00001.mp4"))
  os.remove(path)
  assert toybox.build(root, layout="nn_viterbi", **SMALL)["rendered"] == 1
  np.testing.assert_array_equal(np.load(path), before)
  with pytest.raises(errors.DataError, match="features=frames"):
    toybox.build(root, layout="nn_viterbi", features="prototypes", **SMALL)


def test_features_may_be_noisy_prototypes(tmp_path):
  for name in ("a", "b"):
    toybox.build(str(tmp_path / name), features="prototypes", **{**SMALL, "split": (2, 0, 0)})
  a, b = (np.load(tmp_path / n / "features/toytrain00000.npy") for n in ("a", "b"))
  other = np.load(tmp_path / "a/features/toytrain00001.npy")
  assert a.shape == (64, sum(n for _, n in expected("train", 1)[0])) and not np.array_equal(a[:, :8], other[:, :8])
  np.testing.assert_array_equal(a, b)
