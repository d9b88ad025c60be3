"""Files that are damaged, or made to do harm: one line of the library, and no more memory than they are long."""

import io
import json
import os
import pickle
import resource
import time
import zipfile

import numpy as np
import pytest

from vidx import errors, reading
from vidx.data import datasets, decode, experts, feature_files, plain_pickle
from vidx.data.datasets import common
from vidx.data.records import Media, Record
from vidx.interop import files


def npy(array):
  out = io.BytesIO()
  np.save(out, array)
  return out.getvalue()


def grown():
  """Bytes of memory that the process has held at most."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)),
                                   np.float32(3), np.zeros((0, 4)), np.array(["a", "bc"]), np.array([True])])
def test_arrays_are_those_of_numpy(tmp_path, array):
  np.save(tmp_path / "a.npy", array)
  np.savez_compressed(tmp_path / "a.npz", a=array)
  found = reading.array(tmp_path / "a.npy")
  with reading.arrays(tmp_path / "a.npz") as f:
    assert list(f) == ["a"] and "b" not in f
    for got in (found, f["a"]):
      assert got.dtype == np.asarray(array).dtype
      np.testing.assert_array_equal(got, array)
  assert reading.array_shape(tmp_path / "a.npy") == np.shape(array)


def test_every_damaged_header_of_features_is_one_line(tmp_path):
  rng, whole = np.random.default_rng(0), npy(np.ones((40, 8), np.float32))
  record = Record("v", Media(str(tmp_path / "v.npy"), "features"), extra={"time_axis": 0, "runs": ()})
  refused = 0
  for _ in range(300):
    spoilt = bytearray(whole)
    for at in rng.integers(0, 128, 1 + rng.integers(3)):
      spoilt[at] ^= 1 << rng.integers(8)
    (tmp_path / "v.npy").write_bytes(spoilt)
    try:
      feature_files.load(record)
    except errors.DecodeError as e:
      refused += 1
      assert "\n" not in str(e)
  assert refused > 50


def test_an_array_that_says_more_than_it_holds_costs_no_memory(tmp_path):
  head = npy(np.zeros((1, 1), np.float32))
  (tmp_path / "v.npy").write_bytes(head.replace(b"(1, 1)", b"(9999999999, 1)").replace(b" " * 9, b"", 1))
  with pytest.raises(ValueError, match="want 39,999,999,996 bytes"):
    reading.array(tmp_path / "v.npy")
  with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as f:
    with f.open("rgb.npy", "w", force_zip64=True) as member:
      member.write(head.replace(b"(1, 1), ", b"(100000000, 1), ").replace(b" " * 8, b"", 1))
      for _ in range(400):
        member.write(bytes(1_000_000))
  before = grown()
  with pytest.raises(errors.DecodeError, match="would unfold into 400,"):
    experts.read(Media(str(tmp_path / "bomb.npz"), "experts"), ["rgb"])
  assert grown() - before < 64 << 20


def nested(depth):
  found = []
  for _ in range(depth):
    found = [found, found]
  return found


def circle():
  found = []
  found.append(found)
  return found


class Shape:
  """Pickles as an array of a shape and no bytes."""

  def __reduce__(self):
    return np.empty(0).__reduce__()[0], (np.ndarray, (10**10,), b"d")


@pytest.mark.parametrize("content", [
    pickle.dumps({"boxes": nested(60)}), pickle.dumps({"boxes": circle()}),
    b"\x80\x04Nr\xff\xff\xff\x7f.", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00.", pickle.dumps(os.system),
    b"(" * 5000, pickle.dumps(Shape()), pickle.dumps(np.dtype("S2000000000")),
])
def test_pickles_run_nothing_and_unfold_into_little(tmp_path, content):
  path, before, start = tmp_path / "x.pkl", grown(), time.monotonic()
  path.write_bytes(content)
  with pytest.raises(errors.DataError):
    with reading.boundary("x.pkl"):
      found = plain_pickle.load(str(path))
      if getattr(found, "size", 1) in (0, 1):  # an array without bytes has no shape
        raise ValueError("nothing in it")
  with pytest.raises(errors.CheckpointError):
    files.read_state(path)
  assert grown() - before < 256 << 20 and time.monotonic() - start < 10


def test_plain_pickles_are_read(tmp_path):
  for protocol in (2, 4, 5):
    content = {"boxes": np.ones((2, 3, 4)), "n": np.float32(2), "names": ["a", "b"], "at": np.asfortranarray(np.eye(3))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    found = plain_pickle.load(str(tmp_path / "x.pkl"))
    np.testing.assert_array_equal(found["boxes"], content["boxes"])
    np.testing.assert_array_equal(found["at"], np.eye(3))
    assert found["n"] == 2 and found["names"] == ["a", "b"]


def test_weights_of_absurd_shapes_are_refused(tmp_path):
  path = tmp_path / "w.safetensors"
  for shape in ([0, 10**30], [10**200, 0], [0] * 100, [-1]):
    head = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(errors.CheckpointError, match="damaged"):
      files.read_state(path)


def test_a_pipe_keeps_nobody_waiting(tmp_path):
  os.mkfifo(tmp_path / "x.mp4")
  record = Record("v", Media(str(tmp_path / "x.mp4"), "features"), extra={"time_axis": 0, "runs": ()})
  for read in (decode.open_video, common.read_text, files.read_state, lambda _: feature_files.load(record)):
    with pytest.raises(errors.UserError, match="a pipe"):
      read(str(tmp_path / "x.mp4"))


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, '{"a": "\\ud800'])
def test_json_of_any_content_is_refused_in_a_line(tmp_path, text):
  (tmp_path / "x.json").write_text(text)
  with pytest.raises(errors.DataError, match="no JSON"):
    common.read_json(str(tmp_path / "x.json"))


def test_what_a_reader_did_not_foresee_is_the_librarys_error(tmp_path, monkeypatch):
  from vidx.data.datasets import folder
  monkeypatch.setattr(folder, "read", lambda root, split: {}["no such key"])
  with pytest.raises(errors.DataError, match="cannot be read by the reader 'folder' .there is no 'no such key'"):
    datasets.read("folder", str(tmp_path), "train")


def test_a_frame_larger_than_any_cameras_is_refused_before_memory_is_asked_for(tmp_path):
  import zlib
  chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
  side = 30_000
  rows = zlib.compress(bytes((side + 1) * 4))
  head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
  os.mkdir(tmp_path / "frames")
  (tmp_path / "frames" / "img_00001.png").write_bytes(
      b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
  before = grown()
  with pytest.raises(errors.DecodeError):
    decode.open_video(str(tmp_path / "frames")).frames([0])
  assert grown() - before < 256 << 20
