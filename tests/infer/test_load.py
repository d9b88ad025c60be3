import json
import shutil

import numpy as np
import optax
import pytest

from tests.infer import standins as s
from vidx import errors, systems
from vidx.infer import load
from vidx.train import checkpoint, config as config_lib, state as state_lib


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  """Every model is the tiny one."""
  monkeypatch.setattr(systems, "create_model", lambda name, **fields: s.Tiny(**fields), raising=False)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A run with checkpoints of steps 1, 2 (the best) and 3."""
  path = tmp_path_factory.mktemp("run")
  config = config_lib.base()
  config.data.update(frames=2, crop=4)
  config.system.num_classes = s.CLASSES
  (path / "config.json").write_text(config_lib.to_json(config))
  (path / "classes.json").write_text(json.dumps(s.split().classes))
  saves = checkpoint.Checkpointer(str(path), keep_last=5, metric="_best")
  state = state_lib.complete(state_lib.begin(s.Tiny(), [np.zeros((1, 2, 4, 4, 3), np.float32)], 0), optax.sgd(0.1),
                             False)
  for step, top in ((1, 50.0), (2, 90.0), (3, 70.0)):
    saves.save(state.replace(step=np.int32(step)), {"batches": step}, {"top-1": top}, "top-1")
  saves.wait()
  saves.close()
  return str(path)


@pytest.mark.parametrize("step, expected", [(None, 2), ("best", 2), ("last", 3), (1, 1), ("1", 1)])
def test_a_checkpoint_is_found_by_word_or_number(workdir, step, expected):
  loaded = load.load_checkpoint(workdir, step)
  assert loaded.step == expected and loaded.classes == s.split().classes and loaded.task.best_metric == "top-1"
  outputs = loaded.model.apply(loaded.variables, np.zeros((1, 2, 4, 4, 3), np.float32), train=False)
  assert outputs["logits"].shape == (1, s.CLASSES)


def test_more_outputs_than_classes_get_names(workdir, tmp_path):
  shutil.copytree(workdir, tmp_path / "run")
  (tmp_path / "run" / "classes.json").write_text('["wave", "jump"]')
  loaded = load.load_checkpoint(str(tmp_path / "run"))
  assert loaded.classes == ("wave", "jump", "class 2", "class 3", "class 4")


def test_an_override_changes_the_config_but_not_the_architecture(workdir):
  assert load.load_checkpoint(workdir, overrides=["data.frames=4"]).config.data.frames == 4
  with pytest.raises(errors.CheckpointError, match="Dense_0/bias is \\(5,\\) there and \\(7,\\) here"):
    load.load_checkpoint(workdir, overrides=["system.num_classes=7"])


@pytest.mark.parametrize("step, message", [(9, "step 9; it keeps 1, 2, 3"), ("newest", "none of best, last")])
def test_a_checkpoint_that_is_not_kept_names_those_that_are(workdir, step, message):
  with pytest.raises(errors.CheckpointError, match=message):
    load.load_checkpoint(workdir, step)


def test_a_folder_that_is_no_run_and_a_run_without_checkpoints_are_named(workdir, tmp_path):
  with pytest.raises(errors.CheckpointError, match=f"{tmp_path} is not the folder of a run"):
    load.load_checkpoint(str(tmp_path))
  for name in ("config.json", "classes.json"):
    (tmp_path / name).write_text(open(f"{workdir}/{name}").read())
  with pytest.raises(errors.CheckpointError, match="holds no"):
    load.load_checkpoint(str(tmp_path))


def test_the_mesh_of_a_larger_machine_gives_way_to_the_devices_of_today():
  config = config_lib.base()
  config.mesh.update(data=64, fsdp=4)
  assert dict(load.make_mesh(config).shape)["fsdp"] == 1
