"""A tiny Toybox, a tiny config and the command line as a user starts it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

TINY = '''
from vidx.train import config

def get_config():
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_18", stages=(1, 1), width=8, dropout=0.0)
  c.data.update(root={root!r}, frames=4, short_side=40, crop=32, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="sgd", weight_decay=1e-4)
  c.schedule.update(peak=0.01, epochs=2.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=8, every_epochs=0.0)
  return c
'''


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
  """Root of 32 training and 11 validation clips of two directions, 40 x 40 pixels."""
  from vidx.data import toybox
  root = tmp_path_factory.mktemp("toy") / "motion"
  toybox.build(str(root), labels="motion", split=(32, 11, 0), size=(40, 40), frames=12, seed=3, workers=1)
  return root


@pytest.fixture(scope="session")
def tiny(toy, tmp_path_factory):
  """Path of a config that trains on `toy` in seconds."""
  file = tmp_path_factory.mktemp("config") / "tiny.py"
  file.write_text(TINY.format(root=str(toy)))
  return str(file)


def environment(devices=1, **extra):
  """The environment of a child process with so many simulated devices."""
  env = {k: v for k, v in os.environ.items() if not k.startswith("VIDX_")}
  flags = f"{env.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
  env.update(JAX_PLATFORMS="cpu", PYTHONPATH=str(ROOT), XLA_FLAGS=flags, PYTHONUNBUFFERED="1", **extra)
  return env


@pytest.fixture(scope="session")
def vidx():
  """Runs `python -m vidx ...` and returns the finished process."""

  def run(*args, devices=1, check=True, timeout=300):
    done = subprocess.run([sys.executable, "-m", "vidx", *map(str, args)], env=environment(devices),
                          capture_output=True, text=True, timeout=timeout)
    if check:
      assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done

  return run


def losses(workdir, split="train"):
  """{step: loss} as logged, of training unless another split is named."""
  lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return {r["step"]: r["loss"] for r in rows if r["split"] == split}


def goes_on_exactly(config, workdir, capsys, at, steps, runs=""):
  """A finished run of so many steps, copied and started again from its checkpoint at a step before, ends as it did.

  Returns the folder of the copy.
  """
  from vidx.train import loop
  again = workdir.with_name(workdir.name + "_again")
  shutil.copytree(workdir, again)
  shutil.rmtree(again / "checkpoints" / str(steps))
  (again / "DONE.json").unlink()
  loop.train(config, str(again), runs=str(runs))
  assert f"resumed at step {at}" in capsys.readouterr().out
  assert losses(again) == losses(workdir) and len(losses(workdir)) == steps
  return again
