"""The clock: functions timed in turns, and what they ran on."""

from collections.abc import Callable, Sequence
from importlib import metadata
import os
import platform
import statistics
import time

import jax

_PAUSE = 0.05  # seconds between the sides: one's idle threads may spin for a while on the other's cores
_ENOUGH = 300  # calls of a side, whose median more of them do not move


def once(call: Callable[[], None]) -> float:
  """Seconds of the second of two calls."""
  call()
  start = time.perf_counter()
  call()
  return time.perf_counter() - start


def in_turns(sides: list[Callable[[], None]], seconds: float) -> list[float]:
  """The median time of each function; they are called in turns, after one call that does not count.

  Args:
    sides: the functions.
    seconds: that the slowest is called for, 3 times at least and 300 times at most.
  """
  times: list[list[float]] = [[] for _ in sides]
  for call in sides:
    call()
  while len(times[0]) < 3 or len(times[0]) < _ENOUGH and max(map(sum, times)) < seconds:
    for call, taken in zip(sides, times):
      if len(sides) > 1:
        time.sleep(_PAUSE)
      start = time.perf_counter()
      call()
      taken.append(time.perf_counter() - start)
  return [statistics.median(taken) for taken in times]


def program_bytes(compiled: jax.stages.Compiled) -> int | None:
  """Memory that a compiled program needs at once; None where the device does not say."""
  memory = compiled.memory_analysis()
  return memory and (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
                     - memory.alias_size_in_bytes)


def device_name() -> str:
  """The accelerator's kind, or the number of cores."""
  device = jax.devices()[0]
  if device.platform != "cpu":
    return device.device_kind
  return f"cpu x {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"


def versions(more: Sequence[str] = ()) -> dict[str, str]:
  """Versions of Python, JAX and Flax, and of other packages that are installed."""
  out = {"python": platform.python_version()}
  for name in ("jax", "jaxlib", "flax", *more):
    try:
      out[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      pass
  return out
