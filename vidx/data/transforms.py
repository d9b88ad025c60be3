"""Transforms: uint8 clips (T, H, W, 3) to what a model sees, on the host.

What is random is drawn once for a clip, so that all its frames are treated alike.
Normalisation and mixing of clips happen on the device (vidx/nn/augment.py).
"""

from collections.abc import Callable, Sequence

import cv2
from ml_collections import ConfigDict
import numpy as np

from vidx import errors

Rng = np.random.Generator
CROP_MODES = ("multiscale", "random_resized", "random", "centre")

_AREA = (0.08, 1.0)  # share of the frame that a random-resized crop covers
_ASPECT = (3 / 4, 4 / 3)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def train_transform(data: ConfigDict) -> Callable[[np.ndarray, Rng], np.ndarray]:
  """The training transform of a `config.data` section: f(frames, rng) -> (T, crop, crop, 3).

  Raises:
    ConfigError: an unknown crop mode, or a crop larger than the frames.
  """
  mode, size = data.crop_mode, data.crop
  if mode not in CROP_MODES:
    raise errors.ConfigError(
        f"data.crop_mode={mode!r}: one of {', '.join(CROP_MODES)}{errors.hint(mode, CROP_MODES)}.")
  if data.jitter and (len(data.jitter) != 2 or not 0 < data.jitter[0] <= data.jitter[1]):
    raise errors.ConfigError(f"data.jitter={tuple(data.jitter)}: write the least and the largest short side.")
  if data.colour_jitter and data.flow:
    raise errors.ConfigError(f"data.colour_jitter={data.colour_jitter:g}: optical flow has no colours; set it to 0.")
  if mode in ("random", "centre"):
    _fits(size, data.jitter[0] if data.jitter else data.short_side, "data.jitter" if data.jitter else "data.short_side")

  def transform(frames: np.ndarray, rng: Rng) -> np.ndarray:
    if mode != "random_resized":
      side = int(rng.integers(data.jitter[0], data.jitter[1] + 1)) if data.jitter else data.short_side
      frames = resize_short_side(frames, side)
    if mode == "multiscale":
      frames = multiscale_crop(frames, size, rng, data.scales)
    elif mode == "random_resized":
      frames = random_resized_crop(frames, size, rng)
    elif mode == "random":
      frames = random_crop(frames, size, rng)
    else:
      frames = centre_crop(frames, size)
    if data.flip and rng.random() < 0.5:
      frames = flip(frames)
    if data.colour_jitter:
      frames = colour_jitter(frames, data.colour_jitter, rng)
    return np.ascontiguousarray(frames)

  return transform


def eval_transform(data: ConfigDict, crops: int = 1) -> Callable[[np.ndarray], np.ndarray]:
  """The evaluation transform of a `config.data` section: f(frames) -> (crops, T, crop, crop, C).

  With `data.whole` = (H, W), f(frames) -> (1, T, H, W, C), which shows all of a frame
  and not its shape: networks that average over space take any size.

  Args:
    data: the section.
    crops: 1 (centre), 3 (along the long side) or 5 (corners and centre).

  Raises:
    ConfigError: another number of crops, or a crop larger than the frames.
  """
  if crops not in (1, 3, 5):
    raise errors.ConfigError(f"{crops} crops: 1, 3 or 5.")
  if data.whole:
    if crops != 1 or len(data.whole) != 2:
      raise errors.ConfigError(f"data.whole={tuple(data.whole)} with {crops} crop(s): write (height, width) of whole"
                               " frames, and take 1 crop.")
    height, width = data.whole
    return lambda frames: np.ascontiguousarray(resize(frames, width, height)[None])
  _fits(data.crop, data.short_side, "data.short_side")
  cut = {1: lambda f, size: centre_crop(f, size)[None], 3: three_crops, 5: five_crops}[crops]
  return lambda frames: np.ascontiguousarray(cut(resize_short_side(frames, data.short_side), data.crop))


def _fits(crop: int, side: int, key: str) -> None:
  if crop > side:
    raise errors.ConfigError(f"data.crop={crop} is larger than {key}={side}; make it smaller or the frames larger.")


# ---------------------------------------------------------------- size


def resize(frames: np.ndarray, width: int, height: int) -> np.ndarray:
  """(T, height, width, C): averages where frames shrink, bilinear where they grow."""
  t, h, w, channels = frames.shape
  if (h, w) == (height, width):
    return frames
  how = cv2.INTER_AREA if width <= w and height <= h else cv2.INTER_LINEAR
  out = np.empty((t, height, width, channels), np.uint8)
  for source, target in zip(frames, out):
    cv2.resize(source, (width, height), dst=target, interpolation=how)
  return out


def resize_short_side(frames: np.ndarray, side: int) -> np.ndarray:
  """Resizes to a short side and keeps the shape, the long side rounded."""
  h, w = frames.shape[1:3]
  scale = side / min(h, w)
  return resize(frames, max(side, round(w * scale)), max(side, round(h * scale)))


# ---------------------------------------------------------------- crops


def crop(frames: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
  """A view of a rectangle of every frame."""
  return frames[:, y:y + height, x:x + width]


def centre_crop(frames: np.ndarray, size: int) -> np.ndarray:
  """(T, size, size, 3) from the middle."""
  h, w = frames.shape[1:3]
  return crop(frames, (w - size) // 2, (h - size) // 2, size, size)


def random_crop(frames: np.ndarray, size: int, rng: Rng) -> np.ndarray:
  """(T, size, size, 3) from anywhere."""
  h, w = frames.shape[1:3]
  return crop(frames, int(rng.integers(w - size + 1)), int(rng.integers(h - size + 1)), size, size)


def three_crops(frames: np.ndarray, size: int) -> np.ndarray:
  """(3, T, size, size, 3): at the start, the middle and the end of the long side."""
  h, w = frames.shape[1:3]
  x, y = w - size, h - size
  places = [(0, y // 2), (x // 2, y // 2), (x, y // 2)] if w >= h else [(x // 2, 0), (x // 2, y // 2), (x // 2, y)]
  return np.stack([crop(frames, *place, size, size) for place in places])


def five_crops(frames: np.ndarray, size: int) -> np.ndarray:
  """(5, T, size, size, 3): the four corners, then the centre."""
  h, w = frames.shape[1:3]
  x, y = w - size, h - size
  places = [(0, 0), (x, 0), (0, y), (x, y), (x // 2, y // 2)]
  return np.stack([crop(frames, *place, size, size) for place in places])


def multiscale_positions(width: int, height: int, crop_width: int, crop_height: int) -> list[tuple[int, int]]:
  """The 13 places (x, y) of a multi-scale crop: corners, edges, centre and between them."""
  x, y = (width - crop_width) // 4, (height - crop_height) // 4
  grid = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
  return [(i * x, j * y) for i, j in grid]


def multiscale_crop(frames: np.ndarray, size: int, rng: Rng,
                    scales: Sequence[float] = (1, 0.875, 0.75, 0.66)) -> np.ndarray:
  """One of 13 fixed places at a random scale, resized to (T, size, size, 3).

  Width and height are the short side times two scales that are equal or neighbours.
  Wang et al.: "Temporal Segment Networks", 2016; the rounding is that of its code.
  """
  h, w = frames.shape[1:3]
  sides = [int(min(h, w) * s) for s in scales]
  sides = [min(size, h, w) if abs(s - size) < 3 else max(1, s) for s in sides]
  pairs = [(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1]
  width, height = pairs[rng.integers(len(pairs))]
  places = multiscale_positions(w, h, width, height)
  return resize(crop(frames, *places[rng.integers(len(places))], width, height), size, size)


def random_resized_crop(frames: np.ndarray, size: int, rng: Rng) -> np.ndarray:
  """A rectangle of random area and shape, resized to (T, size, size, 3).

  Ten tries of an area of 8 to 100 % and an aspect ratio of 3/4 to 4/3; should none
  lie inside the frame, the middle as far as the ratio allows.
  """
  h, w = frames.shape[1:3]
  for _ in range(10):
    area = h * w * rng.uniform(*_AREA)
    aspect = np.exp(rng.uniform(*np.log(_ASPECT)))
    width, height = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    if 0 < width <= w and 0 < height <= h:
      x, y = int(rng.integers(w - width + 1)), int(rng.integers(h - height + 1))
      return resize(crop(frames, x, y, width, height), size, size)
  width, height = min(w, max(1, round(h * _ASPECT[1]))), min(h, max(1, round(w / _ASPECT[0])))
  return resize(crop(frames, (w - width) // 2, (h - height) // 2, width, height), size, size)


# ---------------------------------------------------------------- left and right, colour


def flip(frames: np.ndarray) -> np.ndarray:
  """Mirrors left and right; what flows to the right (of two channels) then flows to the left.

  Off for labels that know a direction.
  """
  mirrored = frames[:, :, ::-1]
  return mirrored ^ np.array([255, 0], np.uint8) if frames.shape[-1] == 2 else mirrored


def colour_jitter(frames: np.ndarray, strength: float, rng: Rng) -> np.ndarray:
  """Brightness, contrast and saturation, in random order, each times 1 - strength to 1 + strength.

  Contrast is about the mean grey of the whole clip.
  """
  x = frames.astype(np.float32)
  order = rng.permutation(3)
  factors = rng.uniform(max(0, 1 - strength), 1 + strength, 3).astype(np.float32)
  for kind in order:
    if kind == 0:
      x = x * factors[0]
    else:
      grey = x @ _GREY
      other = grey.mean() if kind == 1 else grey[..., None]
      x = other + factors[kind] * (x - other)
    x = np.clip(x, 0, 255)
  return np.rint(x).astype(np.uint8)
