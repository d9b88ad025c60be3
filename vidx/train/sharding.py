"""Mesh and placement: axes `data`, `fsdp`, `tensor`; parameters by rule, batches over data x fsdp."""

from collections.abc import Mapping, Sequence
import json
import re
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.terminal import counted

AXES = ("data", "fsdp", "tensor")
BATCH = P(("data", "fsdp"))


def make_mesh(mesh: ConfigDict, batch_size: int | None = None, devices: Sequence[jax.Device] | None = None) -> Mesh:
  """The mesh over all devices of all processes.

  Args:
    mesh: config section with `data`, `fsdp`, `tensor`; one of them may be -1.
    batch_size: checked to divide over data x fsdp where given.
    devices: in place of all.

  Raises:
    ConfigError: the axes do not fit the number of devices or the batch.
  """
  count = len(devices) if devices else jax.device_count()
  sizes = [int(mesh[a]) for a in AXES]
  known = int(np.prod([s for s in sizes if s != -1]))
  if sizes.count(-1) > 1 or known < 1 or count % known or (-1 not in sizes and known != count):
    raise errors.ConfigError(
        f"mesh {dict(zip(AXES, sizes))} does not fit {counted(count, 'device')}: the axes must multiply to it"
        " (one of them may be -1).")
  sizes = [count // known if s == -1 else s for s in sizes]
  shards = sizes[0] * sizes[1]
  if batch_size is not None and batch_size % shards:
    raise errors.ConfigError(
        f"batch size {batch_size} does not divide over data x fsdp = {shards} devices;"
        f" the nearest that does: {max(1, round(batch_size / shards)) * shards}.")
  made = jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)
  share(made)
  return made


def parts(mesh: Mesh) -> int:
  """Into how many parts, on as many devices, the examples of a batch are cut."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def share(mesh: Mesh) -> tuple[int, int]:
  """(index, number) of the share of every batch that this process reads.

  Processes whose devices hold the same part of the batch, each another part of the parameters by the axis `tensor`,
  read the same share.

  Raises:
    ConfigError: processes whose parts of the batch overlap and are not the same.
  """
  shards = mesh.devices.reshape(-1, mesh.devices.shape[-1])
  held: dict[int, set[int]] = {}
  for i, row in enumerate(shards):
    for device in row:
      held.setdefault(device.process_index, set()).add(i)
  rows_held = sorted({tuple(sorted(rows)) for rows in held.values()})
  if sum(map(len, rows_held)) != len(shards) or len({len(rows) for rows in rows_held}) > 1:
    raise errors.ConfigError(
        f"mesh {dict(zip(AXES, mesh.devices.shape))} cuts across the {len(held)} processes, whose parts of a batch"
        " would overlap: let mesh.tensor divide the devices of a process, or be a multiple of them.")
  return rows_held.index(tuple(sorted(held.get(jax.process_index(), rows_held[0])))), len(rows_held)


def spec_of(path: str, shape: tuple[int, ...], mesh: Mesh, config: ConfigDict) -> P:
  """Partition of one parameter: the first rule that matches, else its largest divisible side over fsdp."""
  for pattern, axes in config.rules:
    if re.search(pattern, path):
      return P(*[a or None for a in axes])
  n = mesh.shape["fsdp"]
  if n == 1 or np.prod(shape) < config.fsdp_min_size:
    return P()
  sides = [i for i, s in enumerate(shape) if s % n == 0]
  if not sides:
    return P()
  side = max(sides, key=lambda i: shape[i])
  return P(*["fsdp" if i == side else None for i in range(len(shape))])


def tree_shardings(tree: Any, mesh: Mesh, config: ConfigDict) -> Any:
  """A NamedSharding per leaf; optimiser slots follow their parameter by the end of their path and their shape."""

  def one(path, leaf):
    name = "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
    return NamedSharding(mesh, spec_of(name, tuple(leaf.shape), mesh, config))

  return jax.tree_util.tree_map_with_path(one, tree)


def stacked(shardings: Any) -> Any:
  """Of trees whose leaves have another axis in front, that of several states."""
  return jax.tree.map(lambda s: NamedSharding(s.mesh, P(None, *s.spec)), shardings)


def put_batch(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
  """Global arrays from this process' `share` of a batch; host-only entries are left out."""
  sharding = NamedSharding(mesh, BATCH)
  return {k: jax.make_array_from_process_local_data(sharding, v)
          for k, v in batch.items() if isinstance(v, np.ndarray) and v.dtype.kind in "uif"}


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, P())


def gather_json(value: Any) -> list[Any]:
  """The JSON-able value of every process, in process order; a collective."""
  if jax.process_count() == 1:
    return [value]
  from jax.experimental import multihost_utils
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  longest = int(np.max(multihost_utils.process_allgather(np.asarray(len(text)))))
  padded = multihost_utils.process_allgather(np.pad(text, (0, longest - len(text)), constant_values=32))
  return [json.loads(bytes(row).decode()) for row in padded]


def gather_dict(value: Mapping[str, Any]) -> dict[str, Any]:
  """What the JSON-able dicts of all processes hold together; a collective."""
  return {k: v for part in gather_json(dict(value)) for k, v in part.items()}
