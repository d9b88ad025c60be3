"""Start from another run's parameters, with a report of what was loaded, what was not and why."""

from collections.abc import Callable, Mapping, Sequence
import os
import re
from typing import Any

from flax import traverse_util
import jax
from ml_collections import ConfigDict
import numpy as np

from vidx import errors, reading
from vidx.interop import published
from vidx.terminal import counted
from vidx.train import checkpoint, config as config_lib, optim, state as state_lib

Adopt = Callable[[str, Mapping[str, Any]], str | tuple[str, Callable[[Any], Any]] | None]
FITTED = ("loaded", "mean of the colours", "repeated over time", "made of another")  # what became of leaves that fit
# Shares of kernels that fit, below which a source is of another network: of those that both have by name, and of all.
# One share of two suffices, that of the model or that of the source, for either may be a part of the other.
_OF_NAMED, _OF_ALL = 0.5, 0.1
_LINES = 6  # that name single leaves; of more, groups are named


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
  return jax.tree.map(lambda x: x[0], variables) if _config(source).train.seeds > 1 else variables


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
    key, made = _source_of(path, given, adopt)
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


def _source_of(path: str, given: Mapping[str, Any], adopt: Adopt | None) -> tuple[str, Callable[[Any], Any] | None]:
  """The name of the leaf that a parameter takes, there or not, and what is made of it."""
  key = (adopt and adopt(path, given)) or _named(path, given)
  return key if isinstance(key, tuple) else (key, None)


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


def fits(variables: Any, source: Any, report: Mapping[str, Sequence[str]], adopt: Adopt | None = None
         ) -> tuple[bool, int, int]:
  """Whether what a merge took makes two networks one and the same, or one a part of the other; and kernels.

  A new classifier, other position embeddings and modules that one of both has alone are few, or have no name there;
  of a trunk of another width nothing fits. What has one axis is left out, for it means nothing without its kernel.

  Args:
    variables: of the model, see `merge`.
    source: of the checkpoint.
    report: of their merge.
    adopt: see `merge`.

  Returns:
    That, how many kernels of the model fit, and of how many.
  """
  target, given = (traverse_util.flatten_dict(x, sep="/") for x in (variables, source))
  fitting = [p for how in FITTED for p in report[how]]
  named = [*fitting, *(p.split(":")[0] for p in report["other shape"])]
  whole = any(p.startswith("params/") and np.ndim(target[p]) > 1 for p in named)
  kernels = lambda paths, of: {p for p in paths if p.startswith("params/") and (np.ndim(of[p]) > 1 or not whole)}
  fitting, named = kernels(fitting, target), kernels(named, target)
  taken, met = ({_source_of(p, given, adopt)[0] for p in some} for some in (fitting, named))
  every = named | kernels(report["not in the checkpoint"], target)
  there = met | kernels(report["not used"], given)
  share = lambda some, of: len(some) / max(1, len(of))
  alike = (max(share(fitting, named), share(taken, met)) >= _OF_NAMED and
           max(share(fitting, every), share(taken, there)) >= _OF_ALL)
  return alike, len(fitting), len(every)


def _differing(here: ConfigDict, there: ConfigDict, part: bool) -> str:
  """In which fields two systems differ, ' (system.width: 16 there, 32 here)'; '' where that says nothing."""
  if here.name != there.name:
    return "" if part else f" (system.name: {there.name} there, {here.name} here)"
  told = lambda config, key: repr(config[key]) if key in config else "unset"
  names = [k for k in {*here, *there} if k != "num_classes" and told(here, k) != told(there, k)]
  names.sort(key=lambda k: (isinstance(there.get(k, here.get(k)), (tuple, ConfigDict)), k))  # such as widths first
  said = [f"system.{k}: {told(there, k)} there, {told(here, k)} here" for k in names]
  return f" ({'; '.join(said[:3])}{'; ...' if len(said) > 3 else ''})" if said else ""


def _config(source: str) -> ConfigDict:
  """The config that lies beside what `read_variables` reads."""
  with reading.open_text(os.path.join(located(source), "config.json")) as f:
    return config_lib.from_json(f.read())


def read(config: ConfigDict) -> list[Any]:
  """The variables of each entry of `train.init_from`, for `check` and `start`; [] where it is empty."""
  return [part_of(read_variables(source), prefix, source) for _, source, prefix in entries(config.train.init_from)]


def check(run, sources: Sequence[Any]) -> None:
  """Raises what `start` would, from the shapes of the run's state and what `read` gives; computes nothing."""
  fresh = {"params": run.abstract.params, **run.abstract.stats}
  if sources:
    _merged(run, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), fresh), sources)


def start(run, sources: Sequence[Any] = ()) -> tuple[state_lib.TrainState, dict[str, dict[str, list[str]]]]:
  """The first state of a run with parameters and statistics of `train.init_from`, and a report per source.

  What goes on from the parameters, averages and an optimiser's slow weights, begins at what was loaded.

  Args:
    run: of `build.build`.
    sources: what `read` gives, where it was called before.

  Raises:
    ConfigError: a pattern of `train.init_exclude` that matches nothing.
    CheckpointError: a source that is no run, without the part that is named, or of which too little `fits`.
  """
  state = run.init().replace(opt_state=(), ema={})
  variables, reports = _merged(run, {"params": state.params, **state.stats}, sources or read(run.config))
  params = jax.device_put(variables.pop("params"), run.shardings.params)
  state = state.replace(params=params, stats=jax.device_put(variables, run.shardings.stats))
  complete = lambda loaded: state_lib.complete(loaded, run.tx, bool(run.config.optimizer.ema))
  return jax.jit(complete, out_shardings=run.shardings)(state), reports


def _merged(run, variables: Any, sources: Sequence[Any]) -> tuple[Any, dict[str, dict[str, list[str]]]]:
  """Fresh variables with what `train.init_from` gives, and a report per source; see `start`."""
  exclude, reports = run.config.train.init_exclude, {}
  optim.matches({"params": run.abstract.params, **run.abstract.stats}, exclude, "train.init_exclude")
  adopt = getattr(run.model, "adopt", None)
  for (pattern, source, prefix), part in zip(entries(run.config.train.init_from), sources, strict=True):
    variables, report = merge(variables, part, pattern, exclude, adopt)
    name = f"{source}, {prefix}" if prefix else source
    alike, kernels, of = fits(variables, part, report, adopt)
    fitting = sum(len(report[how]) for how in FITTED)
    if not alike and (of or not fitting):
      count = fitting + len(report["other shape"]) + len(report["not in the checkpoint"])
      what = (f"only {fitting} of {counted(count, 'tensor')} fit this model in name and shape, of kernels {kernels} of"
              f" {of}"
              if fitting else "none of its parameters fits this model in name and shape")
      raise errors.CheckpointError(
          f"{name}: {what}{_differing(run.config.system, _config(source).system, bool(pattern or prefix))}; it is of"
          " another network." + (" To take what fits all the same, name it: train.init_from=((PATTERN, WORKDIR,"
                                 " PART OF IT),)." if fitting else ""))
    reports[f"{name} for {pattern}" if name in reports else name] = report
  return variables, reports


def pixels(init_from, data: Any) -> list[str]:
  """A line per source that was trained on pixels of another mean and deviation than `data` says."""
  lines = []
  for _, source, _ in entries(init_from):
    there = _config(source).data
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
    for why in ("other shape", "not in the checkpoint"):
      lines += [f"  {why}, kept fresh: {told}" for told in _grouped(report[why])]
  return lines


def _grouped(paths: Sequence[str]) -> list[str]:
  """Paths, or where they are many how many lie in each part of the model."""
  if len(paths) <= _LINES:
    return list(paths)
  for depth in (4, 3, 2):
    groups = {}
    for path in paths:
      groups.setdefault("/".join(path.split(":")[0].split("/")[:depth]), []).append(path)
    if len(groups) <= _LINES:
      break
  told = [some[0] if len(some) == 1 else f"{len(some)} in {part}, such as {some[0]}" for part, some in groups.items()]
  return told if len(told) <= _LINES else [f"{len(paths)}, such as {paths[0]}"]
