import json
import os
import re

import numpy as np
import pytest

from vidx import writing


def test_readers_see_the_old_or_the_new_file(tmp_path):
  path = tmp_path / "a" / "b.json"
  writing.write_json(path, {"x": 1})
  with pytest.raises(RuntimeError), writing.whole(path) as temporary:
    open(temporary, "w").write("{")
    assert json.loads(path.read_text()) == {"x": 1}
    raise RuntimeError
  assert os.listdir(tmp_path / "a") == ["b.json"] and json.loads(path.read_text()) == {"x": 1}
  writing.write_json(path, {"x": tmp_path})
  assert json.loads(path.read_text()) == {"x": str(tmp_path)}


def test_several_may_write_one_file_at_once(tmp_path):
  path = tmp_path / "a.txt"
  with writing.whole(path) as one:
    with writing.whole(path) as other:
      assert one != other and one.endswith(".tmp") and str(os.getpid()) in one
      open(one, "w").write("one")
      open(other, "w").write("other")
    assert path.read_text() == "other"
  assert path.read_text() == "one" and os.listdir(tmp_path) == ["a.txt"]


def test_lines_arrays_and_tables(tmp_path):
  writing.write_lines(tmp_path / "a.txt", ["é", "b"])
  assert (tmp_path / "a.txt").read_bytes() == "é\nb\n".encode()
  writing.write_array(tmp_path / "a", np.arange(3))
  assert np.load(tmp_path / "a").tolist() == [0, 1, 2]
  writing.write_arrays(tmp_path / "b", {"x": np.arange(3), "y/z": np.ones(2)})
  with np.load(tmp_path / "b") as f:
    assert {k: f[k].tolist() for k in f} == {"x": [0, 1, 2], "y/z": [1, 1]}
  writing.write_table(tmp_path / "a.csv", ("id", "text"), [(1, "é, b"), (2, "")])
  assert (tmp_path / "a.csv").read_bytes() == 'id,text\r\n1,"é, b"\r\n2,\r\n'.encode()


def test_file_names_are_plain_and_differ():
  names = list(writing.file_names(["a/v.mp4", "b/v.avi", "c/v-2.mp4", "d/h\u00e9 y?.mp4", "e/..mp4"]))
  assert names[:2] == ["v", "v-2"] and len(set(names)) == 5 and all(re.fullmatch(r"[\w.-]+", n) for n in names)


@pytest.mark.parametrize("name, value, text", [
    ("top-1", 50, "50.0 %"), ("loss", 1.5, "1.5000 "), ("psnr", 20.04, "20.0 dB"), ("val/lpips", 0.1, "0.100 "),
    ("fid", 3, "3.00 "), ("verb/mean class", None, "not defined %")])
def test_figures_have_their_unit_and_digits(name, value, text):
  assert f"{writing.figure(name, value)} {writing.unit(name)}" == text
