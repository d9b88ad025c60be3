"""The part of decoded frames, or of images of optical flow: clips of one shape."""

import math
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import parts as parts_lib
from vidx.data.records import Dataset


class Frames(parts_lib.OneShape):
  """`video` or `flow`, and `view_weight` where videos differ in how many views they have."""

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del seed
    self._dataset, self._training = dataset, training
    self._clips = clips_lib.Clips(data, clips, crops, timed)
    self._uneven = not training and not clips

  @property
  def keys(self) -> tuple[str, ...]:
    return (batch_lib.clip_key(self._clips.train_shape), *(("view_weight",) if self._uneven else ()))

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return math.prod(self._clips.train_shape if self._training else self._clips.eval_shape)

  def make(self, index: int, cut: clips_lib.Cut | None, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, clips_lib.Cut]:
    """A random clip of a record, or all its views.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    del cut, room
    made = self._clips.cut(self._dataset.records[index], rng)
    return self._arrays(made.frames, 1.0), made

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Black frames."""
    del index, room
    shape = self._clips.train_shape if self._training else self._clips.eval_shape
    return self._arrays(np.zeros(shape, np.uint8), 1.0)

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: Any) -> dict[str, tuple[Any, Any]]:
    """Clips of a crop; their dtype on the device is the compute dtype."""
    del num_classes
    clip = (clips_lib.clip_shape(data), None)
    return {"video": clip, "flow": clip}

  def _arrays(self, frames: np.ndarray, weight: float) -> batch_lib.Batch:
    views = {"view_weight": np.full(len(frames), weight, np.float32)} if self._uneven else {}
    return {batch_lib.clip_key(frames.shape): frames, **views}
