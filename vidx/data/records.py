"""Records: what a data set says about each of its videos, before anything is decoded."""

import abc
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import hashlib
import itertools
import math
import os
import stat
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import media_files
from vidx.data.frame_boxes import TRUTH
from vidx.data.plans import Plan
from vidx.terminal import counted

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")  # endings of files without pictures
SHARED: dict[int, Any] = {}  # by `id`, what stands for a data set's records while processes start
_SIZES = 20_000  # files
_BLOCK = 10_000  # records
LABEL = "label"  # the target of data sets that have one


@dataclasses.dataclass(frozen=True)
class Media:
  """Where the frames of a record are.

  Attributes:
    path: a file of video, of sound or of an image, a folder of frames, an ArrayRecord file, or a file of features.
    kind: "video", "sound", "frames", "image", "still", an image as a video of one frame, "array_record", "features"
      (see datasets/sequences.py), "experts" (see experts.py; its path may be a folder) or "text", captions alone.
    index: position inside the ArrayRecord file.
    pattern: file name pattern of a frame folder, such as "{:05d}.jpg"; of a folder per expert, "NAME/<video>.npy".
    fps: frames per second, where the annotation says it and the media do not; 0: not said.
  """

  path: str
  kind: str = "video"
  index: int = -1
  pattern: str = ""
  fps: float = 0.0


def media_of(path: str) -> Media:
  """A video file, a file of sound by its ending, or a folder of frames."""
  kind = "sound" if path.lower().endswith(SOUNDS) else "video"
  return Media(path, "frames" if os.path.isdir(path) else kind)


@dataclasses.dataclass(frozen=True)
class Record:
  """One example: a video (or a span of one) and its annotation.

  Attributes:
    id: unique name inside the data set, usually the relative path.
    media: where the frames are.
    label: class id, tuple of class ids (multi-label), or -1 where unknown.
    span: start and end in seconds inside the media, None for all of it.
    extra: further annotation fields of the format.
    labels: values of the other targets of the data set by name, as `label` is that of the target 'label'.
    companions: further media by the name of the part that reads them, such as detections or experts.
  """

  id: str
  media: Media
  label: int | tuple[int, ...] = -1
  span: tuple[float, float] | None = None
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  labels: Mapping[str, int | tuple[int, ...]] = dataclasses.field(default_factory=dict)
  companions: Mapping[str, Media] = dataclasses.field(default_factory=dict)

  def value(self, target: str) -> int | tuple[int, ...]:
    """The label of a target, -1 where unknown."""
    return self.label if target == LABEL else self.labels.get(target, -1)


Described = tuple[str, Any, tuple[float, float] | None, int, int]  # id, label, span, place in the file, bytes of it


class Columns(Sequence[Record]):
  """Records of one label each that are held by columns, which answer at once what else is asked record by record."""

  @abc.abstractmethod
  def described(self, sizes: Iterable[int]) -> Iterator[Described]:
    """What there is to say of each, and with it the bytes that its file has, as they are given."""

  @abc.abstractmethod
  def values(self) -> list[int]:
    """The label of each."""

  @abc.abstractmethod
  def media(self) -> list[Hashable]:
    """What `media_key` says of each."""


def media_key(media: Media) -> Hashable:
  """What two media have in common that are one, whatever their names."""
  file = media_files.identity(media.path) or os.path.abspath(media.path)
  return file, media.pattern if media.kind == "experts" else media.index  # whose folder holds all videos


@dataclasses.dataclass(frozen=True)
class Target:
  """What is to be said of every video.

  Attributes:
    classes: class names by id.
    several: whether a video may have any number of them.
  """

  classes: tuple[str, ...]
  several: bool = False


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The records of one split.

  Attributes:
    name: the format's name.
    split: "train", "val" or "test".
    records: in a fixed order.
    classes: class names by id of the target 'label', the only one of most sets; empty where there is none.
    multilabel: whether labels are tuples of class ids.
    missing: media named by the annotation and not found.
    categories: for multi-label sets with kinds of tags, class ids by kind.
    named: further targets by name, such as 'verb' and 'noun'; their values are in `Record.labels`.
    facts: what metrics need besides, such as 'pairs', how often verb and noun meet in training.
    notes: lines for whoever uses it: what was left out or not understood.
    plan: what an epoch of training shows, see vidx/data/plans.py; None: every record once, in any order.
  """

  name: str
  split: str
  records: Sequence[Record]
  classes: tuple[str, ...] = ()
  multilabel: bool = False
  missing: tuple[str, ...] = ()
  categories: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  named: Mapping[str, Target] = dataclasses.field(default_factory=dict)
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
  notes: tuple[str, ...] = ()
  plan: Plan | None = dataclasses.field(default=None, compare=False)

  def __len__(self) -> int:
    return len(self.records)

  def __getstate__(self) -> dict[str, Any]:
    """What is pickled; records that processes share travel as where they lie (vidx/data/packed_records.py)."""
    return {**self.__dict__, "records": SHARED.get(id(self.records), self.records)}

  @property
  def epoch(self) -> int:
    """Examples of an epoch of training."""
    return len(self.records if self.plan is None else self.plan)

  @property
  def targets(self) -> dict[str, Target]:
    """All targets by name, 'label' first."""
    first = {LABEL: Target(tuple(self.classes), self.multilabel)} if self.classes else {}
    return {**first, **self.named}

  def values(self, target: str = LABEL) -> list[int | tuple[int, ...]]:
    """What `Record.value` says of every record."""
    if isinstance(self.records, Columns):
      return self.records.values() if target == LABEL else [-1] * len(self)
    return [r.value(target) for r in self.records]

  def media(self) -> list[Hashable]:
    """What `media_key` says of the media of every record."""
    return self.records.media() if isinstance(self.records, Columns) else [media_key(r.media) for r in self.records]

  def truths(self) -> dict[int, Any]:
    """Boxes of objects by record, of those that have them."""
    return {} if isinstance(self.records, Columns) else {
        i: r.extra[TRUTH] for i, r in enumerate(self.records) if TRUTH in r.extra}

  def fingerprint(self) -> str:
    """Hash of ids, labels of all targets, spans, classes, plan and sizes of files, of so many evenly spread ones at
    most as one may ask a drive for at every start: equal data gives equal text."""
    digest = hashlib.sha256(repr(self.classes).encode())
    if self.named:
      digest.update(repr(sorted((name, t.classes, t.several) for name, t in self.named.items())).encode())
    step, sizes = max(1, math.ceil(len(self) / _SIZES)), [-1] * len(self)
    for i in range(0, len(self), step):
      sizes[i] = _size(self.records[i].media)
    if isinstance(self.records, Columns):
      rows = self.records.described(sizes)
      while block := "".join(map(repr, itertools.islice(rows, _BLOCK))):
        digest.update(block.encode())
    else:
      for i, r in enumerate(self.records):
        digest.update(repr((r.id, r.label, r.span, r.media.index, sizes[i])).encode())
        if r.labels or r.companions:
          others = sorted((name, m.index, -1 if i % step else _size(m)) for name, m in r.companions.items())
          digest.update(repr((sorted(r.labels.items()), others)).encode())
        if TRUTH in r.extra:
          digest.update(r.extra[TRUTH].digest().encode())
    if self.plan is not None:
      digest.update(self.plan.fingerprint().encode())
    return digest.hexdigest()[:16]


def _size(media: Media) -> int:
  """Bytes of a file, -1 where it is none."""
  found = media_files.status(media.path)
  return found.st_size if found and stat.S_ISREG(found.st_mode) else -1


def class_names(dataset: Dataset) -> list[str] | dict[str, list[str]]:
  """What a run keeps of the classes of its data: names by id, or {target: names} where there are other targets."""
  if not dataset.named:
    return list(dataset.classes)
  return {name: list(target.classes) for name, target in dataset.targets.items()}


def aligned(dataset: Dataset, classes: Mapping[str, Sequence[str]]) -> Dataset:
  """The data set with labels that count in the classes of a trained model.

  Args:
    dataset: whose targets may count otherwise.
    classes: the model's class names by target; targets of which it knows nothing stay as they are.

  Raises:
    DataError: the data names a class that the model does not know.
  """
  moves = {}
  for name, target in dataset.targets.items():
    if name in classes and tuple(target.classes) != tuple(classes[name]):
      moves[name] = _moves(target.classes, classes[name], dataset.split, name)
  if not moves:
    return dataset

  def move(label, to):
    return tuple(to[c] for c in label) if isinstance(label, tuple) else to[label] if label >= 0 else label

  def moved(record):
    to, extra, label = moves.get(LABEL), dict(record.extra), record.label
    if to is not None:
      label = move(label, to)
      if "transcript" in extra:
        extra.update(transcript=move(extra["transcript"], to), runs=tuple((to[c], n) for c, n in extra["runs"]))
      if TRUTH in extra:
        extra[TRUTH] = extra[TRUTH].moved(to, len(classes[LABEL]))
    labels = {name: move(value, moves[name]) if name in moves else value for name, value in record.labels.items()}
    return dataclasses.replace(record, label=label, extra=extra, labels=labels)

  to = moves.get(LABEL)
  return dataclasses.replace(
      dataset, records=tuple(map(moved, dataset.records)), facts=_facts(dataset.facts, moves, classes),
      classes=tuple(classes[LABEL]) if to is not None else dataset.classes,
      categories={name: move(tuple(ids), to) for name, ids in dataset.categories.items()} if to is not None
      else dataset.categories,
      named={name: dataclasses.replace(target, classes=tuple(classes[name])) if name in moves else target
             for name, target in dataset.named.items()})


def _facts(facts: Mapping[str, Any], moves: Mapping[str, Sequence[int]], classes: Mapping[str, Sequence[str]]
           ) -> dict[str, Any]:
  """The facts of a data set, in the model's classes; of classes that the data lacks there are none."""
  out = dict(facts)
  if "pairs" in facts:
    at = [moves.get(name, range(n)) for name, n in zip(("verb", "noun"), np.shape(facts["pairs"]))]
    sizes = [len(classes[name]) if name in moves else len(own) for name, own in zip(("verb", "noun"), at)]
    out["pairs"] = np.zeros(sizes, np.asarray(facts["pairs"]).dtype)
    out["pairs"][np.ix_(*at)] = facts["pairs"]
  if to := moves.get(LABEL):
    if "among" in facts:
      out["among"] = facts["among"][0], tuple(to[c] for c in facts["among"][1])
    if "evaluated" in facts:
      out["evaluated"] = tuple(to[c] for c in facts["evaluated"])
    if "action_ids" in facts:  # by class
      of = dict(zip(to, facts["action_ids"]))
      out["action_ids"] = tuple(of.get(c, -1) for c in range(len(classes[LABEL])))
  return out


def _moves(own: Sequence[str], wanted: Sequence[str], split: str, target: str) -> list[int]:
  """Class ids of `wanted` by class id of `own`."""
  place = {name: i for i, name in enumerate(wanted)}
  strange = [c for c in own if c not in place]
  if strange:
    of = "" if target == LABEL else f" of target '{target}'"
    raise errors.DataError(
        f"the model was not trained on {len(strange)} of the {counted(len(own), 'class')}{of} of split '{split}', such"
        f" as '{strange[0]}'{errors.hint(strange[0], wanted)}; evaluate it on its own classes.")
  return [place[c] for c in own]
