"""The table behind `vidx models`: every model with its paper, input, parameters and multiply-accumulates."""

import json

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


def table(pattern: str = "*", fmt: str = "table") -> str:
  """The models that match a glob pattern, as 'table', 'json' or 'markdown'.

  Raises:
    ConfigError: a pattern that matches none.
  """
  names = systems.list_models(pattern)
  if not names:
    raise errors.ConfigError(f"no model matches '{pattern}'{errors.hint(pattern, systems.rows())};"
                             " `vidx models` lists all.")
  rows = [describe(name) for name in names]
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


def main(pattern: str = "*", fmt: str = "table") -> None:
  """Prints the table."""
  print(table(pattern, fmt))
