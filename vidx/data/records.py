"""Records: what a data set says about each of its videos, before anything is decoded."""

from collections.abc import Mapping
import dataclasses
import hashlib
import os
from typing import Any



@dataclasses.dataclass(frozen=True)
class Media:
  """Where the frames of a record are.

  Attributes:
    path: a video file, a folder of frames, an ArrayRecord file, or a file of features.
    kind: "video", "frames", "array_record" or "features" (see datasets/sequences.py).
    index: position inside the ArrayRecord file.
    pattern: file name pattern of a frame folder, such as "{:05d}.jpg".
  """

  path: str
  kind: str = "video"
  index: int = -1
  pattern: str = ""


@dataclasses.dataclass(frozen=True)
class Record:
  """One example: a video (or a span of one) and its annotation.

  Attributes:
    id: unique name inside the data set, usually the relative path.
    media: where the frames are.
    label: class id, tuple of class ids (multi-label), or -1 where unknown.
    span: start and end in seconds inside the media, None for all of it.
    extra: further annotation fields of the format.
  """

  id: str
  media: Media
  label: int | tuple[int, ...] = -1
  span: tuple[float, float] | None = None
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The records of one split.

  Attributes:
    name: the format's name.
    split: "train", "val" or "test".
    records: in a fixed order.
    classes: class names by id.
    multilabel: whether labels are tuples of class ids.
    missing: media named by the annotation and not found.
    categories: for multi-label sets with kinds of tags, class ids by kind.
  """

  name: str
  split: str
  records: tuple[Record, ...]
  classes: tuple[str, ...]
  multilabel: bool = False
  missing: tuple[str, ...] = ()
  categories: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

  def __len__(self) -> int:
    return len(self.records)

  def fingerprint(self) -> str:
    """Hash of ids, labels, spans, classes and file sizes: equal data gives equal text."""
    digest = hashlib.sha256(repr(self.classes).encode())
    for r in self.records:
      size = os.path.getsize(r.media.path) if os.path.isfile(r.media.path) else -1
      digest.update(repr((r.id, r.label, r.span, r.media.index, size)).encode())
    return digest.hexdigest()[:16]
