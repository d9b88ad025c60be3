"""Tasks by name: what is learned and how it is scored."""

from collections.abc import Mapping
import dataclasses
import importlib
from typing import Any

from vidx import errors

_TASKS = {
    "classification": ("vidx.tasks.classification", "Classification"),
    "joint": ("vidx.tasks.joint", "Joint"),
    "matching": ("vidx.tasks.matching", "Matching"),
    "multilabel": ("vidx.tasks.multilabel", "MultiLabel"),
    "segmentation": ("vidx.tasks.segmentation", "Segmentation"),
}


def names() -> tuple[str, ...]:
  """All task names."""
  return tuple(_TASKS)


def get(name: str, **fields: Any):
  """The task `name` with the given fields.

  Raises:
    ConfigError: unknown name or field (the nearest is named), or a value that the task refuses.
  """
  if name not in _TASKS:
    raise errors.ConfigError(
        f"task.name '{name}' is not one of {', '.join(_TASKS)}{errors.hint(name, _TASKS)}.")
  module, attribute = _TASKS[name]
  cls = getattr(importlib.import_module(module), attribute)
  known = [f.name for f in dataclasses.fields(cls)]
  for field in fields:
    if field not in known:
      raise errors.ConfigError(f"task.{field} is not a field of the task '{name}'"
                               f"{errors.hint(field, known) or ' (known: ' + ', '.join(known) + ')'}.")
  return cls(**fields)


def from_config(section: Mapping[str, Any], dataset: Any = None):
  """The task of a config section, fitted to a data set where one is given.

  Raises:
    ConfigError: as `get`, or where task and data set disagree on labels per video.
  """
  task = get(section["name"], **{k: v for k, v in section.items() if k != "name"})
  if dataset is None:
    return task
  if task.multilabel != dataset.multilabel:
    kind, fits = ("several labels", "multilabel") if dataset.multilabel else ("one label", "classification")
    raise errors.ConfigError(f"task.name '{section['name']}' does not fit data set '{dataset.name}',"
                             f" whose videos have {kind}: set task.name='{fits}'.")
  return task.for_dataset(dataset)
