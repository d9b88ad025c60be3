"""Weights of torch in a training: converted, trained on from exactly there, used as they are, and handed back."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.backbones import promises
from tests.interop import serving, torch_format
import vidx as library
from vidx import cli, interop
from vidx.interop import files, published

SMALL = dict(stages=(1, 1), width=8, num_classes=7)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
  """(state dict, folder that `vidx convert` made of it): an image network with a head of 7 classes."""
  root = tmp_path_factory.mktemp("public")
  model = library.create_model("resnet_18", **SMALL)
  state = interop.to_torch(model, promises.some_variables(model, np.zeros((1, 4, 32, 32, 3), "f")), "torchvision")
  torch_format.save(root / "small.pth", state)
  assert cli.main(["convert", "torchvision", str(root / "small.pth"), str(root / "converted"), "--model=resnet_18",
                   "--model.stages=1,1", "--model.width=8", "--num_classes=7"]) == 0
  return state, root / "converted"


def started(folder, tiny, workdir, *flags):
  """The variables after three steps that began in the converted folder."""
  assert cli.main(["train", f"--config={tiny}", f"--workdir={workdir}", f"--config.train.init_from={folder}",
                   "--config.train.max_steps=3", *flags]) == 0
  return library.load_checkpoint(workdir, "last").variables


def test_a_training_starts_from_exactly_these_weights(converted, tiny, tmp_path, capsys):
  state, folder = converted
  still = ("--config.schedule.peak=0.0", "--config.system.frozen_bn=all")  # whatever a step changes stays as it was
  variables = started(folder, tiny, tmp_path / "run", *still)
  assert "other shape, kept fresh: params/head/fc/kernel: (16, 7) there, (16, 8) here" in capsys.readouterr().out
  report = json.loads((tmp_path / "run" / "init.json").read_text())[str(folder)]
  trunk = library.load_checkpoint(folder).variables
  for tree in (trunk, variables):
    tree["params"].pop("head")
  assert len(report["loaded"]) == len(jax.tree.leaves(trunk)) and not report["not in the checkpoint"]
  jax.tree.map(np.testing.assert_array_equal, variables, trunk)
  np.testing.assert_array_equal(variables["params"]["stem"]["conv"]["conv"]["kernel"],
                                state["conv1.weight"].transpose(2, 3, 1, 0))


def test_a_training_moves_the_weights_and_gives_them_back_to_torch(converted, tiny, tmp_path):
  state, folder = converted
  started(folder, tiny, tmp_path / "run")
  back = tmp_path / "back.safetensors"
  assert cli.main(["convert", "torchvision", str(tmp_path / "run"), str(back), "--to=torch"]) == 0
  found = files.read_state(back)
  assert set(found) == set(state) and found["fc.weight"].shape == (8, 16)
  moved = np.abs(found["conv1.weight"] - state["conv1.weight"]).max()
  assert 0 < moved < 0.5 * np.abs(state["conv1.weight"]).max()


def test_converted_weights_name_videos_as_they_are(converted, toy, capsys):
  video = next(toy.rglob("*.mp4"))
  assert cli.main(["predict", f"--workdir={converted[1]}", "--json", str(video)]) == 0
  (found,) = json.loads(capsys.readouterr().out)
  assert found["error"] is None and {p["label"] for p in found["predictions"]} <= {f"class {i}" for i in range(7)}


def test_a_training_starts_from_weights_by_name(converted, tiny, tmp_path, capsys, monkeypatch):
  """The name stays in the config of the run; on resuming nothing is asked for."""
  root = converted[1].parent
  row = dataclasses.replace(published.ROWS["torchvision:resnet18"], fields=SMALL, mib=0.0,
                            address="https://weights.example/small.pth")
  monkeypatch.setitem(published.ROWS, row.name, row)
  monkeypatch.setenv("VIDX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setenv("no_proxy", "*")
  with serving.serving((root / "small.pth").read_bytes()) as server:
    monkeypatch.setenv("VIDX_MIRROR", server.address)
    still = ("--config.schedule.peak=0.0", "--config.system.frozen_bn=all", "--config.data.mean=0.5,0.5,0.5")
    found = started(row.name, tiny, tmp_path / "run", *still)["params"]
    assert server.paths == ["/weights.example/small.pth"]
  out = capsys.readouterr().out
  assert "started from torchvision:resnet18" in out and "--config.data.mean=0.485,0.456,0.406" in out
  np.testing.assert_array_equal(found["stem"]["conv"]["conv"]["kernel"],
                                converted[0]["conv1.weight"].transpose(2, 3, 1, 0))
  assert json.loads((tmp_path / "run/config.json").read_text())["train"]["init_from"] == [row.name]
  monkeypatch.setenv("VIDX_CACHE", str(tmp_path / "none"))
  started(row.name, tiny, tmp_path / "run", *still, "--config.train.max_steps=4")
