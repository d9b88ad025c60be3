"""Small parts shared by the readers of frames: sizes, checked indices, pixels, one error type."""

import contextlib
import os
from typing import BinaryIO

import av
from av.video.reformatter import Interpolation, VideoReformatter
import numpy as np

from vidx import errors, reading
from vidx.terminal import counted

MOST_PIXELS = 1 << 26  # of a frame, twice those of 8K
DECODER = {"max_pixels": str(MOST_PIXELS)}  # which the decoder then refuses before it asks for memory


def check_pixels(width: int, height: int) -> None:
  """Raises ValueError for a frame that is larger than any camera's; a few bytes may ask for gigabytes."""
  if width * height > MOST_PIXELS:
    raise ValueError(f"a frame of {width}x{height} pixels, more than the {MOST_PIXELS:,} that are read")


def fit_short_side(width: int, height: int, short_side: int) -> tuple[int, int]:
  """(width, height) with the given short side and the same shape, the long side rounded."""
  scale = short_side / min(width, height)
  return max(short_side, round(width * scale)), max(short_side, round(height * scale))


def checked(indices: np.ndarray, count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Sorted distinct indices, and where each of the given ones is among them.

  Raises:
    IndexError: an index is outside 0..count-1.
  """
  if indices.size and (indices.min() < 0 or indices.max() >= count):
    bad = indices[(indices < 0) | (indices >= count)][0]
    raise IndexError(f"{name}: frame {bad} is not one of its {counted(count, 'frame')}.")
  return np.unique(indices, return_inverse=True)


def to_rgb(frame: av.VideoFrame, reformatter: VideoReformatter, width: int, height: int) -> np.ndarray:
  """uint8 (height, width, 3) of a decoded frame: averages where it shrinks, bilinear where it grows.

  Raises:
    ValueError: it would have more than MOST_PIXELS, as a narrow frame with a large short side.
  """
  check_pixels(width, height)
  how = Interpolation.BILINEAR
  if width < frame.width and height < frame.height:
    how = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND  # colour at full size
  return pixels(reformatter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1))


def pixels(frame: av.VideoFrame) -> np.ndarray:
  """A view (H, W, 3) of an rgb24 frame."""
  plane = frame.planes[0]
  rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return rows[:frame.height, :frame.width * 3].reshape(frame.height, frame.width, 3)


def oriented(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
  """Turns and mirrors an image as its frame's display matrix says, to the nearest quarter turn."""
  data = frame.side_data.get("DISPLAYMATRIX")
  if data is None:
    return image
  a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
  # (x, y) is shown at (a x + c y, b x + d y).
  if abs(b) + abs(c) > abs(a) + abs(d):
    image, a, d = image.swapaxes(0, 1), c, b
  return image[::-1 if d < 0 else 1, ::-1 if a < 0 else 1]


class Reader(contextlib.AbstractContextManager):
  """What readers of frames share: `with` closes them."""

  def __exit__(self, *exc) -> None:
    self.close()

  def close(self) -> None:
    """Lets go of what is open: nothing, unless a reader says otherwise."""


class Shown(Reader):
  """A reader of frames of one size, `_shape`, (height, width, ...) in pixels as shown."""

  @property
  def width(self) -> int:
    """Pixels, as shown."""
    return self._shape[1]

  @property
  def height(self) -> int:
    """Pixels, as shown."""
    return self._shape[0]

  @property
  def duration(self) -> float:
    """Seconds from the first frame to the end of the last."""
    return self.num_frames / self.fps


class DecodeErrors:
  """Turns what PyAV, the packet index and the file system raise into DecodeError."""

  def __init__(self, name: str | os.PathLike):
    self._name = name

  def __enter__(self) -> None:
    return None

  def __exit__(self, kind, error, trace) -> None:
    if kind is None or isinstance(error, errors.UserError) or not isinstance(error, Exception):
      return
    if isinstance(error, FileNotFoundError):
      raise errors.DecodeError(f"{self._name}: no such file.") from error
    if isinstance(error, av.FFmpegError):
      raise errors.DecodeError(f"{self._name}: not a video that can be decoded ({error.strerror}).") from error
    if isinstance(error, (ValueError, OSError)):
      raise errors.DecodeError(f"{self._name}: {getattr(error, 'strerror', None) or error}.") from error
    raise errors.DecodeError(f"{self._name}: it is damaged ({reading.reason(error)}).") from error


def file_size(file: BinaryIO) -> int:
  """Bytes of an open file, which is left at its start."""
  size = file.seek(0, os.SEEK_END)
  file.seek(0)
  return size
