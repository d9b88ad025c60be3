"""The first step of a training on many videos: how long it takes, and the memory of a decoding process.

A tiny network is trained on tiny videos, so that what remains is the start of the program, reading the data
set, and handing its records to two decoding processes. It is started on few rows and on many, from a csv with
a file per video and from a prepared set, after a start that is not counted and fills the cache of compiled
programs; what many rows cost is the difference. A million files take 4 GB of a drive, which TMPDIR names, and
minutes to write and to remove. Memory is the part of a process that is its own plus its share of what it has in
common with others (Pss), so that it needs Linux.
"""

from collections.abc import Iterator, Sequence
import contextlib
import io
import json as json_lib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from vidx import errors

FEW = 1000
CLASSES = 100
_READERS = {"csv": "csv", "prepared": "array_record"}
_LONGEST = 600.0  # seconds until a step
_CONFIG = """
from vidx.train import config

def get_config():
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_18", stages=(1,), width=8, dropout=0.0)
  c.data.update(root={root!r}, frames=4, short_side=40, crop=32, crop_mode="random", flip=False, workers=2,
                dataset=dict(name={reader!r}))
  c.optimizer.update(name="sgd")
  c.schedule.update(name="constant", peak=0.01, epochs=1000.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=8, every_epochs=0.0)
  return c
"""


def bench_start(rows: int = 1_000_000) -> list[dict[str, Any]]:
  """Measures both kinds of data sets with few and with so many rows.

  Returns:
    Rows with `files`, "csv" or "prepared", `rows`, `seconds` from the start of the program to the end of its
    first step, `ratio` to that of few rows, and `worker_mib`, memory of a decoding process.

  Raises:
    ConfigError: fewer than 1,000 rows, no Linux, or a training that does not come to a step.
  """
  if rows < FEW:
    raise errors.ConfigError(f"rows={rows}: at least {FEW}.")
  if not os.path.exists("/proc/self/smaps_rollup"):
    raise errors.ConfigError("memory of processes is read from /proc/PID/smaps_rollup, which is not here.")
  found = []
  with tempfile.TemporaryDirectory(prefix="vidx-bench-") as temporary:
    base = pathlib.Path(temporary)
    roots = {files: {count: base / f"{files}-{count}" for count in (FEW, rows)} for files in _READERS}
    for count, root in roots["csv"].items():
      write_csv(root, count)
    from vidx.data import build
    for count, root in roots["prepared"].items():
      build.build("csv", str(roots["csv"][FEW]), str(root))
      _repeat(root / "records-train.jsonl", count)
    _started(roots["csv"][FEW], "csv", base / "run")
    for files, sets in roots.items():
      for count, root in sets.items():
        seconds, memory = _started(root, _READERS[files], base / f"run-{files}-{count}")
        first = found[-1]["seconds"] if count != FEW else seconds
        found.append(dict(files=files, rows=count, seconds=seconds, ratio=seconds / first, worker_mib=memory))
  return found


def main(json: bool = False, rows: int = 1_000_000) -> int:
  """Runs the measurement and prints it as a table, or as JSON."""
  found = bench_start(rows)
  print(json_lib.dumps(found, indent=2) if json else to_table(found))
  return 0


def to_table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows for reading."""
  lines = [f"{'files':<9} {'rows':>9} {'first step, s':>14} {'ratio':>6} {'MiB per worker':>15}"]
  return "\n".join(lines + [f"{r['files']:<9} {r['rows']:>9} {r['seconds']:>14.1f} {r['ratio']:>6.2f}"
                            f" {r['worker_mib']:>15.0f}" for r in rows])


def write_csv(root: pathlib.Path, rows: int) -> None:
  """A data set of so many videos for training, all of the same eight frames, and of ten for validation."""
  video = _video()
  for c in range(CLASSES):
    (root / f"class_{c:02d}").mkdir(parents=True)
  names = [f"class_{i % CLASSES:02d}/video_{i:07d}.mp4" for i in range(rows + 10)]
  for name in names:
    (root / name).write_bytes(video)
  for split, chosen in (("train", names[:rows]), ("val", names[rows:])):
    (root / f"{split}.csv").write_text("path,label\n" + "".join(f"{n},{n.split('/')[0]}\n" for n in chosen))


def _video() -> bytes:
  import av
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as out:
    stream = out.add_stream("libx264", rate=8)
    stream.width = stream.height = 48
    stream.pix_fmt = "yuv420p"
    for i in range(8):
      out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 48, 3), 20 * i, np.uint8), format="rgb24")))
    out.mux(stream.encode())
  return file.getvalue()


def _repeat(path: pathlib.Path, rows: int) -> None:
  """Writes the records of a prepared split again and again, under new names, until there are so many."""
  header, *lines = path.read_text().splitlines()
  records = [json_lib.loads(line) for line in lines]
  with open(path, "w") as f:
    f.write(header + "\n")
    for i in range(rows):
      record = records[i % len(records)]
      f.write(json_lib.dumps({**record, "id": f"{i}/{record['id']}"}) + "\n")


def _started(root: pathlib.Path, reader: str, workdir: pathlib.Path) -> tuple[float, float]:
  """Seconds until the first step of a training, and MiB of its larger worker some steps later."""
  config = workdir.with_suffix(".py")
  config.write_text(_CONFIG.format(root=str(root), reader=reader))
  log = workdir.with_suffix(".log")
  began = time.perf_counter()
  with open(log, "w") as out, _ended(subprocess.Popen(
      [sys.executable, "-m", "vidx", "train", f"--config={config}", f"--workdir={workdir}"], stdout=out,
      stderr=subprocess.STDOUT)) as run:

    def after(step):
      while f"\nstep {step}/" not in log.read_text():
        if run.poll() is not None or time.perf_counter() - began > _LONGEST:
          raise errors.ConfigError(f"no step {step} of the training was seen: {log.read_text()[-300:].strip()}")
        time.sleep(0.02)
      return time.perf_counter() - began

    seconds = after(1)
    after(20)
    return seconds, max(map(_memory, _workers(run.pid)), default=0.0)


@contextlib.contextmanager
def _ended(run: subprocess.Popen) -> Iterator[subprocess.Popen]:
  """A process that is stopped at the end."""
  try:
    yield run
  finally:
    run.send_signal(signal.SIGTERM)
    try:
      run.wait(60)
    except subprocess.TimeoutExpired:
      run.kill()
      run.wait()


def _workers(process: int) -> list[int]:
  """The decoding processes that a process has started."""
  threads = pathlib.Path(f"/proc/{process}/task").iterdir()
  children = [int(c) for thread in threads for c in _said(thread / "children").split()]
  return [c for c in children if "spawn_main" in _said(pathlib.Path(f"/proc/{c}/cmdline"))]


def _memory(process: int) -> float:
  """MiB that a process has for itself, and its share of what it shares."""
  for line in _said(pathlib.Path(f"/proc/{process}/smaps_rollup")).splitlines():
    if line.startswith("Pss:"):
      return int(line.split()[1]) / 1024
  return 0.0


def _said(path: pathlib.Path) -> str:
  """What a file below /proc says, '' where its thread or process has ended since it was found."""
  try:
    return path.read_text()
  except (FileNotFoundError, ProcessLookupError):
    return ""
