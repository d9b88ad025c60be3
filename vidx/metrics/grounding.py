"""Where phrases are in images: pointing, and masks by categories. NumPy in, percent out.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, section 6.3. Zhang et al.:
"Top-down Neural Attention by Excitation Backprop", 2016, for the pointing game.
"""

from collections.abc import Sequence

import numpy as np

from vidx.metrics import boxes, masks as masks_lib

THRESHOLDS = ("middle", "printed")
OVERLAPS = (0.3, 0.4, 0.5)
POINTS = 100  # of the random baseline, per image


def upsample(masks: np.ndarray, height: int, width: int) -> np.ndarray:
  """Bilinear interpolation between pixel centres, without smoothing where masks shrink.

  Args:
    masks: (..., h, w).
    height: of the result.
    width: of the result.

  Returns:
    float32 (..., height, width).
  """
  down, across = _taps(masks.shape[-2], height), _taps(masks.shape[-1], width)
  return down @ np.asarray(masks, np.float32) @ across.T


def _taps(size: int, length: int) -> np.ndarray:
  """float32 (length, size): what each place takes of the places of a shorter or longer line."""
  centre = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
  low = np.floor(centre).astype(int)
  taps = np.zeros((length, size), np.float32)
  np.add.at(taps, (np.arange(length), low), 1 - (centre - low))
  np.add.at(taps, (np.arange(length), np.minimum(low + 1, size - 1)), centre - low)
  return taps


def point(mask: np.ndarray) -> tuple[int, int]:
  """(x, y) of the pixel of the highest value of a mask (H, W), of equal ones the first line by line."""
  y, x = np.unravel_index(int(np.argmax(mask)), mask.shape)
  return int(x), int(y)


def in_box(at: tuple[int, int], box: Sequence[float], tolerance: float = 0.0) -> bool:
  """Whether the centre of a pixel (x, y) lies in a box (x0, y0, x1, y1) of pixels, widened by a tolerance."""
  x, y = at[0] + 0.5, at[1] + 0.5
  return (box[0] - tolerance <= x <= box[2] + tolerance) and (box[1] - tolerance <= y <= box[3] + tolerance)


def in_mask(at: tuple[int, int], mask: np.ndarray, tolerance: float = 0.0) -> bool:
  """Whether a pixel (x, y) belongs to a mask (H, W), or lies no further from it than a tolerance in pixels."""
  if not tolerance:
    return bool(mask[at[1], at[0]])
  y, x = np.nonzero(mask)
  return bool(len(x)) and bool(np.hypot(x - at[0], y - at[1]).min() <= tolerance)


def random_hits(truth: np.ndarray, height: int, width: int, rng: np.random.Generator, points: int = POINTS
                ) -> np.ndarray:
  """Share of random points of an image inside of each true region: the baseline Random of Table 6.1.

  Args:
    truth: (N, 4) boxes in pixels, or (N, height, width) masks.
    height: of the image.
    width: of the image.
    rng: randomness.
    points: how many are drawn, the same for all regions of the image.

  Returns:
    float64 (N,) in 0..1; its mean is the mean share of the image that regions cover, but for chance.
  """
  x, y = rng.uniform(0, width, points), rng.uniform(0, height, points)
  if truth.ndim == 3:
    return truth[:, np.minimum(y.astype(int), height - 1), np.minimum(x.astype(int), width - 1)].mean(1)
  x0, y0, x1, y1 = (side[:, None] for side in np.asarray(truth, np.float64).T)
  return ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).mean(1)


def region(mask: np.ndarray, threshold: str = "middle") -> tuple[np.ndarray, float]:
  """The region of a mask above the middle of its values, and its score, the mean value inside.

  Args:
    mask: (H, W) at the size of the image.
    threshold: "middle", (max + min) / 2 as the text has it, or "printed", (max - min) / 2.

  Returns:
    bool (H, W), and a number, 0 of an empty region.
  """
  if threshold not in THRESHOLDS:
    raise ValueError(f"threshold '{threshold}' is not one of {', '.join(THRESHOLDS)}")
  low, high = float(mask.min()), float(mask.max())
  inside = mask >= ((high + low) / 2 if threshold == "middle" else (high - low) / 2)
  return inside, float(mask[inside].mean()) if inside.any() else 0.0


def overlap(inside: np.ndarray, truth: np.ndarray) -> float:
  """Intersection over union with a true mask, which of an image without the category is empty: 0 then."""
  return masks_lib.mask_iou(inside, truth) if truth.any() else 0.0


def segmentation(category: np.ndarray, score: np.ndarray, iou: np.ndarray, present: np.ndarray,
                 overlaps: Sequence[float] = OVERLAPS) -> dict[str, float]:
  """Mean average precision of regions, one per image and category (Table 6.2).

  Of a category the regions of all images are ranked by score; one is right where its overlap is above the threshold.
  Average precision is the area under precision's envelope over recall.

  Args:
    category: int (N,).
    score: (N,).
    iou: (N,) in 0..1.
    present: bool (N,), whether the image shows the category at all; those that do are what is to be found.
    overlaps: thresholds.

  Returns:
    {'mAP@0.3', ..., 'mAP': the mean over the thresholds}, over the categories that any image shows.
  """
  category, score, iou, present = map(np.asarray, (category, score, iou, present))
  found: dict[str, list[float]] = {f"mAP@{t:g}": [] for t in overlaps}
  for c in np.unique(category[present]):
    rows = np.flatnonzero(category == c)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    for t in overlaps:
      right = (iou[rows] > t) & present[rows]
      found[f"mAP@{t:g}"].append(boxes.area_under_envelope(right, ~right, int(present[rows].sum())))
  means = {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}
  return {**means, "mAP": float(np.mean(list(means.values())))}
