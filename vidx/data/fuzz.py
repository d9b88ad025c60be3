"""`vidx data fuzz`: files of every kind, intact and spoilt, read in every way.

A spoilt file may be read as it is or be refused in one line. What must not happen is
that a video gives other frames than a reading from start to end without a word, that an
error is not the library's, that a file takes ten seconds or a gigabyte, or that an intact one is refused.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import dataclasses
import functools
import importlib
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

import numpy as np

from vidx import errors, writing
from vidx.terminal import counted

_BATCH = 32  # spoilt files that a process is given at once
_SECONDS = 120  # for them, before the process counts as hanging
INTACT = "intact"
_FAILURES = ("different", "crashed", "slow", "large")
_GOOD = ("same", "read")


@dataclasses.dataclass(frozen=True)
class Kind:
  """Files of one kind.

  Attributes:
    intact: (rng, pattern) -> (name, file) of every intact one whose name fits the pattern.
    mutations: (file, rng) -> spoilt file, by name.
    judge: (file, rng, name) -> (verdict, detail). Of the verdicts, 'different', 'crashed', 'slow' and 'large' are
      failures, and all but 'same' and 'read' of an intact file.
  """

  intact: Callable[[np.random.Generator, str], Iterator[tuple[str, bytes]]]
  mutations: Mapping[str, Callable[[bytes, np.random.Generator], bytes]]
  judge: Callable[[bytes, np.random.Generator, str], tuple[str, str]]


def _video() -> Kind:
  from vidx.data import fuzz_judge, fuzz_videos
  return Kind(fuzz_videos.intact, fuzz_videos.MUTATIONS, lambda data, rng, name: fuzz_judge.judge(data, rng))


def _files(path: str) -> Callable[[], Kind]:
  """Files whose cases a function of another module makes, which is imported when they are tried."""
  def made() -> Kind:
    from vidx.data import fuzz_files
    module, _, name = path.partition(":")
    return Kind(*fuzz_files.kind(getattr(importlib.import_module(module), name)))
  return made


KINDS: Mapping[str, Callable[[], Kind]] = {
    "video": _video,
    "annotations": _files("vidx.data.fuzz_annotations:annotations"),
    "features": _files("vidx.data.fuzz_files:features"),
    "array_records": _files("vidx.data.fuzz_files:array_records"),
    "configs": _files("vidx.infer.fuzz_runs:configs"),
    "weights": _files("vidx.infer.fuzz_runs:weights"),
    "results": _files("vidx.show.fuzz_results:results"),
}


@functools.cache
def _kind(name: str) -> Kind:
  return KINDS[name]()


def fuzz(minutes: float = 1.0, seed: int = 0, out: str = "", kinds: str = "", files: str = "*",
         progress: bool = True) -> dict[str, Any]:
  """Tries files until the time is up.

  Args:
    minutes: how long; the intact files are all tried, however long that takes.
    seed: of the files and of what is done to them.
    out: folder for the files that failed; empty: they are not kept.
    kinds: names from KINDS, with commas; empty: all.
    files: pattern of the names of files, such as 'h264*.mp4'.
    progress: whether to say now and then how far it is.

  Returns:
    {'seconds', 'intact', 'mutants', 'verdicts': {verdict: files}, 'by_mutation': {mutation: {verdict: files}},
     'by_file': {name: {verdict: files}}, 'failures': [{'file', 'mutation', 'seed', 'verdict', 'detail'}]}

  Raises:
    ConfigError: no such kind, no such file, or no time.
  """
  names = [k.strip() for k in kinds.split(",") if k.strip()] or list(KINDS)
  for name in names:
    if name not in KINDS:
      raise errors.ConfigError(f"kinds={name} is not one of {', '.join(KINDS)}{errors.hint(name, KINDS)}")
  if minutes <= 0:
    raise errors.ConfigError(f"minutes={minutes} must be above 0.")
  start, said = time.monotonic(), time.monotonic()
  rows: list[dict[str, Any]] = []
  with tempfile.TemporaryDirectory(prefix="vidx-fuzz-") as folder:
    with _Process() as process:
      for jobs in _jobs(names, files, seed, pathlib.Path(folder)):
        if jobs[0][3] != INTACT and time.monotonic() - start > 60 * minutes:
          break
        rows += process(jobs)
        if progress and time.monotonic() - said > 20:
          said = time.monotonic()
          bad = sum(_failed(r) for r in rows)
          print(f"{counted(len(rows), 'file')}, {counted(bad, 'failure')}, {said - start:.0f} s", file=sys.stderr,
                flush=True)
    failures = [r for r in rows if _failed(r)]
    if out and failures:
      os.makedirs(out, exist_ok=True)
      for i, r in enumerate(failures):
        name = f"{i:03d}_{r['mutation'].replace(' ', '_')}_{r['file']}"
        pathlib.Path(out, name).write_bytes(made(pathlib.Path(folder), r["kind"], r["file"], r["mutation"], r["seed"]))
  result = {"seconds": time.monotonic() - start, "intact": sum(r["mutation"] == INTACT for r in rows),
            "mutants": sum(r["mutation"] != INTACT for r in rows), "verdicts": _counts(rows),
            "by_mutation": _grouped(rows, "mutation"), "by_file": _grouped(rows, "file"), "failures": failures}
  if out:
    os.makedirs(out, exist_ok=True)
    writing.write_json(pathlib.Path(out, "fuzz.json"), result)
  return result


def main(minutes: float = 1.0, seed: int = 0, out: str = "", kinds: str = "", files: str = "*") -> int:
  """Prints what `fuzz` finds, and returns 1 where anything failed."""
  result = fuzz(minutes, seed, out, kinds, files)
  verdicts = list(result["verdicts"])
  for title, group in (("mutation", result["by_mutation"]), ("file", result["by_file"])):
    width = max(map(len, group), default=0)
    print(f"{title:<{width}}", *(f"{v:>16}" for v in verdicts))
    for name, counts in group.items():
      print(f"{name:<{width}}", *(f"{counts.get(v, 0):>16}" for v in verdicts))
  print(f"{counted(result['intact'], 'intact file')} and {counted(result['mutants'], 'mutant')} in"
        f" {result['seconds']:.0f} s: " + ", ".join(f"{n} {v}" for v, n in result["verdicts"].items()))
  for r in result["failures"]:
    print(f"{r['verdict']}: {r['file']}, {r['mutation']}, seed {r['seed']}: {r['detail']}")
  return 1 if result["failures"] else 0


def made(folder: pathlib.Path, kind: str, file: str, mutation: str, seed: int) -> bytes:
  """The file that a row of `fuzz` speaks of, from the intact ones in `folder`."""
  data = pathlib.Path(folder, file).read_bytes()
  return data if mutation == INTACT else _kind(kind).mutations[mutation](data, np.random.default_rng(seed))


def _jobs(names: list[str], files: str, seed: int, folder: pathlib.Path) -> Iterator[list[tuple]]:
  """Batches of (folder, kind, file, mutation, seed): the intact files first, then spoilt ones without end."""
  rng = np.random.default_rng(seed)
  whole, pairs = [], []
  for name in names:
    kind = _kind(name)
    for file, data in kind.intact(rng, files):
      pathlib.Path(folder, file).write_bytes(data)
      whole.append((str(folder), name, file, INTACT, seed))
      pairs += [(name, file, mutation) for mutation in kind.mutations]
  if not whole:
    raise errors.ConfigError(f"files={files}: no file of the kinds {', '.join(names)} is named so.")
  for i in range(0, len(whole), _BATCH):
    yield whole[i:i + _BATCH]
  while True:
    order, numbers = rng.permutation(len(pairs)), rng.integers(2**31, size=len(pairs))
    for i in range(0, len(pairs), _BATCH):
      yield [(str(folder), *pairs[k], int(numbers[k])) for k in order[i:i + _BATCH]]


class _Process:
  """One process that judges files; it is replaced when a file takes it down."""

  def __enter__(self) -> "_Process":
    self._pool = None
    return self

  def __exit__(self, *exc) -> None:
    self._stop()

  def __call__(self, jobs: list[tuple]) -> list[dict[str, Any]]:
    rows = self._tried(jobs)
    if rows is None:
      rows = [self._tried([job]) or [_row(job, "crashed", "the process died or hung")] for job in jobs]
      rows = [r[0] for r in rows]
    return rows

  def _tried(self, jobs: list[tuple]) -> list[dict[str, Any]] | None:
    self._pool = self._pool or futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
      return self._pool.submit(_judge, jobs).result(_SECONDS)
    except (futures.process.BrokenProcessPool, TimeoutError):
      self._stop()
      return None

  def _stop(self) -> None:
    if self._pool is not None:
      running = list((self._pool._processes or {}).values())
      self._pool.shutdown(wait=False, cancel_futures=True)
      for p in running:
        p.terminate()
    self._pool = None


def _judge(jobs: list[tuple]) -> list[dict[str, Any]]:
  rows = []
  for job in jobs:
    folder, kind, file, mutation, seed = job
    try:
      data = made(pathlib.Path(folder), kind, file, mutation, seed)
    except (OSError, ValueError, IndexError) as e:
      rows.append(_row(job, "not made", str(e)))
      continue
    rows.append(_row(job, *_kind(kind).judge(data, np.random.default_rng(seed), file)))
  return rows


def _row(job: tuple, verdict: str, detail: str) -> dict[str, Any]:
  _, kind, file, mutation, seed = job
  return {"kind": kind, "file": file, "mutation": mutation, "seed": seed, "verdict": verdict, "detail": detail}


def _failed(row: Mapping[str, Any]) -> bool:
  return row["verdict"] in _FAILURES or row["mutation"] == INTACT and row["verdict"] not in _GOOD


def _counts(rows) -> dict[str, int]:
  return dict(Counter(r["verdict"] for r in rows).most_common())


def _grouped(rows, by: str) -> dict[str, dict[str, int]]:
  return {name: _counts([r for r in rows if r[by] == name]) for name in dict.fromkeys(r[by] for r in rows)}
