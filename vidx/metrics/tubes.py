"""Tubes and masks of objects against annotation: success, overlap, pixel error, rank. NumPy in, numbers out.

Wu, Lim and Yang: "Online Object Tracking: A Benchmark", 2013, has success. Xiao: "Multimodal
Learning with Minimal Human Supervision from Videos and Natural Language", 2020, section 2.3,
reports of each object the tube that fits it best, and the rank of this tube.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vidx.metrics import boxes as boxes_lib
from vidx.metrics.ranking import mean_known

THRESHOLDS = np.arange(21) / 20


def frame_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Overlap frame by frame, float64 (...), of boxes (..., 4); nan where a number of `b`, the truth, is."""
  return np.where(np.isnan(b).any(-1), np.nan, boxes_lib.each_iou(a, b))


def success(overlap: np.ndarray) -> np.ndarray:
  """Share of frames whose overlap is more than each of 0, 0.05, ..., 1: float64 (21,); those of nan are left out."""
  overlap = np.asarray(overlap, np.float64)
  known = overlap[~np.isnan(overlap)]
  return (known[:, None] > THRESHOLDS).mean(0) if len(known) else np.full(len(THRESHOLDS), np.nan)


def success_auc(overlap: np.ndarray) -> float:
  """The mean of `success`; at most 20/21, for nothing overlaps by more than 1."""
  return float(success(overlap).mean())


def by_attribute(auc: Mapping[str, float], attributes: Mapping[str, Sequence[str]]) -> dict[str, float]:
  """'all', the mean of the AUC of all sequences, and the mean over the sequences that carry each attribute.

  Args:
    auc: by sequence; nan of one without annotation, which is left out.
    attributes: of each sequence.
  """
  names = sorted({a for name in auc for a in attributes.get(name, ())})
  return {"all": mean_known(list(auc.values())),
          **{a: mean_known([v for name, v in auc.items() if a in attributes.get(name, ())]) for a in names}}


def per_object_and_sequence(overlap: Mapping[str, Sequence[float]]) -> dict[str, float]:
  """'per_object', the mean over all objects, and 'per_sequence', the mean over sequences of the means of their objects.

  Args:
    overlap: of each object, by sequence; nan of one without annotation, which is left out.
  """
  return {"per_object": mean_known([o for objects in overlap.values() for o in objects]),
          "per_sequence": mean_known([mean_known(objects) for objects in overlap.values()])}


def mask_overlaps(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Intersection over union frame by frame, float64 (N,), of masks (N, H, W); nan where both are empty."""
  found, truth = np.asarray(found) > 0, np.asarray(truth) > 0
  shared, union = (found & truth).sum((1, 2)), (found | truth).sum((1, 2))
  return np.divide(shared, union, out=np.full(len(found), np.nan), where=union > 0)


def pixel_error(found: np.ndarray, truth: np.ndarray) -> float:
  """Mean over frames of the number of pixels that differ, of masks (N, H, W)."""
  return float(((np.asarray(found) > 0) != (np.asarray(truth) > 0)).sum((1, 2)).mean())


def best_of(overlap: Sequence[float], first: int = 0) -> tuple[float, float]:
  """The tube that fits an object best: its rank, from 1 on, and its mean overlap; nan both where there is none.

  Args:
    overlap: mean overlap of each tube, the best-ranked first; of equals the first; nan of an object without annotation.
    first: how many tubes are looked at; 0: all.
  """
  some = np.asarray(overlap, np.float64)[:first or None]
  if not len(some) or np.isnan(some).all():
    return float("nan"), float("nan")
  place = int(np.nanargmax(some))
  return place + 1, float(some[place])


def distinct(boxes: np.ndarray, overlap: float) -> np.ndarray:
  """Rows of tubes (K, N, 4), of which none overlaps one before it by more than `overlap` in the mean over frames."""
  kept: list[int] = []
  for k in range(len(boxes)):
    if overlap >= 1 or not kept or frame_iou(boxes[kept], boxes[k]).mean(1).max() <= overlap:
      kept.append(k)
  return np.array(kept, int)
