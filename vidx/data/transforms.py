"""Transforms: uint8 clips (T, H, W, 3) to what a model sees, on the host.

What is random is drawn once for a clip, so that all its frames are treated alike. A
transform also says where the pixels came from (vidx/data/geometry.py), so that boxes
can follow. Normalisation and mixing of clips happen on the device (vidx/nn/augment.py).
"""

from collections.abc import Callable, Sequence

import cv2
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data.geometry import Geometry, smallest
from vidx.terminal import counted

Place = tuple[int, int, int, int]  # x, y, width, height of a rectangle in pixels
Rng = np.random.Generator
CROP_MODES = ("multiscale", "random_resized", "random", "corners", "centre", "whole")

_AREA = (0.08, 1.0)  # share of the frame that a random-resized crop covers
_ASPECT = (3 / 4, 4 / 3)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def train_transform(data: ConfigDict) -> Callable[[np.ndarray, Rng], tuple[np.ndarray, Geometry]]:
  """The training transform of a `config.data` section: f(frames, rng) -> (T, crop, crop, 3), and their geometry.

  With the crop mode 'whole', (T, H, W, 3) of `data.whole` = (H, W).

  Raises:
    ConfigError: an unknown crop mode, or a crop larger than the frames.
  """
  mode, size = data.crop_mode, data.crop
  if mode not in CROP_MODES:
    raise errors.ConfigError(
        f"data.crop_mode={mode!r}: one of {', '.join(CROP_MODES)}{errors.hint(mode, CROP_MODES)}.")
  if mode == "multiscale" and (not data.scales or min(data.scales) <= 0 or max(data.scales) > 1):
    raise errors.ConfigError(f"data.scales={tuple(data.scales)}: write shares of the short side, such as (1.0, 0.75).")
  if data.jitter and (len(data.jitter) != 2 or not 0 < data.jitter[0] <= data.jitter[1]):
    raise errors.ConfigError(f"data.jitter={tuple(data.jitter)}: write the least and the largest short side.")
  if data.colour_jitter and data.flow:
    raise errors.ConfigError(f"data.colour_jitter={data.colour_jitter:g}: optical flow has no colours; set it to 0.")
  if mode in ("random", "corners", "centre"):
    _fits(size, data.jitter[0] if data.jitter else data.short_side, "data.jitter" if data.jitter else "data.short_side")
  if mode == "whole" and (len(data.whole) != 2 or min(data.whole) < 1 or data.jitter):
    raise errors.ConfigError("data.crop_mode='whole': write data.whole=(height, width), and no data.jitter.")

  def transform(frames: np.ndarray, rng: Rng) -> tuple[np.ndarray, Geometry]:
    geometry = Geometry.whole(*frames.shape[1:3])
    if mode == "whole":
      frames, geometry = _resized(frames, geometry, data.whole[1], data.whole[0])
    elif mode != "random_resized":
      side = int(rng.integers(data.jitter[0], data.jitter[1] + 1)) if data.jitter else data.short_side
      frames, geometry = _resized(frames, geometry, *_size(frames, side, data.only_enlarge))
    height, width = frames.shape[1:3]
    if mode == "multiscale":
      frames, geometry = _cut(frames, geometry, multiscale_place(height, width, size, rng, data.scales), size)
    elif mode == "random_resized":
      frames, geometry = _cut(frames, geometry, random_resized_place(height, width, rng), size)
    elif mode == "random":
      frames, geometry = _cut(frames, geometry, random_place(height, width, size, rng), size)
    elif mode == "corners":
      places = five_places(height, width, size)
      frames, geometry = _cut(frames, geometry, places[rng.integers(len(places))], size)
    elif mode == "centre":
      frames, geometry = _cut(frames, geometry, centre_place(height, width, size), size)
    if data.flip and rng.random() < 0.5:
      frames, geometry = flip(frames), geometry.flip()
    if data.colour_jitter:
      frames = colour_jitter(frames, data.colour_jitter, rng)
    return np.ascontiguousarray(frames), geometry

  return transform


def eval_transform(data: ConfigDict, crops: int = 1
                   ) -> Callable[[np.ndarray], tuple[np.ndarray, tuple[Geometry, ...]]]:
  """The evaluation transform of a `config.data` section: f(frames) -> (crops, T, crop, crop, C), and their geometry.

  The crop is `data.test_crop`, or where that is 0 the crop of training. With
  `data.whole` = (H, W), f(frames) -> (1, T, H, W, C), which shows all of a frame and
  not its shape: networks that average over space take any size.

  Args:
    data: the section.
    crops: 1 (centre), 3 (along the long side) or 5 (corners and centre).

  Raises:
    ConfigError: another number of crops, or a crop larger than the frames.
  """
  if crops not in PLACES:
    raise errors.ConfigError(f"{crops} crops: 1, 3 or 5.")
  if data.whole:
    if crops != 1 or len(data.whole) != 2 or min(data.whole) < 1:
      raise errors.ConfigError(f"data.whole={tuple(data.whole)} with {counted(crops, 'crop')}: write (height, width) of"
                               " whole frames, and take 1 crop.")
    height, width = data.whole

    def transform(frames: np.ndarray) -> tuple[np.ndarray, tuple[Geometry, ...]]:
      out, geometry = _resized(frames, Geometry.whole(*frames.shape[1:3]), width, height)
      return np.ascontiguousarray(out[None]), (geometry,)

    return transform
  key, side = ("test_crop", data.test_crop) if data.test_crop else ("crop", data.crop)
  _fits(side, data.short_side, "data.short_side", f"data.{key}")

  def transform(frames: np.ndarray) -> tuple[np.ndarray, tuple[Geometry, ...]]:
    size = _size(frames, data.short_side, data.only_enlarge)
    frames, geometry = _resized(frames, Geometry.whole(*frames.shape[1:3]), *size)
    views = [_cut(frames, geometry, place, side) for place in PLACES[crops](*frames.shape[1:3], side)]
    return np.stack([view for view, _ in views]), tuple(geometry for _, geometry in views)

  return transform


def fitting_size(height: int, width: int, data: ConfigDict, room: tuple[int, int]) -> tuple[int, int]:
  """Width and height of whole frames in their own shape: the short side that is asked for, no longer than allowed.

  Args:
    height: of the frames.
    width: of the frames.
    data: the section; `short_side` and `long_side`.
    room: (height, width) that they must not leave.
  """
  scale = min(data.short_side / min(height, width), (data.long_side or np.inf) / max(height, width),
              room[0] / height, room[1] / width)
  return max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))


def bucket(height: int, width: int, data: ConfigDict) -> int:
  """The number of the smallest of `data.sizes` that holds frames as they are scaled; of the largest where none does."""
  across, down = fitting_size(height, width, data, (10**9, 10**9))
  return smallest(data.sizes, down, across)


def fit(frames: np.ndarray, data: ConfigDict, room: tuple[int, int], mirrored: bool = False
        ) -> tuple[np.ndarray, Geometry]:
  """Whole frames (T, H, W, C) in their own shape in the upper left corner of (T, *room, C), black elsewhere."""
  geometry = Geometry.whole(*frames.shape[1:3])
  frames, geometry = _resized(frames, geometry, *fitting_size(*frames.shape[1:3], data, room))
  if mirrored:
    frames, geometry = flip(frames), geometry.flip()
  out = np.zeros((len(frames), *room, frames.shape[-1]), np.uint8)
  out[:, :frames.shape[1], :frames.shape[2]] = frames
  return out, geometry.pad(*room)


def _size(frames: np.ndarray, side: int, only_enlarge: bool) -> tuple[int, int]:
  """Width and height for a short side of `side`; with `only_enlarge` those of larger frames stay."""
  height, width = frames.shape[1:3]
  return short_side_size(height, width, max(side, min(height, width)) if only_enlarge else side)


def _resized(frames: np.ndarray, geometry: Geometry, width: int, height: int) -> tuple[np.ndarray, Geometry]:
  return resize(frames, width, height), geometry.resize(width, height)


def _cut(frames: np.ndarray, geometry: Geometry, place: Place, size: int) -> tuple[np.ndarray, Geometry]:
  """A rectangle, resized to `size` x `size`."""
  return resize(crop(frames, *place), size, size), geometry.crop(*place).resize(size, size)


def _fits(crop: int, side: int, key: str, name: str = "data.crop") -> None:
  if crop > side:
    raise errors.ConfigError(f"{name}={crop} is larger than {key}={side}; make it smaller or the frames larger.")


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


def short_side_size(height: int, width: int, side: int) -> tuple[int, int]:
  """Width and height with a short side of `side` in the same shape, the long side rounded."""
  scale = side / min(height, width)
  return max(side, round(width * scale)), max(side, round(height * scale))


def resize_short_side(frames: np.ndarray, side: int) -> np.ndarray:
  """Resizes to a short side and keeps the shape, the long side rounded."""
  return resize(frames, *short_side_size(*frames.shape[1:3], side))


# ---------------------------------------------------------------- crops


def crop(frames: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
  """A view of a rectangle of every frame."""
  return frames[:, y:y + height, x:x + width]


def centre_place(height: int, width: int, size: int) -> Place:
  """The middle of a frame."""
  return (width - size) // 2, (height - size) // 2, size, size


def random_place(height: int, width: int, size: int, rng: Rng) -> Place:
  """Anywhere in a frame."""
  return int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1)), size, size


def three_places(height: int, width: int, size: int) -> list[Place]:
  """At the start, the middle and the end of the long side."""
  x, y = width - size, height - size
  corners = [(0, y // 2), (x // 2, y // 2), (x, y // 2)] if x >= y else [(x // 2, 0), (x // 2, y // 2), (x // 2, y)]
  return [(*corner, size, size) for corner in corners]


def five_places(height: int, width: int, size: int) -> list[Place]:
  """The four corners, then the centre."""
  x, y = width - size, height - size
  return [(*corner, size, size) for corner in ((0, 0), (x, 0), (0, y), (x, y), (x // 2, y // 2))]


PLACES = {1: lambda height, width, size: [centre_place(height, width, size)], 3: three_places, 5: five_places}


def centre_crop(frames: np.ndarray, size: int) -> np.ndarray:
  """(T, size, size, C) from the middle."""
  return crop(frames, *centre_place(*frames.shape[1:3], size))


def multiscale_positions(width: int, height: int, crop_width: int, crop_height: int) -> list[tuple[int, int]]:
  """The 13 places (x, y) of a multi-scale crop: corners, edges, centre and between them."""
  x, y = (width - crop_width) // 4, (height - crop_height) // 4
  grid = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
  return [(i * x, j * y) for i, j in grid]


def multiscale_place(height: int, width: int, size: int, rng: Rng,
                     scales: Sequence[float] = (1, 0.875, 0.75, 0.66)) -> Place:
  """One of 13 fixed places at a random scale, to be resized to `size`.

  Width and height are the short side times two scales that are equal or neighbours.
  Wang et al.: "Temporal Segment Networks", 2016; the rounding is that of its code.
  """
  sides = [int(min(height, width) * s) for s in scales]
  sides = [min(size, height, width) if abs(s - size) < 3 else max(1, s) for s in sides]
  pairs = [(a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1]
  across, down = pairs[rng.integers(len(pairs))]
  places = multiscale_positions(width, height, across, down)
  return *places[rng.integers(len(places))], across, down


def random_resized_place(height: int, width: int, rng: Rng) -> Place:
  """A rectangle of random area and shape.

  Ten tries of an area of 8 to 100 % and an aspect ratio of 3/4 to 4/3; should none
  lie inside the frame, the middle as far as the ratio allows.
  """
  for _ in range(10):
    area = height * width * rng.uniform(*_AREA)
    aspect = np.exp(rng.uniform(*np.log(_ASPECT)))
    across, down = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    if 0 < across <= width and 0 < down <= height:
      return int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1)), across, down
  across, down = min(width, max(1, round(height * _ASPECT[1]))), min(height, max(1, round(width / _ASPECT[0])))
  return (width - across) // 2, (height - down) // 2, across, down


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
