"""Candidates of a video: looked at in small, and fetched at full size where they are chosen.

Every candidate frame of a video file is decoded once; only the chosen ones are
converted, or read from their images, at full size. Of clips of several frames, those
that are not chosen are not decoded at all, but for their middle frame.
"""

import contextlib

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import clips as clips_lib
from vidx.data import transforms
from vidx.data.records import Record


class Candidates:
  """The N candidates of a video, sampled and cropped as evaluation does (`config.data`). A context manager.

  Attributes:
    index: int64 (N, d), their frames in the video.
    small: uint8 (N, size, size, 3), their middle frames, as the sampler sees them.
  """

  def __init__(self, record: Record, data: ConfigDict, size: int = 0):
    """
    Args:
      record: the video.
      data: the section; `data.frames` candidates of `data.consecutive` frames.
      size: side of the small frames; 0: that of the full ones.

    Raises:
      ConfigError: evaluation shows whole frames.
      DecodeError: the media cannot be decoded.
    """
    if data.whole:
      raise errors.ConfigError(f"data.whole={tuple(data.whole)}: frames that a system chooses are crops; set it to ().")
    self._data, self._crop, self._side = data, data.test_crop or data.crop, data.short_side
    self._size = size or self._crop
    self._reader = clips_lib.open_media(record.media, data.threads)
    try:
      if data.only_enlarge:
        self._side = max(self._side, min(self._reader.height, self._reader.width))
      self.index = self._sampled(record)
      self._held = self._reader.hold(self.index[:, data.consecutive // 2])
      self.small = self._cropped(self._held, range(len(self.index)), self._size)
    except BaseException:
      self.close()
      raise

  def full(self, chosen: np.ndarray) -> np.ndarray:
    """uint8 (M, d, crop, crop, 3) of the candidates with numbers (M,).

    Raises:
      DecodeError: a frame is damaged.
    """
    single = self._data.consecutive == 1
    if single and self._size == self._crop:
      return self.small[chosen][:, None]
    if single:
      return self._cropped(self._held, chosen, self._crop)[:, None]
    frames = self._reader.frames(self.index[chosen].reshape(-1), short_side=self._side)
    return self._centre(frames, self._side, self._crop).reshape(len(chosen), -1, self._crop, self._crop, 3)

  def close(self) -> None:
    """Lets go of the file and of the frames."""
    self._held = None
    self._reader.close()

  def __enter__(self) -> "Candidates":
    return self

  def __exit__(self, *exc) -> None:
    self.close()

  def _sampled(self, record: Record) -> np.ndarray:
    data = self._data
    sample = clips_lib.sampler_of(data)
    return clips_lib.sampled(self._reader, record, data, sample, None)[0].reshape(data.frames, data.consecutive)

  def _cropped(self, held, chosen, size: int) -> np.ndarray:
    side = max(size, round(self._side * size / self._crop))
    return self._centre(held(chosen, side), side, size)

  @staticmethod
  def _centre(frames: np.ndarray, side: int, size: int) -> np.ndarray:
    return np.ascontiguousarray(transforms.centre_crop(transforms.resize_short_side(frames, side), size))


@contextlib.contextmanager
def closing(many):
  """Closes all candidates of a list at the end, those that were put in later too."""
  try:
    yield many
  finally:
    for one in many:
      if isinstance(one, Candidates):
        one.close()
