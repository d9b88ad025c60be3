"""torch's files and pickles of NumPy arrays, read without torch and without running what is in them.

A pickle is a program that may call whatever it names. Here a name means nothing but
the few things that arrays are written with, each of them a harmless stand-in, and any
other name is an error. torch has two formats: a zip archive with a pickle and a file
per storage, and, before its version 1.6, five pickles with the storages behind them.
"""

import collections
import dataclasses
import math
import os
import sys
from typing import Any, BinaryIO
import zipfile

import ml_dtypes
import numpy as np

from vidx import errors, reading
from vidx.terminal import counted

_LEGACY = 0x1950A86A20F9469CFC6C  # first of the five pickles

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}
_DTYPES = {
    **{n: np.dtype(n) for n in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32",
                                "uint16", "uint8", "bool", "complex64", "complex128")},
    **{n: np.dtype(getattr(ml_dtypes, n)) for n in ("bfloat16", "float8_e4m3fn", "float8_e5m2")},
}


class _Storage:
  """Bytes that tensors share; known once the file's pickle is read."""

  def __init__(self, dtype: str, count: int):
    self.dtype, self.count = _DTYPES[dtype], int(count)
    self.data = b""

  def fill(self, data: bytes, swapped: bool) -> None:
    if len(data) != self.count * self.dtype.itemsize:
      raise ValueError(f"{counted(len(data), 'byte')} in place of {counted(self.count, 'number')} of {self.dtype}")
    self.data = np.frombuffer(data, self.dtype).byteswap().tobytes() if swapped else data


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """A view into a storage, sizes and strides counted in elements."""

  storage: _Storage
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]
  dtype: str = ""

  def array(self) -> np.ndarray:
    dtype = _DTYPES[self.dtype] if self.dtype else self.storage.dtype
    flat = np.frombuffer(self.storage.data, dtype)
    size, stride = tuple(map(int, self.size)), tuple(map(int, self.stride))
    last = self.offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min((self.offset, *size, *stride)) < 0 or (math.prod(size) and last >= len(flat)):
      raise ValueError(f"a tensor of {size} lies outside its storage of {len(flat)}")
    if not math.prod(size):
      return np.zeros(size, dtype)
    if math.prod(size) > max(reading.MODEST, len(flat)):  # strides of 0 need no storage
      raise ValueError(f"a tensor of {size} in a storage of {len(flat)}")
    return np.lib.stride_tricks.as_strided(
        flat[self.offset:], size, [s * dtype.itemsize for s in stride], writeable=False)


class _Dtype:
  """A pickled NumPy dtype."""

  def __init__(self, name: str):
    self.name, self.order = str(name), "="

  def __setstate__(self, state):
    self.order = state[1]

  def dtype(self) -> np.dtype:
    found = np.dtype(self.name)
    if found.kind not in "fiubc":
      raise ValueError(f"an array of {self.name}")
    return found.newbyteorder(self.order) if self.order in ("<", ">") else found


class _Array:
  """A pickled NumPy array."""

  def __init__(self, *state):
    self.state = state

  def __setstate__(self, state):
    self.state = state[-4:]

  def array(self) -> np.ndarray:
    shape, dtype, fortran, data = self.state
    data = data.encode("latin1") if isinstance(data, str) else data
    found = np.frombuffer(data, dtype.dtype()).reshape(shape, order="F" if fortran else "C")
    return found.astype(found.dtype.newbyteorder("="))


def _names() -> dict[tuple[str, str], Any]:
  """What the names in a file mean; new for each file, so that no file can change it for another."""

  def tensor(storage, offset, size, stride, *_):
    return _Tensor(storage, offset, size, stride)

  def typed_tensor(storage, offset, size, stride, _grad, _hooks, dtype, *_):
    return _Tensor(storage, offset, size, stride, dtype)

  def parameter(data, *_):
    return data

  def array(*_):
    return _Array()

  def scalar(dtype, data=b""):
    return _Array((), dtype, False, data)

  def array_of_buffer(data, dtype, shape, order, *_):
    return _Array(shape, dtype, order == "F", bytes(data))

  def dtype(name, *_):
    return _Dtype(name)

  def size(values=()):
    return tuple(values)

  def encoded(text, coding="latin1"):
    return text.encode("latin1" if coding == "latin1" else "ascii")

  names = {
      ("collections", "OrderedDict"): collections.OrderedDict,
      ("torch", "Size"): size,
      ("torch.storage", "UntypedStorage"): "uint8",
      ("torch._utils", "_rebuild_tensor"): tensor,
      ("torch._utils", "_rebuild_tensor_v2"): tensor,
      ("torch._utils", "_rebuild_tensor_v3"): typed_tensor,
      ("torch._utils", "_rebuild_parameter"): parameter,
      ("torch._utils", "_rebuild_parameter_with_state"): parameter,
      ("numpy", "ndarray"): "ndarray",
      ("numpy", "dtype"): dtype,
      ("_codecs", "encode"): encoded,
  }
  for place in ("torch", "torch.cuda"):
    names.update({(place, k): v for k, v in _STORAGES.items()})
  names.update({("torch", k): k for k in _DTYPES})
  for place in ("numpy.core", "numpy._core"):
    names[f"{place}.multiarray", "_reconstruct"] = array
    names[f"{place}.multiarray", "scalar"] = scalar
    names[f"{place}.numeric", "_frombuffer"] = array_of_buffer
  return names


class _Unpickler(reading.Unpickler):
  """Knows the names of arrays and nothing else."""

  def __init__(self, file: BinaryIO, path: str):
    super().__init__(file, encoding="latin1")
    self.storages: dict[str, _Storage] = {}
    self._path, self._names = path, _names()

  def find_class(self, module, name):
    if (module, name) not in self._names:
      raise errors.CheckpointError(
          f"{self._path} holds an object of {module}.{name}, which no array needs and which is not run;"
          " save the state dict alone.")
    return self._names[module, name]

  def persistent_load(self, pid):
    kind, dtype, key, _, count, *view = pid
    if kind != "storage" or (view and view[0] is not None):
      raise ValueError(f"a persistent {kind} of an unknown form")
    return self.storages.setdefault(key, _Storage(dtype, count))


def load(path: str) -> Any:
  """What a file of torch, of either format, or a pickle of NumPy arrays holds; arrays by `array`.

  Raises:
    CheckpointError: it is none of them, is damaged, or holds something else than arrays in containers.
  """
  try:
    if zipfile.is_zipfile(path):
      return _load_zip(path)
    with open(path, "rb") as file:
      reader = _Unpickler(file, path)
      first = reader.load()
      return _load_legacy(file, path) if isinstance(first, int) and first == _LEGACY else first
  except errors.UserError:
    raise
  except Exception as e:  # a damaged pickle may raise anything
    raise errors.CheckpointError(
        f"{path} is damaged, or no file of torch, safetensors or pickled arrays ({reading.reason(e)}).") from e


def _load_zip(path: str) -> Any:
  with zipfile.ZipFile(path) as archive:
    names = archive.namelist()
    root = next((n.removesuffix("data.pkl") for n in names if n.rpartition("/")[2] == "data.pkl"), None)
    if root is None or f"{root}constants.pkl" in names:
      what = "an archive without data.pkl" if root is None else "a TorchScript program"
      raise errors.CheckpointError(f"{path} is {what}, not a state dict saved by torch.save.")
    size = os.path.getsize(path)
    wants = sum(info.file_size for info in archive.infolist())
    if wants > max(reading.MODEST, reading.RATIO * size):
      raise errors.CheckpointError(f"{path} of {counted(size, 'byte')} would unfold into {wants:,}; it is not read.")
    with archive.open(f"{root}data.pkl") as file:
      reader = _Unpickler(file, path)
      found = reader.load()
    order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
    for key, storage in reader.storages.items():
      storage.fill(archive.read(f"{root}data/{key}"), order != sys.byteorder)
  return found


def _load_legacy(file: BinaryIO, path: str) -> Any:
  """The pickles after the first: version, system, object, keys of the storages; then these, each with its length."""
  protocol, system = (_Unpickler(file, path).load() for _ in range(2))
  if protocol != 1001:
    raise ValueError(f"version {protocol}")
  reader = _Unpickler(file, path)
  found = reader.load()
  order = "little" if system["little_endian"] else "big"
  for key in _Unpickler(file, path).load():
    storage = reader.storages[key]
    if file.read(8) != storage.count.to_bytes(8, order):
      raise ValueError(f"storage {key} has not the length that its tensors want")
    storage.fill(file.read(storage.count * storage.dtype.itemsize), order != sys.byteorder)
  return found


Stored = (_Tensor, _Array)


def array(value: Any) -> np.ndarray | None:
  """A value of a loaded file as an array; None if it is no array and no number."""
  if isinstance(value, Stored):
    return value.array()
  return np.asarray(value) if isinstance(value, (bool, int, float, np.ndarray)) else None
