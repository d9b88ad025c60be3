import io as io_lib
import time
import tracemalloc

import numpy as np
import pytest
from scipy import io

from vidx.data import mat_files


def saved(variables, compressed=False):
  out = io_lib.BytesIO()
  io.savemat(out, variables, do_compression=compressed)
  return out.getvalue()


def cells(count=2):
  made = np.empty((1, count), object)
  made[0] = [np.arange(6.0).reshape(3, 2) + i for i in range(count)]
  return made


@pytest.mark.parametrize("compressed", [False, True])
def test_intact_files_are_read_as_scipy_does(tmp_path, compressed):
  import scipy.sparse
  file = tmp_path / "a.mat"
  variables = {"S": cells(), "x": np.eye(5, dtype=np.complex64), "text": "words", "none": np.zeros((0, 3)),
               "s": {"a": np.ones(3), "deep": cells(3)}, "sparse": scipy.sparse.eye(4, format="csc"), "b": True}
  file.write_bytes(saved(variables, compressed))
  found, wanted = mat_files.load(file), io.loadmat(file)
  assert set(found) == set(wanted) and found["S"][0, 1].tolist() == wanted["S"][0, 1].tolist()


@pytest.mark.parametrize("variables", [{"S": cells()}, {"S": np.ones((3, 2))}, {"S": {"a": np.ones(2)}}])
def test_dimensions_that_no_content_fills_are_refused_at_once(tmp_path, variables):
  data = bytearray(saved(variables))
  at = 128 + 8 + 16 + 8  # behind the head, the matrix' tag, its flags and the tag of its dimensions
  data[at:at + 8] = np.array([30000, 40000], "<i4").tobytes()
  (tmp_path / "a.mat").write_bytes(data)
  tracemalloc.start()
  begun = time.process_time()
  with pytest.raises(ValueError, match="30000 x 40000"):
    mat_files.load(tmp_path / "a.mat")
  assert time.process_time() - begun < 1 and tracemalloc.get_traced_memory()[1] < 8 << 20
  tracemalloc.stop()


def test_what_unfolds_into_too_much_or_is_cut_off_or_no_mat_file(tmp_path, monkeypatch):
  monkeypatch.setattr("vidx.reading.MODEST", 1 << 20)
  file = tmp_path / "a.mat"
  file.write_bytes(saved({"x": np.zeros((2000, 1000))}, compressed=True))
  with pytest.raises(ValueError, match="unfolds into too much"):
    mat_files.load(file)
  whole = saved({"S": cells()})
  for data, words in ((whole[:-40], "are left"), (whole[:100], "level 5"), (b"x" * 200, "level 5")):
    file.write_bytes(data)
    with pytest.raises(ValueError, match=words):
      mat_files.load(file)


@pytest.mark.parametrize("variables, at, byte, words", [
    ({"S": np.ones((3, 2))}, 128 + 8 + 16 + 16 + 8 + 1, 0x10, "type 4105"),  # of the numbers: behind flags, shape, name
    ({"S": cells()}, 128 + 8 + 8, 9, "type 14"),  # the class: numbers in place of cells
    ({"S": np.ones((3, 2))}, 128 + 8 + 8, 17, "class 17"),
    ({"S": np.ones((3, 2))}, 128 + 8 + 8 + 1, 8, "cut off"),  # complex, without imaginary parts
    ({"S": np.ones((3, 2), np.complex64)}, 128 + 8 + 8 + 1, 0, "behind the content"),  # with them, and real
    ({"S": np.ones((3, 2))}, 128 + 8 + 4, 7, "without a class|where"),  # the length of the flags
])
def test_types_that_are_none_are_refused_where_scipy_would_end_the_process(tmp_path, variables, at, byte, words):
  data = bytearray(saved(variables))
  data[at] = byte
  (tmp_path / "a.mat").write_bytes(data)
  with pytest.raises(ValueError, match=words):
    mat_files.load(tmp_path / "a.mat")
