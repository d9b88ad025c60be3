"""What came of claims, kept in one table: `vidx claims NAME... --keep`.

`outcomes.csv`, beside the files of claims, has a line for each claim that was run, with the figures of all arms and
seeds; `README.md` there is the page that is made of it. A claim that is run again replaces its line.
"""

from collections.abc import Iterable
import csv
import dataclasses
import itertools
import json as json_lib
import pathlib

import numpy as np

from vidx import errors, writing

CSV, PAGE = "outcomes.csv", "README.md"
HEAD = """# What claims came to

Written by `vidx claims NAME... --keep` from `outcomes.csv`. Each claim was run for so many seeds; method, baseline and
other arms are means over them, with the figures of all seeds in the table behind. The gain of the method over the
baseline is held against what was wanted before it was run. Minutes are of the machine at hand, busy or not.
"""


@dataclasses.dataclass(frozen=True, order=True)
class Row:
  """A claim and what came of it.

  Attributes:
    file, name: of the claim.
    statement, unit, better, margin: see `claims.Claim`.
    gain, holds: 'yes' or 'no'; see `claims.Outcome`.
    figures: {arm: figure of each seed}, as JSON.
    minutes: that it took.
    day: when it was run, as YYYY-MM-DD.
  """

  file: str
  name: str
  statement: str
  unit: str
  better: str
  margin: str
  gain: str
  holds: str
  figures: str
  minutes: str
  day: str


def row_of(file: str, outcome: dict, day: str) -> Row:
  """The line of `claims.Outcome.to_json`."""
  rounded = {arm: [float(f"{v:.4g}") for v in values] for arm, values in outcome["figures"].items()}
  return Row(file, outcome["name"], outcome["statement"], outcome["unit"], outcome["better"],
             f"{outcome['margin']:.4g}", f"{outcome['gain']:.4g}", "yes" if outcome["holds"] else "no",
             json_lib.dumps(rounded), f"{outcome['seconds'] / 60:.1f}", day)


def rows(folder: pathlib.Path) -> list[Row]:
  """The lines of a folder's table; none where there is no table."""
  if not (folder / CSV).is_file():
    return []
  with open(folder / CSV, encoding="utf-8", newline="") as f:
    return [Row(**line) for line in csv.DictReader(f)]


def page(every: Iterable[Row]) -> str:
  """The page: a table for each file."""
  lines = [HEAD.rstrip()]
  for file, of_one in itertools.groupby(sorted(every), lambda r: r.file):
    body = list(of_one)
    lines += ["", f"## {file}: {sum(r.holds == 'yes' for r in body)} of {len(body)} hold", "",
              "| claim | | method | baseline | gain | wanted | holds | other arms | seeds | minutes | day |",
              "|---|---|---:|---:|---:|---:|---|---|---:|---:|---|"]
    lines += [_line(r) for r in body]
  return "\n".join(lines) + "\n"


def _line(r: Row) -> str:
  figures = json_lib.loads(r.figures)
  mean = {arm: f"{np.mean(values):.4g}" for arm, values in figures.items()}
  method, baseline = mean.pop("method"), mean.pop("baseline")
  others = ", ".join(f"{arm} {value}" for arm, value in mean.items())
  statement = f"{r.statement} ({r.unit})" if r.unit else r.statement
  return (f"| {r.name} | {statement} | {method} | {baseline} | {r.gain} | {r.margin} | {r.holds} | {others} |"
          f" {len(figures['method'])} | {r.minutes} | {r.day} |")


def folder_of(folders: Iterable[pathlib.Path]) -> pathlib.Path:
  """The folder whose table is kept, the first of the claims' folders; raises ConfigError outside of a clone."""
  first = next(iter(folders))
  if not first.is_dir():
    raise errors.ConfigError(f"--keep writes {first / CSV}: run it in a clone of the repository.")
  return first


def keep(folder: pathlib.Path, row: Row) -> None:
  """Puts a line into the table, in the place of an older one of the same claim, and writes the page anew."""
  kept = sorted({(r.file, r.name): r for r in [*rows(folder), row]}.values())
  writing.write_table(folder / CSV, [f.name for f in dataclasses.fields(Row)], map(dataclasses.astuple, kept))
  writing.write_text(folder / PAGE, page(kept))
