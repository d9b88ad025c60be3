"""Whether a train step fits: its compiled program is compared with the memory that is free, before it runs."""

from collections.abc import Callable
import contextlib
import math
import resource
from typing import Any

import jax
from ml_collections import ConfigDict

from vidx import errors, systems
from vidx.interop import published

_MANY = 5_000_000  # parameters
_FEW = 2_000  # videos, on which so many parameters are not trained from scratch
_SMALL = "--config=folder/tsm_small"


def free() -> int | None:
  """Bytes that are free on each device; on a CPU of the machine, or of what its group may take. None if unknown."""
  device = jax.local_devices()[0]
  if device.platform != "cpu":
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
  known = []
  try:
    with open("/proc/meminfo", encoding="ascii") as f:
      known += [int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable")]
  except (OSError, ValueError):
    pass
  for most, now in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
    try:
      with open(f"/sys/fs/cgroup/{most}", encoding="ascii") as f, open(f"/sys/fs/cgroup/{now}", encoding="ascii") as g:
        known.append(int(f.read()) - int(g.read()))
    except (OSError, ValueError):
      continue
  if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:  # `ulimit -v`
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as f:
      known.append(limit - int(f.read().split()[0]) * resource.getpagesize())
  return max(0, min(known)) if known else None


def check_state(abstract: Any, shardings: Any, config: ConfigDict) -> None:
  """Raises ConfigError where parameters and optimiser alone are larger than what is free, before they are made.

  Args:
    abstract: the state, of shapes.
    shardings: likewise.
    config: whole config.
  """
  here = jax.local_device_count() if jax.default_backend() == "cpu" else 1
  parts = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize, abstract, shardings)
  needed, room = here * sum(jax.tree.leaves(parts)), free()
  if room is not None and needed > room:
    name, classes = config.system.name, config.system.get("num_classes", None)
    raise errors.ConfigError(f"{name} and its optimizer need {needed / 2**30:,.1f} GiB, and {max(room, 0) / 2**30:.1f}"
                             " are free: choose smaller fields"
                             + (f"; system.num_classes={classes}." if classes else "."))


def compile_step(step: Any, state: Any, batch: Any, config: ConfigDict, say: Callable[[str], None]) -> int:
  """Compiles a train step, whose first call then has nothing left to compile.

  Args:
    step: jitted.
    state: its first argument, placed.
    batch: its second, placed.
    config: whole config.
    say: prints a line.

  Returns:
    Bytes that the step needs on each device beside its arguments, on a CPU of all its devices; 0 where the compiler
    does not say.

  Raises:
    ConfigError: that is more than is free.
  """
  say("compiling the train step; the first time takes up to minutes, later starts find it in the cache")
  try:
    found = step.lower(state, batch).compile().memory_analysis()
  except (jax.errors.JaxRuntimeError, MemoryError) as e:
    raise explained(e, config) from e
  if found is None:
    return 0
  here = jax.local_device_count() if jax.default_backend() == "cpu" else 1
  needed = here * max(0, found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes)
  room = free()
  if room is not None and needed > room:
    raise errors.ConfigError(f"a train step needs {needed / 2**30:.1f} GiB beside what is loaded, and"
                             f" {room / 2**30:.1f} are free: {_remedy(config)}")
  return needed


def explained(e: BaseException, config: ConfigDict) -> BaseException:
  """A UserError where memory ran out, else the same exception."""
  text = str(e)
  if not isinstance(e, MemoryError) and "RESOURCE_EXHAUSTED" not in text and "out of memory" not in text.lower():
    return e
  return errors.UserError(f"out of memory: {_remedy(config)}")


def _remedy(config: ConfigDict) -> str:
  data = config.data
  small = f" On a CPU begin with {_SMALL}." if jax.default_backend() == "cpu" else ""
  return (f"lower train.batch_size={config.train.batch_size}, data.frames={data.frames} or data.crop={data.crop}, or"
          f" raise optimizer.accumulate={config.optimizer.accumulate}, which cuts a batch into parts, or keep less for"
          f" gradients by train.remat='*.out'.{small}")


def advice(config: ConfigDict, parameters: int, count: int, fresh: bool, unit: str = "videos") -> list[str]:
  """Lines for who begins: a network that is large for a CPU, or for so few videos, or other things, without weights."""
  if not fresh or parameters < _MANY:
    return []
  lines, millions = [], f"{parameters / 1e6:.0f} million parameters"
  if jax.default_backend() == "cpu":
    lines.append(f"note: {millions} on a CPU take long; {_SMALL} is made for one")
  if count < _FEW and not config.train.init_from:
    fields = {"trunk": config.system.trunk} if "trunk" in config.system else {}
    names = [config.system.name, systems.trunk_of(config.system.name, fields)] if (
        config.system.name in systems.rows()) else []
    found = [r.name for name in names for dataset in ("kinetics400", "imagenet")
             if name and (r := published.of_model(name, dataset))]
    what = f"--config.train.init_from={found[0]}" if found else "`vidx models --weights` lists some"
    lines.append(f"note: few {unit}, {count:,}, for {millions} from scratch; start from weights: {what}")
  return lines
