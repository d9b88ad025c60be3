"""A run that is killed or asked to end at any moment, and started again, is the run that never was."""

import contextlib
import glob
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from tests.system.conftest import environment, losses
from tests.system.test_stop import TRAIN
from vidx import cli
from vidx.data import workers
from vidx.train import stop

# One kind after another: a step, a save, and for what may be heard (as it may be in start-up) any time.
KINDS = ((signal.SIGKILL, "step"), (signal.SIGKILL, "save"), (signal.SIGTERM, "step"), (signal.SIGINT, "start"),
         (signal.SIGINT, "step"), (signal.SIGTERM, "start"), (signal.SIGKILL, "start"))
COUNT = int(os.environ.get("VIDX_TEST_KILLS", 4))
EPOCHS = 3 * COUNT
STEPS = 4 * EPOCHS
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {stop.STATUS, -15}, signal.SIGINT: {stop.STATUS, -2, 130}}


def flags(config, workdir):
  return [f"--config={config}", f"--workdir={workdir}", f"--config.schedule.epochs={EPOCHS}.0",
          "--config.system.stages=1,", "--config.checkpoint.every_steps=4", "--config.optimizer.ema=0.9",
          "--config.system.dropout=0.2"]


def lines(workdir):
  file = pathlib.Path(workdir) / "metrics.jsonl"
  return file.read_bytes().count(b"\n") if file.exists() else 0


def wait(process, workdir, moment, target, rng):
  """Until the log has `target` lines and somewhere in a step, or a save is under way; or for a while in start-up."""
  if moment == "start":
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(rng.uniform(0, 6))
    return
  folder = pathlib.Path(workdir) / "checkpoints"
  deadline = time.monotonic() + 240
  while lines(workdir) < target:
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline
    time.sleep(0.001)
  if moment == "save":
    while process.poll() is None and not list(folder.glob("*.orbax-checkpoint-tmp*")):
      pass
  else:
    time.sleep(rng.uniform(0, 0.03))


def end(config, workdir, signum, moment, target, rng):
  """Ends a run with a signal; the process that it was."""
  process = subprocess.Popen([sys.executable, *TRAIN, *flags(config, workdir)], env=environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  wait(process, workdir, moment, target, rng)
  process.send_signal(signum)
  out, err = process.communicate(timeout=120)
  assert process.returncode in ENDS[signum], (signum, moment, process.returncode, out[-500:], err)
  assert "Traceback" not in out + err, err
  return process.pid


def trains(config, workdir, capsys):
  """What a run in this process prints."""
  assert cli.main(["train", *flags(config, workdir)]) == 0
  return capsys.readouterr().out


def test_signals_change_no_loss_and_leave_nothing(tiny, tmp_path, capsys):
  trains(tiny, tmp_path / "whole", capsys)
  wanted = losses(tmp_path / "whole")
  assert len(wanted) == STEPS

  rng = random.Random(0)
  workdir, pids = tmp_path / "ended", []
  targets = sorted(rng.sample(range(5, STEPS - 12), COUNT))
  for i, target in enumerate(targets):
    pids.append(end(tiny, workdir, *KINDS[i % len(KINDS)], target, rng))
  assert "resumed at step" in trains(tiny, workdir, capsys)
  assert losses(workdir) == wanted  # bit for bit
  assert not list((workdir / "checkpoints").glob("*tmp*"))
  assert not [f for pid in pids for f in glob.glob(f"{workers.SHARED_MEMORY}/{workers.PREFIX}*/reads-{pid}-*")]
  assert "is finished" in trains(tiny, workdir, capsys)
