"""Examples: what a record is to a model, put together from its parts; whoever makes batches asks here."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import parts as parts_lib
from vidx.data.records import LABEL, Dataset, Record
from vidx.terminal import counted

ACTIONS = "actions"  # of Record.extra: (class id, start, end in seconds) of each
TARGET = "target"  # of Record.companions: the image that a triplet is to give
UNITS = ("clips", "images", "triplets", "videos", "texts")


def _kind(dataset: Dataset) -> str:
  """What the media of all records are; an empty data set is one of videos."""
  return dataset.records[0].media.kind if len(dataset) else "video"


def of_features(dataset: Dataset) -> bool:
  """Whether the records are sequences of features."""
  return _kind(dataset) == "features"


def of_experts(dataset: Dataset) -> bool:
  """Whether the records are features of experts."""
  return _kind(dataset) == "experts"


def of_texts(dataset: Dataset) -> bool:
  """Whether the records are texts alone."""
  return _kind(dataset) == "text"


def unit(dataset: Dataset) -> str:
  """What its examples are called, of which one has 'PLURAL_per_s' in the log: one of UNITS."""
  if TARGET in (dataset.records[0].companions if len(dataset) else ()):
    return "triplets"
  return {"features": "videos", "experts": "videos", "text": "texts", "image": "images", "still": "images"}.get(
      _kind(dataset), "clips")


def with_feature_size(data: ConfigDict, dataset: Dataset) -> None:
  """Sets `data.feature_size` where a set of sequences finds it 0.

  Raises:
    ConfigError: it is another than that of the files.
  """
  if not of_features(dataset):
    return
  from vidx.data.parts import features
  size = features.feature_size(dataset)
  if data.feature_size not in (0, size):
    raise errors.ConfigError(f"data.feature_size is {data.feature_size}, but the files of split '{dataset.split}' have"
                             f" {counted(size, 'feature')} per frame (such as {dataset.records[0].media.path}).")
  data.feature_size = size


def input_shapes(model: Any, data: ConfigDict, dtype: Any, num_classes: int | Mapping[str, int]) -> list[Any]:
  """What a model is called with for one example, as shapes (1, ...).

  Args:
    model: `inputs` names the arrays.
    data: the `config.data` section.
    dtype: of clips on the device.
    num_classes: of multi-hot labels, or {target: number}.

  Raises:
    ConfigError: a model takes what no data set gives, or the features' size is not known.
  """
  import jax
  names = getattr(model, "inputs", ("video",))
  found = parts_lib.shapes(names, data, num_classes)
  return [jax.ShapeDtypeStruct((1, *found[name][0]), found[name][1] or dtype) for name in names]


def make(dataset: Dataset, data: ConfigDict, *, training: bool, wanted: Sequence[str] = (), clips: int = 1,
         crops: int = 1, seed: int = 0) -> "Examples":
  """The examples of a data set.

  Args:
    dataset: whose records they are.
    data: the `config.data` section.
    training: whether they are drawn with `train`, or with `evaluate`.
    wanted: keys that a model and its task read (see `batch.wanted`); they choose the companions of the
      part that opens the media.
    clips: temporal clips per video in evaluation; 0: as many as each has.
    crops: spatial crops per clip in evaluation.
    seed: draws the videos whose frame labels training may use.

  Raises:
    ConfigError: nothing gives a wanted key.
  """
  return Examples(dataset, data, training, wanted, clips, crops, seed)


def _during(record: Record, first: float, last: float) -> tuple[int, ...]:
  """Classes of the actions of a record that happen between two points of time."""
  return tuple(sorted({c for c, start, end in record.extra.get(ACTIONS, ()) if start <= last and end >= first}))


class Examples:
  """Examples of a data set, each the arrays of its parts beside labels, weight, index and id."""

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, wanted: Sequence[str], clips: int, crops: int,
               seed: int):
    self.dataset = dataset
    main, *others = parts_lib.chosen(_kind(dataset), wanted, bool(data.cache))
    self._of_clip = training and data.clip_labels
    if self._of_clip and not any(ACTIONS in r.extra for r in dataset.records):
      raise errors.ConfigError(f"data.clip_labels: data set '{dataset.name}' does not say when its actions are; set it"
                               " to False.")
    timed = bool(others) or self._of_clip
    self._first = parts_lib.load(main)(dataset, data, training, clips, crops, seed, timed=timed)
    views = clips_lib.eval_clips(data, clips) if main == "frames" and not training else max(clips, 1)
    self._others = [parts_lib.load(name)(dataset, data, training, views, crops, seed) for name in others]

  @property
  def lengths(self) -> tuple[int, ...] | None:
    """Frames of every record, at most, where examples differ in length."""
    return self._first.lengths

  @property
  def size(self) -> int:
    """Bytes of an example, of the largest one; companions are small beside it."""
    return self._first.size

  def room(self, indices: Sequence[int]) -> int:
    """Frames of the bucket for a global batch, 0 where examples are all of one shape."""
    return self._first.room(indices)

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a bucket."""
    return self._first.fits(index, room)

  def train(self, index: int, rng: np.random.Generator, room: int, chosen: Sequence[int] = ()) -> batch_lib.Batch:
    """A random example of a record; all that is random comes from `rng`, or was `chosen` by the set's plan.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    return self._made(index, rng, room, chosen)

  def evaluate(self, index: int, room: int) -> batch_lib.Batch:
    """All views of a record; raises as `train`."""
    return self._made(index, None, room)

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """An empty example, for a record or (-1) for padding."""
    example = self._first.blank(index, room)
    for part in self._others:
      example |= part.blank(index, room)
    return example | self._always(index, 0)

  def _made(self, index: int, rng: np.random.Generator | None, room: int, chosen: Sequence[int] = ()
            ) -> batch_lib.Batch:
    example, cut = self._first.make(index, None, rng, room, *([chosen] if len(chosen) else []))
    for part in self._others:
      example |= part.make(index, cut, rng, room)[0]
    example |= self._always(index, 1)
    if self._of_clip:
      actions = _during(self.dataset.records[index], *clips_lib.extent(cut.seconds[0]))
      example[LABEL] = batch_lib.label_array(actions, self.dataset)
    return example

  def _always(self, index: int, weight: float) -> batch_lib.Batch:
    sequences = of_features(self.dataset)  # an empty place has no action; without annotation there is no set of them
    targets = batch_lib.labels(self.dataset, index, unknown=() if sequences else -1)
    if sequences and "transcript" not in self._first.keys:
      targets = {}
    return {**targets, "weight": np.float32(weight), "index": np.int32(index),
            "id": self.dataset.records[index].id if index >= 0 else ""}
