import dataclasses

import numpy as np
import pytest

from vidx.metrics import boxes as boxes_lib
from vidx.metrics.boxes import Boxes, average_precision, average_precisions, evaluate_vid, match, motion_iou


def some(n, frames=5, classes=3, seed=0, scored=False, side=40):
  rng = np.random.default_rng(seed)
  points = rng.integers(0, side, (n, 2, 2))
  box = np.concatenate([points.min(1), points.max(1) + 1], -1)
  return Boxes(rng.integers(0, frames, n), box, rng.integers(0, classes, n),
               rng.permutation(n) / n if scored else None)


def near(truth, seed=0, spread=4):
  """Detections around the true boxes, one or two each, with random scores."""
  rng = np.random.default_rng(seed)
  twice = lambda x: np.concatenate([x, x[:len(x) // 2]])
  box = twice(truth.box)
  return Boxes(twice(truth.frame), box + rng.integers(-spread, spread + 1, box.shape), twice(truth.label),
               rng.permutation(len(box)) / len(box))


def overlap(a, b, edge=0):
  wide, high = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + edge for i in (0, 1))
  shared = max(wide, 0) * max(high, 0)
  area = lambda x: (x[2] - x[0] + edge) * (x[3] - x[1] + edge)
  return shared / (area(a) + area(b) - shared)


def precision_by_loops(found, truth, label, small, rule, edge):
  taken, hits, points = set(), 0, []
  positives = [i for i in range(len(truth)) if truth.label[i] == label]
  ranked = sorted((i for i in range(len(found)) if found.label[i] == label), key=lambda i: -found.score[i])
  for rank, i in enumerate(ranked, 1):
    best, most = None, -1
    for j in positives:
      if truth.frame[j] != found.frame[i]:
        continue
      w, h = truth.box[j][2:] - truth.box[j][:2] + edge
      needed = min(0.5, w * h / ((w + 10) * (h + 10))) if small else 0.5
      o = overlap(found.box[i], truth.box[j], edge)
      if rule == "free" and (o < needed or j in taken):
        continue
      if o > most:
        best, most, enough = j, o, o >= needed
    if best is not None and enough and best not in taken:
      taken.add(best)
      hits += 1
    points.append((hits / len(positives), hits / rank))
  area, before = 0, 0
  for k, (recall, _) in enumerate(points):
    area += (recall - before) * max(p for _, p in points[k:])
    before = recall
  return 100 * area


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("rule", boxes_lib.RULES)
@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_equals_the_loop(small, rule, edge):
  truth = some(60)
  found = near(truth)
  expected = [precision_by_loops(found, truth, c, small, rule, edge) for c in range(3)]
  np.testing.assert_allclose(average_precisions(found, truth, 3, small_boxes=small, rule=rule, edge=edge), expected)
  assert 5 < min(expected) and max(expected) < 98


def test_overlap_equals_the_loop_and_of_nothing_is_0():
  a, b = some(5).box, some(7, seed=1).box
  np.testing.assert_allclose(boxes_lib.iou(a, b), [[overlap(x, y) for y in b] for x in a])
  np.testing.assert_allclose(boxes_lib.iou(a, b, 1), [[overlap(x, y, 1) for y in b] for x in a])
  assert boxes_lib.iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]) == 0


def test_perfect_detections_are_100_and_none_are_0():
  truth = some(30)
  scored = dataclasses.replace(truth, score=np.ones(30))
  np.testing.assert_allclose(average_precisions(scored, truth, 3), 100)
  np.testing.assert_allclose(average_precision(scored, truth), 100)
  assert average_precision(Boxes([], [], [], []), truth) == 0
  assert np.isnan(average_precisions(scored, truth, 4)[3])


def test_a_small_box_may_be_met_by_one_of_four_times_its_area():
  truth, found = Boxes([0], [[0, 0, 9, 9]], [0]), Boxes([0], [[0, 0, 19, 19]], [0], [1])
  assert average_precision(found, truth, small_boxes=True, edge=1) == 100
  assert average_precision(found, truth, edge=1) == 0
  assert average_precision(Boxes([0], [[0, 0, 20, 20]], [0], [1]), truth, small_boxes=True, edge=1) == 0
  np.testing.assert_allclose(boxes_lib.small_box_threshold(np.array([[0, 0, 9, 9], [0, 0, 99, 99]])), [0.25, 0.5])


def test_a_second_detection_is_false_and_one_of_another_frame_or_class_too():
  truth = Boxes([0], [[0, 0, 50, 50]], [0])
  found = Boxes([0, 0, 1, 0], [[0, 0, 50, 50]] * 4, [0, 0, 0, 1], [0.5, 0.9, 0.4, 0.3])
  assert match(found, truth).tolist() == [-1, 0, -1, -1]


def test_rules_differ_where_the_best_box_is_taken():
  truth = Boxes([0, 0], [[0, 0, 10, 10], [0, 3, 10, 13]], [0, 0])
  found = Boxes([0, 0], [[0, 0, 10, 10], [0, 1, 10, 11]], [0, 0], [0.9, 0.8])
  assert match(found, truth, rule="free").tolist() == [0, 1]
  assert match(found, truth, rule="best").tolist() == [0, -1]


def test_scores_that_are_no_numbers_come_last():
  truth = Boxes([0], [[0, 0, 10, 10]], [0])
  assert average_precision(Boxes([0, 0], [[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0], [0.1, np.nan]), truth) == 100


def test_motion_is_the_overlap_with_the_boxes_of_the_track_nearby():
  still = Boxes(range(30), [[5, 5, 14, 14]] * 30, [0] * 30)
  np.testing.assert_allclose(motion_iou(still, np.zeros(30)), 1)
  moving = Boxes(range(3), [[0, 0, 9, 9], [5, 0, 14, 9], [100, 0, 109, 9]], [0] * 3)
  np.testing.assert_allclose(motion_iou(moving, np.zeros(3)), [1 / 6, 1 / 6, 0])
  np.testing.assert_allclose(motion_iou(moving, np.arange(3)), 1)
  np.testing.assert_allclose(motion_iou(moving, np.zeros(3), reach=1), [1 / 3, 1 / 6, 0])
  far = Boxes([0, 11], [[0, 0, 9, 9], [50, 50, 59, 59]], [0, 0])
  np.testing.assert_allclose(motion_iou(far, np.zeros(2)), 1)


def misses_by_loops(found, truth, matched, inside, inverted):
  """Weights of false positives as the public evaluation of slow, medium and fast objects gives them."""
  out = []
  for i in range(len(found)):
    there = [k for k in range(len(truth)) if truth.frame[k] == found.frame[i]]
    if matched[i] >= 0:
      out.append(0)
      continue
    most = {True: -1, False: -1}
    for k in there:
      most[bool(inside[k])] = max(most[bool(inside[k])], overlap(found.box[i], truth.box[k], 1))
    if most[True] != most[False]:
      out.append(float(most[True] > most[False]))
    elif not there:
      out.append(inside.mean())
    else:
      share = np.mean([inside[k] for k in there])
      out.append(1 - share if inverted else share)
  return np.array(out)


@pytest.mark.parametrize("motion_rule", boxes_lib.MOTION_RULES)
def test_slow_medium_and_fast_equal_the_loop(motion_rule):
  truth = some(40, frames=8)
  extra = some(40, frames=12, seed=5, scored=True)
  close = near(truth)
  join = lambda field: np.concatenate([getattr(close, field), getattr(extra, field)])
  found = Boxes(*(join(x) for x in ("frame", "box", "label", "score")))
  motion = np.random.default_rng(3).choice([0.2, 0.69, 0.8, 0.95, 1.0], 40)
  matched = match(found, truth, small_boxes=True, edge=1)
  result = evaluate_vid(found, truth, ["a", "b", "c"], motion, motion_rule=motion_rule)
  for name, (low, high) in boxes_lib.MOTIONS.items():
    inside = (motion >= low) & (motion <= high)
    miss = misses_by_loops(found, truth, matched, inside, motion_rule == "fgfa")
    hit = np.array([m >= 0 and inside[m] for m in matched], float)
    expected = []
    for c in range(3):
      rows = [i for i in np.argsort(-found.score, kind="stable") if found.label[i] == c]
      expected.append(boxes_lib.area_under_envelope(hit[rows], miss[rows], (inside & (truth.label == c)).sum()))
    np.testing.assert_allclose(result[f"mAP_{name}"], np.nanmean(expected))
  assert result["mAP"] == np.mean([result[f"AP/{name}"] for name in "abc"])


def test_only_objects_of_the_range_are_to_be_found():
  truth = Boxes([0, 1], [[0, 0, 20, 20]] * 2, [0, 0])
  found = Boxes([0], [[0, 0, 20, 20]], [0], [1])
  result = evaluate_vid(found, truth, ["a"], np.array([0.95, 0.3]))
  assert result["mAP"] == 50 and result["mAP_slow"] == 100 and result["mAP_fast"] == 0
  assert np.isnan(result["mAP_medium"])


def test_small_boxes_need_less_overlap_where_asked():
  truth, found = Boxes([0], [[0, 0, 4, 4]], [0]), Boxes([0], [[0, 0, 4, 11]], [0], [1])
  for small_boxes, expected in ((True, 100), (False, 0)):
    result = evaluate_vid(found, truth, ["a"], np.array([0.95]), small_boxes=small_boxes)
    assert result["mAP"] == result["mAP_slow"] == expected


def test_wrong_rules_and_lengths_are_named():
  with pytest.raises(ValueError, match="rule 'fre' is not one of free, best"):
    match(some(2, scored=True), some(2), rule="fre")
  with pytest.raises(ValueError, match="motion_rule 'x' is not one of share, fgfa"):
    evaluate_vid(some(2, scored=True), some(2), "abc", np.ones(2), motion_rule="x")
  with pytest.raises(ValueError, match="different lengths"):
    Boxes([0], [], [0])
