"""What the compilers make of many models, kept in one table: `vidx bench estimates`.

`vidx/bench/compiled.csv` has a line for each program that was compiled, in the order of its columns, and
`vidx/bench/compiled.md` is the page that is made of it. Each program is compiled by `vidx bench compiled` in a process
of its own, as compilers keep gigabytes; what is in the table with the compiler's present version is not compiled again.
"""

from collections.abc import Iterable, Sequence
import csv
import dataclasses
import datetime
from importlib import metadata
import itertools
import json as json_lib
import os
import pathlib
import subprocess
import sys

from vidx import errors, systems, writing
from vidx.measure import targets
from vidx.terminal import counted
from vidx.train import config

HERE = pathlib.Path(__file__).parent
CSV, PAGE = HERE / "compiled.csv", HERE / "compiled.md"
HEAD = """# What the compilers make of every model

Written by `vidx bench estimates` from `compiled.csv`. No chip was at hand: cycles are the static estimates of XLA's
compiler for TPUs, which compare programs and are no times; its compiler for GPUs states none. Figures are of one chip,
in bfloat16 on inputs of the published sizes. The share is that of the matrix units' products in the estimated cycles.
Moved are operands and results of instructions, part of which may stay on the chip; sent are the results of collectives.
A name that ends with .py is a config's whole train step, others a forward pass or a plain step of gradient descent.
Parameters and the optimiser's state are divided over as many chips as fsdp says, and copied to all others.
"""
SCALING = """
## The same on more chips

Train steps that were compiled for slices of several sizes, as many examples per chip on each: what a chip does, by the
estimate, and what it receives.
"""


@dataclasses.dataclass(frozen=True, order=True)
class Row:
  """A program for a target and what its compiler said; figures as they are written, '' where there are none.

  Attributes:
    target: of `vidx bench compiled`.
    kind: 'forward' or 'train'.
    name: of a model, or FILE.py[:WORD] below configs.
    batch: examples per chip.
    fsdp: chips that parameters are divided over.
    chips: of the target.
    mcycles, share: 10^6 estimated cycles, and percent of the matrix units' peak by them.
    moved, memory: GB, and GiB per chip.
    fits: 'yes', or 'no'.
    sent: MB that collectives give each chip.
    compiler, day: its version, and when it ran, as YYYY-MM-DD.
  """

  target: str
  kind: str
  name: str
  batch: int
  fsdp: int
  chips: int
  mcycles: str
  share: str
  moved: str
  memory: str
  fits: str
  sent: str
  compiler: str
  day: str

  @property
  def key(self) -> tuple[str, str, str, int, int]:
    return self.target, self.kind, self.name, self.batch, self.fsdp


def rows() -> list[Row]:
  """All lines of `compiled.csv`."""
  if not CSV.exists():
    return []
  with open(CSV, encoding="utf-8", newline="") as f:
    return [Row(**{**line, **{k: int(line[k]) for k in ("batch", "fsdp", "chips")}}) for line in csv.DictReader(f)]


def page(every: Iterable[Row]) -> str:
  """`compiled.md`: a table per target and kind, by name, and one of what was compiled for several sizes of a slice."""
  lines, every = [HEAD.rstrip()], sorted(every)
  for (target, kind), of_one in itertools.groupby(every, lambda r: (r.target, r.kind)):
    body = list(of_one)
    lines += ["", f"## {target}, {counted(body[0].chips, 'chip')},"
              f" {'forward' if kind == 'forward' else 'train step'}", "",
              "| model | examples per chip | fsdp | Mcycles | share of the peak | GB moved | GiB of memory | fits |"
              " MB sent | compiler | day |", "|---|---:|---:|---:|---:|---:|---:|---|---:|---|---|"]
    lines += [f"| {r.name} | {r.batch} | {r.fsdp} | {r.mcycles} | {r.share and r.share + ' %'} | {r.moved} | {r.memory}"
              f" | {r.fits} | {r.sent} | {r.compiler} | {r.day} |" for r in body]
  return "\n".join(lines + _scaling(every)) + "\n"


def _scaling(every: Sequence[Row]) -> list[str]:
  """Lines of the table of programs for slices of several sizes."""
  same = lambda r: (r.name, r.target.partition(":")[0], r.batch, r.fsdp)
  steps = sorted((r for r in every if r.kind == "train"), key=lambda r: (*same(r), r.chips))
  groups = [list(of_one) for _, of_one in itertools.groupby(steps, same)]
  lines = [f"| {r.name} | {r.target} | {r.batch} | {r.fsdp} | {r.chips} | {r.mcycles} | {r.memory} | {r.sent} |"
           for of_one in groups if len({r.chips for r in of_one}) > 1 for r in of_one]
  head = ["| model | target | examples per chip | fsdp | chips | Mcycles | GiB of memory | MB sent |",
          "|---|---|---:|---:|---:|---:|---:|---:|"]
  return [SCALING.rstrip(), "", *head, *lines] if lines else []


def row_of(r: dict, name: str, fsdp: int, compiler: str, day: str) -> Row:
  """The line of a result of `bench_compiled`."""
  sent = sum(one["bytes"] for one in r["collectives"].values())
  return Row(r["target"], "train" if r["train"] else "forward", name, r["batch"], fsdp, r["chips"],
             f"{r['estimated_cycles'] / 1e6:.2f}" if r["estimated_cycles"] else "",
             f"{100 * r['share']:.1f}" if r["share"] else "", f"{r['moved'] / 1e9:.2f}", f"{r['memory'] / 2**30:.2f}",
             "yes" if r["fits"] else "no", f"{sent / 1e6:.1f}" if sent else "", compiler, day)


def compiler_of(target: str) -> str:
  """Name and version of the package that compiles for a target; raises ConfigError where there is none."""
  package, extra = targets.compiler(target)
  try:
    return f"{package} {metadata.version(package)}"
  except metadata.PackageNotFoundError:
    raise errors.ConfigError(f"{target}: its compiler, {package}, is not installed: pip install"
                             f" 'vidx[{extra}]'.") from None


def compile_one(name: str, target: str, train: bool, batch: int, fsdp: int, seconds: float) -> dict:
  """The result of `vidx bench compiled` in a process of its own; raises ConfigError with its line where it failed."""
  what = [f"--config={name}", *[f"--config.mesh.fsdp={fsdp}"] * (fsdp > 1)] if ".py" in name else [name]
  done = subprocess.run([sys.executable, "-m", "vidx", "bench", "compiled", *what, f"--target={target}", "--top=0",
                         f"--batch={batch}", "--json", *["--train"] * (train and ".py" not in name)],
                        env={**os.environ, "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}, capture_output=True, text=True,
                        check=False, timeout=seconds)
  if done.returncode:
    said = [line for line in done.stderr.splitlines() if line.startswith("vidx: ")] or done.stderr.splitlines()[-1:]
    raise errors.ConfigError(f"{name}: {(said or ['no word of why'])[-1].removeprefix('vidx: ')}")
  return json_lib.loads(done.stdout.splitlines()[-1])


def write(every: Iterable[Row]) -> None:
  """Replaces `compiled.csv` and `compiled.md`; of a program the last row given stays."""
  kept = sorted({row.key: row for row in every}.values())
  writing.write_table(CSV, [f.name for f in dataclasses.fields(Row)], map(dataclasses.astuple, kept))
  writing.write_text(PAGE, page(kept))


def main(names: Sequence[str], *, target: str, train: bool, batch: int, fsdp: int, again: bool, seconds: float) -> int:
  """Compiles what the table lacks, and writes it after each; without names only the page. 2 where one failed."""
  unknown = [n for n in names if ".py" not in n and not systems.list_models(n)]
  if unknown:
    raise errors.ConfigError(f"no model is called {unknown[0]}; `vidx models` lists them.")
  if fsdp > 1 and any(".py" not in n for n in names):
    raise errors.ConfigError("--fsdp divides the parameters of a config's train step: name FILE.py.")
  chosen = [m for n in names for m in ([config.of_table(n)] if ".py" in n else systems.list_models(n))]
  write(rows())
  if not chosen:
    return 0
  compiler, failed = compiler_of(target), 0
  for name in chosen:
    kind = "train" if train or ".py" in name else "forward"
    there = next((r for r in rows() if (r.target, r.name, r.kind, r.fsdp) == (target, name, kind, fsdp)
                  and (not batch or r.batch == batch)), None)
    if there and there.compiler == compiler and not again:
      continue
    try:
      row = row_of(compile_one(name, target, train, batch, fsdp, seconds), name, fsdp, compiler,
                   datetime.date.today().isoformat())
    except (errors.ConfigError, subprocess.TimeoutExpired) as e:
      failed += 1
      print(f"{name}: {f'no end after {seconds:g} s' if isinstance(e, subprocess.TimeoutExpired) else e}",
            file=sys.stderr, flush=True)
      continue
    write([*rows(), row])
    print(f"{name} {kind} {target} {row.batch}: {row.mcycles or '-'} Mcycles, {row.memory} GiB, fits: {row.fits}",
          flush=True)
  return 2 if failed else 0
