"""What holds while a block of code is traced."""

from collections.abc import Iterator
import contextlib
import contextvars
from typing import Any


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[Any], value: Any) -> Iterator[None]:
  """Within the block, a context variable has a value; behind it the one that it had before."""
  token = variable.set(value)
  try:
    yield
  finally:
    variable.reset(token)
