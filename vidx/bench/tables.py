"""The rows of the tables of the four theses, and by which config each is run: `vidx bench tables`.

`configs/tables.csv` is where the rows are kept, in the order of the theses, a line each:

  thesis,table,row,published,config,settings,note,ours

A line without a row is the title of a table. `config` is a file below `configs` with the word behind the colon where it
has one, `settings` are flags without `--config.`, apart by spaces, and `ours` is what was measured here. Rows without
a config say in the note why. `configs/README.md` is the page that is made of them.
"""

from collections.abc import Iterator
import csv
import dataclasses
import itertools
import re

from vidx import places

THESES = {
    "Huang": "Guoxi Huang: Spatio-Temporal Modeling for Action Recognition in Videos, 2022",
    "Wang": "Xiaohan Wang: Collaborative Dual-Stream Modeling for Video Understanding, 2021",
    "Fayyaz": "Mohsen Fayyaz: Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency, 2024",
    "Xiao": "Fanyi Xiao: Multimodal Learning with Minimal Human Supervision from Videos and Natural Language, 2020",
}
HEAD = """# Every row of the tables, and how it is run

Written by `vidx bench tables > configs/README.md` from `configs/tables.csv`; change the rows there.

A row is run by `vidx train --config=configs/CONFIG --config.SETTING ... --config.data.root=... --workdir=...`, with a
`--config.` in front of each of its settings; the first lines of the config have the rest, where to start from and the
views of the test. Settings that are said to be of the evaluation go to `vidx eval` in the same form. "none" means that
there is no config, and why; figures of other authors are what the theses quote. Parameters and GFLOPs of the networks
are held by tests; of accuracies, "ours" says whether they were measured: at the scale of the theses none is yet, and
what was tried on small worlds is in `configs/claims`.
"""
CONFIG = re.compile(r"\b[a-z0-9_]+/[a-z0-9_]+\.py(?::[\w-]+)?")


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of a table, or with an empty `row` its title; `note` says what else it takes, or why it has no config."""

  thesis: str
  table: str
  row: str
  published: str
  config: str
  settings: str
  note: str
  ours: str

  @property
  def configs(self) -> list[str]:
    """All configs that the row names, the first of them its own."""
    return [self.config] * bool(self.config) + CONFIG.findall(self.note)


def rows() -> list[Row]:
  """All lines of `configs/tables.csv`."""
  with open(places.configs() / "tables.csv", encoding="utf-8", newline="") as f:
    return [Row(**line) for line in csv.DictReader(f)]


def page() -> str:
  """`configs/README.md`: how many rows have a config, and the tables in the order of the theses."""
  every = rows()
  kept = [row for row in every if row.row]
  lines = [HEAD, f"{len(kept)} rows, {sum(bool(row.config) for row in kept)} with a config,"
           f" {sum(bool(row.ours) for row in kept)} measured."]
  for thesis, of_one in itertools.groupby(every, lambda row: row.thesis):
    lines += ["", f"## {THESES[thesis]}"]
    for number, table in itertools.groupby(of_one, lambda row: row.table):
      lines += ["", *_table(number, list(table))]
  return "\n".join(lines) + "\n"


def _table(number: str, table: list[Row]) -> Iterator[str]:
  title, *body = table
  yield f"### Table {number}: {title.published}"
  yield ""
  if not body:
    yield f"None: {title.note}."
    return
  yield "| row | published | config | settings and notes | ours |"
  yield "|---|---|---|---|---|"
  for row in body:
    config = f"`{row.config}`" if row.config else f"none: {row.note}"
    more = [f"`{row.settings}`"] * bool(row.settings) + [row.note] * bool(row.config and row.note)
    cells = (row.row, row.published, config, "; ".join(more), row.ours or ("not measured" if row.config else ""))
    yield f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(cell: str) -> str:
  """A cell whose stars are no emphasis."""
  return cell if "`" in cell else cell.replace("*", r"\*")


def main() -> None:
  """Prints the page."""
  print(page(), end="")
