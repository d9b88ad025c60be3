"""Records of a long table, one array per column; each record is made when it is asked for.

A million records are more than a gigabyte of Python objects and half a minute of making
them; their columns are a hundred megabytes, which processes can map.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import math
import os
import stat
from typing import Any

import numpy as np

from vidx.data.records import SOUNDS, Columns, Described, Media, Record

Span = tuple[float, float]

_LISTED = 8  # files of a folder from which on its listing is read
_LONGEST = 16  # times as many entries are read of it as files are wanted
_FILE, _FOLDER = 1, 2
_KINDS = ("video", "sound", "frames")


class Texts(Sequence[str]):
  """Texts one behind the other in one array."""

  def __init__(self, data: np.ndarray, ends: np.ndarray):
    """From bytes of UTF-8 and where in them each text ends; `of` makes both."""
    self._data, self._ends = data, ends

  @classmethod
  def of(cls, texts: Iterable[str]) -> "Texts":
    encoded = [t.encode("utf-8", "surrogateescape") for t in texts]
    return cls(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([len(t) for t in encoded], dtype=np.int64))

  def __len__(self) -> int:
    return len(self._ends)

  def __getitem__(self, i: Any) -> Any:
    return self._data[self._ends[i - 1] if i else 0:self._ends[i]].tobytes().decode("utf-8", "surrogateescape")

  def __iter__(self) -> Iterator[str]:
    data, ends = self._data.tobytes(), self._ends.tolist()
    return (data[a:b].decode("utf-8", "surrogateescape") for a, b in zip(itertools.chain((0,), ends), ends))


@dataclasses.dataclass(frozen=True)
class Files:
  """What the system says of files, an entry each, asked once for all that is to be known of them.

  Attributes:
    device, inode: uint64 (N,), which two names of one file share.
    folder: bool (N,).
    there: bool (N,), whether there is anything of that name.
  """

  device: np.ndarray
  inode: np.ndarray
  folder: np.ndarray
  there: np.ndarray

  def __getitem__(self, chosen: Any) -> "Files":
    return Files(*(getattr(self, f.name)[chosen] for f in dataclasses.fields(self)))

  def identities(self) -> list[tuple[int, int]]:
    """(device, inode) of each."""
    return list(zip(self.device.tolist(), self.inode.tolist()))


def look_at(root: str, paths: Sequence[str]) -> Files:
  """Asks the system for files or folders below a root, unless their paths are absolute.

  Of a folder with many of them its listing is read, which takes half of the time that
  file by file takes, and on drives of a network far less.
  """
  inside: dict[str, tuple[list[int], list[str]]] = {}
  for row, path in enumerate(paths):
    folder, slash, name = path.rpartition(os.sep)
    rows, names = inside.setdefault(folder + slash, ([], []))
    rows.append(row)
    names.append(name or os.curdir)
  order, found = [], []
  for folder, (rows, names) in inside.items():
    folder = os.path.join(root, folder)
    listed = _listed(folder, len(names)) if len(names) >= _LISTED else {}
    order += rows
    found += [listed.get(name) or _asked(os.path.join(folder, name)) for name in names]
  files = np.zeros((len(paths), 3), np.uint64)
  files[order] = np.array(found, np.uint64).reshape(-1, 3)
  return Files(files[:, 0].copy(), files[:, 1].copy(), files[:, 2] == _FOLDER, files[:, 2] != 0)


def _listed(folder: str, wanted: int) -> dict[str, tuple[int, int, int]]:
  """What `_asked` says of the files of a folder by name, of links nothing; nothing at all where the listing is far
  longer than what is wanted of it, or has other numbers for files than they themselves."""
  found: dict[str, tuple[int, int, int]] = {}
  try:
    device = os.stat(folder).st_dev
    with os.scandir(folder) as entries:
      for entry in itertools.islice(entries, _LONGEST * wanted):
        if not entry.is_symlink():
          found[entry.name] = device, entry.inode(), _FOLDER if entry.is_dir() else _FILE
      if next(entries, None) is not None:
        return {}
  except OSError:
    return {}
  name = next(iter(found), os.curdir)
  apart = len({inode for _, inode, _ in found.values()}) == len(found)
  return found if apart and found.get(name) == _asked(os.path.join(folder, name)) else {}


def _asked(path: str) -> tuple[int, int, int]:
  """Device, inode and kind of what a path leads to, zeros where that is nothing."""
  try:
    found = os.stat(path)
  except OSError:
    return 0, 0, 0
  return found.st_dev, found.st_ino, _FOLDER if stat.S_ISDIR(found.st_mode) else _FILE


@dataclasses.dataclass(frozen=True, eq=False)
class RecordTable(Columns):
  """Records of videos in files or folders of frames, with one label each.

  Attributes:
    root: folder below which the paths are, unless they are absolute.
    paths: as the table has them.
    files: what they are.
    kinds: uint8 (N,), by the order of "video", "sound", "frames".
    labels: int64 (N,), class ids.
    spans: float64 (N, 2), seconds of the part that is meant, nan for all of it; None where no record has one.
    extra: further columns by name.
  """

  root: str
  paths: Texts
  files: Files
  kinds: np.ndarray
  labels: np.ndarray
  spans: np.ndarray | None
  extra: Mapping[str, Texts]

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: Any) -> Any:
    if isinstance(i, slice):
      return tuple(self[k] for k in range(*i.indices(len(self))))
    i = int(i) + len(self) if i < 0 else int(i)
    if not 0 <= i < len(self):
      raise IndexError(f"record {i} of {len(self)}")
    span = None if self.spans is None or math.isnan(self.spans[i, 0]) else tuple(self.spans[i].tolist())
    return self._record(self.paths[i], self.kinds[i], int(self.labels[i]), span,
                        {name: column[i] for name, column in self.extra.items()})

  def __iter__(self) -> Iterator[Record]:
    names, empty = tuple(self.extra), ((),) * len(self)
    rows = zip(*self.extra.values()) if names else empty
    for path, kind, label, span, row in zip(self.paths, self.kinds, self.labels.tolist(), self._spans(), rows):
      yield self._record(path, kind, label, span, dict(zip(names, row)))

  def _record(self, path: str, kind: int, label: int, span: Span | None, extra: dict[str, str]) -> Record:
    return Record(named(path, span), Media(os.path.join(self.root, path), _KINDS[kind]), label, span, extra)

  def _spans(self) -> list[Span | None]:
    if self.spans is None:
      return [None] * len(self)
    return [None if math.isnan(a) else (a, b) for a, b in self.spans.tolist()]

  def described(self) -> Iterator[Described]:
    spans = self._spans()
    ids = self.paths if self.spans is None else map(named, self.paths, spans)
    return zip(ids, self.labels.tolist(), spans, itertools.repeat(-1))

  def values(self) -> list[int]:
    return self.labels.tolist()

  def media(self) -> list[Hashable]:
    return [(file, -1) for file in self.files.identities()]


def named(path: str, span: Span | None) -> str:
  """The id of a video, or of a part of one."""
  return path if span is None else f"{path} at {span[0]:g} to {span[1]:g}"


def table(root: str, paths: Sequence[str], files: Files, labels: Sequence[int], spans: Sequence[Span | None] | None,
          extra: Mapping[str, Sequence[str]]) -> RecordTable:
  """The records of columns of equal length; see `RecordTable`."""
  kinds = np.array([path.lower().endswith(SOUNDS) for path in paths], np.uint8)
  kinds[files.folder] = _KINDS.index("frames")
  spans = None if spans is None else np.array([(math.nan, math.nan) if s is None else s for s in spans]).reshape(-1, 2)
  return RecordTable(root, Texts.of(paths), files, kinds, np.array(labels, np.int64), spans,
                     {name: Texts.of(column) for name, column in extra.items()})
