"""MATLAB's files of level 5: whether they are as long as they say, before anybody makes room for what they name.

"MAT-File Format", The MathWorks: a file is a list of elements, each a type, a length and
its bytes. A matrix is an element of elements (flags, dimensions, name, content); a cell
holds a matrix per place. Readers make room by the dimensions, which stand in the file
before the content does.
"""

import io as io_lib
import math
import os
import struct
from typing import Any
import zlib

from vidx import reading
from vidx.terminal import counted

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {*range(1, 8), 9, 12, 13, 16, 17, 18}  # types of elements that hold numbers or text
_CELL, _STRUCT, _OBJECT, _SPARSE, _FUNCTION = 1, 2, 3, 5, 16
_CLASSES = range(1, _FUNCTION + 1)
_COMPLEX = 1 << 11  # flag: a second element holds the imaginary parts
_DEPTH = 8


def load(path: str | os.PathLike) -> dict[str, Any]:
  """The variables of a file, as scipy reads them.

  Raises:
    OSError, ValueError: it cannot be read, is no such file, or is not as long as it says. A damaged one raises
      whatever scipy comes upon.
  """
  from scipy import io
  reading.regular(path)
  with open(path, "rb") as f:
    data = f.read()
  if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
    raise ValueError("no MATLAB file of level 5")
  order = "<" if data[126:128] == b"IM" else ">"
  _Check(order, max(reading.MODEST, reading.RATIO * len(data)), len(data) >> 3).elements(memoryview(data)[128:], 0)
  return io.loadmat(io_lib.BytesIO(data))


class _Check:
  """Walks through elements as scipy does, which looks types up in tables without asking whether they are there.

  Raises ValueError where a matrix has more places than its bytes can fill, or fewer or other elements than it says;
  scipy would go on in what comes behind it.
  """

  def __init__(self, order: str, unfolded: int, matrices: int):
    self._order, self._left, self._matrices = order, unfolded, max(1000, reading.RATIO * matrices)

  def elements(self, data: memoryview, depth: int) -> None:
    """Those at the top of a file, or inside of what was compressed."""
    at = 0
    while len(data) - at >= 8:
      kind, body, at = self._next(data, at)
      if kind == _MATRIX:
        if not depth and len(body) % 8:
          raise ValueError(f"a matrix of {counted(len(body), 'byte')}, which are not in words of eight")
        self._matrix(body, depth)
      elif kind == _COMPRESSED:
        if depth:
          raise ValueError("what is compressed is compressed again")
        unfolding = zlib.decompressobj()
        found = unfolding.decompress(bytes(body), self._left)
        self._left -= len(found)
        if unfolding.unconsumed_tail or self._left <= 0:
          raise ValueError("it unfolds into too much")
        self.elements(memoryview(found), depth + 1)

  def _next(self, data: memoryview, at: int) -> tuple[int, memoryview, int]:
    """(type, bytes, where the next one begins) of the element at a place."""
    if len(data) - at < 8:
      raise ValueError("it is cut off")
    kind, length = struct.unpack_from(self._order + "II", data, at)
    if kind >> 16:  # a short one: length and type in one word, the bytes in the other
      kind, length, start, step = kind & 0xffff, kind >> 16, at + 4, 8
      if length > 4:
        raise ValueError(f"a short element of {length} bytes")
    else:
      start, step = at + 8, 8 + length + (-length % 8 if kind != _COMPRESSED else 0)
    if start + length > len(data):
      raise ValueError(f"an element of {counted(length, 'byte')} where {len(data) - start:,} are left")
    return kind, data[start:start + length], at + step

  def _matrix(self, data: memoryview, depth: int) -> None:
    self._matrices -= 1
    if depth > _DEPTH or self._matrices < 0:
      raise ValueError("it is nested too deeply")
    if not len(data):
      return
    _, flags, at = self._next(data, 0)
    _, dims, at = self._next(data, at)
    _, _, at = self._next(data, at)  # its name
    if len(flags) != 8 or len(dims) % 4:
      raise ValueError("a matrix without a class or a shape")
    shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims)
    word = struct.unpack_from(self._order + "I", flags)[0]
    places, of, parts = math.prod(shape), word & 0xff, 2 if word & _COMPLEX else 1
    if of not in _CLASSES:
      raise ValueError(f"a matrix of class {of}")
    if of == _OBJECT:
      _, _, at = self._next(data, at)  # the name of its class
    if of in (_STRUCT, _OBJECT):
      _, longest, at = self._next(data, at)
      _, names, at = self._next(data, at)
      longest = int.from_bytes(longest, "little" if self._order == "<" else "big") if len(longest) == 4 else 0
      if not 0 < longest < 1 << 31:
        raise ValueError("names of fields without a length")
      places *= len(names) // longest
    nested = of in (_CELL, _STRUCT, _OBJECT)
    if min(shape, default=0) < 0 or of != _SPARSE and places * (8 if nested else 1) > len(data) - at:
      raise ValueError(f"a matrix of {' x '.join(map(str, shape))} in {counted(len(data) - at, 'byte')}")
    for _ in range(places if nested else int(of == _FUNCTION)):
      kind, body, at = self._next(data, at)
      if kind != _MATRIX:
        raise ValueError("a cell that holds no matrix")
      self._matrix(body, depth + 1)
    for _ in range(0 if nested or of == _FUNCTION else parts + (2 if of == _SPARSE else 0)):
      kind, _, at = self._next(data, at)
      if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} where numbers are expected")
    if len(data) > at:
      raise ValueError(f"{counted(len(data) - at, 'byte')} behind the content of a matrix")
