"""Records of a long table, one array per column; each record is made when it is asked for.

A million records are more than a gigabyte of Python objects and half a minute of making
them; their columns are a hundred megabytes, which processes can map.
"""

import abc
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import math
import os
import stat
from typing import Any

import numpy as np

from vidx.data import media_files
from vidx.data.records import SOUNDS, Columns, Described, Media, Record, media_key

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
    texts = list(texts)
    data = "".join(texts).encode("utf-8", "surrogateescape")
    sizes = map(len, texts if data.isascii() else (t.encode("utf-8", "surrogateescape") for t in texts))
    return cls(np.frombuffer(data, np.uint8), np.cumsum(np.fromiter(sizes, np.int64, len(texts))))

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
    folder += slash
    if folder not in inside:
      inside[folder] = [], []
    inside[folder][0].append(row)
    inside[folder][1].append(name or os.curdir)
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
  found = media_files.status(path)
  return (found.st_dev, found.st_ino, _FOLDER if stat.S_ISDIR(found.st_mode) else _FILE) if found else (0, 0, 0)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordTable(Columns):
  """Records with one label each; subclasses say where their media are.

  Attributes:
    root: folder below which the media are.
    ids: of the records.
    labels: int64 (N,), class ids.
    spans: float64 (N, 2), seconds of the part that is meant, nan for all of it; None where no record has one.
    extra: further columns by name.
  """

  root: str
  ids: Texts
  labels: np.ndarray
  spans: np.ndarray | None
  extra: Mapping[str, Texts]

  @abc.abstractmethod
  def _medium(self, i: int) -> Media:
    """The media of a record."""

  @abc.abstractmethod
  def _media(self) -> Iterable[Media]:
    """Those of all records."""

  @abc.abstractmethod
  def _places(self) -> Iterable[int]:
    """Where in their files all media are."""

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: Any) -> Any:
    if isinstance(i, slice):
      return tuple(self[k] for k in range(*i.indices(len(self))))
    i = int(i) + len(self) if i < 0 else int(i)
    if not 0 <= i < len(self):
      raise IndexError(f"record {i} of {len(self)}")
    span = None if self.spans is None or math.isnan(self.spans[i, 0]) else tuple(self.spans[i].tolist())
    return Record(self.ids[i], self._medium(i), int(self.labels[i]), span, {k: v[i] for k, v in self.extra.items()})

  def __iter__(self) -> Iterator[Record]:
    names = tuple(self.extra)
    rows = zip(*self.extra.values()) if names else itertools.repeat(())
    for name, media, label, span, row in zip(self.ids, self._media(), self.values(), self._spans(), rows):
      yield Record(name, media, label, span, dict(zip(names, row)))

  def _spans(self) -> Iterable[Span | None]:
    if self.spans is None:
      return itertools.repeat(None, len(self))
    return (None if math.isnan(a) else (a, b) for a, b in self.spans.tolist())

  def described(self, sizes: Iterable[int]) -> Iterator[Described]:
    return zip(self.ids, self.values(), self._spans(), self._places(), sizes)

  def values(self) -> list[int]:
    return self.labels.tolist()


@dataclasses.dataclass(frozen=True, eq=False)
class VideoTable(RecordTable):
  """Records of files of video or sound, or folders of frames.

  Attributes:
    paths: below the root, unless they are absolute.
    files: what they are.
    kinds: uint8 (N,), by the order of "video", "sound", "frames".
  """

  paths: Texts
  files: Files
  kinds: np.ndarray

  def _medium(self, i: int) -> Media:
    return Media(os.path.join(self.root, self.paths[i]), _KINDS[self.kinds[i]])

  def _media(self) -> Iterator[Media]:
    return (Media(os.path.join(self.root, path), _KINDS[kind]) for path, kind in zip(self.paths, self.kinds))

  def _places(self) -> Iterable[int]:
    return itertools.repeat(-1, len(self))

  def media(self) -> list[Hashable]:
    return [(file, -1) for file in self.files.identities()]


@dataclasses.dataclass(frozen=True, eq=False)
class ShardTable(RecordTable):
  """Records of media in ArrayRecord files.

  Attributes:
    shards: names of the files.
    shard: int64 (N,), in which of them the media are.
    rates: float64 (N,), frames per second where the annotation says it; 0: not said.
    index: int64 (N,), where in the file.
  """

  shards: tuple[str, ...]
  shard: np.ndarray
  rates: np.ndarray
  index: np.ndarray

  def _medium(self, i: int) -> Media:
    path = os.path.join(self.root, self.shards[self.shard[i]])
    return Media(path, "array_record", int(self.index[i]), fps=float(self.rates[i]))

  def _media(self) -> Iterator[Media]:
    paths = [os.path.join(self.root, name) for name in self.shards]
    rows = zip(self.shard.tolist(), self._places(), self.rates.tolist())
    return (Media(paths[shard], "array_record", i, fps=rate) for shard, i, rate in rows)

  def _places(self) -> list[int]:
    return self.index.tolist()

  def media(self) -> list[Hashable]:
    keys = [media_key(Media(os.path.join(self.root, name)))[0] for name in self.shards]
    return [(keys[shard], i) for shard, i in zip(self.shard.tolist(), self._places())]


def named(path: str, span: Span | None) -> str:
  """The id of a video, or of a part of one."""
  return path if span is None else f"{path} at {span[0]:.10g} to {span[1]:.10g}"


def of_videos(root: str, paths: Sequence[str], files: Files, labels: Sequence[int], spans: Sequence[Span | None] | None,
              extra: Mapping[str, Sequence[str]]) -> VideoTable:
  """Records of files at paths; see `VideoTable`."""
  kinds, text = np.zeros(len(paths), np.uint8), "\n".join((*paths, "")).lower()
  if any(f"{ending}\n" in text for ending in SOUNDS):
    kinds[:] = [path.lower().endswith(SOUNDS) for path in paths]
  kinds[files.folder] = _KINDS.index("frames")
  own = Texts.of(paths)
  ids = own if spans is None else Texts.of(map(named, paths, spans))
  return VideoTable(root, ids, np.array(labels, np.int64), _seconds(spans), _columns(extra), own, files, kinds)


def of_shards(root: str, ids: Sequence[str], shards: Sequence[str], index: Sequence[int], labels: Sequence[int],
              spans: Sequence[Span | None], rates: Sequence[float], extra: Mapping[str, Sequence[str]]) -> ShardTable:
  """Records of places in the ArrayRecord files of those names; see `ShardTable`."""
  names = {name: i for i, name in enumerate(dict.fromkeys(shards))}
  return ShardTable(root, Texts.of(ids), np.array(labels, np.int64), _seconds(spans) if any(spans) else None,
                    _columns(extra), tuple(names), np.array([names[name] for name in shards], np.int64),
                    np.array(rates, np.float64), np.array(index, np.int64))


def _seconds(spans: Sequence[Span | None] | None) -> np.ndarray | None:
  return None if spans is None else np.array([(math.nan, math.nan) if s is None else s for s in spans],
                                             np.float64).reshape(-1, 2)


def _columns(extra: Mapping[str, Sequence[str]]) -> dict[str, Texts]:
  return {name: Texts.of(column) for name, column in extra.items()}
