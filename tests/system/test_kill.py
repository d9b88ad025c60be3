"""A run killed at any moment and started again is the run that was never killed."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from tests.system.conftest import environment, losses

KILLS = int(os.environ.get("VIDX_TEST_KILLS", 4))  # each at another moment, every other one in a save
EPOCHS = 4 * KILLS
STEPS = 4 * EPOCHS


def command(config, workdir):
  return [sys.executable, "-m", "vidx", "train", f"--config={config}", f"--workdir={workdir}",
          f"--config.schedule.epochs={EPOCHS}.0", "--config.system.stages=1,", "--config.checkpoint.every_steps=4",
          "--config.optimizer.ema=0.9", "--config.system.dropout=0.2"]


def start(config, workdir):
  return subprocess.Popen(command(config, workdir), env=environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def lines(workdir):
  file = pathlib.Path(workdir) / "metrics.jsonl"
  return file.read_bytes().count(b"\n") if file.exists() else 0


def kill(process, workdir, target, during_save, rng):
  """SIGKILL once the log has `target` lines: somewhere in a step, or as soon as a save is under way."""
  folder = pathlib.Path(workdir) / "checkpoints"
  deadline = time.monotonic() + 120
  while lines(workdir) < target:
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < deadline
    time.sleep(0.001)
  if during_save:
    while process.poll() is None and not list(folder.glob("*.orbax-checkpoint-tmp*")):
      pass
  else:
    time.sleep(rng.uniform(0, 0.03))
  process.send_signal(signal.SIGKILL)
  process.communicate()


def test_kills_change_no_loss(tiny, tmp_path):
  whole = subprocess.run(command(tiny, tmp_path / "whole"), env=environment(), capture_output=True, text=True)
  assert whole.returncode == 0, whole.stdout + whole.stderr
  wanted = losses(tmp_path / "whole")
  assert len(wanted) == STEPS

  rng = random.Random(0)
  workdir = tmp_path / "killed"
  targets = sorted(rng.sample(range(5, STEPS - 20), KILLS))
  for i, target in enumerate(targets):
    kill(start(tiny, workdir), workdir, target, during_save=i % 2 == 1, rng=rng)
  last = subprocess.run(command(tiny, workdir), env=environment(), capture_output=True, text=True)
  assert last.returncode == 0, last.stdout + last.stderr
  assert "resumed at step" in last.stdout
  assert losses(workdir) == wanted  # bit for bit
  assert not list((workdir / "checkpoints").glob("*tmp*"))

  again = subprocess.run(command(tiny, workdir), env=environment(), capture_output=True, text=True)
  assert again.returncode == 0 and "is finished" in again.stdout
