"""Start from another run's parameters, with a report of what was loaded, what was not and why."""

from collections.abc import Sequence
import os
import re
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from vidx import errors
from vidx.train import checkpoint, config as config_lib


def read_variables(source: str) -> dict[str, Any]:
  """Variables of a workdir: of its best checkpoint, else its last; of several seeds those of the first."""
  reader = checkpoint.Checkpointer(source, read_only=True)
  step = reader.best()
  step = reader.latest() if step is None else step
  if step is None:
    raise errors.CheckpointError(f"{source} holds no finished checkpoint to start from.")
  variables = reader.restore_variables(step)
  reader.close()
  with open(os.path.join(source, "config.json"), encoding="utf-8") as f:
    seeds = config_lib.from_json(f.read()).train.seeds
  return jax.tree.map(lambda x: x[0], variables) if seeds > 1 else variables


def pairs(init_from: str | Sequence) -> list[tuple[str, str]]:
  """[(parameter pattern, source)] of `train.init_from`."""
  if not init_from:
    return []
  if isinstance(init_from, str):
    return [("", init_from)]
  if len(init_from) == 1 and isinstance(init_from[0], str):
    return [("", init_from[0])]
  return [(pattern, source) for pattern, source in init_from]


def first_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
  """A first layer for other inputs from one for colours: (..., 3, O) -> (..., channels, O), each their mean.

  Wang et al.: "Temporal Segment Networks", 2016, section 3.2, for optical flow.
  """
  return np.repeat(kernel.mean(-2, keepdims=True), channels, -2)


def merge(variables: Any, source: Any, pattern: str = "", exclude: Sequence[str] = ()
          ) -> tuple[Any, dict[str, list[str]]]:
  """`variables` with the leaves of `source` where name and shape agree.

  A system's trunk, and each of its pathways or parts, also takes the leaves of that trunk
  alone; a first layer for other inputs than colours takes their mean.

  Args:
    variables: {'params': ..., 'batch_stats': ...} of the new model.
    source: the same of the checkpoint.
    pattern: only parameters whose path it matches.
    exclude: patterns of parameters that keep their values.

  Returns:
    The new variables, and the report {'loaded', 'mean of the colours', 'excluded',
    'other shape', 'not in the checkpoint', 'not used'} of paths.
  """
  target = traverse_util.flatten_dict(variables, sep="/")
  given = traverse_util.flatten_dict(source, sep="/")
  report = {k: [] for k in ("loaded", "mean of the colours", "excluded", "other shape", "not in the checkpoint",
                            "not used")}
  merged, used = {}, set(target)
  for path, leaf in target.items():
    merged[path] = leaf
    if not re.search(pattern, path):
      continue
    # What the trunk of a system is called without the system.
    alone = re.sub(r"/(trunk|busy|quiet|classifier|sampler)/", "/", path, count=1)
    key = path if path in given or alone not in given else alone
    used.add(key)
    if any(re.search(e, path) for e in exclude):
      report["excluded"].append(path)
    elif key not in given:
      report["not in the checkpoint"].append(path)
    elif _of_colours(given[key].shape, leaf.shape):
      merged[path] = np.asarray(first_kernel(np.asarray(given[key], np.float32), leaf.shape[-2]), leaf.dtype)
      report["mean of the colours"].append(path)
    elif tuple(given[key].shape) != tuple(leaf.shape):
      report["other shape"].append(f"{path}: {tuple(given[key].shape)} there, {tuple(leaf.shape)} here")
    else:
      merged[path] = np.asarray(given[key], leaf.dtype)
      report["loaded"].append(path)
  report["not used"] = [p for p in given if p not in used]
  return traverse_util.unflatten_dict(merged, sep="/"), report


def _of_colours(given: Sequence[int], wanted: Sequence[int]) -> bool:
  """Whether a convolution of 3 channels meets one of other channels and else the same shape."""
  alike = len(given) == len(wanted) >= 4 and (*given[:-2], given[-1]) == (*wanted[:-2], wanted[-1])
  return alike and given[-2] == 3 != wanted[-2]


def start(state, shardings, init_from, exclude: Sequence[str]):
  """The state with parameters and statistics of `train.init_from`, and a report per source.

  Raises:
    CheckpointError: a source without any parameter that fits.
  """
  variables = {"params": state.params, **state.stats}
  reports = {}
  for pattern, source in pairs(init_from):
    variables, report = merge(variables, read_variables(source), pattern, exclude)
    if not report["loaded"]:
      raise errors.CheckpointError(
          f"{source}: none of its parameters fits this model in name and shape; it is of another architecture.")
    reports[source] = report
  params = jax.device_put(variables.pop("params"), shardings.params)
  stats = jax.device_put(variables, shardings.stats)
  ema = jax.tree.map(lambda x: x.copy(), params) if state.ema else {}
  return state.replace(params=params, stats=stats, ema=ema), reports


def summary(reports: dict[str, dict[str, list[str]]]) -> list[str]:
  """Lines for the console."""
  lines = []
  for source, report in reports.items():
    counts = ", ".join(f"{len(v)} {k}" for k, v in report.items() if v)
    lines.append(f"started from {source}: {counts}")
    lines += [f"  other shape, kept fresh: {p}" for p in report["other shape"]]
    lines += [f"  not in the checkpoint, kept fresh: {p}" for p in report["not in the checkpoint"][:10]]
  return lines
