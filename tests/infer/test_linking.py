import itertools

import numpy as np
import pytest

from vidx import errors
from vidx.infer.linking import best_path, candidates, dt_link, seq_nms, suppress, vote
from vidx.metrics.boxes import iou


def some(frames, most=3, seed=0, side=12):
  rng = np.random.default_rng(seed)
  boxes, scores = [], []
  for count in rng.integers(1, most + 1, frames):
    start = rng.uniform(0, side / 3, (count, 2))
    boxes.append(np.concatenate([start, start + rng.uniform(side / 2, side, (count, 2))], 1))
    scores.append(rng.uniform(0.05, 1, count))
  return boxes, scores


def all_chains(boxes, scores, left, link):
  """(sum, first frame, boxes) of every chain of boxes that are left."""
  for start, stop in itertools.combinations(range(len(boxes) + 1), 2):
    for chain in itertools.product(*(range(len(boxes[t])) for t in range(start, stop))):
      at = list(enumerate(chain, start))
      if all(left[t][i] for t, i in at) and all(
          iou(boxes[t][i], boxes[u][j])[0, 0] >= link for (t, i), (u, j) in zip(at, at[1:])):
        yield sum(scores[t][i] for t, i in at), at


def seq_nms_by_enumeration(boxes, scores, link=0.5, drop=0.3):
  left = [np.ones(len(s), bool) for s in scores]
  found, gone, number = {}, set(), 0
  while True:
    total, chain = max(all_chains(boxes, scores, left, link), key=lambda c: c[0], default=(0, []))
    if len(chain) < 2 or total < 0.01:
      return found, gone
    for t, i in chain:
      found[t, i] = total / len(chain), number
      for j in np.flatnonzero(left[t]):
        if j != i and iou(boxes[t][i], boxes[t][j])[0, 0] >= drop:
          gone.add((t, j))
          left[t][j] = False
      left[t][i] = False
    number += 1


@pytest.mark.parametrize("seed", range(12))
def test_seq_nms_equals_the_enumeration_of_all_chains(seed):
  boxes, scores = some(1 + seed % 5, seed=seed)
  expected, gone = seq_nms_by_enumeration(boxes, scores)
  found = seq_nms(boxes, scores)
  for t, rows in enumerate(found.index):
    assert rows.tolist() == [i for i in range(len(boxes[t])) if (t, i) not in gone]
    for score, track, i in zip(found.scores[t], found.tracks[t], rows):
      want = expected.get((t, i), (scores[t][i], -1))
      assert track == want[1] and score == pytest.approx(want[0])


def test_without_links_seq_nms_returns_its_input():
  boxes = [np.array([[40. * t, 0, 40 * t + 10, 10]]) for t in range(4)]
  scores = [np.array([0.1 * t + 0.2]) for t in range(4)]
  found = seq_nms(boxes, scores)
  np.testing.assert_array_equal(found.scores, scores)
  np.testing.assert_array_equal(found.boxes, boxes)
  assert all((t == -1).all() for t in found.tracks)


def test_a_weak_frame_of_a_chain_is_lifted_and_what_overlaps_it_goes():
  box = np.array([[0., 0, 10, 10]])
  boxes = [box, np.concatenate([box, box + 1, box + 50]), box]
  found = seq_nms(boxes, [[0.9], [0.1, 0.05, 0.3], [0.8]])
  np.testing.assert_allclose(found.scores[1], [0.6, 0.3])
  assert found.index[1].tolist() == [0, 2] and found.tracks[1].tolist() == [0, -1]
  assert seq_nms(boxes, [[0.9], [0.1, 0.05, 0.3], [0.8]], rescore="max").scores[1][0] == 0.9
  with pytest.raises(errors.ConfigError, match="rescore 'median'"):
    seq_nms(boxes, [[0.9], [0.1, 0.05, 0.3], [0.8]], rescore="median")


def bonus_by_loops(a, b, held, scores):
  over = lambda x, y: iou(x, y)[0, 0] >= 0.5
  return [[float(any(s > 0.01 and over(x, c) and over(y, c) for c, s in zip(held, scores))) for y in b] for x in a]


def paths_by_enumeration(boxes, scores, support):
  left, order = [list(range(len(s))) for s in scores], []
  bonus = [bonus_by_loops(a, b, *held) for a, b, held in zip(boxes, boxes[1:], support)]
  worth = lambda p: sum(scores[t][i] + scores[t + 1][j] + bonus[t][i][j] for t, (i, j) in enumerate(zip(p, p[1:])))
  while all(left):
    paths = list(itertools.product(*left))
    path = max(paths, key=worth if len(scores) > 1 else lambda p: scores[0][p[0]])
    order.append(path)
    for rows, i in zip(left, path):
      rows.remove(i)
  return order


@pytest.mark.parametrize("seed", range(12))
def test_paths_equal_the_enumeration_of_all_paths(seed):
  boxes, scores = some(1 + seed % 5, seed=seed)
  support = list(zip(*some(len(boxes), seed=seed + 50)))
  paths = paths_by_enumeration(boxes, scores, support)
  found = dt_link(boxes, scores, support)
  for number, path in enumerate(paths):
    assert [int(np.flatnonzero(t == number)[0]) for t in found.tracks] == list(path)
    values = sorted((scores[t][i] for t, i in enumerate(path)), reverse=True)
    more = 2 * np.mean(values[:-(-len(values) // 2)])
    np.testing.assert_allclose([found.scores[t][i] for t, i in enumerate(path)],
                               [scores[t][i] + more for t, i in enumerate(path)])
  for t, track in enumerate(found.tracks):
    np.testing.assert_allclose(found.scores[t][track < 0], scores[t][track < 0])
    assert sorted(track[track >= 0]) == list(range(len(paths)))


def test_the_value_of_a_path_is_the_sum_of_its_steps():
  scores = [np.array([1., 3]), np.array([2., 0])]
  assert best_path(scores, [np.array([[9., 0], [0, 0]])]) == ([0, 0], 12.0)
  assert best_path(scores[:1], []) == ([1], 0.0)


def test_a_frame_without_boxes_has_no_path_and_nothing_links_over_it():
  box = np.array([[0., 0, 10, 10]])
  boxes, scores = [box, np.zeros((0, 4)), box], [[0.5], [], [0.6]]
  for link in (seq_nms, dt_link):
    found = link(boxes, scores)
    np.testing.assert_allclose(np.concatenate(found.scores), [0.5, 0.6])
    assert (np.concatenate(found.tracks) == -1).all()
    assert link([], []).boxes == []


def test_suppression_and_votes():
  boxes = np.array([[0., 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50]])
  scores = np.array([0.5, 0.5, 0.9])
  kept = suppress(boxes, scores, 0.5)
  assert kept.tolist() == [2, 0]
  np.testing.assert_allclose(vote(boxes, scores, kept), [[40, 40, 50, 50], [0.5, 0, 10.5, 10]])
  np.testing.assert_allclose(vote(boxes, 0 * scores, kept), boxes[kept])


def test_candidates_are_few_large_and_apart():
  rng = np.random.default_rng(0)
  start = rng.uniform(0, 60, (3, 80, 2))
  boxes = np.concatenate([start, start + rng.uniform(3, 30, (3, 80, 2))], -1)
  scores = rng.uniform(0, 1, (3, 80, 2))
  found = candidates(boxes, scores, on_average=20, most=6)
  assert len(found) == 2
  for c, (b, s) in enumerate(found):
    assert all(len(x) <= 6 for x in b) and [len(x) for x in b] == [len(x) for x in s]
    for t in range(3):
      large = (boxes[t][:, 2:] - boxes[t][:, :2] >= 5).all(1)
      assert np.isin(s[t], scores[t][large, c]).all() and (np.diff(s[t]) <= 0).all()
  tiny = candidates([np.array([[0., 0, 4, 40]])], [np.ones((1, 2))])
  assert [len(b[0]) for b, _ in tiny] == [0, 0]


def test_lengths_that_differ_are_named():
  with pytest.raises(ValueError, match="different lengths"):
    seq_nms([np.zeros((2, 4))], [[0.1]])
