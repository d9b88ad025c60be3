"""Damaged checkpoints are told from whole ones, named, put aside, and the one before is taken.

VIDX_DAMAGES=200 damages a checkpoint in so many ways instead of a few.
"""

import json
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest

from tests.train.damages import damage
from tests.train.test_checkpoint import make, placed, saved
from vidx import errors
from vidx.train import checkpoint, integrity

WAYS = int(os.environ.get("VIDX_DAMAGES", "24"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole") / "run"
  saved(folder, [(1, 10.0), (2, 20.0)]).close()
  return folder


def test_what_is_saved_has_checksums_that_hold(whole):
  assert sorted(os.listdir(whole / "checksums")) == ["1.json", "2.json"]
  known = json.loads((whole / "checksums/2.json").read_text())["files"]
  assert set(known) == {str(p.relative_to(whole / "checkpoints/2")) for p in (whole / "checkpoints/2").rglob("*")
                        if p.is_file()}
  assert integrity.damage(str(whole / "checkpoints"), 2) == ""


@pytest.mark.parametrize("seed", range(WAYS))
def test_a_damaged_checkpoint_is_unharmed_or_said_to_be_damaged_and_the_one_before_is_taken(seed, whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  what = damage(folder, 2, seed)
  reader = checkpoint.Checkpointer(str(folder), read_only=True)
  try:
    variables = reader.restore_variables(2)
    np.testing.assert_array_equal(variables["params"]["stem"]["kernel"], make(step=2).params["stem"]["kernel"], what)
  except errors.CheckpointError as e:
    assert "checkpoints/2 is damaged" in str(e) and "such as step 1." in str(e) and "\n" not in str(e), (what, e)
  finally:
    reader.close()
  c = checkpoint.Checkpointer(str(folder), metric="_best")
  step = c.latest()
  state, data = c.restore(step, *placed(make()))
  jax.tree.map(np.testing.assert_array_equal, state, make(step=step))
  assert data["batches"] == step and c.best() == step, what
  if step == 1:
    assert len(c.notes) == 2 and "checkpoint 2 is damaged" in c.notes[0] and "\n" not in c.notes[0], what
    assert c.notes[1] == "going on from step 1"
    assert (folder / "damaged/2").is_dir()
    c.save(make(step=2), {"batches": 2}, {"top-1": 20.0}, "top-1")  # its place is free again
    c.wait()
    assert c.steps() == [1, 2] and integrity.damage(str(folder / "checkpoints"), 2) == ""
  else:
    assert c.notes == [], what
  c.close()


def test_figures_that_are_spoilt_do_not_keep_readers_from_the_other_checkpoints(whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  file = folder / "checkpoints/2/metrics/metrics"
  file.write_text('{2top-1": 20.0}')
  reader = checkpoint.Checkpointer(str(folder), read_only=True)
  assert reader.steps() == [1, 2] and reader.best() == 1
  reader.restore_variables(1)
  with pytest.raises(errors.CheckpointError, match="checkpoints/2 is damaged"):
    reader.restore_variables(2)
  reader.close()


def test_a_checkpoint_without_checksums_is_taken_as_it_is(whole, tmp_path):
  shutil.copytree(whole, tmp_path / "run")
  shutil.rmtree(tmp_path / "run/checksums")
  c = checkpoint.Checkpointer(str(tmp_path / "run"))
  assert c.notes == [] and c.latest() == 2
  jax.tree.map(np.testing.assert_array_equal, c.restore(2, *placed(make()))[0], make(step=2))
  c.close()


def test_checksums_that_one_checkpoint_lacks_are_missed_in_one_line(whole, tmp_path):
  shutil.copytree(whole, tmp_path / "run")
  (tmp_path / "run/checksums/2.json").unlink()
  c = checkpoint.Checkpointer(str(tmp_path / "run"))
  assert len(c.notes) == 1 and "checkpoint 2 has no checksums" in c.notes[0] and c.latest() == 2
  c.close()


def test_where_none_is_whole_all_stay_where_they_are_however_often_one_starts(whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole, folder)
  for step in (1, 2):
    damage(folder, step, 0)
  for _ in range(2):
    with pytest.raises(errors.CheckpointError, match="no checkpoint in .* is whole") as e:
      checkpoint.Checkpointer(str(folder))
    assert "\n" not in str(e.value) and sorted(os.listdir(folder / "checkpoints")) == ["1", "2"]


def test_a_damaged_checkpoint_without_checksums_ends_in_one_line(whole, tmp_path):
  shutil.copytree(whole, tmp_path / "run")
  shutil.rmtree(tmp_path / "run/checksums")
  for path in (tmp_path / "run/checkpoints/2/model").rglob("*"):
    if path.is_file():
      path.write_bytes(b"")
  c = checkpoint.Checkpointer(str(tmp_path / "run"), read_only=True)
  with pytest.raises(errors.CheckpointError, match="checkpoints/2 cannot be restored") as e:
    c.restore_variables(2)
  assert "\n" not in str(e.value)


def test_checksums_go_with_their_checkpoints(tmp_path):
  saved(tmp_path, [(i, float(i)) for i in range(5)], keep_last=2, keep_best=1).close()
  assert sorted(os.listdir(tmp_path / "checksums")) == ["3.json", "4.json"]


@pytest.mark.parametrize("name", ["br[x]", "st*r", "what?", "a b", "p%41#{}'\"$\u00e9"])
def test_a_workdir_may_have_any_name(name, tmp_path):
  others = tmp_path / "brx"  # what a pattern would match
  saved(others, [(5, 5.0)]).close()
  saved(tmp_path / name, [(1, 10.0), (2, 5.0)], keep_last=1).close()
  c = checkpoint.Checkpointer(str(tmp_path / name), read_only=True)
  assert c.steps() == [1, 2] and c.best() == 1
  np.testing.assert_array_equal(c.restore_variables(2)["batch_stats"]["mean"], np.full(3, 2.0))
  c.close()
  assert pathlib.Path(tmp_path / name / "checkpoints/2/model").is_dir()
