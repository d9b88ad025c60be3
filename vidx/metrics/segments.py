"""Measures of temporal action segmentation: lists of frame labels in, percent out.

A video is a 1-D array of class ids, one per frame; a segment is a run of equal
ids. Published rows differ in what they leave out (background) and in how they
average over videos; `evaluate` names both choices.

Sources: segmental F1 and edit score, Lea et al.: "Temporal Convolutional Networks
for Action Segmentation and Detection", CVPR 2017 (mean over videos), and Farha and
Gall: "MS-TCN", CVPR 2019 (F1 from counts of all videos); Jaccard index, IoU and IoD,
Ding and Xu: "Weakly-Supervised Action Segmentation with Iterative Soft Boundary
Assignment", CVPR 2018; MoF and matching score, Souri et al.: "Fast Weakly Supervised
Action Segmentation Using Mutual Consistency", 2021.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vidx import terminal
from vidx.metrics.ranking import mean_known

THRESHOLDS = (10, 25, 50)
AVERAGES = ("pooled", "video")


class Segments(NamedTuple):
  """Runs of one video: class ids, first frames and frames after the last, each (S,)."""

  classes: np.ndarray
  starts: np.ndarray
  ends: np.ndarray


def segments(labels: np.ndarray, ignore: Iterable[int] = ()) -> Segments:
  """Runs of equal labels, without those of the classes in `ignore`.

  Two runs of one class stay two where only an ignored run lay between them.
  """
  labels = np.asarray(labels)
  starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]]) if len(labels) else np.zeros(0, int)
  ends = np.r_[starts[1:], len(labels)] if len(labels) else starts
  kept = ~np.isin(labels[starts], list(ignore))
  return Segments(labels[starts][kept], starts[kept], ends[kept])


def stretch(labels: np.ndarray, length: int) -> np.ndarray:
  """Labels (T,) at another number of frames: frame i takes label floor(i T / length)."""
  labels = np.asarray(labels)
  return labels[np.arange(length) * len(labels) // length]


def edit_distance(a: Sequence[int], b: Sequence[int]) -> tuple[int, int]:
  """Levenshtein distance, and the most matches that a path of that distance has."""
  a, b = np.asarray(a), np.asarray(b)
  unit = len(a) + len(b) + 1  # one edit outweighs all matches
  columns = unit * np.arange(len(b) + 1)
  row = columns
  for x in a:
    step = np.r_[row[0] + unit, np.minimum(row[1:] + unit, row[:-1] + np.where(b == x, -1, unit))]
    row = np.minimum.accumulate(step - columns) + columns
  distance = -(-int(row[-1]) // unit)
  return distance, distance * unit - int(row[-1])


def edit_score(predicted: Sequence[int], true: Sequence[int]) -> float:
  """100 (1 - distance / length of the longer list) of two lists of segment classes; nan where both are empty."""
  longest = max(len(predicted), len(true))
  return 100 * (1 - edit_distance(predicted, true)[0] / longest) if longest else float("nan")


def matching_score(predicted: Sequence[int], true: Sequence[int]) -> float:
  """200 matches / (sum of the lengths) of two lists of segment classes; nan where both are empty.

  The matches are those of a path of least edit distance, at most as many as the
  longest common subsequence has.
  """
  total = len(predicted) + len(true)
  return 200 * edit_distance(predicted, true)[1] / total if total else float("nan")


def _shared(predicted: Segments, true: Segments) -> np.ndarray:
  """Frames that every pair of segments of one class shares: (predicted, true)."""
  ends = np.minimum(predicted.ends[:, None], true.ends)
  starts = np.maximum(predicted.starts[:, None], true.starts)
  return np.maximum(ends - starts, 0) * (predicted.classes[:, None] == true.classes)


def overlaps(predicted: Segments, true: Segments) -> np.ndarray:
  """Intersection over union of every pair of segments, 0 between classes: (predicted, true)."""
  shared = _shared(predicted, true)
  sizes = (predicted.ends - predicted.starts)[:, None] + (true.ends - true.starts)
  return shared / np.maximum(sizes - shared, 1)


def f1_counts(predicted: Segments, true: Segments, threshold: float) -> np.ndarray:
  """True positives, false positives, false negatives: (3,).

  Each predicted segment in order claims the true one of its class that it
  overlaps most; it is right where the overlap reaches `threshold` (a share) and
  nobody claimed that one before. A second choice is not looked for.
  """
  found = overlaps(predicted, true)
  used = np.zeros(len(true.classes), bool)
  for row in found if found.size else ():
    best = row.argmax()
    used[best] |= row[best] >= threshold
  hits = int(used.sum())
  return np.array([hits, len(predicted.classes) - hits, len(true.classes) - hits])


def f1(counts: np.ndarray) -> float:
  """F1 of counts (true positives, false positives, false negatives); nan where all are 0."""
  hits, wrong, missed = (int(c) for c in counts)
  total = 2 * hits + wrong + missed
  return 200 * hits / total if total else float("nan")


def iou(predicted: Segments, true: Segments) -> float:
  """Mean over true segments of the best intersection over union (Jaccard index), 0 where the class is not predicted."""
  return _mean_of_best(overlaps(predicted, true))


def iod(predicted: Segments, true: Segments) -> float:
  """As `iou` with the intersection over the length of the predicted segment: 100 for any part of the true one."""
  return _mean_of_best(_shared(predicted, true) / (predicted.ends - predicted.starts)[:, None])


def _mean_of_best(values: np.ndarray) -> float:
  """Mean over columns of their largest value, in percent; nan where there is no column."""
  return 100 * float(values.max(0, initial=0).mean()) if values.shape[1] else float("nan")


def frame_counts(predicted: np.ndarray, true: np.ndarray, ignore: Iterable[int] = ()) -> np.ndarray:
  """(2,) right frames and frames, of those whose true class is not in `ignore`."""
  kept = ~np.isin(true, list(ignore))
  return np.array([np.sum((np.asarray(predicted) == true) & kept), np.sum(kept)])


def evaluate(predictions: Sequence[np.ndarray], labels: Sequence[np.ndarray], ignore: Iterable[int] = (),
             average: str = "pooled", background: Iterable[int] = (0,)) -> dict[str, float]:
  """All measures over the videos of a split.

  | key | what |
  |---|---|
  | f1@10, f1@25, f1@50 | segmental F1 at that overlap, by `average` |
  | edit, mat | edit and matching score of the lists of segments, mean over videos |
  | acc, acc_bg | right frames by `average`; `_bg`: of frames that are not truly background |
  | mof, mof_bg | the same over all frames of all videos, whatever `average` |
  | iou, iod | mean over true segments, then over videos |
  | jaccard, iod_bg | `iou` and `iod` without background segments |
  | length_diff | mean difference of the numbers of segments (a count) |

  A video where a measure is not defined (nothing to find and nothing found) is
  left out of its mean; a measure that no video defines is nan.

  Args:
    predictions: class ids of each video, (T,) each; see `stretch` for other lengths.
    labels: as many arrays of the same lengths.
    ignore: classes whose segments are dropped, of predictions and of labels, by
      every measure of segments; frames count whatever their class.
    average: "pooled" counts over all videos (MS-TCN, MuCon), "video" takes the
      mean of the videos' values (the TCN papers).
    background: classes that `_bg` and `jaccard` leave out, besides those ignored.

  Raises:
    ValueError: unknown average, or lists or videos of different lengths.
  """
  if average not in AVERAGES:
    raise ValueError(f"average '{average}' is none of {', '.join(AVERAGES)}.")
  if len(predictions) != len(labels):
    raise ValueError(f"predictions of {terminal.counted(len(predictions), 'video')} and labels of {len(labels)}.")
  ignore, background = tuple(ignore), tuple(background)
  pairs = [(np.asarray(p), np.asarray(y)) for p, y in zip(predictions, labels)]
  for i, (p, y) in enumerate(pairs):
    if p.ndim != 1 or p.shape != y.shape:
      raise ValueError(f"video {i}: predictions of shape {p.shape} for labels of shape {y.shape}; both are (T,).")
  lists = [(segments(p, ignore), segments(y, ignore)) for p, y in pairs]
  inner = [(segments(p, ignore + background), segments(y, ignore + background)) for p, y in pairs]

  def mean(of, videos):
    return mean_known([of(p, y) for p, y in videos])

  def counted(counts, value, pooled):
    values = [value(sum(counts))] if pooled and counts else [value(c) for c in counts]
    return mean_known(values)

  pooled = average == "pooled"
  result = {f"f1@{k}": counted([f1_counts(p, y, k / 100) for p, y in lists], f1, pooled) for k in THRESHOLDS}
  result["edit"] = mean(lambda p, y: edit_score(p.classes, y.classes), lists)
  result["mat"] = mean(lambda p, y: matching_score(p.classes, y.classes), lists)
  for name, left_out in (("", ()), ("_bg", background)):
    counts = [frame_counts(p, y, left_out) for p, y in pairs]
    result["acc" + name] = counted(counts, _share, pooled)
    result["mof" + name] = counted(counts, _share, True)
  result["iou"], result["iod"] = mean(iou, lists), mean(iod, lists)
  result["jaccard"], result["iod_bg"] = mean(iou, inner), mean(iod, inner)
  result["length_diff"] = mean(lambda p, y: abs(len(p.classes) - len(y.classes)), lists)
  return result


def _share(counts: np.ndarray) -> float:
  """counts[0] of counts[1] in percent; nan of none."""
  return 100 * float(counts[0]) / float(counts[1]) if counts[1] else float("nan")
