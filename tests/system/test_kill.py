"""A run that is killed or asked to end at any moment, and started again, is the run that never was."""

import json
import os
import random
import signal

import numpy as np

from tests.system import ends
from tests.system.conftest import losses
from vidx import cli
from vidx.train import state as state_lib

# One kind after another: a step, a save, and for what may be heard (as it may be in start-up) any time.
KINDS = ((signal.SIGKILL, "step"), (signal.SIGKILL, "save"), (signal.SIGTERM, "step"), (signal.SIGINT, "start"),
         (signal.SIGINT, "step"), (signal.SIGTERM, "start"), (signal.SIGKILL, "start"))
COUNT = int(os.environ.get("VIDX_TEST_KILLS", 4))
EPOCHS = 3 * COUNT
STEPS = 4 * EPOCHS


def trains(options, capsys):
  """What a run in this process prints."""
  assert cli.main(["train", *options]) == 0
  return capsys.readouterr().out


def test_signals_change_no_loss_and_leave_nothing(tiny, tmp_path, capsys):
  trains(ends.flags(tiny, tmp_path / "whole", EPOCHS), capsys)
  wanted = losses(tmp_path / "whole")
  assert len(wanted) == STEPS

  rng = random.Random(0)
  workdir, pids = tmp_path / "ended", []
  options = ends.flags(tiny, workdir, EPOCHS)
  targets = sorted(rng.sample(range(5, STEPS - 12), COUNT))
  for i, target in enumerate(targets):
    pids.append(ends.end(options, workdir, *KINDS[i % len(KINDS)], target, rng)[0])
  assert "resumed at step" in trains(options, capsys)
  assert losses(workdir) == wanted  # bit for bit
  assert not list((workdir / "checkpoints").glob("*tmp*"))
  assert not ends.left_of(pids)
  assert "is finished" in trains(options, capsys)


def test_a_stop_between_two_evaluations_makes_no_rate_fall(tiny, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(state_lib, "watched", lambda *_: 0.0)  # no evaluation gains
  options = lambda name, *more: [*ends.flags(tiny, tmp_path / name, 4), "--config.schedule.name=plateau",
                                 "--config.schedule.patience=0", "--config.eval.every_epochs=1.0", *more]
  rows = lambda name: map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
  rates = lambda name: [row["lr"] for row in rows(name) if row["split"] == "train"]
  trains(options("whole"), capsys)
  for step in (2, 6, 8):
    trains(options("stopped", f"--config.train.max_steps={step}"), capsys)
  trains(options("stopped"), capsys)
  assert rates("stopped") == rates("whole")
  np.testing.assert_allclose(rates("whole"), np.repeat([0.01, 0.01, 0.001, 0.0001], 4), rtol=1e-5)
  assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_every_signal_falls_as_often_as_asked_at_every_moment():
  found = list(ends.rows(10, random.Random(0)))
  for signum, processes, count in ((signal.SIGKILL, 1, 10), (signal.SIGTERM, 1, 5), (signal.SIGTERM, 2, 5),
                                   (signal.SIGINT, 1, 10)):
    moments = [m for p, _, of_run in found if p == processes for s, m in of_run if s == signum]
    assert len(moments) == count and set(moments) == set(ends.MOMENTS)
