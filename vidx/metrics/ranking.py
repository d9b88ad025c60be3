"""Average precision of multi-label predictions: NumPy in, percent out."""

from collections.abc import Mapping, Sequence

import numpy as np

RULES = ("step", "trapezoid")


def average_precision(scores: np.ndarray, positive: np.ndarray, rule: str = "step") -> float:
  """Area under the curve of precision over recall, in percent.

  Over the distinct scores from high to low, with recall R_n and precision P_n,
  'step' is sum_n (R_n - R_{n-1}) P_n, as scikit-learn defines it; 'trapezoid' is
  sum_n (R_n - R_{n-1}) (P_n + P_{n-1}) / 2 with P_0 = P_1 (eq. 2.14 and what follows
  it in Fayyaz 2024). Examples of equal score enter together, so their order does
  not matter. A score that is not a number counts as the lowest.

  Args:
    scores: (N,).
    positive: (N,) truth, positive where above 0.
    rule: one of RULES.

  Returns:
    Percent; nan where nothing is positive.
  """
  if rule not in RULES:
    raise ValueError(f"rule '{rule}' is not one of {', '.join(RULES)}")
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
  if rule == "trapezoid":
    precision = (precision + np.append(precision[:1], precision[:-1])) / 2
  return 100.0 * float(np.sum(gain * precision))


def average_precisions(scores: np.ndarray, positive: np.ndarray, rule: str = "step") -> np.ndarray:
  """`average_precision` of every class.

  Args:
    scores: (N, C).
    positive: (N, C).
    rule: one of RULES.

  Returns:
    (C,) float64, nan for classes without positives.
  """
  return np.array([average_precision(s, p, rule) for s, p in zip(np.transpose(scores), np.transpose(positive))])


def mean_by_category(values: np.ndarray, categories: Mapping[str, Sequence[int]]) -> tuple[float, dict[str, float]]:
  """The mean of the categories' means, and the mean of each; classes and categories without a value are left out.

  A category counts as much as another, however many classes it has (Table 5.5 of Fayyaz 2024).

  Args:
    values: (C,), nan where not known.
    categories: class ids by name.
  """
  means = {name: mean_known(values[list(ids)]) for name, ids in categories.items()}
  return mean_known(list(means.values())), means


def mean_known(values: Sequence[float] | np.ndarray) -> float:
  """Mean of the values that are numbers, nan where none is."""
  values = np.asarray(values, np.float64)
  known = values[~np.isnan(values)]
  return float(known.mean()) if len(known) else float("nan")
