"""Files of weights: safetensors, torch's and PySlowFast's, as NumPy arrays by name; none needs torch to be read."""

from collections.abc import Mapping
import json
import math
import os
from typing import Any

import ml_dtypes
import numpy as np

from vidx import errors, reading, writing
from vidx.interop import pickles
from vidx.terminal import counted

_SAFE = {
    **{k: np.dtype(v) for k, v in dict(F64="f8", F32="f4", F16="f2", I64="i8", I32="i4", I16="i2", I8="i1", U64="u8",
                                       U32="u4", U16="u2", U8="u1", BOOL="?", C64="c8").items()},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_LONGEST_HEADER = 100_000_000  # bytes, as the format says

#: Names under which training programs keep the state dict, next to what else they save.
NESTED = ("state_dict", "model_state", "model_state_dict", "model", "blobs")

TORCH = (".pth", ".pt", ".pyth", ".bin", ".tar")


def read_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The state dict of a file, whatever program wrote it.

  Read are safetensors (memory-mapped), both formats of torch.save, and PySlowFast's
  pickles of Caffe2 blobs; nothing in a file is run. A state dict inside another dict is
  found under one of `NESTED`, and `module.` in front of every name is left out.

  Args:
    path: the file.

  Returns:
    {name: array}, the dtypes as stored; bfloat16 is that of ml_dtypes.

  Raises:
    CheckpointError: no such file, or one that is damaged, of another kind or that holds more than arrays.
  """
  path = os.fspath(path)
  try:
    reading.regular(path)
    with open(path, "rb") as f:
      start = f.read(9)
  except (OSError, ValueError) as e:
    raise errors.CheckpointError(f"{path} cannot be read: {reading.reason(e)}.") from None
  if path.endswith(".safetensors") or start[8:] == b"{":
    return read_safetensors(path)
  found = _state_of(pickles.load(path), path)
  state = {}
  for key, value in found.items():
    try:
      state[str(key)] = pickles.array(value)
    except Exception as e:  # such as a shape that is none
      raise errors.CheckpointError(f"{path} is damaged: {str(key)[:80]}: {reading.reason(e)}.") from e
    if state[str(key)] is None:
      raise errors.CheckpointError(f"{path}: {key} is a {type(value).__name__.lstrip('_')}, no array.")
  return _without_module(state)


def _state_of(found: Any, path: str) -> Mapping[str, Any]:
  """The state dict in what was loaded: itself, or inside of it."""
  while isinstance(found, dict):
    inside = next((found[k] for k in NESTED if isinstance(found.get(k), dict)), None)
    if inside is None:
      break
    found = inside
  arrays = isinstance(found, dict) and any(isinstance(v, pickles.Stored) for v in found.values())
  if not arrays:
    keys = f": its keys are {', '.join(map(str, list(found)[:8]))}" if isinstance(found, dict) and found else ""
    raise errors.CheckpointError(f"{path} holds no state dict{keys}; it may be under {', '.join(NESTED)}.")
  return found


def _without_module(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Names without the `module.` that a model trained on several devices puts before all of them."""
  if not all(k.startswith("module.") for k in state):
    return state
  return {k.removeprefix("module."): v for k, v in state.items()}


def read_safetensors(path: str) -> dict[str, np.ndarray]:
  """{name: array} of a safetensors file; the arrays are views into the mapped file.

  The file is the length of its header (8 bytes, little-endian), the header (JSON) and
  the arrays, without gaps.

  Raises:
    CheckpointError: what the header says cannot be.
  """
  def damaged(why):
    return errors.CheckpointError(f"{path} is a damaged safetensors file: {why}.")

  size = os.path.getsize(path)
  with open(path, "rb") as f:
    length = int.from_bytes(f.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, _LONGEST_HEADER):
      raise damaged(f"a header of {counted(length, 'byte')} in a file of {size}")
    text = f.read(length)
  try:
    header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    places = {k: _place(**v) for k, v in header.items() if k != "__metadata__"}
  except Exception as e:  # of JSON of any content
    raise damaged(f"its header cannot be understood ({type(e).__name__}: {str(e)[:80]})") from e
  at = 0
  for key, (dtype, shape, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
    if not isinstance(dtype, np.dtype):
      raise errors.CheckpointError(f"{path}: {key} is of the unknown dtype '{dtype}'; known are {', '.join(_SAFE)}.")
    if begin != at:
      raise damaged(f"{key} begins at byte {begin}, where byte {at} is next")
    want = math.prod(shape) * dtype.itemsize
    if end - begin != want:
      raise damaged(f"{key} has {counted(end - begin, 'byte')}, its shape {shape} of {dtype} wants {want}")
    at = end
  if at != size - 8 - length:
    raise damaged(f"the header speaks of {counted(at, 'byte')}, {size - 8 - length} are there")
  data = np.memmap(path, np.uint8, "r", 8 + length) if at else np.zeros(0, np.uint8)
  with reading.boundary(f"{path} is a damaged safetensors file", errors.CheckpointError):  # shapes with a 0 may be any
    return {key: data[begin:end].view(dtype).reshape(shape) for key, (dtype, shape, begin, end) in places.items()}


def _place(dtype, shape, data_offsets):
  begin, end = map(_count, data_offsets)
  return _SAFE.get(dtype, dtype), tuple(map(_count, shape)), begin, end


def _unique(pairs):
  found = dict(pairs)
  if len(found) != len(pairs):
    raise ValueError("a name occurs twice")
  return found


def _count(value: Any) -> int:
  if type(value) is not int or value < 0:
    raise ValueError(f"{value!r} is no count")
  return value


def write_safetensors(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
  """Writes a safetensors file, which torch's users read without this library.

  Args:
    path: the file; it is there whole or not at all.
    state: {name: array}.

  Raises:
    CheckpointError: an array of a dtype that the format has not.
  """
  names = {dtype: name for name, dtype in _SAFE.items()}
  arrays = {k: np.asarray(v) for k, v in state.items()}
  header, at = {"__metadata__": {"format": "pt"}}, 0
  order = sorted(arrays, key=lambda k: (-arrays[k].dtype.itemsize, k))  # keeps every array aligned
  for key in order:
    array = arrays[key]
    if array.dtype not in names:
      raise errors.CheckpointError(f"safetensors has no dtype for {key}, which is of {array.dtype}.")
    header[key] = dict(dtype=names[array.dtype], shape=array.shape, data_offsets=(at, at + array.nbytes))
    at += array.nbytes
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)

  def write(temporary):
    with open(temporary, "wb") as f:
      f.write(len(text).to_bytes(8, "little") + text)
      for key in order:
        f.write(np.ascontiguousarray(arrays[key]).tobytes())

  _whole(path, write)


def write_state(path: str | os.PathLike, state: Mapping[str, np.ndarray]) -> None:
  """Writes a state dict as the file's name says: `.safetensors`, or with torch one of `TORCH`.

  Raises:
    CheckpointError: another ending, or torch is wanted and not installed.
  """
  path = os.fspath(path)
  ending = os.path.splitext(path)[1]
  if ending == ".safetensors":
    return write_safetensors(path, state)
  if ending not in TORCH:
    raise errors.CheckpointError(f"{path}: the name has to end in .safetensors or one of {', '.join(TORCH)}.")
  try:
    import torch
  except ImportError:
    raise errors.CheckpointError(
        f"{path}: writing torch's format needs torch, which is not installed; .safetensors does without.") from None

  def tensor(value):
    value = np.array(value)
    if value.dtype.isbuiltin != 2:
      return torch.from_numpy(value)
    bits = torch.from_numpy(value.view(f"i{value.dtype.itemsize}"))  # of a type of ml_dtypes, as torch has them too
    return bits.view(getattr(torch, value.dtype.name))

  tensors = {k: tensor(v) for k, v in state.items()}
  _whole(path, lambda temporary: torch.save(tensors, temporary))


def _whole(path, write) -> None:
  """`write(name)` under another name first, so that the file never exists in part."""
  try:
    with writing.whole(path) as temporary:
      write(temporary)
  except OSError as e:
    raise errors.CheckpointError(f"{path} cannot be written: {(e.strerror or str(e)).lower()}.") from e
