"""Examples: what a record is to a model, a clip or a sequence of features; whoever makes batches asks here.

A sequence is zero-padded to a bucket. Buckets are multiples of
`data.bucket_multiple` that grow by about `data.bucket_growth`: a program is compiled
for each, so there are few; with 32 and 1.5 there are nine up to 1,000 frames, fourteen up to 10,000.
"""

from collections.abc import Sequence
import math
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data.datasets import sequences
from vidx.data.records import Dataset

_TRANSCRIPT_MULTIPLE = 8  # transcripts of the parts of a data set then differ in few shapes
_FIRST_FRAMES = 64  # of the sequence that initialises a model; more than the stride of any trunk


def bucket(frames: int, multiple: int, growth: float) -> int:
  """The least bucket that holds so many frames."""
  size = multiple
  while size < frames:
    size = max(size + multiple, math.ceil(size * growth / multiple) * multiple)
  return size


def of_features(dataset: Dataset) -> bool:
  """Whether the records are sequences of features."""
  return len(dataset) > 0 and dataset.records[0].media.kind == "features"


def feature_size(dataset: Dataset) -> int:
  """Features per frame of the first file that can be read.

  Raises:
    DataError: there is none.
  """
  found = next((size for r in dataset.records if (size := sequences.size_of(r))), None)
  if found is None:
    raise errors.DataError(f"split '{dataset.split}': none of its {len(dataset)} feature files can be read.")
  return found


def with_feature_size(data: ConfigDict, dataset: Dataset) -> None:
  """Sets `data.feature_size` where a set of sequences finds it 0.

  Raises:
    ConfigError: it is another than that of the files.
  """
  if not of_features(dataset):
    return
  size = feature_size(dataset)
  if data.feature_size not in (0, size):
    raise errors.ConfigError(f"data.feature_size is {data.feature_size}, but the files of split '{dataset.split}' have"
                             f" {size} features per frame (such as {dataset.records[0].media.path}).")
  data.feature_size = size


def input_shapes(model: Any, data: ConfigDict, dtype: Any, num_classes: int) -> list[Any]:
  """What a model is called with for one example, as shapes (1, ...).

  Args:
    model: `inputs` names the arrays.
    data: the `config.data` section.
    dtype: of clips on the device.
    num_classes: of multi-hot labels.

  Raises:
    ConfigError: a model takes what no data set gives, or the features' size is not known.
  """
  import jax
  frames = bucket(_FIRST_FRAMES, data.bucket_multiple, data.bucket_growth)
  clip = ((1, *clips_lib.clip_shape(data)), dtype)
  known = {"video": clip, "flow": clip, "features": ((1, frames, data.feature_size), np.float32),
           "length": ((1,), np.int32), "label": ((1, num_classes), np.float32),
           "transcript": ((1, _TRANSCRIPT_MULTIPLE), np.int32), "frame_label": ((1, frames), np.int32),
           "full": ((1,), np.float32)}
  names = getattr(model, "inputs", ("video",))
  for name in names:
    if name not in known:
      raise errors.ConfigError(f"the system takes '{name}', which no data set gives.")
  if "features" in names and not data.feature_size:
    raise errors.ConfigError("data.feature_size is 0 and the system takes features: set how many a frame has.")
  return [jax.ShapeDtypeStruct(*known[name]) for name in names]


def make(dataset: Dataset, data: ConfigDict, *, training: bool, clips: int = 1, crops: int = 1, seed: int = 0,
         ) -> "Clips | Sequences":
  """The examples of a data set.

  Args:
    dataset: whose records they are.
    data: the `config.data` section.
    training: whether they are drawn with `train`, or with `evaluate`.
    clips: temporal clips per video in evaluation.
    crops: spatial crops per clip in evaluation.
    seed: draws the videos whose frame labels training may use.
  """
  if of_features(dataset):
    return Sequences(dataset, data, training, seed)
  return Clips(dataset, data, training, clips, crops)


class Clips:
  """Clips of decoded frames, all of one shape."""

  lengths = None

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int):
    self.dataset, self._training = dataset, training
    self._clips = clips_lib.Clips(data, clips, crops)

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return math.prod(self._clips.train_shape if self._training else self._clips.eval_shape)

  def room(self, indices: Sequence[int]) -> int:
    """Frames of the bucket for a global batch; clips have none."""
    del indices
    return 0

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a bucket."""
    del index, room
    return True

  def train(self, index: int, rng: np.random.Generator, room: int) -> batch_lib.Batch:
    """A random clip of a record.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    del room
    return self._made(index, self._clips.train(self.dataset.records[index], rng))

  def evaluate(self, index: int, room: int) -> batch_lib.Batch:
    """All views of a record; raises as `train`."""
    del room
    return self._made(index, self._clips.evaluate(self.dataset.records[index]))

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """A place that is empty, of a record or (-1) of none."""
    del room
    return batch_lib.blank(self._clips.eval_shape, self.dataset, index)

  def _made(self, index: int, clip: np.ndarray) -> batch_lib.Batch:
    record = self.dataset.records[index]
    return {batch_lib.clip_key(clip.shape): clip, "label": batch_lib.label_array(record.label, self.dataset),
            "weight": np.float32(1), "index": np.int32(index), "id": record.id}


class Sequences:
  """Whole videos as sequences of features.

  Attributes:
    lengths: frames of every record, at most.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, seed: int):
    if data.bucket_multiple < 1 or data.bucket_growth < 1:
      raise errors.ConfigError(f"data.bucket_multiple={data.bucket_multiple} and data.bucket_growth="
                               f"{data.bucket_growth:g} are at least 1.")
    if not 0 <= data.full_share <= 1:
      raise errors.ConfigError(f"data.full_share={data.full_share:g} is not in [0, 1].")
    self.dataset, self._data = dataset, data
    self.lengths = tuple(r.extra["frames"] for r in dataset.records)
    longest = max((len(r.extra["transcript"]) for r in dataset.records), default=0)
    self._steps = -(-longest // _TRANSCRIPT_MULTIPLE) * _TRANSCRIPT_MULTIPLE
    share = data.full_share if training else 1.0
    count = max(1, round(len(dataset) * share)) if share else 0
    self._full = set(np.random.default_rng((seed, len(dataset))).permutation(len(dataset))[:count].tolist())

  @property
  def size(self) -> int:
    """Bytes of the longest example."""
    return 4 * self._data.feature_size * self.room(range(len(self.dataset)))

  def room(self, indices: Sequence[int]) -> int:
    """Frames of the bucket for a global batch, the same in all processes."""
    longest = max((self.lengths[i] for i in indices), default=1)
    return bucket(longest, self._data.bucket_multiple, self._data.bucket_growth)

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a bucket."""
    return self.lengths[index] <= room

  def train(self, index: int, rng: np.random.Generator, room: int) -> batch_lib.Batch:
    """A record as it is; nothing is random about it.

    Raises:
      DecodeError: the features cannot be used.
    """
    del rng
    return self.evaluate(index, room)

  def evaluate(self, index: int, room: int) -> batch_lib.Batch:
    """As `train`."""
    record = self.dataset.records[index]
    try:
      features, labels = sequences.load(record)
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
    example.update(length=np.int32(frames), weight=np.float32(1))
    if labels is not None and index in self._full:
      example["frame_label"][:frames] = labels
      example["full"] = np.float32(1)
    return example

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """A place that is empty, of a record or (-1) of none: all frames zero, and none of them dead."""
    known = index >= 0
    record = self.dataset.records[index] if known else None
    example = {"features": np.zeros((room, self._data.feature_size), np.float32), "length": np.int32(room),
               "weight": np.float32(0), "index": np.int32(index), "id": record.id if known else ""}
    if self._steps:
      transcript = np.full(self._steps, -1, np.int32)
      order = record.extra["transcript"] if known else ()
      transcript[:len(order)] = order
      example.update(label=batch_lib.label_array(record.label if known else (), self.dataset), transcript=transcript,
                     frame_label=np.full(room, -1, np.int32), full=np.float32(0))
    return example
