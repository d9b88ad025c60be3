"""What there is in the rendered world: backgrounds, shapes, objects that move, a camera."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

# Corners in a unit box around the centre; none of them has a rotational symmetry.
_ROUND = [(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 32, endpoint=False)]


def _polygon(*points: tuple[float, float]) -> np.ndarray:
  return np.asarray(points, np.float64)


def _star(points: int, inner: float) -> np.ndarray:
  angles = np.arange(2 * points) * np.pi / points - np.pi / 2
  radii = np.where(np.arange(2 * points) % 2, inner, 1.0)
  return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


DIRECTED = {
    "arrow": _polygon((1, 0), (0.1, -0.8), (0.1, -0.35), (-1, -0.35), (-1, 0.35), (0.1, 0.35), (0.1, 0.8)),
    "flag": _polygon((-0.7, -1), (0.9, -0.55), (-0.4, -0.1), (-0.4, 1), (-0.7, 1)),
    "hook": _polygon((-0.8, -1), (-0.3, -1), (-0.3, 0.45), (0.9, 0.45), (0.9, 0.95), (-0.8, 0.95)),
    "drop": _polygon((1.1, 0), *[(0.65 * x - 0.35, 0.65 * y) for x, y in _ROUND[4:-3]]),
}
PLAIN = {
    "circle": np.asarray(_ROUND),
    "square": _polygon((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)),
    "triangle": _polygon((0, -1), (0.9, 0.7), (-0.9, 0.7)),
    "star": _star(5, 0.42),
    "cross": _polygon((-0.3, -0.9), (0.3, -0.9), (0.3, -0.3), (0.9, -0.3), (0.9, 0.3), (0.3, 0.3), (0.3, 0.9),
                      (-0.3, 0.9), (-0.3, 0.3), (-0.9, 0.3), (-0.9, -0.3), (-0.3, -0.3)),
}
SHAPES = {**DIRECTED, **PLAIN}

COLOURS = {
    "red": (214, 48, 49), "green": (46, 174, 82), "blue": (52, 96, 219), "yellow": (245, 205, 48),
    "magenta": (199, 62, 176), "cyan": (54, 197, 208),
}

BACKGROUNDS = ("noise", "stripes", "checks", "gradient", "blobs", "grain")
MARGIN = 4  # pixels by which the camera may be off, either way


def some(rng: np.random.Generator, of: Sequence[Any]) -> Any:
  """One of several, all as likely."""
  return of[int(rng.integers(len(of)))]


@dataclasses.dataclass(frozen=True)
class Object:
  """A shape with a trajectory; arrays have one entry per frame.

  Attributes:
    shape: key of SHAPES.
    colour: RGB, 0..255.
    x: centre as a share of the width; wraps around at the borders.
    y: centre as a share of the height; wraps around at the borders.
    size: half extent as a share of the shorter side; 0 where it is not there.
    angle: radians, clockwise on the screen.
  """

  shape: str
  colour: tuple[int, int, int]
  x: np.ndarray
  y: np.ndarray
  size: np.ndarray
  angle: np.ndarray

  def turned(self, corners: np.ndarray, t: int, side: int) -> np.ndarray:
    """Corners (N, 2) of a unit box as they stand in frame t, in pixels around the centre; `side` is the shorter one."""
    c, s = np.cos(self.angle[t]), np.sin(self.angle[t])
    return corners @ np.array([[c, s], [-s, c]]) * (self.size[t] * side)


@dataclasses.dataclass(frozen=True)
class Scene:
  """A background, objects from back to front, and the camera.

  Attributes:
    background: one of BACKGROUNDS.
    seed: of the background's texture and of the grain.
    objects: from back to front.
    camera: (T, 2) offset of the picture in pixels, x and y.
    pitch: (T,) frequency of the sound in Hz.
    noise: deviation of the noise of every frame, of 255.
    loudness: (T,) of the tone, 1 as usual; None: 1 throughout.
    hum: frequency in Hz of a quiet steady tone beside it; 0: none.
    blur: (T,) deviation by which a picture is blurred, as a share of its shorter side; None: not at all.
  """

  background: str
  seed: int
  objects: tuple[Object, ...]
  camera: np.ndarray
  pitch: np.ndarray
  noise: float = 0.0
  loudness: np.ndarray | None = None
  hum: float = 0.0
  blur: np.ndarray | None = None

  @property
  def frames(self) -> int:
    return len(self.camera)

  def offset(self, t: int) -> np.ndarray:
    """(2,) by how many pixels the picture of frame t is moved, x and y."""
    return np.clip(self.camera[t], -MARGIN, MARGIN)

  def reversed(self) -> "Scene":
    """The same scene backwards in time."""
    back = lambda o: dataclasses.replace(
        o, x=o.x[::-1], y=o.y[::-1], size=o.size[::-1], angle=o.angle[::-1])
    return dataclasses.replace(self, objects=tuple(back(o) for o in self.objects),
                               camera=self.camera[::-1], pitch=self.pitch[::-1],
                               loudness=None if self.loudness is None else self.loudness[::-1],
                               blur=None if self.blur is None else self.blur[::-1])


def boxes(shown: Scene, size: tuple[int, int], things: Sequence[Object]) -> np.ndarray:
  """(T, things, 4) in parts of a frame of `size`, height and width: where some objects of a scene are drawn."""
  height, width = size
  side = min(height, width)
  found = np.zeros((shown.frames, len(things), 4))
  for t in range(shown.frames):
    dx, dy = shown.offset(t)
    for i, thing in enumerate(things):
      points = thing.turned(SHAPES[thing.shape], t, side)
      points = (points + (thing.x[t] * width - dx, thing.y[t] * height - dy)) / (width, height)
      found[t, i] = *points.min(0), *points.max(0)
  return np.clip(found, 0, 1)
