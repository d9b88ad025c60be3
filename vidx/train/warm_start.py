"""Start from another run's parameters, with a report of what was loaded, what was not and why."""

from collections.abc import Callable, Mapping, Sequence
import os
import re
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from vidx import errors, reading
from vidx.interop import published
from vidx.train import checkpoint, config as config_lib, optim, state as state_lib

Adopt = Callable[[str, Mapping[str, Any]], str | tuple[str, Callable[[Any], Any]] | None]
FITTED = ("loaded", "mean of the colours", "repeated over time", "made of another")  # what became of leaves that fit


def located(source: str) -> str:
  """The folder that an entry of `train.init_from` means: itself, or the converted weights of a public checkpoint.

  Raises:
    UserError: public weights that are unknown or cannot be got.
  """
  if os.path.isdir(source) or not published.is_name(source):
    return source
  from vidx.interop import pretrained  # brings what converts
  return pretrained.folder_of(source)


def read_variables(source: str) -> dict[str, Any]:
  """Variables of a workdir: of its best checkpoint, else its last; of several seeds those of the first."""
  source = located(source)
  reader = checkpoint.Checkpointer(source, read_only=True)
  step = reader.best()
  step = reader.latest() if step is None else step
  if step is None:
    raise errors.CheckpointError(f"{source} holds no finished checkpoint to start from.")
  variables = reader.restore_variables(step)
  reader.close()
  with reading.open_text(os.path.join(source, "config.json")) as f:
    seeds = config_lib.from_json(f.read()).train.seeds
  return jax.tree.map(lambda x: x[0], variables) if seeds > 1 else variables


def entries(init_from: str | Sequence) -> list[tuple[str, str, str]]:
  """[(target pattern, source, source prefix)] of `train.init_from`; pattern and prefix are '' where left out.

  Raises:
    ConfigError: an entry of another form.
  """
  if not init_from:
    return []
  if isinstance(init_from, str):
    return [("", init_from, "")]
  if all(isinstance(word, str) for word in init_from):
    if len(init_from) == 1:
      return [("", init_from[0], "")]
    init_from = (init_from,)
  for entry in init_from:
    if isinstance(entry, str) or len(entry) not in (2, 3):
      raise errors.ConfigError(f"train.init_from: {entry!r} is none of WORKDIR, (PATTERN, WORKDIR) and"
                               " (PATTERN, WORKDIR, PART OF IT).")
  return [(*entry, "")[:3] for entry in init_from]


def part_of(variables: Any, prefix: str, source: str) -> Any:
  """A part of a model's variables, as if it had been trained alone.

  Args:
    variables: {'params': ..., 'batch_stats': ...}.
    prefix: the part's name, such as 'student' or 'student/trunk'; '': all of it.
    source: named in the error.

  Raises:
    CheckpointError: there is no such part.
  """
  names = prefix.strip("/").split("/") if prefix.strip("/") else []
  found = {}
  for collection, tree in variables.items():
    for name in names:
      tree = tree.get(name) if isinstance(tree, Mapping) else None
    if tree is not None:
      found[collection] = tree
  if "params" not in found:
    raise errors.CheckpointError(f"{source} has no part '{prefix}' to start from"
                                 f"{errors.hint(prefix, variables['params'])}; its parts are"
                                 f" {', '.join(variables['params'])}.")
  return found


def first_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
  """A first layer for other inputs from one for colours: (..., 3, O) -> (..., channels, O), each their mean.

  Wang et al.: "Temporal Segment Networks", 2016, section 3.2, for optical flow.
  """
  return np.repeat(kernel.mean(-2, keepdims=True), channels, -2)


def merge(variables: Any, source: Any, pattern: str = "", exclude: Sequence[str] = (), adopt: Adopt | None = None
          ) -> tuple[Any, dict[str, list[str]]]:
  """`variables` with the leaves of `source` where name and shape agree.

  Every part of a system (its trunk, each of its pathways) also takes the leaves of that
  part alone. A first layer for other inputs than colours takes their mean, and a kernel
  of clips that of images, repeated over time and divided by its frames.

  Args:
    variables: {'params': ..., 'batch_stats': ...} of the new model.
    source: the same of the checkpoint.
    pattern: only parameters whose path it matches.
    exclude: patterns of parameters that keep their values.
    adopt: (path, the source) -> the name of the leaf that a parameter takes, with a function of the fresh leaf where it
      takes something made of it, or None for that of the same name; a system's own `adopt`.

  Returns:
    The new variables, and the report {'loaded', 'mean of the colours', 'repeated over time', 'made of another',
    'excluded', 'other shape', 'not in the checkpoint', 'not used'} of paths.
  """
  target = traverse_util.flatten_dict(variables, sep="/")
  given = traverse_util.flatten_dict(source, sep="/")
  report = {k: [] for k in (*FITTED, "excluded", "other shape", "not in the checkpoint", "not used")}
  merged, used = {}, set(target)
  for path, leaf in target.items():
    merged[path] = leaf
    if not re.search(pattern, path):
      continue
    key = (adopt and adopt(path, given)) or _named(path, given)
    key, made = key if isinstance(key, tuple) else (key, None)
    used.add(key)
    if any(re.search(e, path) for e in exclude):
      report["excluded"].append(path)
    elif key not in given:
      report["not in the checkpoint"].append(path)
    else:
      value, how = fitted(given[key], leaf.shape) if made is None else (made(leaf), FITTED[3])
      if value is None:
        report["other shape"].append(f"{path}: {tuple(given[key].shape)} there, {tuple(leaf.shape)} here")
      else:
        merged[path] = np.asarray(value, leaf.dtype)
        report[how].append(path)
  report["not used"] = [p for p in given if p not in used]
  return traverse_util.unflatten_dict(merged, sep="/"), report


def _named(path: str, given: Mapping[str, Any]) -> str:
  """What a parameter is called in the source: the same, or without the names of the parts that it lies in."""
  collection, *names = path.split("/")
  for i in range(len(names) - 1):
    alone = "/".join((collection, *names[i:]))
    if alone in given:
      return alone
  return path


def fitted(given: Any, shape: Sequence[int]) -> tuple[Any, str]:
  """A leaf of the source as one of that shape and how, one of FITTED; None where it does not fit."""
  shape, of_images = tuple(shape), len(shape) == 5 and given.ndim == 4
  if tuple(given.shape) == shape:
    return given, FITTED[0]
  wanted = shape[1:] if of_images else shape
  how = FITTED[2]
  if _of_colours(given.shape, wanted):
    given, how = first_kernel(np.asarray(given, np.float32), wanted[-2]), FITTED[1]
  if tuple(given.shape) != wanted:
    return None, ""
  return (np.repeat(np.asarray(given, np.float32)[None] / shape[0], shape[0], 0) if of_images else given), how


def _of_colours(given: Sequence[int], wanted: Sequence[int]) -> bool:
  """Whether a convolution of 3 channels meets one of other channels and else the same shape."""
  alike = len(given) == len(wanted) >= 4 and (*given[:-2], given[-1]) == (*wanted[:-2], wanted[-1])
  return alike and given[-2] == 3 != wanted[-2]


def start(run) -> tuple[state_lib.TrainState, dict[str, dict[str, list[str]]]]:
  """The first state of a run with parameters and statistics of `train.init_from`, and a report per source.

  What goes on from the parameters, averages and an optimiser's slow weights, begins at what was loaded.

  Raises:
    ConfigError: a pattern of `train.init_exclude` that matches nothing.
    CheckpointError: a source that is no run, without the part that is named, or without any
      parameter that fits.
  """
  exclude = run.config.train.init_exclude
  optim.matches({"params": run.abstract.params, **run.abstract.stats}, exclude, "train.init_exclude")
  state = run.init().replace(opt_state=(), ema={})
  variables = {"params": state.params, **state.stats}
  reports = {}
  for pattern, source, prefix in entries(run.config.train.init_from):
    part = part_of(read_variables(source), prefix, source)
    variables, report = merge(variables, part, pattern, exclude, getattr(run.model, "adopt", None))
    name = f"{source}, {prefix}" if prefix else source
    if not any(report[how] for how in FITTED):
      raise errors.CheckpointError(
          f"{name}: none of its parameters fits this model in name and shape; it is of another architecture.")
    reports[f"{name} for {pattern}" if name in reports else name] = report
  params = jax.device_put(variables.pop("params"), run.shardings.params)
  state = state.replace(params=params, stats=jax.device_put(variables, run.shardings.stats))
  complete = lambda loaded: state_lib.complete(loaded, run.tx, bool(run.config.optimizer.ema))
  return jax.jit(complete, out_shardings=run.shardings)(state), reports


def pixels(init_from, data: Any) -> list[str]:
  """A line per source that was trained on pixels of another mean and deviation than `data` says."""
  lines = []
  for _, source, _ in entries(init_from):
    with open(os.path.join(located(source), "config.json"), encoding="utf-8") as f:
      there = config_lib.from_json(f.read()).data
    if not all(np.allclose(there[k], data[k], atol=1e-4) for k in ("mean", "std")):
      said = " ".join(f"--config.data.{k}={','.join(f'{x:g}' for x in there[k])}" for k in ("mean", "std"))
      lines.append(f"note: {source} saw pixels normalised otherwise; to do as it did: {said}")
  return lines


def summary(reports: dict[str, dict[str, list[str]]]) -> list[str]:
  """Lines for the console."""
  lines = []
  for source, report in reports.items():
    counts = ", ".join(f"{len(v)} {k}" for k, v in report.items() if v)
    lines.append(f"started from {source}: {counts}")
    lines += [f"  other shape, kept fresh: {p}" for p in report["other shape"]]
    lines += [f"  not in the checkpoint, kept fresh: {p}" for p in report["not in the checkpoint"][:10]]
  return lines
