"""Frame folders: numbered images with the interface of a video reader."""

from collections.abc import Callable, Sequence
import functools
import os
import re

import av
from av.video.reformatter import VideoReformatter
import numpy as np

from vidx import errors, reading
from vidx.data import frame_tools, media_files

_FPS = 12.0  # that of Something-Something, the best known set of frame folders


class FrameFolder(frame_tools.Shown):
  """A folder of numbered images with the interface of `VideoReader`. It has no sound.

  Attributes:
    name: of the folder, for messages.
    files: names of its images, in order.
    num_frames: how many they are.
    fps: frames per second.
  """

  has_audio = False
  fps = _FPS

  def __init__(self, path: str | os.PathLike, pattern: str = "", fps: float = 0.0, only: str = ""):
    """
    Args:
      path: the folder.
      pattern: file names, such as "{:05d}.jpg"; empty: every image, by number.
      fps: frames per second; 0: 12.
      only: the one image that is meant; empty: all.

    Raises:
      DecodeError: there are no such images, or one of the sequence is missing.
    """
    self.name, self.fps = os.fspath(path), fps or self.fps
    with frame_tools.DecodeErrors(self.name):
      if only:  # what else is in the folder, perhaps many thousands, is not listed for each
        os.stat(path or ".")
        self.files = [only] if media_files.is_image(only) and os.path.isfile(os.path.join(path, only)) else []
      else:
        self.files = _numbered(os.listdir(path), pattern)
    if not self.files:
      raise errors.DecodeError(f"{self.name}: no images {'named like ' + pattern if pattern else 'in this folder'}.")
    self.num_frames = len(self.files)

  @functools.cached_property
  def _reformatter(self) -> VideoReformatter:
    return VideoReformatter()

  @functools.cached_property
  def _shape(self) -> tuple[int, ...]:
    return self._image(0, None).shape

  @property
  def timestamps(self) -> np.ndarray:
    """(num_frames,) float64 seconds."""
    return np.arange(self.num_frames) / self.fps

  def frames(self, indices: Sequence[int] | np.ndarray, short_side: int | None = None,
             crop: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """As `VideoReader.frames`."""
    wanted, places = frame_tools.checked(np.asarray(indices, np.int64).reshape(-1), self.num_frames, self.name)
    images = [self._image(i, short_side) for i in wanted]
    if any(i.shape != images[0].shape for i in images):
      raise errors.DecodeError(f"{self.name}: its images differ in size.")
    if not images:
      return np.empty((0, self.height, self.width, 3), np.uint8)
    out = np.stack(images)[places]
    return out if crop is None else out[:, crop[1]:crop[3], crop[0]:crop[2]]

  def hold(self, indices: Sequence[int] | np.ndarray) -> Callable[..., np.ndarray]:
    """As `VideoReader.hold`; images are read as they are asked for, and jpeg files no larger than needed."""
    indices = np.asarray(indices, np.int64).reshape(-1)
    frame_tools.checked(indices, self.num_frames, self.name)

    def images(positions, short_side: int | None = None) -> np.ndarray:
      return np.stack([self._image(i, short_side, reduced=True) for i in indices[np.asarray(positions)].tolist()])

    return images

  def audio(self, rate: int = 16000, start: float = 0.0, end: float = float("inf")) -> np.ndarray:
    """Empty."""
    del rate, start, end
    return np.zeros(0, np.float32)

  def encoded(self, i: int) -> bytes:
    """The bytes of an image file."""
    reading.regular(os.path.join(self.name, self.files[i]))
    with open(os.path.join(self.name, self.files[i]), "rb") as f:
      return f.read()

  def _image(self, i: int, short_side: int | None, reduced: bool = False) -> np.ndarray:
    """One image; `reduced` lets a jpeg decoder leave detail out that is not seen at the short side."""
    path = os.path.join(self.name, self.files[i])
    codec = media_files.IMAGES[os.path.splitext(path)[1].lower()]
    with frame_tools.DecodeErrors(path):
      data = self.encoded(i)
      decoder = av.CodecContext.create(codec, "r")
      decoder.options = frame_tools.DECODER
      if reduced and short_side and codec == "mjpeg":
        halvings = max(k for k in range(4) if k == 0 or min(self._shape[:2]) >> k >= short_side)
        decoder.options = {**frame_tools.DECODER, "lowres": str(halvings)}
      found = decoder.decode(av.Packet(data)) + decoder.decode(None) if data else []
      if not found:
        raise ValueError("it is no image")
      frame = found[0]
      width, height = (frame_tools.fit_short_side(frame.width, frame.height, short_side) if short_side
                       else (frame.width, frame.height))
      return frame_tools.to_rgb(frame, self._reformatter, width, height)


def _numbered(names: Sequence[str], pattern: str) -> list[str]:
  """Image files in the order of their numbers."""
  if pattern:
    prefix, _, suffix = re.split(r"(\{[^}]*\})", pattern, maxsplit=1)
    names = [n for n in names if re.fullmatch(rf"{re.escape(prefix)}\d+{re.escape(suffix)}", n)]
  names = [n for n in names if media_files.is_image(n) and not n.startswith(".")]
  return sorted(names, key=media_files.by_number)
