"""A run whose newest checkpoint is damaged says so and goes on from the one before, with the losses of a whole run.

VIDX_DAMAGES=200 tries as many ways, each with a resumed training.
"""

import os
import shutil

import pytest

from tests.system.conftest import losses
from tests.train.damages import KINDS, damage
from vidx import errors
from vidx.train import config, loop

WAYS = int(os.environ.get("VIDX_DAMAGES", "2"))


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
  """(config, workdir) of four steps, with checkpoints of the second and the fourth."""
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_18", stages=(1,), width=4, stem="small", dropout=0.0)
  c.data.update(root=str(toy), frames=2, short_side=20, crop=16, crop_mode="random", flip=False, workers=0)
  c.schedule.update(peak=0.01, epochs=1.0)
  c.train.update(batch_size=8)
  c.eval.update(batch_size=8, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  workdir = tmp_path_factory.mktemp("damaged") / "whole"
  loop.train(c, str(workdir))
  return c, workdir


@pytest.mark.parametrize("seed", range(WAYS))
def test_a_damaged_run_goes_on_with_the_losses_of_a_whole_one(seed, run, tmp_path, capsys):
  c, whole = run
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  (folder / "DONE.json").unlink()
  what = damage(folder, 4, seed * 5 % len(KINDS) if WAYS < len(KINDS) else seed)
  capsys.readouterr()
  loop.train(c, str(folder))
  said = capsys.readouterr().out
  if "is damaged" in said:
    assert "checkpoint 4 is damaged: " in said and "going on from step 2" in said, what
    assert losses(folder) == losses(whole) and len(losses(whole)) == 4, what
  else:
    assert "is finished" in said, (what, said)  # nothing that counts was hit


def test_a_run_without_a_whole_checkpoint_ends_in_one_line(run, tmp_path):
  c, whole = run
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  (folder / "DONE.json").unlink()
  for step in (2, 4):
    damage(folder, step, 0)
  for _ in range(2):  # and not from the start in a second try
    with pytest.raises(errors.CheckpointError, match="no checkpoint in .* is whole") as e:
      loop.train(c, str(folder))
  assert "\n" not in str(e.value) and not (folder / "damaged").exists()
