"""Frames that are kept as the bytes of images, as a built data set keeps a frame folder."""

from collections.abc import Sequence

import numpy as np

from vidx import errors
from vidx.data import frame_folder

_ENDINGS = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))


class StoredFrames(frame_folder.FrameFolder):
  """Encoded images in order, with the interface of a folder of them."""

  def __init__(self, images: Sequence[bytes], name: str, fps: float = 0.0):
    """
    Args:
      images: encoded, each in a format of its own if need be.
      name: for messages.
      fps: frames per second; 0: not known.
    """
    self.name, self.fps, self._timed = name, fps or self.fps, bool(fps)
    self.files = [f"{i:05d}{_ending(data)}" for i, data in enumerate(images)]
    self.num_frames = len(self.files)
    self._images = images

  @property
  def timestamps(self) -> np.ndarray:
    """As those of a folder.

    Raises:
      DataError: several frames, and it is not known how many there are per second.
    """
    if not self._timed and self.num_frames > 1:
      raise errors.DataError(f"{self.name}: its set was built without the rate of its frames, and seconds are asked"
                             " for: build it again by `vidx data build`.")
    return super().timestamps

  def encoded(self, i: int) -> bytes:
    return self._images[i]


def _ending(data: bytes) -> str:
  return next((ending for start, ending in _ENDINGS if data.startswith(start)), ".jpg")
