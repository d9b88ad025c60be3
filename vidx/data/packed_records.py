"""Records that several processes share: packed in one file of memory, unpacked as they are asked for.

A million records are more than a gigabyte of Python objects. Pickled into each decoding
process they cost as much again per process, and minutes before the first batch. Packed
they are a few hundred megabytes that all processes map. Records that are held by columns lie there as they are.
"""

from collections.abc import Iterator, Sequence
import contextlib
import functools
import mmap
import os
import pickle
from typing import Any

import numpy as np

from vidx.data import records as records_lib
from vidx.data.records import Columns, Dataset, Record

LEAST = 20_000  # records; fewer are pickled with the rest
_BLOCK = 32  # records that are unpacked together
_ALIGNED = 64  # bytes
_FILE = "records"


class PackedRecords(Sequence[Record]):
  """The records in a file that `pack` wrote; travels as its path, and must be opened before the file is removed."""

  def __init__(self, path: str, offsets: np.ndarray, count: int):
    self._path, self._offsets, self._count = path, offsets, count
    with open(path, "rb") as f:
      self._map = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    self._block = functools.lru_cache(maxsize=8)(self._unpacked)

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, i: Any) -> Any:
    if isinstance(i, slice):
      return tuple(self[k] for k in range(*i.indices(self._count)))
    i = i + self._count if i < 0 else i
    if not 0 <= i < self._count:
      raise IndexError(f"record {i} of {self._count}")
    block, place = divmod(int(i), _BLOCK)
    return self._block(block)[place]

  def __iter__(self) -> Iterator[Record]:
    for block in range(len(self._offsets) - 1):
      yield from self._unpacked(block)

  def __reduce__(self) -> tuple[Any, ...]:
    return PackedRecords, (self._path, self._offsets, self._count)

  def _unpacked(self, block: int) -> tuple[Record, ...]:
    return pickle.loads(self._map[self._offsets[block]:self._offsets[block + 1]])


def pack(records: Sequence[Record], path: str) -> PackedRecords:
  """Writes records to a file, in blocks, and gives them back as they lie there."""
  offsets = [0]
  with open(path, "wb") as f:
    for first in range(0, len(records), _BLOCK):
      f.write(pickle.dumps(tuple(records[first:first + _BLOCK]), pickle.HIGHEST_PROTOCOL))
      offsets.append(f.tell())
  return PackedRecords(path, np.asarray(offsets, np.int64), len(records))


class Laid:
  """What `lay` wrote to a file: pickled, it travels as its path, and comes out as the records of columns there."""

  def __init__(self, path: str, head: bytes, spans: Sequence[tuple[int, int]]):
    self._file = path, head, spans

  def __reduce__(self) -> tuple[Any, ...]:
    return _mapped, self._file


def lay(records: Columns, path: str) -> Laid:
  """Writes the arrays of columns to a file, one behind the other."""
  arrays: list[pickle.PickleBuffer] = []
  head, spans = pickle.dumps(records, 5, buffer_callback=arrays.append), []
  with open(path, "wb") as f:
    for array in arrays:
      f.write(bytes(-f.tell() % _ALIGNED))
      start = f.tell()
      f.write(array.raw())
      spans.append((start, f.tell()))
  return Laid(path, head, spans)


def _mapped(path: str, head: bytes, spans: Sequence[tuple[int, int]]) -> Columns:
  with open(path, "rb") as f:
    file = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
  return pickle.loads(head, buffers=[file[a:b] for a, b in spans])


@contextlib.contextmanager
def shared(dataset: Dataset, folder: str) -> Iterator[None]:
  """Inside, the data set is pickled with its records where they lie in `folder`, if there are many."""
  if len(dataset) < LEAST or isinstance(dataset.records, PackedRecords):
    yield
    return
  key = id(dataset.records)
  write = lay if isinstance(dataset.records, Columns) else pack
  records_lib.SHARED[key] = write(dataset.records, os.path.join(folder, _FILE))
  try:
    yield
  finally:
    del records_lib.SHARED[key]
