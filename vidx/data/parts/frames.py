"""The part of decoded frames, or of images of optical flow: clips of one shape."""

from collections.abc import Sequence
import math
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import geometry
from vidx.data.records import Dataset


class Frames:
  """`video` or `flow`, and `view_weight` where videos differ in how many views they have.

  With `data.sizes` a batch has the smallest of them that holds all of its videos, by `Record.extra["size"]`, (height,
  width); one that does not know its size is scaled down where it has to be.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del seed
    self._dataset, self._training = dataset, training
    self._clips = clips_lib.Clips(data, clips, crops, timed)
    self._uneven = not training and not clips
    self._sizes = [tuple(size) for size in data.sizes]
    self.lengths = None
    if self._sizes:
      from vidx.data import transforms
      own = [tuple(r.extra.get("size", (1, 1))) for r in dataset.records]
      known = {size: transforms.bucket(*size, data) for size in set(own)}
      self.lengths = tuple(known[size] for size in own)

  def room(self, indices: Sequence[int]) -> int:
    """1 + the number of the smallest of `data.sizes` that holds all records of a global batch; 0 without sizes."""
    if not self._sizes:
      return 0
    own = [self._sizes[self.lengths[i]] for i in indices] or self._sizes[:1]
    return 1 + geometry.smallest(self._sizes, *(max(sides) for sides in zip(*own)))

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a batch of that size: always, it is scaled down if need be."""
    del index, room
    return True

  @property
  def keys(self) -> tuple[str, ...]:
    return (batch_lib.clip_key(self._clips.train_shape), *(("view_weight",) if self._uneven else ()))

  @property
  def size(self) -> int:
    """Bytes of an example."""
    shape = self._clips.train_shape if self._training else self._clips.eval_shape
    largest = max((math.prod(s) for s in self._sizes), default=0)
    return math.prod(shape) // math.prod(shape[-3:-1]) * largest if largest else math.prod(shape)

  def make(self, index: int, cut: clips_lib.Cut | None, rng: np.random.Generator | None, room: int,
           chosen: Sequence[int] = ()) -> tuple[batch_lib.Batch, clips_lib.Cut]:
    """A random clip of a record, where a plan has `chosen` them between a first frame and an end, or all its views.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    del cut
    fitted = (self._sizes[room - 1] if room else (), chosen) if room or len(chosen) else ()
    made = self._clips.cut(self._dataset.records[index], rng, *fitted)
    return self._arrays(made.frames, 1.0), made

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Black frames."""
    del index
    shape = self._clips.train_shape if self._training else self._clips.eval_shape
    shape = (*shape[:-3], *self._sizes[room - 1], shape[-1]) if room else shape
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
