import hashlib
import itertools
import json
import os
import pickle

import jax
import numpy as np
import pytest

from tests.backbones import promises
from tests.interop import torch_format
import vidx
from vidx import cli, errors, interop
from vidx.interop import convert, files
from vidx.train import warm_start

SMALL = dict(stages=(1, 1), width=8, num_classes=7)
FLAGS = ("--model=resnet_18", "--model.stages=1,1", "--model.width=8")
CLIP = (1, 2, 16, 16, 3)


@pytest.fixture(scope="module")
def state():
  """The state dict of a small network in torchvision's names, every number random."""
  model = vidx.create_model("resnet_18", **SMALL)
  return interop.to_torch(model, promises.some_variables(model, np.zeros(CLIP, "f")), "torchvision")


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
  """The file of it."""
  path = tmp_path_factory.mktemp("weights") / "small.safetensors"
  files.write_safetensors(path, state)
  return path


def logits(folder):
  loaded = vidx.load_checkpoint(folder)
  return loaded.model.apply(loaded.variables, promises.some_input(CLIP), train=False)["logits"]


def refused(capsys, *args):
  """The one line that `vidx convert ARGS` prints as it refuses."""
  assert cli.main(["convert", *map(str, args)]) == 2
  out, err = capsys.readouterr()
  lines = [line for line in err.splitlines() if line.startswith("vidx: ")]
  assert len(lines) == 1 and not out
  return lines[0]


def test_a_converted_folder_loads_as_a_run_with_exactly_these_weights(state, weights, tmp_path):
  report = convert.from_file("torchvision", weights, tmp_path / "out", model="resnet_18", fields=SMALL)
  loaded = vidx.load_checkpoint(tmp_path / "out")
  expected, _ = interop.from_torch(vidx.create_model("resnet_18", **SMALL), state, "torchvision")
  assert set(report.mapped) | set(report.dropped) == set(state)
  assert loaded.variables.keys() == expected.keys() and loaded.classes[6] == "class 6"
  back = interop.to_torch(loaded.model, loaded.variables, "torchvision")
  assert all(np.array_equal(back[k], state[k]) for k in report.mapped)
  assert logits(tmp_path / "out").shape == (1, 7)


def test_the_folder_says_where_the_weights_are_from(weights, tmp_path):
  convert.from_file("torchvision", weights, tmp_path / "out", model="resnet_18", fields=SMALL)
  record = json.loads((tmp_path / "out" / convert.RECORD).read_text())
  assert record["model"] == "resnet_18" and record["fields"] == {**SMALL, "stages": [1, 1]}
  assert record["source"] == "torchvision" and record["file"] == str(weights)
  assert record["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
  assert record["mapped"]["conv1.weight"] == "params/stem/conv/conv/kernel" and not record["new"]
  assert "need no count" in record["dropped"]["bn1.num_batches_tracked"]


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_give_the_same_folder(state, weights, tmp_path, legacy):
  torch_format.save(tmp_path / "small.pth", {f"module.{k}": v for k, v in state.items()}, legacy, "state_dict")
  for name, file in (("a", weights), ("b", tmp_path / "small.pth")):
    convert.from_file("torchvision", file, tmp_path / name, model="resnet_18", fields=SMALL)
  np.testing.assert_array_equal(logits(tmp_path / "a"), logits(tmp_path / "b"))


def test_there_and_back_on_the_command_line_gives_the_same_bits(state, weights, tmp_path, capsys):
  out, back = tmp_path / "out", tmp_path / "back.safetensors"
  assert cli.main(["convert", "torchvision", str(weights), str(out), *FLAGS, "--num-classes=7"]) == 0
  text = capsys.readouterr().out
  assert "tensors mapped, 6 dropped, 0 new" in text and f"{out}: resnet_18 for" in text
  assert text.count("batch statistics here need no count") == 1
  assert cli.main(["convert", "torchvision", str(out), str(back), "--to", "torch"]) == 0
  assert f"{len(state)} tensors in the names of torchvision" in capsys.readouterr().out
  found = files.read_state(back)
  assert set(found) == set(state)
  assert all(found[k].dtype == state[k].dtype and np.array_equal(found[k], state[k]) for k in state)


def test_blobs_of_caffe2_give_what_pyslowfast_names_give(tmp_path):
  fields = dict(stages=(1, 1), width=8, num_classes=3)
  model = vidx.create_model("slowonly_r50_8x8", **fields)
  state = interop.to_torch(model, promises.some_variables(model, np.zeros(CLIP, "f")), "pyslowfast")
  names = {"s1.pathway0_stem.conv": "conv1", "s1.pathway0_stem.bn": "res_conv1_bn", "head.projection": "pred"}
  for i, part, norm in itertools.product((2, 3), ("branch1", "branch2.a", "branch2.b", "branch2.c"), ("", "_bn")):
    names[f"s{i}.pathway0_res0.{part}{norm}"] = f"res{i}_0_{part.replace('.', '')}{norm}"
  blobs = {"lr": np.float32(0.1), "model_iter": 3, "conv1_w_momentum": np.zeros(2, "f")}
  for key, value in state.items():
    layer, _, kind = key.rpartition(".")
    short = {"weight": "s" if layer.endswith("bn") else "w", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    if kind in short:
      blobs[f"{names[layer]}_{short[kind]}"] = value
  (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}, 2))
  files.write_safetensors(tmp_path / "a.safetensors", state)
  for name in ("a.pkl", "a.safetensors"):
    report = convert.from_file("pyslowfast", tmp_path / name, tmp_path / f"{name}.out", model="slowonly_r50_8x8",
                               fields=fields)
    assert set(report.dropped) <= {"lr", "model_iter", "conv1_w_momentum"} or name.endswith("safetensors")
  jax.tree.map(np.testing.assert_array_equal, *(
      vidx.load_checkpoint(tmp_path / f"{name}.out").variables for name in ("a.pkl", "a.safetensors")))


def test_images_become_clips_and_heads_new(weights, tmp_path, capsys):
  out = tmp_path / "out"
  flags = ("--model=r3d_18", "--model.stages=1,1", "--model.width=8", "--model.stem=image_flat", "--num_classes=3")
  assert "; new_head=True puts" in refused(capsys, "torchvision", weights, out, *flags, "--inflate=mean")
  assert "conv1.weight has shape" in refused(capsys, "torchvision", weights, out, *flags, "--new_head")
  assert cli.main(["convert", "torchvision", str(weights), str(out), *flags, "--new-head", "--inflate=mean"]) == 0
  text = capsys.readouterr().out
  assert "more: inflated to 3 frames (mean)" in text and "params/head/fc/kernel: new" in text
  loaded = vidx.load_checkpoint(out)
  kernel = loaded.variables["params"]["res2_0"]["conv1"]["conv"]["kernel"]
  flat = files.read_state(weights)["layer1.0.conv1.weight"].transpose(2, 3, 1, 0)
  np.testing.assert_allclose(kernel, np.stack([flat / 3] * 3), rtol=1e-6)
  assert loaded.config.data.mean == (0.43216, 0.394666, 0.37645) and loaded.config.data.frames == 16
  fresh = jax.eval_shape(loaded.model.init, jax.random.PRNGKey(0), np.zeros(CLIP, "f"))
  _, report = warm_start.merge(fresh, warm_start.read_variables(out))
  assert len(report["loaded"]) == len(jax.tree.leaves(fresh))


@pytest.mark.parametrize("place, word, words", [
    ("source", "torchvison", ["'torchvison'", "(nearest: 'torchvision')"]),
    ("file", "none.pth", ["none.pth cannot be read"]),
    ("out", "/proc/none/out", ["/proc/none/out cannot be written"]),
    ("flag", "--model=resnet18", ["'resnet18'", "(nearest: 'resnet_18')"]),
    ("flag", "--model.widht=8", ["'widht'", "(nearest: 'width')"]),
    ("flag", "--model.width", ["name=value"]),
    ("flag", "--model.stages=1,2", ["nothing fills"]),
    ("flag", "--num_classes=5", ["fc.weight has shape (7, 16)"]),
    ("flag", "--new-haed", ["--new_haed", "new_head"]),
    ("flag", "--inflate=center", ["'center'", "'centre'"]),
    ("flag", "--inputs=1x2xa", ["1x2xa", "1x16x112x112x3"]),
    ("flag", "--to=jax", ["--to=jax", "torch"]),
    ("flag", "more", ["SOURCE CHECKPOINT OUT, not 4"]),
    ("flag", "--sha256=0123456789", ["SHA-256", "not 0123456789"]),
    ("flag", "--sha256=0", ["at least 8 digits"]),
])
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(weights, tmp_path, capsys, place, word, words):
  given = {**dict(source="torchvision", file=weights, out=tmp_path / "out", flag="--new_head=false"), place: word}
  line = refused(capsys, given["source"], given["file"], given["out"], *FLAGS, "--num_classes=7", given["flag"])
  assert all(w in line for w in words), line
  assert not os.listdir(tmp_path)


def test_a_missing_and_a_surplus_tensor_are_named(state, tmp_path, capsys):
  changed = {k: v for k, v in state.items() if k != "bn1.bias"} | {"surplus": np.zeros(2, "f")}
  files.write_safetensors(tmp_path / "a.safetensors", changed)
  line = refused(capsys, "torchvision", tmp_path / "a.safetensors", tmp_path / "out", *FLAGS, "--num_classes=7")
  assert "surplus has no rule" in line and "nothing fills params/stem/conv/norm/bias" in line


def test_no_model_is_one_line(weights, tmp_path, capsys):
  assert "--model=NAME" in refused(capsys, "torchvision", weights, tmp_path / "out")


def test_only_an_earlier_conversion_is_replaced_and_only_when_asked(weights, tmp_path, capsys):
  out, args = tmp_path / "out", ("torchvision", weights, tmp_path / "out", *FLAGS, "--num_classes=7")
  out.mkdir()
  (out / "precious").write_text("x")
  assert "--overwrite" in refused(capsys, *args)
  assert "is no conversion" in refused(capsys, *args, "--overwrite")
  (out / "precious").rename(tmp_path / "precious")
  out.rmdir()
  assert cli.main(["convert", *map(str, args)]) == 0
  (out / "old").write_text("x")
  capsys.readouterr()
  assert "exists" in refused(capsys, *args) and (out / "old").exists()
  assert cli.main(["convert", *map(str, args), "--overwrite"]) == 0
  assert not (out / "old").exists() and sorted(os.listdir(tmp_path)) == ["out", "precious"]


def test_a_failure_while_writing_leaves_the_earlier_folder_as_it_was(weights, tmp_path, monkeypatch):
  convert.from_file("torchvision", weights, tmp_path / "out", model="resnet_18", fields=SMALL)
  before = logits(tmp_path / "out")

  def full(path, value):
    if path.endswith(convert.RECORD):
      raise OSError(28, "No space left on device")
    return write(path, value)

  write = convert.writing.write_json
  monkeypatch.setattr(convert.writing, "write_json", full)
  with pytest.raises(errors.CheckpointError, match="out cannot be written: no space left on device"):
    convert.from_file("torchvision", weights, tmp_path / "out", model="resnet_18", fields=SMALL, overwrite=True)
  np.testing.assert_array_equal(before, logits(tmp_path / "out"))
  assert os.listdir(tmp_path) == ["out"]


def test_back_to_torch_refuses_in_one_line(weights, tmp_path, capsys):
  convert.from_file("torchvision", weights, tmp_path / "out", model="resnet_18", fields=SMALL)
  (tmp_path / "taken.safetensors").write_text("x")
  for words, args in [
      ("no rules for weights of ResNet from 'deit'", ("deit", tmp_path / "out", tmp_path / "a.safetensors")),
      ("taken.safetensors exists", ("torchvision", tmp_path / "out", tmp_path / "taken.safetensors")),
      ("has to end in .safetensors", ("torchvision", tmp_path / "out", tmp_path / "a.npz")),
      ("is not the folder of a run", ("torchvision", tmp_path / "none", tmp_path / "a.safetensors"))]:
    assert words in refused(capsys, *args, "--to=torch")
  assert sorted(os.listdir(tmp_path)) == ["out", "taken.safetensors"]


@pytest.mark.parametrize("model, source, mean", [
    ("resnet_50", "torchvision", 0.485), ("r2plus1d_18", "torchvision", 0.43216),
    ("slowfast_r50_8x8", "pyslowfast", 0.45), ("inception_resnet_v2", "timm", 0.5),
    ("inception_v3", "pytorch_fid", 0.5),
    ("deit_s", "timm", 0.485), ("vit_b16", "timm", 0.5), ("timesformer_b", "timesformer", 0.45),
    ("tsm_r50", "tsm", 0.485), ("bn_inception", "tsm", None), ("c3d", "c3d", None)])
def test_pixels_are_normalised_as_in_the_source(model, source, mean):
  found = convert.normalisation(model, source)
  assert (found[0][0] if found else None) == mean
