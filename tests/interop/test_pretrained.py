import dataclasses
import hashlib
import json
import re

import jax
import numpy as np
import pytest

from tests.backbones import promises
from tests.conftest import line
from tests.interop import torch_format
from tests.interop.serving import serving
import vidx
from vidx import cli, errors, interop, systems
from vidx.interop import convert, download, pretrained, published
from vidx.train import config

SMALL = dict(stages=(1, 1), width=8, num_classes=7)
CLIP = (1, 2, 16, 16, 3)
USUAL = {"mean": config.base().data.mean, "std": config.base().data.std}


@pytest.fixture(scope="module")
def state():
  """The state dict of a small network in torchvision's names."""
  model = systems.create_model("resnet_18", **SMALL)
  return interop.to_torch(model, promises.some_variables(model, np.zeros(CLIP, "f")), "torchvision")


@pytest.fixture
def server(state, tmp_path, monkeypatch):
  """A mirror that has a small network as torchvision:resnet18; the cache is empty."""
  torch_format.save(tmp_path / "small.pth", state)
  content = (tmp_path / "small.pth").read_bytes()
  digits = hashlib.sha256(content).hexdigest()[:8]
  row = dataclasses.replace(published.ROWS["torchvision:resnet18"], fields=SMALL, mib=len(content) / 2**20,
                            address=f"https://weights.example/resnet18-{digits}.pth")
  monkeypatch.setitem(published.ROWS, row.name, row)
  monkeypatch.setattr(download, "PAUSE_S", 0.01)
  monkeypatch.setenv("no_proxy", "*")
  monkeypatch.setenv("VIDX_CACHE", str(tmp_path / "cache"))
  monkeypatch.delenv("VIDX_OFFLINE", raising=False)
  with serving(content) as running:
    monkeypatch.setenv("VIDX_MIRROR", running.address)
    yield running


@pytest.mark.parametrize("name", published.ROWS)
def test_a_row_says_what_can_be_done_with_it(name):
  row = published.ROWS[name]
  assert row.name == name and row.name.partition(":")[0] in published.RELEASES and published.find(name) is row
  assert re.fullmatch(r"https://[\w.-]+/\S+", row.address) and row.licence
  assert row.top1 is None or 50 < row.top1 < 90
  model = systems.create_model(row.model, **row.fields)
  assert interop.rules_of(model, row.rules)
  assert convert.normalisation(row.model, row.rules)
  assert len(row.sha256) >= 8 or "torchvision" not in name


def test_addresses_are_told_apart_and_hashes_are_those_in_the_names_of_files():
  rows = published.ROWS
  assert len({row.address for row in rows.values()}) == len(rows)
  assert rows["torchvision:resnet50"].sha256 == "0676ba61"
  assert rows["torchvision:shufflenet_v2_x1_0"].sha256 == "5666bf0f80"
  assert rows["pytorchvideo:slow_r50"].sha256 == ""


def test_names_of_models_will_do_and_wrong_ones_name_the_nearest():
  assert published.find("torchvision:resnet_50").name == "torchvision:resnet50"
  with pytest.raises(errors.ConfigError, match="torchvision:r3d-18.*nearest: 'torchvision:r3d_18'"):
    published.find("torchvision:r3d-18")
  assert published.is_name("timm:x") and not published.is_name("runs/mine") and not published.is_name("gs://bucket")


def test_the_table_is_printed(capsys):
  assert cli.main(["models", "--weights", "r3d_18"]) == 0
  head, row = capsys.readouterr().out.splitlines()
  assert head.split()[:3] == ["name", "model", "learned"]
  assert row.split() == ["torchvision:r3d_18", "r3d_18", "kinetics400", "63.2", "127.4", "b3b3357e", "BSD-3-Clause"]
  assert cli.main(["models", "--weights", "r3d18"]) == 2
  assert "nearest: 'r3d_18'" in line(capsys)


def test_convert_by_name_downloads_converts_and_states_the_licence(server, state, tmp_path, capsys):
  assert cli.main(["convert", "torchvision:resnet18", str(tmp_path / "out")]) == 0
  assert "licence BSD-3-Clause, 69.758 % top-1 as published" in capsys.readouterr().out
  record = json.loads((tmp_path / "out/conversion.json").read_text())
  assert (record["model"], record["source"]) == ("resnet_18", "torchvision")
  loaded = vidx.load_checkpoint(tmp_path / "out")
  back = interop.to_torch(loaded.model, loaded.variables, "torchvision")
  assert all(np.array_equal(back[k], state[k]) for k in record["mapped"])
  assert cli.main(["convert", "torchvision:resnet18", str(tmp_path / "out")]) == 2
  assert "exists" in line(capsys)
  assert cli.main(["convert", "torchvision:resnet18", str(tmp_path / "second"), "--num_classes=3", "--new_head"]) == 0
  assert len(server.asked) == 1


def test_a_model_with_its_weights(server, state):
  model, variables = vidx.create_model("resnet_18", pretrained="imagenet", **SMALL)
  jax.tree.map(np.testing.assert_array_equal, variables, interop.from_torch(model, state, "torchvision")[0])
  again = vidx.create_model("resnet_18", pretrained="torchvision:resnet18", **SMALL)[1]
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  assert len(server.asked) == 1


def test_a_system_takes_the_weights_of_its_trunk_and_a_new_head_for_its_classes(server, state):
  fields = {**SMALL, "num_classes": 3}
  model, variables = vidx.create_model("tsm", pretrained="imagenet", trunk="resnet_18", **fields)
  found = {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(variables)}
  stem = next(x for p, x in found.items() if "stem" in p and "kernel" in p)
  np.testing.assert_array_equal(stem, state["conv1.weight"].transpose(2, 3, 1, 0))
  assert model.apply(variables, promises.some_input(CLIP), train=False)["logits"].shape == (1, 3)
  assert all(isinstance(x, jax.Array) for x in found.values())


def test_the_pixels_that_a_model_expects_are_known():
  found = vidx.pixels_of("r3d_18", "kinetics400")
  assert found["shape"] == (1, 16, 112, 112, 3) and found["mean"][0] == 0.43216 and found["std"][2] == 0.216989
  assert vidx.pixels_of("tsm", "imagenet") == {"shape": (1, 8, 224, 224, 3), **USUAL}
  assert vidx.pixels_of("vit_b16", image=384)["shape"] == (1, 384, 384, 3)
  assert vidx.pixels_of("bqn")["shape"] == (1, 24, 256, 256, 3)  # triples of frames in a row
  assert vidx.pixels_of("represented") == vidx.pixels_of("tsm")  # whose field `image` is no size
  assert set(vidx.pixels_of("drnet")["mean"]) == {0.5}
  with pytest.raises(errors.ConfigError, match="ms_tcn sees no pixels: it takes features"):
    vidx.pixels_of("ms_tcn")


def test_weights_that_are_not_known_for_a_model_are_refused_with_those_that_are():
  with pytest.raises(errors.ConfigError, match="'kinetics' is not one of kinetics400, torchvision:r3d_18"):
    vidx.create_model("r3d_18", pretrained="kinetics")
  with pytest.raises(errors.ConfigError, match="no public weights are known for tcn"):
    vidx.create_model("tcn", pretrained="imagenet")


def test_a_login_page_is_not_kept(server, monkeypatch, tmp_path, capsys):
  row = published.ROWS["torchvision:resnet18"]
  monkeypatch.setitem(published.ROWS, row.name, dataclasses.replace(row, address="https://weights.example/plain.pth"))
  server.manners[:] = ["page"]
  for _ in range(2):
    assert cli.main(["convert", row.name, str(tmp_path / "out")]) == 2
    assert "is no file of weights, and is not kept" in line(capsys)
  assert len(server.asked) == 2 and not (tmp_path / "out").exists()


def test_offline_takes_what_the_cache_has(server, tmp_path, capsys, monkeypatch):
  refused = ["convert", "torchvision:resnet18", str(tmp_path / "out"), "--offline"]
  with monkeypatch.context() as m:
    m.setenv("VIDX_OFFLINE", "")  # is put back afterwards
    assert cli.main(refused) == 2
    assert "nothing is downloaded offline" in line(capsys) and not server.asked
  assert cli.main(refused[:-1]) == 0
  with monkeypatch.context() as m:
    m.setenv("VIDX_OFFLINE", "")
    assert cli.main([*refused, "--overwrite"]) == 0
  assert len(server.asked) == 1


def test_what_is_converted_is_kept(server):
  first = pretrained.folder_of("torchvision:resnet18")
  server.manners[:] = ["absent"]
  assert pretrained.folder_of("torchvision:resnet18") == first and len(server.asked) == 1
