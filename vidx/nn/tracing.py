"""What holds while a block of code is traced."""

from collections.abc import Iterator
import contextlib
import contextvars
from typing import Any

import jax

_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)
_spread: contextvars.ContextVar[int] = contextvars.ContextVar("spread", default=0)


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[Any], value: Any) -> Iterator[None]:
  """Within the block, a context variable has a value; behind it the one that it had before. Decorates, too."""
  token = variable.set(value)
  try:
    yield
  finally:
    variable.reset(token)


def traced_for(platform: str) -> contextlib.AbstractContextManager[None]:
  """Within the block, networks take the form for 'cpu', 'tpu', ..., in place of that for the machine they run on."""
  return setting(_target, platform)


def platform() -> str:
  """What networks take their form for."""
  target = _target.get()
  return jax.default_backend() if target is None else target


def spread_over(devices: int) -> contextlib.AbstractContextManager[None]:
  """Within the block, the examples of a batch are known to lie on so many devices."""
  return setting(_spread, devices)


def spread() -> int:
  """Over how many devices the examples of a batch are known to be spread: 1 where nothing is known."""
  return max(1, _spread.get())


def spread_at_most() -> int:
  """Over how many devices the examples of a batch may be spread: over all where nothing is known."""
  return _spread.get() or jax.device_count()
