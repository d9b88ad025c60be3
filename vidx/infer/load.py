"""A trained run from its workdir: model, variables, config, classes, task."""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import os
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vidx import errors, reading, tasks
from vidx.data import examples, records
from vidx.train import build, checkpoint, config as config_lib, sharding, workdirs


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A trained run, ready for use.

  `loaded.model.apply(loaded.variables, video, train=False)` takes normalised
  clips (see vidx/nn/augment.py).

  Attributes:
    model: linen module.
    variables: {'params', 'batch_stats', ...}; averaged parameters where kept; of several
      runs at once those of the first seed.
    config: the run's config.
    classes: names by class id of the target 'label'; empty where there is none.
    task: what was learned.
    step: of the checkpoint.
    dtype: compute dtype.
    members: the variables of all seeds, with their axis in front, where there are several.
    targets: names by class id of every target.
  """

  model: Any
  variables: dict[str, Any]
  config: ConfigDict
  classes: tuple[str, ...]
  task: Any
  step: int
  dtype: Any
  members: Any = None
  targets: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def load_checkpoint(workdir: str, step: int | str | None = None, overrides: Sequence[str] = ()) -> Loaded:
  """Reads a run.

  Args:
    workdir: folder of the run.
    step: 'best' or None for the best checkpoint, or the last where none was
      evaluated; 'last'; or a number.
    overrides: `section.key=value` texts over the run's config.

  Raises:
    CheckpointError: no run, no such checkpoint, or a model that the overrides
      made another.
  """
  workdir = os.fspath(workdir)
  if not workdir:
    raise errors.CheckpointError("no workdir: add --workdir=FOLDER, the folder of a run.")
  config, targets = settings(workdir)
  config.data.cache = config.data.phrases.codes = ""  # whoever uses a run sees videos, and reads phrases
  kept = os.path.join(workdir, workdirs.VOCABULARY)
  if os.path.exists(kept):
    config.data.text.vocab = os.path.abspath(kept)
  config_lib.override(config, overrides)
  reader = checkpoint.Checkpointer(workdir, read_only=True)
  try:
    chosen = _choose(reader, workdir, step)
    variables = reader.restore_variables(chosen)
  finally:
    reader.close()
  dtype = build.compute_dtype(config.train.precision)
  task = build.with_words(tasks.from_config(config.task.to_dict()), config)
  model, num_classes = build.make_model(config, task, {name: len(c) for name, c in targets.items()}, dtype)
  if records.LABEL in targets and isinstance(num_classes, int):
    targets[records.LABEL] += [f"class {i}" for i in range(len(targets[records.LABEL]), num_classes)]
  members = variables if config.train.seeds > 1 else None
  if members is not None:
    variables = jax.tree.map(lambda x: x[0], members)
  if any(o.startswith("system.") for o in overrides):
    _check(model, variables, config.data, workdir, num_classes)
  named = {name: tuple(classes) for name, classes in targets.items()}
  return Loaded(model, variables, config, named.get(records.LABEL, ()), task, chosen, dtype, members, named)


def settings(workdir: str) -> tuple[ConfigDict, dict[str, list[str]]]:
  """The config of a run, and the class names of every target by id.

  Raises:
    CheckpointError: there is no run, or its config.json or classes.json is damaged.
  """
  text = _read(workdir, "config.json")
  with reading.boundary(f"{os.path.join(workdir, 'config.json')} is damaged", errors.CheckpointError):
    config = config_lib.from_json(text)
  text = _read(workdir, "classes.json")
  with reading.boundary(f"{os.path.join(workdir, 'classes.json')} is damaged", errors.CheckpointError):
    found = json.loads(text)
    found = found if isinstance(found, dict) else {records.LABEL: found}
    if not all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in found.values()):
      raise ValueError("it holds no lists of names")
  return config, found


def make_mesh(config: ConfigDict) -> jax.sharding.Mesh:
  """The run's mesh where it fits the devices of today, else all devices as `data`."""
  try:
    return sharding.make_mesh(config.mesh)
  except errors.ConfigError:
    return sharding.make_mesh(ConfigDict(dict(data=-1, fsdp=1, tensor=1)))


def _read(workdir: str, name: str) -> str:
  try:
    with reading.open_text(os.path.join(workdir, name)) as f:
      return f.read()
  except UnicodeDecodeError as e:
    raise errors.CheckpointError(f"{os.path.join(workdir, name)} is damaged ({reading.reason(e)}).") from e
  except OSError:
    raise reading.no_run(workdir, name) from None


def _choose(reader: checkpoint.Checkpointer, workdir: str, step: int | str | None) -> int:
  """The number of the wanted checkpoint."""
  steps = reader.steps()
  if not steps:
    raise errors.CheckpointError(f"{workdir} holds no finished checkpoint: let the training go on first.")
  if step in (None, "best"):
    best = reader.best()
    return steps[-1] if best is None else best
  if step == "last":
    return steps[-1]
  if isinstance(step, str) and not step.isdigit():
    raise errors.CheckpointError(f"step '{step}' is none of best, last and the numbers {_listed(steps)}.")
  if int(step) not in steps:
    raise errors.CheckpointError(f"{workdir} keeps no checkpoint of step {step}; it keeps {_listed(steps)}.")
  return int(step)


def _listed(steps: Sequence[int]) -> str:
  return ", ".join(map(str, steps))


def _check(model, variables: Any, data: ConfigDict, workdir: str, num_classes: Any) -> None:
  """Compares the shapes that a model wants with those that were stored."""
  inputs = examples.input_shapes(model, data, jnp.float32, num_classes)
  wanted = jax.eval_shape(lambda *x: model.init(jax.random.PRNGKey(0), *x, train=False), *inputs)["params"]
  differs = checkpoint.difference(variables["params"], wanted)
  if differs:
    raise errors.CheckpointError(f"the overrides of system make another architecture than that of {workdir}:"
                                 f" {differs}.")
