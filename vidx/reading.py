"""Files that others wrote, read no further than they are long: the twin of `writing`.

A file may be cut off, spoilt, of another kind, or made to do harm. Whatever a parser
raises of it becomes an error of this library (`boundary`), what it says of its sizes is
compared with its own before memory is asked for (`array`, `arrays`), and a pickle may
neither run anything nor ask for memory that its own length does not justify (`Unpickler`).
"""

from collections.abc import Iterator, Mapping
import contextlib
import hashlib
import math
import os
import pickle
import stat
from typing import Any, BinaryIO, TextIO
import zipfile

import numpy as np

from vidx import errors
from vidx.terminal import counted

MODEST = 256 << 20  # bytes that a file may unfold into, however small it is,
RATIO = 100  # and beyond that, times its own size
_LONGEST = 160  # characters of a reason


def sha256(path: str | os.PathLike) -> str:
  """SHA-256 of a file, in hexadecimal digits."""
  with open(path, "rb") as f:
    return hashlib.file_digest(f, "sha256").hexdigest()


@contextlib.contextmanager
def boundary(what: str, error: type[errors.UserError] = errors.DataError) -> Iterator[None]:
  """Whatever is raised inside of a file's content, which may be anything, becomes an error of the library.

  Its own errors pass. The message is '{what} ({reason}).'

  Args:
    what: names the file and says what is wrong with it.
    error: the class to raise.
  """
  try:
    yield
  except errors.UserError:
    raise
  except Exception as e:  # pylint: disable=broad-except
    raise error(f"{what} ({reason(e)}).") from e


def reason(error: BaseException) -> str:
  """Why something failed, on one line, for a message."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror.lower()
  if isinstance(error, MemoryError):
    return "it wants more memory than there is"
  if isinstance(error, RecursionError):
    return "it is nested too deeply"
  if isinstance(error, KeyError):
    return f"there is no {' '.join(repr(error.args[0] if error.args else '').split())[:_LONGEST]}"
  text = " ".join(str(error).split())[:_LONGEST].rstrip(".")
  return text or type(error).__name__


def no_run(said: str, lacks: str = "config.json") -> errors.CheckpointError:
  """What is raised where a folder is named as that of a run and is none.

  Args:
    said: the folder, behind the flag that names it where that is not --workdir.
    lacks: the file of every run that it does not hold.
  """
  return errors.CheckpointError(f"{said} is not the folder of a run: it holds no {lacks}; train there first, or name"
                                " another folder.")


def regular(path: str | os.PathLike) -> None:
  """Raises OSError for what is no file on a disk: a pipe or a device may keep its reader waiting for ever."""
  mode = os.stat(path).st_mode
  if not stat.S_ISREG(mode):
    if stat.S_ISDIR(mode):
      raise IsADirectoryError(21, os.strerror(21), os.fspath(path))
    raise OSError(22, "a pipe, a socket or a device, not a file", os.fspath(path))


def open_text(path: str | os.PathLike, newline: str | None = None) -> TextIO:
  """A file of text in UTF-8, open, with `newline` as for `open`; raises OSError as `regular`."""
  regular(path)
  return open(path, newline=newline, encoding="utf-8")


# ---------------------------------------------------------------- arrays


def array(path: str | os.PathLike) -> np.ndarray:
  """The array of a .npy file, of numbers or text.

  Raises:
    OSError, ValueError: it cannot be opened, or is not as long as it says. A damaged header raises whatever it
      comes upon.
  """
  regular(path)
  with open(path, "rb") as f:
    return _array(f, os.fstat(f.fileno()).st_size)


def array_shape(path: str | os.PathLike) -> tuple[int, ...]:
  """The shape of a .npy file that is as long as it says; raises as `array`."""
  regular(path)
  with open(path, "rb") as f:
    shape, *_ = header(f, os.fstat(f.fileno()).st_size)
    return shape


@contextlib.contextmanager
def arrays(path: str | os.PathLike) -> Iterator["Arrays"]:
  """The arrays of a .npz file, read as they are asked for.

  Raises:
    OSError, ValueError, BadZipFile: it is no such file. A damaged member raises whatever it comes upon.
  """
  regular(path)
  with zipfile.ZipFile(path) as archive:
    yield Arrays(archive, os.path.getsize(path))


class Arrays(Mapping[str, np.ndarray]):
  """Arrays by name of an open .npz file."""

  def __init__(self, archive: zipfile.ZipFile, size: int):
    self._archive, self._left = archive, max(MODEST, RATIO * size)
    self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()
                     if info.filename.endswith(".npy")}

  def __getitem__(self, name: str) -> np.ndarray:
    info = self._members[name]
    self._left -= info.file_size
    if self._left < 0:
      raise ValueError(f"'{name}' would unfold into {counted(info.file_size, 'byte')}")
    with self._archive.open(info) as f:
      return _array(f, info.file_size)

  def __iter__(self) -> Iterator[str]:
    return iter(self._members)

  def __len__(self) -> int:
    return len(self._members)


def header(f: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype, int]:
  """(shape, whether in Fortran's order, dtype, bytes) of an array that begins where a file stands; `size` is its end.

  Raises:
    ValueError: it holds no numbers or text, or is longer than the file. A damaged header raises whatever it comes upon.
  """
  version = np.lib.format.read_magic(f)
  readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
             (3, 0): np.lib.format.read_array_header_2_0}
  if version not in readers:
    raise ValueError(f"version {version} of the format")
  shape, fortran, dtype = readers[version](f)
  if dtype.hasobject:
    raise ValueError("it holds objects, not numbers")
  if dtype.itemsize == 0 or any(type(n) is not int or n < 0 for n in shape):
    raise ValueError(f"an array of {dtype} and shape {shape}")
  length = math.prod(shape) * dtype.itemsize
  if length > size - f.tell():
    raise ValueError(f"its {shape} of {dtype} want {counted(length, 'byte')}, {size - f.tell():,} are there")
  return shape, fortran, dtype, length


def _array(f: BinaryIO, size: int) -> np.ndarray:
  shape, fortran, dtype, length = header(f, size)
  found = np.empty(math.prod(shape), dtype)
  if length:
    view = memoryview(found.view(np.uint8))
    at = 0
    while at < length:
      count = f.readinto(view[at:at + (1 << 24)])
      if not count:
        raise ValueError(f"it ends after {at:,} of {counted(length, 'byte')}")
      at += count
  return found.reshape(shape[::-1]).T if fortran else found.reshape(shape)


# ---------------------------------------------------------------- pickles


class Unpickler(pickle._Unpickler):  # pylint: disable=protected-access
  """Reads a pickle in which no name means anything, until a subclass says what one means in `find_class`.

  It is the one that Python has in Python: its memo grows by what is stored there, where
  the quick one makes room for any number that a file names. No read is longer than the
  file. What is found is a tree: a list that holds one list twice, which holds one twice,
  and so on, is short in a file and has no end for whoever walks through it.
  """

  def __init__(self, file: BinaryIO, **options: Any):
    super().__init__(_Bounded(file), **options)

  def find_class(self, module, name):
    raise pickle.UnpicklingError(f"it asks for {module}.{name}")

  def load(self) -> Any:
    """What is in the file, a tree of finite size.

    Raises:
      UnpicklingError: it contains itself, or too many copies of its parts. A damaged file raises whatever it comes
        upon.
    """
    found = super().load()
    _check_tree(found)
    return found


class _Bounded:
  """A file of which no more is read than there is."""

  def __init__(self, file: BinaryIO):
    self._file = file
    at = file.tell()
    self._end = file.seek(0, os.SEEK_END)
    file.seek(at)

  def read(self, count: int) -> bytes:
    self._check(count)
    return self._file.read(count)

  def readinto(self, buffer) -> int:
    self._check(len(buffer))
    return self._file.readinto(buffer)

  def readline(self) -> bytes:
    return self._file.readline()

  def _check(self, count: int) -> None:
    if count > self._end - self._file.tell():
      raise pickle.UnpicklingError("it is cut off")


_MOST_NODES = 20_000_000  # of a tree, counted as often as it is handed on
_CONTAINERS = (dict, list, tuple, set, frozenset)


def _check_tree(value: Any) -> None:
  """Raises UnpicklingError where containers contain themselves, or unfold into too much."""
  sizes: dict[int, int] = {}
  open_: set[int] = set()
  stack: list[tuple[Any, bool]] = [(value, False)]
  while stack:
    node, done = stack.pop()
    key = id(node)
    inside = [x for pair in node.items() for x in pair] if isinstance(node, dict) else node
    if done:
      open_.discard(key)
      sizes[key] = 1 + sum(sizes.get(id(x), 1) if isinstance(x, _CONTAINERS) else 1 for x in inside)
      if sizes[key] > _MOST_NODES:
        raise pickle.UnpicklingError("it unfolds into too much")
      continue
    if key in sizes:
      continue
    if key in open_:
      raise pickle.UnpicklingError("it contains itself")
    if not isinstance(node, _CONTAINERS):
      continue
    open_.add(key)
    stack.append((node, True))
    stack += [(x, False) for x in inside if isinstance(x, _CONTAINERS)]
