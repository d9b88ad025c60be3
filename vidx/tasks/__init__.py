"""Tasks by name: what is learned and how it is scored."""

from collections.abc import Mapping
import dataclasses
import importlib
from typing import Any

from vidx import errors
from vidx.tasks.base import LABEL

_TASKS = {
    "audiovisual": ("vidx.tasks.audiovisual", "Audiovisual"),
    "box_actions": ("vidx.tasks.box_actions", "BoxActions"),
    "classification": ("vidx.tasks.classification", "Classification"),
    "joint": ("vidx.tasks.joint", "Joint"),
    "matching": ("vidx.tasks.matching", "Matching"),
    "multilabel": ("vidx.tasks.multilabel", "MultiLabel"),
    "tags_and_class": ("vidx.tasks.tags_and_class", "TagsAndClass"),
    "clustering": ("vidx.tasks.clustering", "Clustering"),
    "verb_noun": ("vidx.tasks.verb_noun", "VerbNoun"),
    "retrieval": ("vidx.tasks.retrieval", "Retrieval"),
    "detection": ("vidx.tasks.detection", "Detection"),
    "captioning": ("vidx.tasks.captioning", "Captioning"),
    "tagging": ("vidx.tasks.captioning", "Tagging"),
    "generation": ("vidx.tasks.generation", "Generation"),
    "affinity": ("vidx.tasks.affinity", "Affinity"),
    "grounding": ("vidx.tasks.grounding", "Grounding"),
    "next_word": ("vidx.tasks.next_word", "NextWord"),
    "segmentation": ("vidx.tasks.segmentation", "Segmentation"),
}


def names() -> tuple[str, ...]:
  """All task names."""
  return tuple(_TASKS)


def headlines(name: str) -> tuple[str, ...]:
  """The metrics that a task names first; none of an unknown one."""
  if name not in _TASKS:
    return ()
  cls = _class(name)
  return tuple(m for m in (cls.best_metric, *cls.headlines) if m)


def _class(name: str) -> type:
  module, attribute = _TASKS[name]
  return getattr(importlib.import_module(module), attribute)


def get(name: str, **fields: Any):
  """The task `name` with the given fields.

  Raises:
    ConfigError: unknown name or field (the nearest is named), or a value that the task refuses.
  """
  errors.check_choice("task.name", name, _TASKS)
  cls = _class(name)
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
  have = dataset.targets
  for name, several in task.targets.items():
    if name not in have and (have or name != LABEL):
      raise errors.ConfigError(f"task.name '{section['name']}' learns the target '{name}', which data set"
                               f" '{dataset.name}' lacks: it has {', '.join(have) or 'none'}.")
    row = have.get(name)
    if row is not None and row.several != several:
      kind, fits = ("several labels", "multilabel") if row.several else ("one label", "classification")
      advice = f": set task.name='{fits}'" if name == LABEL else f" of the target '{name}'"
      raise errors.ConfigError(f"task.name '{section['name']}' does not fit data set '{dataset.name}',"
                               f" whose videos have {kind}{advice}.")
  return task.for_dataset(dataset)


def keep_categories(section: Any, dataset: Any) -> None:
  """Sets `categories` of a config section whose task has them, so that a run knows its categories without its data."""
  fields = [f.name for f in dataclasses.fields(_class(section["name"]))] if section["name"] in _TASKS else ()
  if "categories" in fields and dataset.categories and not section.get("categories"):
    section["categories"] = {name: tuple(ids) for name, ids in dataset.categories.items()}
