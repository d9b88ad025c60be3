"""The label set of identity and pose: boxes with the front of a car, each turned once round before a plain ground.

Who a box is: its hue, the number of its stripes and how long it is. How it stands: its
azimuth, one of 24 per frame. Clips are folders of images, as crops of objects are.
"""

import colorsys
import dataclasses

import cv2
import numpy as np

CLASSES = ("box",)
AZIMUTHS = 24
STRIPES = (0, 1, 2, 3)
COLUMNS = ("path", "azimuth", "hue", "stripes", "length")
_ELEVATION = np.deg2rad(22.0)
_SHIFT = 4  # fractional bits of corners
_GROUND = (150.0, 150.0, 154.0)
_GLASS = (40.0, 44.0, 52.0)

Told = tuple[float, int, float, tuple[float, ...]]  # hue, stripes, length, azimuths


@dataclasses.dataclass(frozen=True)
class Turn:
  """A box on its turntable.

  Attributes:
    hue: in turns.
    stripes: light bands over its sides and top.
    length: of its side, where its width is 1.
    azimuth: (T,) degrees, 0 where its front looks at us, to the right of the screen at 90.
  """

  hue: float
  stripes: int
  length: float
  azimuth: np.ndarray

  @property
  def frames(self) -> int:
    return len(self.azimuth)


def scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[Turn, Told]:
  """A box of an identity of its own, turned once round from any azimuth on, either way."""
  del label, split
  hue, stripes, length = float(rng.uniform()), int(rng.choice(STRIPES)), float(rng.uniform(1.2, 2.2))
  start, way = rng.integers(AZIMUTHS), rng.choice((-1, 1))
  azimuth = (start + way * (np.arange(frames) * AZIMUTHS // max(frames, 1))) % AZIMUTHS * (360.0 / AZIMUTHS)
  return Turn(hue, stripes, length, azimuth), (hue, stripes, length, tuple(azimuth.tolist()))


def colour(hue: float, value: float = 0.9) -> np.ndarray:
  """RGB of a hue, 0..255."""
  return 255 * np.asarray(colorsys.hsv_to_rgb(hue, 0.85, value))


def pictures(turn: Turn, size: tuple[int, int]) -> np.ndarray:
  """uint8 (T, H, W, 3) RGB."""
  return np.stack([picture(turn.hue, turn.stripes, turn.length, a, size) for a in turn.azimuth])


def picture(hue: float, stripes: int, length: float, azimuth: float, size: tuple[int, int] = (64, 64)) -> np.ndarray:
  """uint8 (H, W, 3) RGB of a box at an azimuth in degrees, from a little above and from far away."""
  canvas = np.empty((*size, 3), np.float32)
  canvas[:] = _GROUND
  a = np.deg2rad(azimuth)
  to_front, to_side = np.array([np.sin(a), -np.cos(a)]), np.array([np.cos(a), np.sin(a)])  # on the ground, x and depth
  half, high = length / 2, 0.75
  scale = 0.38 * min(size)

  def place(u, v, w):
    """Pixel of a point: u to the front, v to the side, w up."""
    x, depth = u * to_front + v * to_side
    return (size[1] / 2 + scale * x, size[0] / 2 - scale * ((w - high / 2) * np.cos(_ELEVATION)
                                                            + depth * np.sin(_ELEVATION)))

  def paint(corners, shade):
    points = np.round(np.asarray([place(*c) for c in corners]) * (1 << _SHIFT)).astype(np.int32)
    cover = np.zeros(size, np.uint8)
    cv2.fillPoly(cover, [points], 255, cv2.LINE_AA, _SHIFT)
    share = cover[..., None].astype(np.float32) / 255
    canvas[:] = canvas * (1 - share) + np.asarray(shade, np.float32) * share

  body, band = colour(hue), np.full(3, 235.0)
  ends = np.linspace(-half, half, 2 * max(stripes, 1) + 1)
  bands = [(ends[2 * i], ends[2 * i + 1]) for i in range(stripes)]
  def along(v):
    return lambda u0, u1, w0, w1: [(u0, v, w0), (u1, v, w0), (u1, v, w1), (u0, v, w1)]

  def across(u):
    return lambda v0, v1, w0, w1: [(u, v0, w0), (u, v1, w0), (u, v1, w1), (u, v0, w1)]

  walls = [(-to_side[1], along(0.5), "side"), (to_side[1], along(-0.5), "side"),
           (-to_front[1], across(half), "front"), (to_front[1], across(-half), "back")]
  for facing, part, kind in walls:  # how much it looks at us, the corners of a part of it, and which it is
    if facing <= 1e-9:
      continue
    light = 0.45 + 0.45 * facing
    if kind == "side":
      paint(part(-half, half, 0, high), light * body)
      for begin, end in bands:
        paint(part(begin, end, 0, high), light * band)
      paint(part(0.15 * length, 0.4 * length, 0.42 * high, 0.85 * high), _GLASS)
    else:
      paint(part(-0.5, 0.5, 0, high), light * body)
      if kind == "front":
        paint(part(-0.4, 0.4, 0.42 * high, 0.9 * high), _GLASS)
        for v in (-0.35, 0.35):
          paint(part(v - 0.1, v + 0.1, 0.1 * high, 0.3 * high), (250, 245, 190))
  paint([(-half, -0.5, high), (half, -0.5, high), (half, 0.5, high), (-half, 0.5, high)], body)
  for begin, end in bands:
    paint([(begin, -0.5, high), (end, -0.5, high), (end, 0.5, high), (begin, 0.5, high)], band)
  return np.clip(np.round(canvas), 0, 255).astype(np.uint8)
