"""Geometry: where the pixels of an array come from, and how boxes follow them.

Boxes are (..., 4) as x0, y0, x1, y1: in parts of the whole frame, 0..1, where they are
kept, and in pixels of the array beside them where a model sees them.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Geometry:
  """An affine map per axis from the whole frame, 0..1, to pixels of an array.

  Attributes:
    height: of the array.
    width: of the array.
    scale: (y, x) pixels per whole frame; x is negative where left and right are mirrored.
    offset: (y, x) pixel of the frame's upper left corner.
  """

  height: int
  width: int
  scale: tuple[float, float]
  offset: tuple[float, float] = (0.0, 0.0)

  @classmethod
  def whole(cls, height: int, width: int) -> "Geometry":
    """A frame that nothing was done to."""
    return cls(height, width, (float(height), float(width)))

  @property
  def flipped(self) -> bool:
    """Whether left and right are mirrored."""
    return self.scale[1] < 0

  def resize(self, width: int, height: int) -> "Geometry":
    """After all of the array was resized."""
    y, x = height / self.height, width / self.width
    return Geometry(height, width, (self.scale[0] * y, self.scale[1] * x), (self.offset[0] * y, self.offset[1] * x))

  def crop(self, x: int, y: int, width: int, height: int) -> "Geometry":
    """After a rectangle was cut out of the array."""
    return Geometry(height, width, self.scale, (self.offset[0] - y, self.offset[1] - x))

  def flip(self) -> "Geometry":
    """After left and right were mirrored."""
    return Geometry(self.height, self.width, (self.scale[0], -self.scale[1]),
                    (self.offset[0], self.width - self.offset[1]))

  def pad(self, height: int, width: int) -> "Geometry":
    """After rows were added below and columns on the right, up to a size."""
    return Geometry(height, width, self.scale, self.offset)


def smallest(sizes: Sequence[Sequence[int]], height: int, width: int) -> int:
  """The number of the smallest of several sizes (height, width) that holds an array; of the largest where none does."""
  areas = [h * w for h, w in sizes]
  holding = [i for i, (h, w) in enumerate(sizes) if h >= height and w >= width]
  return min(holding, key=areas.__getitem__) if holding else int(np.argmax(areas))


def to_pixels(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
  """Boxes (..., 4) of 0..1 in pixels of the array, float32; they may lie outside of it (see `clip`)."""
  boxes = np.asarray(boxes, np.float64)
  x = boxes[..., 0::2] * geometry.scale[1] + geometry.offset[1]
  y = boxes[..., 1::2] * geometry.scale[0] + geometry.offset[0]
  return _ordered(x, y)


def to_frame(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
  """The inverse of `to_pixels`."""
  boxes = np.asarray(boxes, np.float64)
  x = (boxes[..., 0::2] - geometry.offset[1]) / geometry.scale[1]
  y = (boxes[..., 1::2] - geometry.offset[0]) / geometry.scale[0]
  return _ordered(x, y)


def clip(boxes: np.ndarray, geometry: Geometry) -> np.ndarray:
  """Boxes (..., 4) in pixels, cut at the edges of the array; of one outside nothing is left: its area is 0."""
  return np.clip(boxes, 0, np.array([geometry.width, geometry.height] * 2, np.float32)).astype(np.float32)


def area(boxes: np.ndarray) -> np.ndarray:
  """(...,) of boxes (..., 4)."""
  return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _ordered(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  return np.stack([x.min(-1), y.min(-1), x.max(-1), y.max(-1)], -1).astype(np.float32)
