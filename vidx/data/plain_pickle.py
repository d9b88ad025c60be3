"""Pickles of plain values and NumPy arrays: a pickle is a program, and here it may run nothing else."""

import codecs
from typing import Any

import numpy as np

from vidx import reading

_LARGEST = 1 << 20  # bytes of one element


def _empty(*_):
  """An array for `__setstate__`, which says the shape beside its bytes; a shape alone would be memory for nothing."""
  return np.ndarray.__new__(np.ndarray, (0,), "b")


def _dtype(name, *options):
  found = np.dtype(name, *options)
  if found.itemsize > _LARGEST:
    raise ValueError(f"an element of {found.itemsize} bytes")
  return found


def _of_buffer(buffer, dtype, shape, order="C", *_):
  return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_NAMES = {"_reconstruct": _empty, "ndarray": None, "dtype": _dtype, "scalar": np.float64(0).__reduce__()[0],
          "_frombuffer": _of_buffer}


class _Plain(reading.Unpickler):

  def find_class(self, module, name):
    if module.split(".")[0] == "numpy" and name in _NAMES:
      return _NAMES[name]
    if (module, name) == ("_codecs", "encode"):
      return codecs.encode
    return super().find_class(module, name)


def load(path: str) -> Any:
  """What a file holds.

  Raises:
    UnpicklingError: it asks for anything that arrays do not need, or unfolds into too much.
    OSError: it cannot be read. A damaged file raises whatever it comes upon.
  """
  reading.regular(path)
  with open(path, "rb") as f:
    return _Plain(f, encoding="latin1").load()
