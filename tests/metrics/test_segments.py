import functools
import math

import numpy as np
import pytest
import scipy.io

from vidx.metrics import segments as measures
from vidx.metrics.segments import evaluate

# F1@10, F1@25, F1@50, edit, acc of predictions released for 50Salads: means over videos, class 0 dropped. The rows of
# the SVM are recomputed, the others are published (Lea et al. 2017) but for a tenth.
ROWS = {
    "mid/mid_video_ED-TCN_L2_C15": (68.0, 63.9, 52.6, 59.8, 64.7),
    "mid/mid_video_DilatedTCN_B3_L5": (52.2, 47.6, 37.4, 43.1, 59.3),
    "mid/mid_video_tCNN_C36": (55.9, 49.6, 37.1, 46.0, 59.5),
    "mid/mid_video_SVM": (28.7, 22.7, 15.4, 21.4, 54.9),
    "eval/eval_video_ED-TCN_L2_C18": (76.5, 73.8, 64.5, 72.3, 73.4),
    "eval/eval_video_DilatedTCN_L5_B2": (55.8, 52.3, 44.3, 46.9, 71.1),
    "eval/eval_video_tCNN_C36": (61.7, 57.4, 47.3, 52.9, 71.3),
    "eval/eval_video_SVM": (39.0, 33.6, 25.6, 28.9, 68.1),
}
COLUMNS = ("f1@10", "f1@25", "f1@50", "edit", "acc")


def released(real_data, row):
  folder = real_data(f"tcn_action_segmentation/predictions/50Salads/{row}")
  cells = [scipy.io.loadmat(f) for f in sorted(folder.glob("*.mat"))]
  return [[v.ravel() for c in cells for v in c[key].ravel()] for key in "PY"]


@pytest.mark.parametrize("row", ROWS)
def test_released_predictions_give_the_rows_of_50salads(real_data, row):
  found = evaluate(*released(real_data, row), ignore=(0,), average="video")
  np.testing.assert_allclose([found[c] for c in COLUMNS], ROWS[row], atol=0.1)


def test_counts_pooled_over_the_videos_of_50salads_give_other_rows(real_data):
  found = evaluate(*released(real_data, "mid/mid_video_ED-TCN_L2_C15"), ignore=(0,))
  np.testing.assert_allclose([found[c] for c in COLUMNS[:3]], (67.1, 63.0, 51.9), atol=0.1)


# The measures again, written for reading.


def runs(labels, ignore):
  found = []
  for t, c in enumerate(labels):
    if t and labels[t - 1] == c:
      found[-1][2] = t + 1
    else:
      found.append([c, t, t + 1])
  return [r for r in found if r[0] not in ignore]


def common(p, y):
  frames = len(set(range(p[1], p[2])) & set(range(y[1], y[2])))
  return frames if p[0] == y[0] else 0


def union(p, y):
  return len(set(range(p[1], p[2])) | set(range(y[1], y[2])))


def length(segment):
  return segment[2] - segment[1]


def claimed(predicted, true, share):
  free, right = [True] * len(true), 0
  for p in predicted:
    if not true:
      break
    of = [common(p, y) / union(p, y) for y in true]
    best = of.index(max(of))
    if of[best] >= share and free[best]:
      free[best], right = False, right + 1
  return right, len(predicted) - right, len(true) - right


def paths(a, b):
  """(edits, -matches) of the least of all edit paths, by trying them all."""
  @functools.cache
  def least(i, j):
    ways = []
    if i < len(a) and j < len(b):
      same = a[i] == b[j]
      edits, matches = least(i + 1, j + 1)
      ways.append((edits + (not same), matches - same))
    if i < len(a):
      edits, matches = least(i + 1, j)
      ways.append((edits + 1, matches))
    if j < len(b):
      edits, matches = least(i, j + 1)
      ways.append((edits + 1, matches))
    return min(ways, default=(0, 0))
  edits, matches = least(0, 0)
  return edits, -matches


def mean(values):
  values = [v for v in values if not math.isnan(v)]
  return sum(values) / len(values) if values else math.nan


def share(part, whole):
  return 100 * part / whole if whole else math.nan


def f1_of(counts):
  return share(2 * counts[0], 2 * counts[0] + counts[1] + counts[2])


def by_loops(predictions, labels, ignore, average, background):
  videos = [(runs(p, ignore), runs(y, ignore)) for p, y in zip(predictions, labels)]
  inner = [[[s for s in side if s[0] not in background] for side in v] for v in videos]
  names = [([s[0] for s in p], [s[0] for s in y]) for p, y in videos]
  result = {}
  for k in (10, 25, 50):
    counts = [claimed(p, y, k / 100) for p, y in videos]
    pooled = f1_of([sum(c[i] for c in counts) for i in range(3)])
    result[f"f1@{k}"] = pooled if average == "pooled" else mean([f1_of(c) for c in counts])
  result["edit"] = mean([100 - share(paths(tuple(p), tuple(y))[0], max(len(p), len(y))) for p, y in names])
  result["mat"] = mean([share(2 * paths(tuple(p), tuple(y))[1], len(p) + len(y)) for p, y in names])
  for name, out in (("", ()), ("_bg", background)):
    counts = [(sum(a == b for a, b in zip(p, y) if b not in out), sum(b not in out for b in y))
              for p, y in zip(predictions, labels)]
    pooled = share(sum(c[0] for c in counts), sum(c[1] for c in counts))
    result["mof" + name] = pooled
    result["acc" + name] = pooled if average == "pooled" else mean([share(*c) for c in counts])
  for key, sides, value in (("iou", videos, lambda p, y: common(p, y) / union(p, y)),
                            ("iod", videos, lambda p, y: common(p, y) / length(p)),
                            ("jaccard", inner, lambda p, y: common(p, y) / union(p, y)),
                            ("iod_bg", inner, lambda p, y: common(p, y) / length(p))):
    result[key] = mean([share(sum(max([value(p, y) for p in ps], default=0) for y in ys), len(ys)) for ps, ys in sides])
  result["length_diff"] = mean([abs(len(p) - len(y)) for p, y in names])
  return result


def random_videos(rng, videos=6, classes=4):
  lengths = rng.integers(1, 60, videos)
  make = lambda n: np.repeat(rng.integers(0, classes, n), rng.integers(1, 12, n))[:n]
  return [make(n) for n in lengths], [make(n) for n in lengths]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("average", ["pooled", "video"])
@pytest.mark.parametrize("ignore", [(), (0,), (1, 2)])
def test_every_measure_equals_the_loops(seed, average, ignore):
  predictions, labels = random_videos(np.random.default_rng(seed))
  found = evaluate(predictions, labels, ignore, average)
  expected = by_loops([p.tolist() for p in predictions], [y.tolist() for y in labels], ignore, average, (0,))
  assert found.keys() == expected.keys()
  for key in found:
    assert found[key] == pytest.approx(expected[key], nan_ok=True), key


def test_a_perfect_prediction_has_the_full_score():
  _, labels = random_videos(np.random.default_rng(0))
  found = evaluate(labels, labels)
  assert found.pop("length_diff") == 0 and set(found.values()) == {100.0}


def test_a_segment_split_by_a_wrong_middle():
  # true: a 30 frames, b 30; predicted: a 12, c 6, a 12, b 30
  predicted, true = np.repeat([1, 3, 1, 2], [12, 6, 12, 30]), np.repeat([1, 2], 30)
  found = evaluate([predicted], [true])
  # The first part of a (overlap 12/30) claims it, the second comes too late; at 50 nothing of a is found.
  assert found["f1@10"] == found["f1@25"] == pytest.approx(200 * 2 / (2 * 2 + 2))
  assert found["f1@50"] == pytest.approx(200 * 1 / (2 + 3 + 1))
  assert found["edit"] == pytest.approx(50) and found["mat"] == pytest.approx(200 * 2 / 6)
  assert found["iou"] == pytest.approx(100 * (12 / 30 + 1) / 2) and found["iod"] == 100
  assert found["acc"] == found["mof"] == pytest.approx(90) and found["length_diff"] == 2


def test_dropped_classes_leave_two_runs_of_one_class_apart():
  kept = measures.segments(np.repeat([1, 0, 1], [2, 3, 4]), ignore=(0,))
  assert [list(v) for v in kept] == [[1, 1], [0, 5], [2, 9]]


def test_averages_over_videos_and_over_frames_differ():
  found = evaluate([np.ones(10, int), np.zeros(30, int)], [np.ones(10, int), np.ones(30, int)], average="video")
  assert found["acc"] == 50 and found["mof"] == 25
  assert evaluate([np.ones(10, int), np.zeros(30, int)], [np.ones(10, int), np.ones(30, int)])["acc"] == 25


def test_matches_are_those_of_a_path_of_least_distance():
  assert measures.edit_distance([1, 2, 3, 4], [2, 3, 4, 5]) == (2, 3)
  assert measures.edit_distance([1, 2], [2, 1]) == (2, 1)
  assert measures.edit_distance([], [1, 2]) == (2, 0) and measures.edit_distance([], []) == (0, 0)


def test_a_video_where_a_measure_is_not_defined_is_left_out():
  with_action, without = np.repeat([0, 1], 5), np.zeros(10, int)
  found = evaluate([with_action, without], [with_action, without], ignore=(0,), average="video")
  assert found["f1@50"] == found["edit"] == found["iou"] == 100
  nothing = evaluate([without], [without], ignore=(0,))
  assert math.isnan(nothing["edit"]) and math.isnan(nothing["iou"]) and nothing["acc"] == 100
  assert math.isnan(evaluate([], [])["acc"])


def test_what_is_predicted_where_nothing_is_true_counts_against_f1():
  found = evaluate([np.ones(4, int)], [np.zeros(4, int)], ignore=(0,))
  assert found["f1@10"] == 0 and found["edit"] == 0 and math.isnan(found["iou"])


def test_labels_stretch_to_the_nearest_earlier_frame():
  assert measures.stretch(np.array([1, 2, 3]), 6).tolist() == [1, 1, 2, 2, 3, 3]
  assert measures.stretch(np.array([1, 2, 3, 4]), 2).tolist() == [1, 3]
  assert measures.stretch(np.array([5]), 3).tolist() == [5, 5, 5]


def test_a_wrong_question_is_named():
  with pytest.raises(ValueError, match="average 'micro' is none of pooled, video"):
    evaluate([], [], average="micro")
  with pytest.raises(ValueError, match="predictions of 1 video and labels of 0"):
    evaluate([np.zeros(3, int)], [])
  with pytest.raises(ValueError, match=r"video 1: .*\(2,\).*\(3,\)"):
    evaluate([np.zeros(3, int), np.zeros(2, int)], [np.zeros(3, int), np.zeros(3, int)])
