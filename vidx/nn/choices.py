"""Fields that have one of a few values."""

from collections.abc import Iterable
import difflib
from typing import Any


def check(field: str, value: Any, known: Iterable[Any]) -> None:
  """Raises ValueError where a field has a value that is not among the known ones; the nearest is named.

  Args:
    field: its name, or what it is of and its name, such as 'NonLocal: form'.
    value: of the field.
    known: in the order of the message, which says '' as 'or empty'.
  """
  known = tuple(known)
  if value in known:
    return
  names = [str(name) for name in known if name != ""]
  near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
  raise ValueError(f"{field} = {value!r} is not one of {', '.join(names)}{', or empty' if '' in known else ''}"
                   + (f" (nearest: '{near[0]}')" if near else ""))
