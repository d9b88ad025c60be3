import builtins
import json
import os
import pickle
import sys
import types

import ml_dtypes
import numpy as np
import pytest

from tests.interop import torch_format as t
from vidx import errors
from vidx.interop import files


def some_state():
  rng = np.random.default_rng(0)
  return {
      "conv.weight": rng.normal(size=(3, 2, 1, 1)).astype("f"),
      "bn.weight": rng.normal(size=(5,)).astype(ml_dtypes.bfloat16),
      "bn.bias": rng.normal(size=(5,)).astype("f2"),
      "bn.num_batches_tracked": np.asarray(7),
      "none": np.zeros((0, 4), "f"),
  }


def same(found, state):
  assert set(found) == set(state)
  for key, value in state.items():
    assert found[key].dtype == value.dtype and found[key].shape == value.shape, key
    np.testing.assert_array_equal(found[key], value)


def refused(path, words):
  with pytest.raises(errors.CheckpointError, match=words) as e:
    files.read_state(path)
  assert str(path) in str(e.value) and "\n" not in str(e.value)


def test_safetensors_come_back_with_their_dtypes(tmp_path):
  files.write_safetensors(tmp_path / "a.safetensors", some_state())
  same(files.read_state(tmp_path / "a.safetensors"), some_state())
  assert os.listdir(tmp_path) == ["a.safetensors"]


def test_safetensors_are_mapped_and_not_copied(tmp_path):
  files.write_safetensors(tmp_path / "a.safetensors", some_state())
  found = files.read_state(tmp_path / "a.safetensors")["conv.weight"]
  assert not found.flags.owndata and not found.flags.writeable


def header(path, change, data=b"\0" * 24):
  """A file of two arrays, 4 and 2 fp32 numbers, whose header was changed."""
  entries = {"a": dict(dtype="F32", shape=[4], data_offsets=[0, 16]),
             "b": dict(dtype="F32", shape=[2], data_offsets=[16, 24])}
  change(entries)
  text = json.dumps(entries).encode()
  path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("change, words", [
    (lambda h: h["b"].update(data_offsets=[12, 20]), "b begins at byte 12, where byte 16 is next"),
    (lambda h: h["b"].update(data_offsets=[20, 28]), "b begins at byte 20"),
    (lambda h: h["a"].update(shape=[5]), "wants 20"),
    (lambda h: h["a"].update(dtype="F31"), "unknown dtype 'F31'"),
    (lambda h: h["a"].update(shape=[-4]), "-4 is no count"),
    (lambda h: h["a"].update(data_offsets=[0]), "cannot be understood"),
    (lambda h: h["a"].pop("dtype"), "cannot be understood"),
    (lambda h: h.update(a=3), "cannot be understood"),
    (lambda h: h.pop("b"), "speaks of 16 bytes, 24 are there"),
    (lambda h: h.update(c=dict(dtype="F32", shape=[2**62], data_offsets=[24, 24])), "wants"),
])
def test_a_header_that_cannot_be_is_one_line(tmp_path, change, words):
  header(tmp_path / "a.safetensors", change)
  refused(tmp_path / "a.safetensors", words)


@pytest.mark.parametrize("length", [0, 5, 8, 20, 60, -1])
def test_a_file_cut_short_is_one_line(tmp_path, length):
  header(tmp_path / "whole", lambda h: None)
  data = (tmp_path / "whole").read_bytes()
  (tmp_path / "a.safetensors").write_bytes(data[:length])
  refused(tmp_path / "a.safetensors", "damaged safetensors")


def test_a_name_twice_in_a_header_is_damage(tmp_path):
  text = b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
  (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
  refused(tmp_path / "a.safetensors", "a name occurs twice")


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_read_without_torch(tmp_path, legacy, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  t.save(tmp_path / "a.pth", some_state(), legacy)
  same(files.read_state(tmp_path / "a.pth"), some_state())


def test_tensors_are_views_into_shared_storages(tmp_path):
  numbers = np.arange(12, dtype="f")
  t.write_zip(tmp_path / "a.pth", t.dictionary({
      "all": t.tensor("0", numbers), "transposed": t.tensor("0", numbers, (3, 4), (1, 3)),
      "end": t.tensor("0", numbers, (2,), (1,), offset=10)}), {"0": numbers})
  found = files.read_state(tmp_path / "a.pth")
  np.testing.assert_array_equal(found["transposed"], numbers.reshape(4, 3).T)
  np.testing.assert_array_equal(found["end"], [10, 11])


@pytest.mark.parametrize("size, stride, offset", [
    ((13,), (1,), 0), ((4,), (1,), 10), ((2, 2), (11, 1), 0), ((2,), (-1,), 3), ((2,), (1, 1), 0), ((2,), (1,), -1)])
def test_a_view_outside_of_its_storage_is_damage(tmp_path, size, stride, offset):
  numbers = np.arange(12, dtype="f")
  t.write_zip(tmp_path / "a.pth", t.dictionary({"a": t.tensor("0", numbers, size, stride, offset)}), {"0": numbers})
  refused(tmp_path / "a.pth", "damaged: a: ")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_torch_file_cut_or_short_of_a_storage_is_one_line(tmp_path, legacy):
  t.save(tmp_path / "whole", some_state(), legacy)
  data = (tmp_path / "whole").read_bytes()
  for length in (1, 20, len(data) // 2, len(data) - 3):
    (tmp_path / "a.pth").write_bytes(data[:length])
    refused(tmp_path / "a.pth", "is damaged, or no file of")
  array = np.zeros(4, "f")
  (t.write_legacy if legacy else t.write_zip)(
      tmp_path / "a.pth", t.dictionary({"a": t.tensor("0", array, legacy=legacy)}), {"0": array[:2]})
  refused(tmp_path / "a.pth", "is damaged")


@pytest.mark.parametrize("within", files.NESTED)
def test_the_state_dict_is_found_inside_of_what_a_training_saves(tmp_path, within):
  t.save(tmp_path / "a.pth", some_state(), within=within)
  same(files.read_state(tmp_path / "a.pth"), some_state())


def test_module_in_front_goes_only_where_all_names_have_it(tmp_path):
  a = np.zeros(2, "f")
  t.save(tmp_path / "a.pth", {"module.x": a, "module.y": a})
  assert set(files.read_state(tmp_path / "a.pth")) == {"x", "y"}
  t.save(tmp_path / "a.pth", {"module.x": a, "y": a})
  assert set(files.read_state(tmp_path / "a.pth")) == {"module.x", "y"}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_blobs_of_caffe2_are_read_by_a_pickle_that_knows_arrays_only(tmp_path, protocol):
  blobs = {"conv1_w": np.arange(6, dtype="f").reshape(1, 2, 3),
           "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
           "big": np.arange(3, dtype=">f4"), "lr": np.float32(0.5), "model_iter": 3}
  (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol))
  found = files.read_state(tmp_path / "a.pkl")
  assert set(found) == set(blobs) and found["big"].dtype == np.dtype("f4")
  assert all(np.array_equal(found[k], blobs[k]) for k in blobs)


def test_blobs_of_python_2_have_their_bytes_as_text(tmp_path):
  data = np.float32([1, -2]).tobytes()
  array = (b"cnumpy.core.multiarray\n_reconstruct\n" + t.several(b"cnumpy\nndarray\n", b"(K\x00t", b"U\x01b") + b"R("
           + b"K\x01(K\x02t" + b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
           + b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
           + b"\x89U\x08" + data + b"tb")
  (tmp_path / "a.pkl").write_bytes(t.program(t.dictionary({"blobs": t.dictionary({"conv1_b": array})})))
  np.testing.assert_array_equal(files.read_state(tmp_path / "a.pkl")["conv1_b"], np.float32([1, -2]))


class Malicious:
  def __init__(self, function, *arguments):
    self.reduced = function, arguments

  def __reduce__(self):
    return self.reduced


@pytest.mark.parametrize("function, arguments, name", [
    (os.system, ("touch {}",), "posix.system"),
    (builtins.eval, ("open('{}', 'w')",), "(builtins|__builtin__).eval"),
    (builtins.getattr, ("x", "upper"), "(builtins|__builtin__).getattr"),
])
@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
def test_a_program_in_a_file_is_named_and_not_run(tmp_path, function, arguments, name, form):
  trace = tmp_path / "ran"
  evil = pickle.dumps({"state_dict": Malicious(function, *[a.format(trace) for a in arguments])}, 2)
  path = tmp_path / "a.pth"
  if form == "pickle":
    path.write_bytes(evil)
  else:
    (t.write_zip if form == "zip" else t.write_legacy)(path, evil[2:-1], {})
  refused(path, f"holds an object of {name}, which no array needs and which is not run")
  assert not trace.exists()


def test_an_array_of_objects_is_refused(tmp_path):
  (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": {"a": np.asarray([{}, []], object), "b": np.zeros(2)}}, 2))
  refused(tmp_path / "a.pkl", "damaged: a: an array of O8")


def test_what_is_no_state_dict_says_what_it_is(tmp_path):
  t.write_zip(tmp_path / "a.pth", t.dictionary({"epoch": t.number(3), "net": t.text("x")}), {})
  refused(tmp_path / "a.pth", "no state dict: its keys are epoch, net")
  (tmp_path / "a.pth").write_bytes(b"<html>not found</html>")
  refused(tmp_path / "a.pth", "no file of torch, safetensors")
  refused(tmp_path / "none.pth", "cannot be read: no such file")
  refused(tmp_path, "cannot be read: is a directory")
  array = np.zeros(2, "f")
  t.write_zip(tmp_path / "a.pth", t.dictionary({"a": t.tensor("0", array), "b": t.text("x")}), {"0": array})
  refused(tmp_path / "a.pth", "b is a str, no array")


def test_writing_torch_files_without_torch_names_the_other_way(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(errors.CheckpointError, match="not installed; .safetensors does without"):
    files.write_state(tmp_path / "a.pth", some_state())
  with pytest.raises(errors.CheckpointError, match="has to end in .safetensors"):
    files.write_state(tmp_path / "a.npz", some_state())
  assert not os.listdir(tmp_path)


def test_types_that_numpy_has_not_reach_torch_by_their_bits(tmp_path, monkeypatch):
  def from_numpy(array):
    if array.dtype.isbuiltin != 1:
      raise TypeError(f"can't convert np.ndarray of type {array.dtype}")
    return array

  given = {k: v.astype(ml_dtypes.float8_e4m3fn) if k == "bn.bias" else v for k, v in some_state().items()}
  given["scalar"] = np.asarray(3, ml_dtypes.bfloat16)
  saved = {}
  monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(
      from_numpy=from_numpy, bfloat16=ml_dtypes.bfloat16, float8_e4m3fn=ml_dtypes.float8_e4m3fn,
      save=lambda tensors, path: (saved.update(tensors), open(path, "w").close())))
  files.write_state(tmp_path / "a.pth", given)
  same(saved, given)


def test_a_dtype_that_safetensors_has_not_leaves_no_file(tmp_path):
  with pytest.raises(errors.CheckpointError, match="no dtype for a, which is of complex128"):
    files.write_state(tmp_path / "a.safetensors", {"a": np.zeros(2, complex)})
  (tmp_path / "file").touch()
  with pytest.raises(errors.CheckpointError, match="cannot be written: .*exists"):
    files.write_state(tmp_path / "file" / "a.safetensors", some_state())
  assert os.listdir(tmp_path) == ["file"]
