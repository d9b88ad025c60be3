"""The table behind `vidx models`: every model with its paper, input, parameters and multiply-accumulates."""

import inspect
import json
import pathlib

import jax
import jax.numpy as jnp

from vidx import errors, systems
from vidx.measure.count import count

COLUMNS = ("name", "source", "input", "parameters", "GMACs", "weights")


def describe(name: str) -> dict[str, object]:
  """One row of the table; counts are of one example at its published size."""
  row = systems.rows()[name]
  counts = count(systems.create_model(name), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in row.inputs))
  return {"name": name, "source": row.source, "input": ["x".join(map(str, s[1:])) for s in row.inputs if s[1:]],
          "parameters": counts.params, "GMACs": round(counts.macs / 1e9, 3), "weights": row.weights}


PAGE = pathlib.Path(__file__).resolve().parents[1] / "backbones/README.md"


def kept() -> dict[str, dict[str, object]]:
  """The rows of the documented table, which were counted when they were written; by name."""
  try:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
  except OSError:
    return {}
  found = {}
  for line in lines:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if line.startswith("| ") and len(cells) == len(COLUMNS) and cells[3].replace(",", "").isdigit():
      found[cells[0]] = {"name": cells[0], "source": cells[1], "input": [s for s in cells[2].split(", ") if s],
                         "parameters": int(cells[3].replace(",", "")), "GMACs": float(cells[4].replace(",", "")),
                         "weights": cells[5]}
  return found


def fields(name: str) -> str:
  """The fields of a model with their values, a line each."""
  row = systems.rows()[name]
  trunk = systems.trunk_of(name)
  lines = [f"fields of {name} (--config.system.FIELD=VALUE, or create_model('{name}', FIELD=VALUE)):"]
  for field in systems.field_names(name):
    default = systems.default_of(name, field)
    owner = "" if field in systems.own_fields(name) or not trunk else f"  (of its trunk, {trunk})"
    value = "" if default is inspect.Parameter.empty else f" = {default!r}"
    lines.append(f"  {field}{value if len(value) < 90 else value[:87] + '...'}{owner}")
  return "\n".join([*lines, f"paper: {row.source}"])


def table(pattern: str = "*", fmt: str = "table", counted: bool = False) -> str:
  """The models that match a glob pattern, as 'table', 'json' or 'markdown'.

  Args:
    pattern: of names.
    fmt: see above.
    counted: counts anew what the documented table has.

  Raises:
    ConfigError: a pattern that matches none.
  """
  names = systems.list_models(pattern)
  if not names:
    raise errors.ConfigError(f"no model matches '{pattern}'{errors.hint(pattern, systems.rows())};"
                             " `vidx models` lists all.")
  known = {} if counted or fmt == "markdown" else kept()
  rows = [known.get(name) or describe(name) for name in names]
  if fmt == "json":
    return json.dumps(rows, indent=2)
  cells = [list(COLUMNS)] + [
      [r["name"], r["source"], ", ".join(r["input"]), f"{r['parameters']:,}", f"{r['GMACs']:,.3f}", r["weights"]]
      for r in rows]
  if fmt == "markdown":
    cells.insert(1, ["---", "---", "---", "---:", "---:", "---"])
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
  widths = [max(map(len, column)) for column in zip(*cells)]
  numbers = (3, 4)
  return "\n".join("  ".join(c.rjust(w) if i in numbers else c.ljust(w)
                             for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in cells)


def main(pattern: str = "*", fmt: str = "table", counted: bool = False) -> None:
  """Prints the table, and of a single model its fields."""
  print(table(pattern, fmt, counted))
  if fmt == "table" and pattern in systems.rows():
    print(f"\n{fields(pattern)}")
