"""A scene as frames, and as sound."""

import dataclasses

import cv2
import numpy as np

from vidx.data.toybox import turntable, world

_SHIFT = 4  # fractional bits of polygon corners
RATE = 16000  # samples per second


def texture(family: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
  """(H, W, 3) float32 background of a family, in 0..255."""
  y, x = np.mgrid[0:height, 0:width].astype(np.float32)
  angle = rng.uniform(0, np.pi)
  along = x * np.cos(angle) + y * np.sin(angle)
  across = -x * np.sin(angle) + y * np.cos(angle)
  period = rng.uniform(0.12, 0.25) * min(height, width)
  if family == "noise":
    pattern = sum(_noise(height, width, 2 ** k, rng) / 2 ** k for k in (1, 2, 3)) * 1.2
  elif family == "stripes":
    pattern = np.sin(2 * np.pi * along / period)
  elif family == "checks":
    pattern = np.sign(np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period))
  elif family == "gradient":
    pattern = 2 * (along - along.min()) / np.ptp(along) - 1
  elif family == "blobs":
    pattern = np.tanh(4 * _noise(height, width, 5, rng))
  else:
    pattern = rng.normal(size=(height, width)) * 0.5
  low, high = rng.uniform(60, 110, 3), rng.uniform(100, 150, 3)
  return (low + (high - low) * (pattern[..., None] * 0.5 + 0.5)).astype(np.float32)


def _noise(height: int, width: int, cells: int, rng: np.random.Generator) -> np.ndarray:
  """Smooth noise of so many cells per side, in about -1..1."""
  coarse = rng.uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
  return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def render(scene: world.Scene | turntable.Turn, size: tuple[int, int]) -> np.ndarray:
  """uint8 (T, H, W, 3) RGB frames.

  Args:
    scene: what to show.
    size: height and width in pixels.
  """
  if isinstance(scene, turntable.Turn):
    return turntable.pictures(scene, size)
  height, width = size
  rng = np.random.default_rng((scene.seed, 1))
  back = texture(scene.background, height + 2 * world.MARGIN, width + 2 * world.MARGIN, rng)
  noise = np.random.default_rng((scene.seed, 2))
  frames = np.empty((scene.frames, height, width, 3), np.uint8)
  for t in range(scene.frames):
    dx, dy = scene.offset(t)
    matrix = np.float32([[1, 0, -world.MARGIN - dx], [0, 1, -world.MARGIN - dy]])
    picture = cv2.warpAffine(back, matrix, (width, height), flags=cv2.INTER_LINEAR)
    for thing in (o for o in scene.objects if o.size[t] > 0):
      picture = _draw(picture, thing, t, dx, dy)
    if scene.blur is not None and scene.blur[t]:
      picture = cv2.GaussianBlur(picture, (0, 0), float(scene.blur[t]) * min(height, width))
    if scene.noise:
      picture = picture + noise.normal(0, scene.noise, picture.shape)
    frames[t] = np.clip(picture, 0, 255)
  return frames


def _draw(picture: np.ndarray, thing: world.Object, t: int, dx: float, dy: float) -> np.ndarray:
  """The picture with an object painted over it, at every place where it wraps around."""
  height, width = picture.shape[:2]
  side = min(height, width)
  body = thing.turned(world.SHAPES[thing.shape], t, side)
  mark = np.asarray([(0.25 * x + 0.4, 0.25 * y) for x, y in world.PLAIN["circle"]])
  mark = thing.turned(mark, t, side)
  x, y = (thing.x[t] % 1.0) * width - dx, (thing.y[t] % 1.0) * height - dy
  cover = np.zeros((height, width), np.uint8)
  dark = np.zeros((height, width), np.uint8)
  reach = 1.5 * thing.size[t] * side
  for ox in (-width, 0, width):
    for oy in (-height, 0, height):
      px, py = x + ox, y + oy
      if -reach <= px <= width + reach and -reach <= py <= height + reach:
        for mask, points in ((cover, body), (dark, mark)):
          corners = np.round((points + (px, py)) * (1 << _SHIFT)).astype(np.int32)
          cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, _SHIFT)
  alpha = cover[..., None].astype(np.float32) / 255
  inner = (np.minimum(dark, cover)[..., None].astype(np.float32) / 255) * 0.6
  colour = np.asarray(thing.colour, np.float32) * (1 - inner)
  return picture * (1 - alpha) + colour * alpha


def masks(scene: world.Scene, size: tuple[int, int], t: int = 0) -> np.ndarray:
  """bool (things, H, W): where each object of a frame is seen, whatever lies in front of it left out."""
  dx, dy = scene.offset(t)
  seen = []
  for i, thing in enumerate(scene.objects):
    picture = np.zeros((*size, 3), np.float32)
    for other in scene.objects[i:]:
      shade = (255.0 if other is thing else 0.0,) * 3
      if other.size[t] > 0:
        picture = _draw(picture, dataclasses.replace(other, colour=shade), t, dx, dy)
    seen.append(picture[..., 0])
  if not seen:
    return np.zeros((0, *size), bool)
  shown = np.stack(seen)
  first = np.arange(len(seen))[:, None, None] == shown.argmax(0)  # at an edge, that of which more is seen
  return first & (shown > 64)  # marks are darker: 102


def sound(scene: world.Scene | turntable.Turn, fps: float, rate: int = RATE) -> np.ndarray | None:
  """float32 (samples,) in -1..1: a tone that follows the scene's pitch and loudness, and its hum; a turn has none."""
  if isinstance(scene, turntable.Turn):
    return None
  samples = int(round(scene.frames / fps * rate))
  at = np.arange(samples) / rate * fps
  pitch = np.interp(at, np.arange(scene.frames), scene.pitch)
  phase = 2 * np.pi * np.cumsum(pitch) / rate
  tone = 0.3 * np.sin(phase) + 0.1 * np.sin(2 * phase)
  if scene.loudness is not None:
    frame = np.minimum(at.astype(np.int64), scene.frames - 1)
    width = max(1, rate // 200)  # edges of 5 ms do not click
    tone = tone * np.convolve(scene.loudness[frame], np.ones(width) / width, "same")
  if scene.hum:
    tone = tone + 0.2 * np.sin(2 * np.pi * scene.hum * np.arange(samples) / rate)
  return tone.astype(np.float32)
