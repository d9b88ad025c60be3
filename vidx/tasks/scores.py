"""Scores of classes, for people: the best of a video, and the videos that a report shows; tasks that have them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from vidx.metrics import accuracy
from vidx.tasks import base

TOP = 5


class Scored(base.Task):
  """Base of tasks whose predictions are 'scores' (N, C) of the classes of the target 'label'."""

  fusable: ClassVar[Mapping[str, str]] = {"scores": base.LABEL}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = TOP) -> dict[str, Any]:
    """{'predictions': [{'label', 'score'}, ...]}, from the highest score."""
    return {"predictions": best(predictions["scores"][row], dataset.classes, top)}

  @property
  def nothing(self) -> dict[str, Any]:
    """No classes."""
    return {"predictions": []}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> base.Samples:
    """See `vidx.tasks.scores.samples`."""
    return samples(predictions, dataset, limit)


def best(scores: np.ndarray, classes: Sequence[str], top: int) -> list[dict[str, Any]]:
  """[{'label', 'score'}, ...] of scores (C,), from the highest."""
  return [{"label": classes[c], "score": float(scores[c])} for c in accuracy.ranked(scores[None], top)[0]]


def samples(predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> base.Samples:
  """(row, {'truth', 'top', 'right'}) of videos with 'scores' (N, C) and 'label' (N,) or (N, C).

  All videos, or where there are more than `limit`, the most confident mistakes (up to
  half) and an even choice of the others.
  """
  scores, label, classes = predictions["scores"], predictions["label"], dataset.classes
  order = accuracy.ranked(scores, TOP)
  rows = np.arange(len(order))
  right = order[:, 0] == label if label.ndim == 1 else label[rows, order[:, 0]] > 0
  found = []
  for row in choice(right, scores[rows, order[:, 0]], limit).tolist():
    truth = dataset.records[int(predictions["index"][row])].label
    truth = truth if isinstance(truth, tuple) else (truth,)
    found.append((row, {
        "truth": [classes[c] for c in truth if c >= 0], "right": bool(right[row]),
        "top": [{"label": classes[c], "score": round(float(scores[row, c]), 4)} for c in order[row]]}))
  return found


def choice(right: np.ndarray, confidence: np.ndarray, limit: int) -> np.ndarray:
  """Rows to keep: all, or the most confident mistakes (up to half) and an even choice of the others."""
  if len(right) <= limit:
    return np.arange(len(right))
  wrong = np.flatnonzero(~right)
  worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit // 2]
  others = np.setdiff1d(np.arange(len(right)), worst)
  even = others[np.linspace(0, len(others) - 1, limit - len(worst)).round().astype(int)]
  return np.sort(np.concatenate([worst, even]))
