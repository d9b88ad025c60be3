"""Where the figures of a run go: JSON lines, TensorBoard, and the console."""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
import os
import sys
from typing import Any

from vidx import reading, terminal, writing
from vidx.data import examples

FILE = "metrics.jsonl"


class Writers:
  """Writes one row of figures to all places; process 0 only, elsewhere a no-op."""

  def __init__(self, workdir: str, active: bool, start_step: int = 0):
    self._file = self._board = None
    if not active:
      return
    path = os.path.join(workdir, FILE)
    _cut(path, start_step)
    self._file = open(path, "a", encoding="utf-8")
    with contextlib.suppress(ImportError), _without_torch():
      from tensorboardX import SummaryWriter
      self._board = SummaryWriter(os.path.join(workdir, "tensorboard"), purge_step=start_step or None)

  def write(self, step: int, split: str, figures: Mapping[str, Any], board: bool = True) -> None:
    """One line {'step', 'split', **figures}."""
    if self._file is None:
      return
    self._file.write(json.dumps({"step": step, "split": split, **figures}) + "\n")
    self._file.flush()
    if self._board is not None and board:
      for name, value in figures.items():
        if isinstance(value, (int, float)) and math.isfinite(value):  # the board has no place for what is not defined
          self._board.add_scalar(f"{split}/{name}", value, step)

  def close(self) -> None:
    for writer in (self._file, self._board):
      if writer is not None:
        with contextlib.suppress(OSError):  # a full disk was reported where it stopped the run
          writer.close()


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
  """Inside, torch cannot be loaded, which takes seconds; TensorBoard's writer would, only to know its tensors."""
  absent = "torch" not in sys.modules
  if absent:
    sys.modules["torch"] = None
  try:
    yield
  finally:
    if absent:
      del sys.modules["torch"]


def _cut(path: str, step: int) -> None:
  """Drops lines after `step`: a resumed run writes them again."""
  if not os.path.exists(path):
    return
  kept = []
  with reading.open_text(path) as f:
    for line in f:
      try:
        if json.loads(line)["step"] <= step and step:
          kept.append(line)
      except (ValueError, KeyError):
        continue  # the line at which a killed run stopped writing
  writing.write_text(path, "".join(kept))


class Console:
  """A rich progress bar on a terminal, plain lines elsewhere."""

  def __init__(self, total: int, start: int, active: bool, every: int):
    self._active, self._every, self._progress = active, max(1, every), None
    self._total = total
    if active and sys.stderr.isatty():
      from rich import console, progress
      self._progress = progress.Progress(
          progress.TextColumn("step {task.completed}/{task.total}"), progress.BarColumn(),
          progress.TextColumn("{task.description}"), progress.TimeElapsedColumn(),
          progress.TimeRemainingColumn(), console=console.Console(file=terminal.drawing(sys.stdout)))
      self._progress.start()
      self._task = self._progress.add_task("", total=total, completed=start)

  def step(self, step: int, figures: Mapping[str, Any]) -> None:
    """Shows the figures of a training step."""
    if not self._active:
      return
    if self._progress is not None:
      self._progress.update(self._task, completed=step, description=_line(figures))
    elif step % self._every == 0 or step == self._total:
      left = f"  eta {clock(figures['eta'])}" if "eta" in figures else ""
      print(f"step {step}/{self._total}  {_line(figures)}{left}", flush=True)

  def say(self, text: str) -> None:
    """A line of its own."""
    if not self._active:
      return
    text = terminal.shown(text)
    if self._progress is not None:
      self._progress.console.print(text, highlight=False, markup=False)
    else:
      print(text, flush=True)

  def close(self) -> None:
    if self._progress is not None:
      self._progress.stop()


def clock(seconds: float) -> str:
  """Seconds as hours:minutes:seconds."""
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{seconds:02d}"


def _line(figures: Mapping[str, Any]) -> str:
  shown = []
  shown.append(f"loss {figures['loss']:.4f}" if "loss" in figures else "loss not defined: no labels")
  if "lr" in figures:
    shown.append(f"lr {figures['lr']:.2e}")
  for unit in examples.UNITS:
    if f"{unit}_per_s" in figures:
      shown.append(f"{figures[f'{unit}_per_s']:.1f} {unit}/s")
  if "mfu" in figures:
    shown.append(f"MFU {100 * figures['mfu']:.1f} %")
  if "data_wait" in figures:
    shown.append(f"data wait {100 * figures['data_wait']:.0f} %")
  return "  ".join(shown)
