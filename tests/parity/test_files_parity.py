"""Files that torch and safetensors wrote themselves, read without them, and the other way round."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="parity with torch needs the extra 'parity'")

from vidx import errors  # noqa: E402
from vidx.interop import files  # noqa: E402


def module():
  torch.manual_seed(0)
  return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 4))


def same(found, state):
  assert set(found) == set(state)
  for key, value in state.items():
    assert str(found[key].dtype) == str(value.dtype).removeprefix("torch."), key
    np.testing.assert_array_equal(found[key].astype(float), value.detach().double().numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_what_torch_loads(tmp_path, zipped):
  numbers = torch.randn(6, 4)
  state = {**module().state_dict(), "half": numbers.half(), "bfloat16": numbers.bfloat16(),
           "parameter": torch.nn.Parameter(numbers),
           "transposed": numbers.t(), "part": numbers[2:, 1::2], "empty": numbers[:0], "flag": torch.tensor(True)}
  path = tmp_path / "a.pth"
  torch.save({"state_dict": state, "epoch": 3, "best": np.float64(70)}, path, _use_new_zipfile_serialization=zipped)
  same(files.read_state(path), torch.load(path, weights_only=False)["state_dict"])
  torch.save(module().state_dict(), path, _use_new_zipfile_serialization=zipped)
  same(files.read_state(path), torch.load(path))


def test_types_that_only_the_newer_format_has(tmp_path):
  state = {"float8": torch.randn(3).to(torch.float8_e4m3fn), "uint16": torch.arange(3).to(torch.uint16)}
  torch.save(state, tmp_path / "a.pth")
  same(files.read_state(tmp_path / "a.pth"), state)


def test_a_whole_module_and_a_program_are_refused(tmp_path):
  torch.save(module(), tmp_path / "a.pth")
  with pytest.raises(errors.CheckpointError, match=r"object of torch.nn.modules.container.Sequential, which no array"):
    files.read_state(tmp_path / "a.pth")
  torch.jit.script(module()).save(tmp_path / "b.pt")
  with pytest.raises(errors.CheckpointError, match="TorchScript"):
    files.read_state(tmp_path / "b.pt")


def test_torch_reads_what_is_written(tmp_path):
  state = {k: v.numpy() for k, v in module().state_dict().items()}
  numbers = np.random.default_rng(0).normal(size=(3, 2))
  state |= {name: numbers.astype(name) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float16")}
  state["scalar"] = np.asarray(3, "bfloat16")
  files.write_state(tmp_path / "a.pth", state)
  same(state, torch.load(tmp_path / "a.pth"))


def test_safetensors_agree_both_ways(tmp_path):
  peer = pytest.importorskip("safetensors.torch", reason="the package safetensors is not installed")
  state = {**module().state_dict(), "half": torch.randn(3).half(), "bfloat16": torch.randn(3, 2).bfloat16()}
  peer.save_file(state, tmp_path / "a.safetensors")
  found = files.read_state(tmp_path / "a.safetensors")
  same(found, state)
  files.write_state(tmp_path / "b.safetensors", found)
  same(found, peer.load_file(tmp_path / "b.safetensors"))
