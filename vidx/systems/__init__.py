"""Systems by name: a lookup table, and `create_model`, which imports what a name needs."""

from collections.abc import Mapping
import fnmatch
import importlib
import inspect
from typing import Any

from vidx import errors
from vidx.backbones import table
from vidx.backbones.table import Row

_TSM = "Lin et al. 2019"
_CLIP = (1, 8, 224, 224, 3)

SYSTEMS: dict[str, Row] = {
    "tsn": Row("vidx.systems.tsn:tsn", {}, "Wang et al. 2016", (_CLIP,), "mit-han-lab"),
    "tsm": Row("vidx.systems.tsm:tsm", {}, _TSM, (_CLIP,), "mit-han-lab"),
    "tsm_r50": Row("vidx.systems.tsm:tsm", dict(trunk="resnet_50"), _TSM, (_CLIP,), "mit-han-lab"),
    "tsm_r101": Row("vidx.systems.tsm:tsm", dict(trunk="resnet_101"), _TSM, (_CLIP,), "mit-han-lab"),
}


def rows() -> dict[str, Row]:
  """All names of `create_model`."""
  return {**table.ROWS, **SYSTEMS}


def list_models(pattern: str = "*") -> list[str]:
  """The names that match a glob pattern, sorted."""
  return sorted(fnmatch.filter(rows(), pattern))


def create_model(name: str, **fields: Any):
  """A system or trunk with the given fields; those not given have their published values.

  Args:
    name: one of `list_models()`.
    **fields: see the docstring of what the name stands for.

  Returns:
    A linen module, called as model.apply(variables, video, train=...).

  Raises:
    ConfigError: an unknown name or field, or sites that the trunk has not.
  """
  if name not in rows():
    raise errors.ConfigError(
        f"unknown model '{name}'{errors.hint(name, rows())}; `vidx models` lists all {len(rows())}.")
  row = rows()[name]
  fields = {**row.fields, **{k: _fixed(v) for k, v in fields.items()}}
  known = field_names(name, fields.get("trunk"))
  for field in fields:
    if field not in known:
      raise errors.ConfigError(
          f"{name} has no field '{field}'{errors.hint(field, known)}; its fields are {', '.join(known)}.")
  from vidx.nn import sites
  try:
    model = _load(row.factory)(**fields)
    sites.check(getattr(model, "sites", {}), model.site_names())
  except ValueError as e:
    raise errors.ConfigError(f"{name}: {e}.") from None
  return model


def field_names(name: str, trunk: str | None = None) -> list[str]:
  """The fields of a model, those that it passes on to its trunk included."""
  parameters = inspect.signature(_load(rows()[name].factory)).parameters
  names = [p.name for p in parameters.values()
           if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in ("parent", "name")]
  if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
    trunk = trunk or rows()[name].fields.get("trunk") or parameters["trunk"].default
    if trunk in rows():
      names += [n for n in field_names(trunk) if n not in names]
  return names


def _load(factory: str):
  module, _, attribute = factory.partition(":")
  return getattr(importlib.import_module(module), attribute)


def _fixed(value: Any) -> Any:
  """Lists as tuples, so that a module can be hashed."""
  if isinstance(value, (list, tuple)):
    return tuple(_fixed(v) for v in value)
  if isinstance(value, Mapping):
    return {k: _fixed(v) for k, v in value.items()}
  return value
