"""Shapes and numbers that functions of arrays are given, where broadcasting would hide that they do not fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check(function: str, **given: tuple[jax.Array | None, str]) -> dict[str, int]:
  """Sizes by letter of arrays that have to fit each other.

  Args:
    function: its name, for messages.
    **given: by name an array, None where it was left out, and its axes, such as 'B H W C' or '... P 4': a number is a
      size, '...' any axes that all which have them share, and a letter the same size wherever it stands.

  Raises:
    ValueError: something that is no array, or arrays of other axes than those named.
  """
  found: dict[str, Any] = {}
  for name, (x, axes) in given.items():
    if x is None:
      continue
    if not hasattr(x, "dtype"):
      raise ValueError(f"{function}: {name} is no array but {type(x).__name__}: give it jnp.asarray({name})")
    letters, shape = axes.split(), tuple(x.shape)
    lead = len(shape) - len(letters) + 1
    if letters[0] == "..." and lead >= 0:
      shape = shape[:lead], *shape[lead:]
    wanted = [int(letter) if letter.isdigit() else found.get(letter) for letter in letters]
    if len(letters) != len(shape) or any(w not in (None, size) for w, size in zip(wanted, shape)):
      known = ", ".join(f"{k} = {v}" for k, v in found.items() if k in letters)
      raise ValueError(f"{function}: {name} has the shape {tuple(x.shape)}, not ({', '.join(axes.split())})"
                       + (f" with {known}" if known else ""))
    found.update((letter, size) for letter, size in zip(letters, shape) if not letter.isdigit())
  return found


def check_numbers(function: str, least: int = 1, **given: Any) -> None:
  """Raises ValueError where a number is not whole, or is less than `least`."""
  for name, value in given.items():
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
      raise ValueError(f"{function}: {name} = {value!r} is no whole number from {least} on")


def check_share(function: str, **given: float) -> None:
  """Raises ValueError where a number is not in 0 to 1."""
  for name, value in given.items():
    if not 0 <= value <= 1:
      raise ValueError(f"{function}: {name} = {value} is not in 0 to 1")


def check_floats(function: str, **given: jax.Array) -> None:
  """Raises ValueError for arrays of whole numbers, in which means and products would be cut."""
  for name, x in given.items():
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise ValueError(f"{function}: {name} has the dtype {x.dtype}, where floats are expected")
