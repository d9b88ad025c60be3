"""Ends runs by signals at random moments, starts them again, and counts what went wrong.

  python -m tests.system.ends --each=100

A run of a tiny system is ended a dozen times in a row, by SIGKILL, SIGTERM or SIGINT, in its start, in a step or in
a save, with its frames decoded by threads or by a process; another dozen of SIGTERMs falls on two processes.
It then ends by itself, and has to equal a run that nobody ended, bit for bit.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
import contextlib
import glob
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags as absl_flags

from tests.system.conftest import ROOT, TINY, environment, losses
from tests.system.test_stop import TRAIN, of_the_run, together
from vidx.data import workers
from vidx.train import stop

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = ("start", "step", "save")
# Before the first step there is nothing to save: a run ends as the signal has it, its launcher with 128 more.
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {stop.STATUS, -15, 143}, signal.SIGINT: {stop.STATUS, -2, 130}}
IN_A_ROW = 12
STEPS_BETWEEN = 12  # for each process of a run; of which an end may cost those since the last save
_SLOWEST_S = 240


def flags(config: str, workdir: os.PathLike, epochs: int, decoders: int = 0) -> list[str]:
  """Of a training of four steps an epoch, which saves every fourth."""
  return [f"--config={config}", f"--workdir={workdir}", f"--config.schedule.epochs={epochs}.0",
          "--config.system.stages=1,", "--config.checkpoint.every_steps=4", "--config.optimizer.ema=0.9",
          "--config.system.dropout=0.2", f"--config.data.workers={decoders}"]


def command(options: Sequence[str], processes: int = 1) -> list[str]:
  """The words of a training in so many processes."""
  alone = [sys.executable, "-c", TRAIN, "train", *options]
  return together(alone) if processes > 1 else alone


def lines(workdir: os.PathLike) -> int:
  """How many lines the log of a run has."""
  file = pathlib.Path(workdir) / "metrics.jsonl"
  return file.read_bytes().count(b"\n") if file.exists() else 0


def wait(process: subprocess.Popen, workdir: os.PathLike, moment: str, target: int, rng: random.Random,
         longest_start_s: float) -> None:
  """Until the log has `target` lines and somewhere in a step, or a save is under way; or for a while in start-up."""
  if moment == "start":
    deadline, had = time.monotonic() + rng.uniform(0, longest_start_s), lines(workdir)
    while process.poll() is None and time.monotonic() < deadline and lines(workdir) <= had:
      time.sleep(0.01)
    return
  folder = pathlib.Path(workdir) / "checkpoints"
  deadline = time.monotonic() + _SLOWEST_S
  while lines(workdir) < target and process.poll() != 0:  # which may come to its own end before
    assert process.poll() in (None, 0), process.communicate()
    assert time.monotonic() < deadline
    time.sleep(0.001)
  if moment == "save":
    while process.poll() is None and not list(folder.glob("*.orbax-checkpoint-tmp*")):
      time.sleep(0.0002)
  else:
    time.sleep(rng.uniform(0, 0.03))


def end(options: Sequence[str], workdir: os.PathLike, signum: int, moment: str, target: int, rng: random.Random,
        processes: int = 1, longest_start_s: float = 6.0) -> tuple[int, bool]:
  """Ends a run with a signal; the process that it was, and whether it had ended by itself before.

  A signal goes to the process, to its group as a terminal sends it, or, of two processes, to one of them or to
  their launcher.
  """
  process = subprocess.Popen(command(options, processes), env=environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
  try:
    wait(process, workdir, moment, target, rng, longest_start_s)
    had, of_it = lines(workdir), of_the_run(process.pid) if processes > 1 and process.poll() is None else {}
    if of_it and rng.random() < 0.5:
      with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(list(of_it.values())), signum)
    elif processes == 1 and signum == signal.SIGINT and rng.random() < 0.5:
      os.killpg(process.pid, signum)
    else:
      process.send_signal(signum)
    out, err = process.communicate(timeout=_SLOWEST_S)
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
  late = process.returncode == 0 and lines(workdir) <= had + STEPS_BETWEEN * processes  # or it did not hear
  assert late or process.returncode in ENDS[signum], (signum, moment, process.returncode, out[-1500:], err[-1500:])
  assert "Traceback" not in out + err, (signum, moment, out[-1500:], err[-1500:])
  return process.pid, late


def left_of(pids: Sequence[int]) -> list[str]:
  """What processes that read frames have left in shared memory."""
  return [f for pid in pids for f in glob.glob(f"{workers.SHARED_MEMORY}/{workers.PREFIX}*/reads-{pid}-*")]


def abandoned() -> set[str]:
  """Folders in shared memory whose owner has ended."""
  return {s for s in glob.glob(f"{workers.SHARED_MEMORY}/{workers.PREFIX}*") if not _is_held(s)}


def _is_held(spool: str) -> bool:
  held = subprocess.run(["flock", "--nonblock", os.path.join(spool, "owner"), "true"], capture_output=True)
  return held.returncode != 0


# ---------------------------------------------------------------- many of them


def rows(each: int, rng: random.Random) -> Iterator[tuple[int, int, list[tuple[int, str]]]]:
  """(processes, decoders, [(signal, moment)]) of runs in which every signal falls `each` times, at every moment."""
  alone = [s for s in SIGNALS for _ in range(each // 2 if s == signal.SIGTERM else each)]
  paired = [signal.SIGTERM] * (each - each // 2)
  found = []
  for processes, signals in ((1, alone), (2, paired)):
    ends = [(s, MOMENTS[i % len(MOMENTS)]) for i, s in enumerate(signals)]
    rng.shuffle(ends)
    found += [(processes, i % 2, ends[at:at + IN_A_ROW]) for i, at in enumerate(range(0, len(ends), IN_A_ROW))]
  rng.shuffle(found)
  yield from found


def finished(processes: int, options: Sequence[str], workdir: os.PathLike) -> float:
  """Runs what nobody ends; the seconds until its first step."""
  since = time.monotonic()
  with subprocess.Popen(command(options, processes), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        text=True) as process:
    while process.poll() is None and not lines(workdir):
      time.sleep(0.02)
    first = time.monotonic() - since
    out, err = process.communicate()
  assert process.returncode == 0 and "Traceback" not in out + err, (out[-1500:], err[-1500:])
  return first


def many(each: int, seed: int, folder: pathlib.Path, config: str, minutes: float,
         say: Callable[[str], None]) -> dict[str, Counter]:
  """{signal, with its processes: {'ends', 'resumes', moment: ends, complaint: number}} of what was tried in the time."""
  rng, until, counts, whole, first = random.Random(seed), time.monotonic() + 60 * minutes, {}, {}, {}
  for number, (processes, decoders, ends) in enumerate(rows(each, rng)):
    if time.monotonic() > until:
      break
    epochs = IN_A_ROW * STEPS_BETWEEN * processes // 4  # several settle on a step in a second or two
    if processes not in whole:
      workdir = folder / f"whole{processes}"
      first[processes] = finished(processes, flags(config, workdir, epochs), workdir)
      whole[processes] = losses(workdir)
    workdir, pids, tried, complaint, before = folder / f"run{number}", [], [], "", abandoned()
    options = flags(config, workdir, epochs, decoders)
    try:
      for signum, moment in ends:
        if time.monotonic() > until:
          break
        name, target = f"{signal.Signals(signum).name} x {processes}", lines(workdir) + rng.randint(1, 6)
        tried.append(name)
        pid, late = end(options, workdir, signum, moment, target, rng, processes, first[processes])
        pids.append(pid)
        if late:  # a save is short, and waiting for one may take many steps
          tried.pop()
          break
        counts.setdefault(name, Counter()).update(["ends", moment])
        say(f"run {number}: {name}, {moment}, at line {lines(workdir)}")
      finished(processes, options, workdir)
      if losses(workdir) != whole[processes]:
        complaint = "other losses"
      elif list((workdir / "checkpoints").glob("*tmp*")):
        complaint = "half a checkpoint"
      elif left_of(pids) or abandoned() - before:
        complaint = "left in shared memory"
    except (AssertionError, subprocess.TimeoutExpired) as e:
      complaint = f"{type(e).__name__}: {e}"
    for name in tried:
      counts.setdefault(name, Counter()).update(["resumes" if not complaint else "resumes not shown"])
    say(f"run {number}, {processes} processes, {decoders} decoders, {len(tried)} ends: {complaint or 'exact'}")
    if complaint and tried:
      counts[tried[-1]]["complaints"] += 1
    say(json.dumps(counts))
  return counts


_EACH = absl_flags.DEFINE_integer("each", 100, "times of each signal", lower_bound=2)
_SEED = absl_flags.DEFINE_integer("seed", 0, "of the moments")
_MINUTES = absl_flags.DEFINE_float("minutes", 600.0, "the longest that it goes on")


def main(argv: Sequence[str]) -> int:
  """Prints the counts, and returns 1 where anything was wrong."""
  del argv
  from vidx.data import toybox
  with tempfile.TemporaryDirectory(prefix="ends-") as folder:
    root = os.path.join(folder, "toy")
    toybox.build(root, labels="motion", split=(32, 11, 0), size=(40, 40), frames=12, seed=3, workers=1)
    config = pathlib.Path(folder, "tiny.py")
    config.write_text(TINY.format(root=root))
    counts = many(_EACH.value, _SEED.value, pathlib.Path(folder), str(config), _MINUTES.value,
                  lambda line: print(line, flush=True))
  for name, row in sorted(counts.items()):
    print(f"{name}: " + ", ".join(f"{n} {what}" for what, n in row.items()))
  return int(any(row["complaints"] for row in counts.values()))


if __name__ == "__main__":
  app.run(main)
