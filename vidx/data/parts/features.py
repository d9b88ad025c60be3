"""The part of whole videos as sequences of features, with what is known of their frames.

A sequence is zero-padded to a bucket. Buckets are multiples of
`data.bucket_multiple` that grow by about `data.bucket_growth`: a program is compiled
for each, so there are few; with 32 and 1.5 there are nine up to 1,000 frames, fourteen up to 10,000.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import feature_files
from vidx.data.records import Dataset
from vidx.terminal import counted

_TRANSCRIPT_MULTIPLE = 8  # transcripts of the parts of a data set then differ in few shapes
_FIRST_FRAMES = 64  # of the sequence that initialises a model; more than the stride of any trunk


def bucket(frames: int, multiple: int, growth: float) -> int:
  """The least bucket that holds so many frames."""
  size = multiple
  while size < frames:
    size = max(size + multiple, math.ceil(size * growth / multiple) * multiple)
  return size


class Features:
  """`features` and `length`; of annotated videos `transcript`, `frame_label` and `full` too.

  Attributes:
    lengths: frames of every record, at most.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del clips, crops, timed
    if data.bucket_multiple < 1 or data.bucket_growth < 1:
      raise errors.ConfigError(f"data.bucket_multiple={data.bucket_multiple} and data.bucket_growth="
                               f"{data.bucket_growth:g} are at least 1.")
    if not 0 <= data.full_share <= 1:
      raise errors.ConfigError(f"data.full_share={data.full_share:g} is not in [0, 1].")
    self._dataset, self._data = dataset, data
    self.lengths = tuple(r.extra["frames"] for r in dataset.records)
    longest = max((len(r.extra["transcript"]) for r in dataset.records), default=0)
    self._steps = -(-longest // _TRANSCRIPT_MULTIPLE) * _TRANSCRIPT_MULTIPLE
    share = data.full_share if training else 1.0
    count = max(1, round(len(dataset) * share)) if share else 0
    self._full = set(np.random.default_rng((seed, len(dataset))).permutation(len(dataset))[:count].tolist())

  @property
  def keys(self) -> tuple[str, ...]:
    return ("features", "length", *(("transcript", "frame_label", "full") if self._steps else ()))

  @property
  def size(self) -> int:
    """Bytes of the longest example."""
    return 4 * self._data.feature_size * self.room(range(len(self._dataset)))

  def room(self, indices: Sequence[int]) -> int:
    """Frames of the bucket for a global batch, the same in all processes."""
    longest = max((self.lengths[i] for i in indices), default=1)
    return bucket(longest, self._data.bucket_multiple, self._data.bucket_growth)

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a bucket."""
    return self.lengths[index] <= room

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """A record as it is; nothing is random about it.

    Raises:
      DecodeError: the features cannot be used.
    """
    del cut, rng
    record = self._dataset.records[index]
    try:
      features, labels = feature_files.load(record)
    except errors.DecodeError:
      raise
    except errors.DataError as e:
      raise errors.DecodeError(str(e)) from e
    if features.shape[1] != self._data.feature_size:
      raise errors.DecodeError(f"features {record.media.path}: {features.shape[1]} per frame,"
                               f" not {self._data.feature_size}.")
    example = self.blank(index, room)
    frames = len(features)
    example["features"][:frames] = features
    example["length"] = np.int32(frames)
    if labels is not None and index in self._full:
      example["frame_label"][:frames] = labels
      example["full"] = np.float32(1)
    return example, None

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """All frames zero, and none of them dead."""
    example = {"features": np.zeros((room, self._data.feature_size), np.float32), "length": np.int32(room)}
    if self._steps:
      transcript = np.full(self._steps, -1, np.int32)
      order = self._dataset.records[index].extra["transcript"] if index >= 0 else ()
      transcript[:len(order)] = order
      example.update(transcript=transcript, frame_label=np.full(room, -1, np.int32), full=np.float32(0))
    return example

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """A sequence of a few frames.

    Raises:
      ConfigError: the features' size is not known.
    """
    del num_classes
    if not data.feature_size:
      raise errors.ConfigError("data.feature_size is 0 and the system takes features: set how many a frame has.")
    frames = bucket(_FIRST_FRAMES, data.bucket_multiple, data.bucket_growth)
    return {"features": ((frames, data.feature_size), np.float32), "length": ((), np.int32),
            "transcript": ((_TRANSCRIPT_MULTIPLE,), np.int32), "frame_label": ((frames,), np.int32),
            "full": ((), np.float32)}


def feature_size(dataset: Dataset) -> int:
  """Features per frame of the first file that can be read.

  Raises:
    DataError: there is none.
  """
  found = next((size for r in dataset.records if (size := feature_files.size_of(r))), None)
  if found is None:
    raise errors.DataError(f"split '{dataset.split}': none of its {counted(len(dataset), 'feature file')} can be read.")
  return found
