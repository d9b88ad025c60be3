"""Accuracy of single-label predictions: NumPy in, percent out.

Ties are broken towards the lower class id everywhere, and a score that is not a
number counts as the lowest, so equal inputs always give equal numbers.
"""

import numpy as np

from vidx.metrics.ranking import mean_known


def ranked(scores: np.ndarray, k: int | None = None) -> np.ndarray:
  """Class ids from the highest score to the lowest.

  Args:
    scores: (N, C).
    k: how many to keep, all where None.

  Returns:
    (N, min(k, C)) int64.
  """
  order = np.argsort(-_finite(scores), axis=1, kind="stable")
  return order[:, :k]


def top_k(scores: np.ndarray, label: np.ndarray, k: int = 1) -> float:
  """Share of examples whose class is among the k highest scores, in percent.

  100 where k reaches the number of classes; nan where there are no examples.

  Args:
    scores: (N, C).
    label: (N,) class ids.
    k: at least 1.
  """
  if not len(label):
    return float("nan")
  return 100.0 * float(np.mean(np.any(ranked(scores, k) == np.asarray(label)[:, None], axis=1)))


def confusion_matrix(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Counts by (true class, predicted class).

  Args:
    scores: (N, C).
    label: (N,) class ids.

  Returns:
    (C, C) int64.
  """
  classes = scores.shape[1]
  if not len(label):
    return np.zeros((classes, classes), np.int64)
  cells = np.asarray(label, np.int64) * classes + ranked(scores, 1)[:, 0]
  return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class_accuracy(confusion: np.ndarray) -> np.ndarray:
  """Share of each true class that was predicted right, in percent; nan for a class without examples.

  Args:
    confusion: (C, C) counts.

  Returns:
    (C,) float64.
  """
  count = confusion.sum(axis=1)
  return np.where(count > 0, 100.0 * np.diag(confusion) / np.maximum(count, 1), np.nan)


def mean_class_accuracy(confusion: np.ndarray) -> float:
  """Mean of `per_class_accuracy` over the classes that occur; nan where none does."""
  return mean_known(per_class_accuracy(confusion))


def _finite(scores: np.ndarray) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  return np.where(np.isnan(scores), -np.inf, scores)
