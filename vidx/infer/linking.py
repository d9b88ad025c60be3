"""Detections of a video's frames, linked in time to score them anew: Seq-NMS and paths of a Viterbi search.

Han et al.: "Seq-NMS for Video Object Detection", 2016. Feichtenhofer et al.: "Detect to
Track and Track to Detect", 2017, whose linking the authors of STMN use (Xiao: "Multimodal
Learning with Minimal Human Supervision from Videos and Natural Language", 2020, chapter 3).

All is on the host. A class is a list over frames: boxes (P, 4) in pixels and scores (P,).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vidx import errors
from vidx.metrics.boxes import iou

RESCORE = ("mean", "max")


class Linked(NamedTuple):
  """Detections of one class behind the linking, one entry per frame.

  Attributes:
    boxes: (P', 4).
    scores: (P',).
    tracks: int (P',), the number of the chain or path that a box is of, -1 for none; 0 is the best one.
    index: int (P',) into the boxes that were given.
  """

  boxes: list[np.ndarray]
  scores: list[np.ndarray]
  tracks: list[np.ndarray]
  index: list[np.ndarray]


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
  """Rows, best first, of boxes that no better one overlaps by more than `overlap`; of equal scores the first."""
  boxes, left, kept = np.asarray(boxes, float).reshape(-1, 4), np.argsort(-np.asarray(scores), kind="stable"), []
  while len(left):
    kept.append(left[0])
    left = left[1:][iou(boxes[left[0]], boxes[left[1:]])[0] <= overlap]
  return np.array(kept, int)


def vote(boxes: np.ndarray, scores: np.ndarray, kept: np.ndarray, overlap: float = 0.5) -> np.ndarray:
  """Each kept box as the mean, by score, of the boxes (P, 4) that overlap it by at least `overlap`."""
  near = (iou(boxes[kept], boxes) >= overlap) * np.maximum(scores, 0)
  total = near.sum(1, keepdims=True)
  return np.where(total > 0, near @ boxes / np.maximum(total, 1e-30), boxes[kept])


def seq_nms(boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray], *, link: float = 0.5, drop: float = 0.3,
            rescore: str = "mean", least: float = 0.01) -> Linked:
  """Chains of boxes that overlap from frame to frame, the highest sum of scores first (Seq-NMS).

  All boxes of a chain take its mean score, and what overlaps them in their frames is
  dropped; then the next chain is sought among what is left. It ends where the best chain
  is a single box, or sums to less than `least`; what is left by then stays as it is.

  Args:
    boxes: of one class, per frame.
    scores: (P,) per frame.
    link: overlap from which boxes of adjacent frames may follow each other.
    drop: overlap with the chain's box from which a box of its frame is dropped.
    rescore: 'mean' or 'max' of the chain's scores.
    least: sum of a chain's scores.
  """
  errors.check_choice("rescore", rescore, RESCORE)
  boxes, scores = _checked(boxes, scores)
  links = [iou(a, b) >= link for a, b in zip(boxes, boxes[1:])]
  left = [np.ones(len(s), bool) for s in scores]
  out, tracks = [s.copy() for s in scores], [np.full(len(s), -1) for s in scores]
  kept = [np.ones(len(s), bool) for s in scores]
  number = 0
  while True:
    start, chain, total = _best_chain(scores, links, left)
    if len(chain) < 2 or total < least:
      break
    values = [scores[t][i] for t, i in enumerate(chain, start)]
    value = np.mean(values) if rescore == "mean" else np.max(values)
    for t, i in enumerate(chain, start):
      close = left[t] & (iou(boxes[t][i], boxes[t])[0] >= drop)
      close[i] = False
      kept[t] &= ~close
      left[t] &= ~close
      left[t][i] = False
      out[t][i], tracks[t][i] = value, number
    number += 1
  return _linked(boxes, out, tracks, kept)


def _best_chain(scores, links, left):
  """(first frame, box per frame, sum of scores) of the chain that ends anywhere."""
  best, sums, back = (0, -1, -np.inf), None, []
  for t, s in enumerate(scores):
    own = np.where(left[t], s, -np.inf)
    previous = np.full(len(s), -1)
    if t and len(s) and len(sums):
      gain = np.where(links[t - 1], sums[:, None], -np.inf)  # (before, now)
      from_ = gain.argmax(0)
      more = gain.max(0)
      previous = np.where(more > 0, from_, -1)
      own = own + np.maximum(more, 0)
    sums = own
    back.append(previous)
    if len(sums) and sums.max() > best[2]:
      best = (t, int(sums.argmax()), float(sums.max()))
  t, i, total = best
  chain = []
  while i >= 0:
    chain.append(i)
    t, i = t - 1, int(back[t][i])
  return t + 1, chain[::-1], total


def best_path(scores: Sequence[np.ndarray], bonus: Sequence[np.ndarray]) -> tuple[list[int], float]:
  """One box per frame of the highest sum, over adjacent frames, of both scores and the pair's bonus.

  Args:
    scores: (P,) per frame, none of them empty.
    bonus: (P, P') for each frame and the next.

  Returns:
    Box numbers and the sum; of a single frame its best box and 0.
  """
  if len(scores) == 1:
    return [int(scores[0].argmax())], 0.0
  sums, back = np.zeros(len(scores[0])), []
  for a, b, more in zip(scores, scores[1:], bonus):
    edge = sums[:, None] + a[:, None] + b + more
    back.append(edge.argmax(0))
    sums = edge.max(0)
  path = [int(sums.argmax())]
  for previous in back[::-1]:
    path.append(int(previous[path[-1]]))
  return path[::-1], float(sums.max())


def dt_link(boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray],
            support: Sequence[tuple[np.ndarray, np.ndarray]] | None = None, *, overlap: float = 0.5,
            least: float = 0.01, gain: float = 2.0, top: float = 0.5) -> Linked:
  """Paths through all frames, taken out one after the other until a frame has no box left.

  A step from box a to box b of the next frame is worth s_a + s_b, and 1 more where some
  detection of a's frame, with a score above `least`, overlaps both. Boxes of a path add
  `gain` times the mean of its best scores to their own; others stay as they are.

  Args:
    boxes: of one class, per frame, as `candidates` gives them.
    scores: (P,) per frame.
    support: (boxes, scores) per frame that a step may rest on; None: the boxes themselves.
    overlap: with both boxes.
    least: score of what a step rests on.
    gain: see above.
    top: share of a path's scores, the best ones, whose mean counts; at least one does.
  """
  boxes, scores = _checked(boxes, scores)
  support = list(zip(boxes, scores)) if support is None else support
  bonus = []
  for a, b, (held, score) in zip(boxes, boxes[1:], support):
    held = np.asarray(held, float).reshape(-1, 4)[np.asarray(score, float) > least]
    near = [(iou(x, held) >= overlap).astype(float) for x in (a, b)]
    bonus.append((near[0] @ near[1].T > 0).astype(float))
  out, tracks = [s.copy() for s in scores], [np.full(len(s), -1) for s in scores]
  left, number = [np.arange(len(s)) for s in scores], 0
  while left and min(map(len, left)):
    path, _ = best_path([s[rows] for s, rows in zip(scores, left)],
                        [m[np.ix_(a, b)] for m, a, b in zip(bonus, left, left[1:])])
    path = [rows[i] for rows, i in zip(left, path)]
    values = np.sort([s[i] for s, i in zip(scores, path)])[::-1]
    more = gain * values[:max(int(np.ceil(top * len(values))), 1)].mean()
    for t, i in enumerate(path):
      out[t][i] += more
      tracks[t][i] = number
      left[t] = left[t][left[t] != i]
    number += 1
  return _linked(boxes, out, tracks, [np.ones(len(s), bool) for s in scores])


def candidates(boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray], *, side: float = 5, overlap: float = 0.9,
               per_frame: int = 400, on_average: int = 160, class_overlap: float = 0.4, most: int = 25
               ) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
  """The boxes of each class that `dt_link` takes, from all of a video.

  Boxes of a side below `side` go, then those that overlap one of a better best score by
  more than `overlap`. A class keeps its best `per_frame` boxes of a frame and `on_average`
  per frame of the video; of these, those that survive suppression at `class_overlap`,
  moved to the mean of what they stand for, up to `most` in a frame.

  Args:
    boxes: (P, 4) per frame, in pixels.
    scores: (P, C) per frame, without the background.
    side: in pixels.
    overlap: of boxes of any class.
    per_frame: boxes of a class.
    on_average: boxes of a class per frame.
    class_overlap: of boxes of a class.
    most: boxes of a class in a frame.

  Returns:
    (boxes, scores), lists over frames, for each class.
  """
  frames = []
  for b, s in zip(boxes, scores, strict=True):
    b, s = np.asarray(b, float).reshape(-1, 4), np.asarray(s, float)
    large = (b[:, 2:] - b[:, :2] >= side).all(1)
    b, s = b[large], s[large]
    rows = suppress(b, s.max(1), overlap) if len(b) else np.zeros(0, int)
    frames.append((b[rows], s[rows]))
  out = []
  for c in range(frames[0][1].shape[1] if frames else 0):
    best = [np.argsort(-s[:, c], kind="stable")[:per_frame] for _, s in frames]
    pool = np.sort(np.concatenate([s[rows, c] for (_, s), rows in zip(frames, best)]))[::-1]
    limit = pool[on_average * len(frames) - 1] if len(pool) > on_average * len(frames) else -np.inf
    of_class: tuple[list, list] = ([], [])
    for (b, s), rows in zip(frames, best):
      rows = rows[s[rows, c] >= limit]
      b, score = b[rows], s[rows, c]
      kept = suppress(b, score, class_overlap)[:most]
      of_class[0].append(vote(b, score, kept) if len(kept) else b[kept])
      of_class[1].append(score[kept])
    out.append(of_class)
  return out


def _checked(boxes, scores):
  boxes = [np.asarray(b, float).reshape(-1, 4) for b in boxes]
  scores = [np.nan_to_num(np.asarray(s, float).reshape(-1), nan=0.0) for s in scores]
  if [len(b) for b in boxes] != [len(s) for s in scores]:
    raise ValueError("boxes and scores have different lengths in some frame")
  return boxes, scores


def _linked(boxes, scores, tracks, kept):
  pick = lambda lists: [x[k] for x, k in zip(lists, kept)]
  return Linked(pick(boxes), pick(scores), pick(tracks), [np.flatnonzero(k) for k in kept])
