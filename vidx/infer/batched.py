"""Many rows through a compiled program that takes so many at once."""

from collections.abc import Callable
from typing import Any

import numpy as np


def padded(rows: np.ndarray, size: int) -> np.ndarray:
  """Rows (N, ...) filled up with zeros, (size, ...)."""
  return np.pad(rows, [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def mapped(program: Callable[..., Any], size: int, *arrays: np.ndarray) -> np.ndarray:
  """What a program gives of each row.

  Args:
    program: as many arrays (size, ...) as there are -> (size, ...).
    size: rows at once; the last ones are filled up.
    *arrays: (N, ...) each, N at least 1.

  Returns:
    (N, ...).
  """
  found = []
  for start in range(0, len(arrays[0]), size):
    some = [rows[start:start + size] for rows in arrays]
    found.append(np.asarray(program(*(padded(rows, size) for rows in some)))[:len(some[0])])
  return np.concatenate(found)
