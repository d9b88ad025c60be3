"""Masks as COCO's files have them: polygons, and run lengths as numbers or as text.

The pixels are those of COCO's own tools: polygons are drawn at five times the size, and a
pixel counts where the boundary passes its centre. Masks are read column by column.
Lin et al.: "Microsoft COCO: Common Objects in Context", 2014.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from vidx.terminal import counted

_SCALE = 5  # how much larger polygons are drawn
_MOST = 1 << 28  # pixels of a mask


@dataclasses.dataclass(frozen=True)
class Things:
  """All things of a category in an image, as their annotations have them.

  Attributes:
    parts: of each, polygons or run lengths, see `mask_of`.
  """

  parts: tuple[Any, ...]

  def mask(self, height: int, width: int) -> np.ndarray:
    """bool (height, width): the union of their masks; raises as `mask_of`."""
    found = np.zeros((height, width), bool)
    for part in self.parts:
      found |= mask_of(part, height, width)
    return found


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
  """The mask of an annotation.

  Args:
    segmentation: polygons, each [x, y, x, y, ...] in pixels, or {'counts': numbers or text, 'size': [height, width]}.
    height: of the image.
    width: of the image.

  Returns:
    bool (height, width).

  Raises:
    ValueError: neither of both, runs that do not fill the image, or another size than that of the image.
  """
  if isinstance(segmentation, Mapping):
    try:
      counts, size = segmentation["counts"], [int(n) for n in segmentation["size"]]
    except (KeyError, TypeError, ValueError):
      raise ValueError("run lengths need 'counts' and 'size'") from None
    if size != [height, width]:
      raise ValueError(f"run lengths of {size[-1]}x{size[0]} pixels in an image of {width}x{height}")
    return from_counts(counts_of_text(counts) if isinstance(counts, (str, bytes)) else counts, height, width)
  if isinstance(segmentation, np.ndarray):
    segmentation = [segmentation]
  try:
    polygons = [np.asarray(p, np.float64).reshape(-1) for p in segmentation]
  except (TypeError, ValueError):
    raise ValueError("neither polygons nor run lengths") from None
  mask = np.zeros((height, width), bool)
  for polygon in polygons:
    mask |= from_polygon(polygon, height, width)
  return mask


def check(segmentation: Any, height: int, width: int) -> None:
  """Raises ValueError for what `mask_of` would refuse, without drawing it."""
  if isinstance(segmentation, Mapping):
    mask_of(segmentation, height, width)
  else:
    for polygon in segmentation:
      _check_polygon(np.asarray(polygon).reshape(-1))


def from_counts(counts: Sequence[int], height: int, width: int) -> np.ndarray:
  """Runs of pixels outside and inside, in turn, as a mask bool (height, width).

  Raises:
    ValueError: they do not fill it.
  """
  try:
    counts = np.asarray(counts, np.int64).reshape(-1)
  except (TypeError, ValueError, OverflowError):
    raise ValueError("run lengths that are no numbers") from None
  if (counts < 0).any() or counts.sum() != height * width or height * width > _MOST:
    raise ValueError(f"run lengths of {counted(counts.sum(), 'pixel')} in an image of {width}x{height}")
  return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def to_counts(mask: np.ndarray) -> list[int]:
  """The inverse of `from_counts`: (height, width), inside where not zero."""
  flat = np.asarray(mask).astype(bool).T.reshape(-1)
  edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
  return np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()


def counts_of_text(text: str | bytes) -> list[int]:
  """Run lengths from COCO's text: five bits a letter, and from the third run on the difference from the last but one.

  Raises:
    ValueError: no such text.
  """
  codes = np.frombuffer(text.encode("latin-1", "replace") if isinstance(text, str) else bytes(text), np.uint8)
  counts: list[int] = []
  value = shift = 0
  for code in codes.astype(int).tolist():
    piece = code - 48
    if not 0 <= piece < 64 or shift > 60:
      raise ValueError("run lengths in a text that is none of COCO's")
    value |= (piece & 31) << shift
    shift += 5
    if piece & 32:
      continue
    if piece & 16:
      value -= 1 << shift
    counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    value = shift = 0
  if shift:
    raise ValueError("run lengths in a text that ends too early")
  return counts


def from_polygon(xy: np.ndarray, height: int, width: int) -> np.ndarray:
  """The inside of a polygon.

  Args:
    xy: float64 (2 K,): x, y of each corner in pixels.
    height: of the mask.
    width: of the mask.

  Returns:
    bool (height, width).

  Raises:
    ValueError: fewer than three corners, an odd number of values, or such as are no numbers.
  """
  _check_polygon(xy)
  corners = np.trunc(_SCALE * np.clip(xy.reshape(-1, 2), -1e6, 1e6) + 0.5).astype(np.int64)
  u, v = (np.concatenate(part) for part in zip(*map(_line, corners, np.roll(corners, -1, 0))))
  # Where the boundary goes from one column to the next.
  moved = np.flatnonzero(u[1:] != u[:-1]) + 1
  left, right = u[moved - 1], u[moved]
  x = (np.where(right < left, right, right - 1) + 0.5) / _SCALE - 0.5
  whole = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
  y = (np.minimum(v[moved], v[moved - 1]) + 0.5) / _SCALE - 0.5
  y = np.ceil(np.clip(y, 0, height))
  at = (x[whole] * height + y[whole]).astype(np.int64)
  turns = np.bincount(at, minlength=height * width + 1)[:height * width]
  return (np.cumsum(turns) % 2 == 1).reshape(width, height).T


def _check_polygon(xy: np.ndarray) -> None:
  if len(xy) < 6 or len(xy) % 2 or not np.isfinite(xy).all():
    raise ValueError("a polygon that is none: it takes three corners or more, x and y of each")


def _line(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The points from one corner to the next, both included, in order; drawn from the lower end of the longer axis."""
  (xs, ys), (xe, ye) = start.tolist(), end.tolist()
  dx, dy = abs(xe - xs), abs(ye - ys)
  flip = xs > xe if dx >= dy else ys > ye
  if flip:
    xs, ys, xe, ye = xe, ye, xs, ys
  t = np.arange(max(dx, dy) + 1)
  t = t[::-1] if flip else t
  if dx >= dy:
    return xs + t, np.trunc(ys + (ye - ys) / dx * t + 0.5).astype(np.int64) if dx else np.full(1, ys)
  return np.trunc(xs + (xe - xs) / dy * t + 0.5).astype(np.int64), ys + t
