"""Overlap of masks over a sequence: NumPy in, percent out.

Perazzi et al.: "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", 2016, calls the mean over frames J.
"""

from collections.abc import Iterable

import numpy as np


def mask_iou(found: np.ndarray, truth: np.ndarray) -> float:
  """Intersection over union of two masks (H, W), true where above 0; 1 where both are empty.

  Raises:
    ValueError: their sizes differ.
  """
  found, truth = np.asarray(found) > 0, np.asarray(truth) > 0
  if found.shape != truth.shape:
    raise ValueError(f"masks of {found.shape} and {truth.shape} have no overlap to measure")
  union = (found | truth).sum()
  return float((found & truth).sum() / union) if union else 1.0


def region_similarity(found: Iterable[np.ndarray], truth: Iterable[np.ndarray], ends: int = 0) -> float:
  """J: the mean of `mask_iou` over the frames of a sequence, in percent; nan of no frame.

  Args:
    found: masks (H, W), one per frame.
    truth: as `found`.
    ends: frames left out at either end; DAVIS 2016 leaves out 1.

  Raises:
    ValueError: their numbers or sizes differ.
  """
  each = [mask_iou(a, b) for a, b in zip(found, truth, strict=True)]
  each = each[ends:len(each) - ends]
  return 100 * float(np.mean(each)) if each else float("nan")
