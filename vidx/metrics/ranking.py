"""Average precision of multi-label predictions: NumPy in, percent out."""

from collections.abc import Iterable

import numpy as np


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
  """Area under the precision-recall steps, in percent, as scikit-learn defines it.

  AP = sum_n (R_n - R_{n-1}) P_n over the distinct scores from high to low;
  examples of equal score enter together, so their order does not matter. A score
  that is not a number counts as the lowest.

  Args:
    scores: (N,).
    positive: (N,) truth, positive where above 0.

  Returns:
    Percent; nan where nothing is positive.
  """
  positive = np.asarray(positive) > 0
  if not positive.any():
    return float("nan")
  scores = np.asarray(scores, np.float64)
  scores = np.where(np.isnan(scores), -np.inf, scores)
  order = np.argsort(-scores, kind="stable")
  ordered, hits = scores[order], np.cumsum(positive[order])
  last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
  precision = hits[last] / (last + 1)
  gain = np.diff(hits[last], prepend=0) / hits[-1]
  return 100.0 * float(np.sum(gain * precision))


def average_precisions(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
  """`average_precision` of every class.

  Args:
    scores: (N, C).
    positive: (N, C).

  Returns:
    (C,) float64, nan for classes without positives.
  """
  return np.array([average_precision(s, p) for s, p in zip(np.transpose(scores), np.transpose(positive))])


def mean_average_precision(scores: np.ndarray, positive: np.ndarray,
                           classes: Iterable[int] | None = None) -> float:
  """Mean of the classes' average precisions, without those that have no positives.

  Args:
    scores: (N, C).
    positive: (N, C).
    classes: ids to average over, all where None.

  Returns:
    Percent; nan where no class has a positive.
  """
  found = average_precisions(scores, positive)
  return mean_known(found if classes is None else found[list(classes)])


def mean_known(values: np.ndarray) -> float:
  """Mean of the values that are numbers, nan where none is."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if len(known) else float("nan")
