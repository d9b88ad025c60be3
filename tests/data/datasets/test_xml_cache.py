"""What is kept of xml files: the same objects without a file parsed, and never those of a file that has changed."""

import concurrent.futures
import os
import pathlib

import numpy as np
import pytest

from vidx import errors, places
from vidx.data.datasets import voc_xml, xml_cache

FILES = 40
IDS = {"cat": 0, "dog": 1}


def text(i, names=("cat", "dog")):
  things = "".join(f"<object><trackid>{k}</trackid><name>{name}</name><bndbox><xmax>{20 + i}</xmax>"
                   f"<xmin>{k + 0.5}</xmin><ymax>30</ymax><ymin>7</ymin></bndbox></object>"
                   for k, name in enumerate(names[:i % 3]))
  return f"<annotation><size><width>100</width><height>80</height></size>{things}</annotation>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv(places.CACHE, str(tmp_path / "cache"))
  (tmp_path / "xml" / "a").mkdir(parents=True)
  for i in range(FILES):
    (tmp_path / "xml" / name(i)).write_text(text(i))
  return tmp_path / "xml"


@pytest.fixture
def parsed(monkeypatch):
  """Names of the files that are parsed."""
  seen, read = [], voc_xml.read
  monkeypatch.setattr(voc_xml, "read", lambda path, *rest: (seen.append(os.path.basename(path)), read(path, *rest))[1])
  return seen


def name(i):
  return f"a/{i:06}.xml" if i % 2 else f"{i:06}.xml"


def read(folder, names=tuple(map(name, range(FILES))), ids=None, **options):
  return xml_cache.read_all(str(folder), list(names), ids or IDS, **options)


def same(a, b):
  assert len(a) == len(b)
  for x, y in zip(a, b):
    assert x.size == y.size and all(u.dtype == v.dtype and u.shape == v.shape for u, v in zip(x[1:], y[1:]))
    assert all(np.array_equal(u, v) for u, v in zip(x[1:], y[1:]))


def kept():
  return sorted(pathlib.Path(places.cache("annotations")).iterdir())


def test_a_second_start_parses_nothing_and_finds_the_same(folder, parsed):
  first = read(folder)
  same(first, [voc_xml.read(str(folder / name(i)), IDS) for i in range(FILES)])
  parsed.clear()
  same(read(folder), first)
  same(read(folder, map(name, range(35))), first[:35])
  assert not parsed and len(kept()) == 1


def test_files_that_are_changed_new_or_gone_are_seen(folder, parsed):
  first = read(folder)
  parsed.clear()
  path = folder / name(5)
  path.write_text(text(5).replace("<ymax>30", "<ymax>31"))  # of the same size
  os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))
  (folder / "new.xml").write_text(text(1))
  (folder / name(7)).unlink()
  names = [name(i) for i in range(FILES) if i != 7] + ["new.xml"]
  again = read(folder, names)
  assert sorted(parsed) == ["000005.xml", "new.xml"] and again[5].box[0, 3] == 31 / 80
  same(again[:5] + again[6:-1], first[:5] + first[6:7] + first[8:])
  parsed.clear()
  same(read(folder, names), again)
  assert not parsed
  with pytest.raises(errors.DataError, match="000007.xml does not exist"):
    read(folder)


def test_other_classes_are_other_objects(folder, parsed):
  read(folder)
  swapped = read(folder, ids={"cat": 1, "dog": 0})
  assert swapped[2].label.tolist() == [1, 0]
  assert [len(o.label) for o in read(folder, ids={"dog": 0}, others=True)[:3]] == [0, 0, 1]
  parsed.clear()
  with pytest.raises(errors.DataError, match="class 'cat' is not one of the 1 class"):
    read(folder, ids={"dog": 0})
  assert parsed and len(kept()) == 3


@pytest.mark.parametrize("spoil", [
    lambda b: b"", lambda b: b[:len(b) // 2], lambda b: b"\x80\x04K\x01.", lambda b: b[:200] + b"\xff" * 8 + b[208:],
    lambda b: b.replace(b"names", b"games"), lambda b: b.replace(b"'<i8'", b"'|O8'")])
def test_a_damaged_one_is_made_anew_without_a_word(folder, parsed, spoil, capsys):
  first = read(folder)
  file, = kept()
  whole = file.read_bytes()
  file.write_bytes(spoil(whole))
  assert file.read_bytes() != whole
  parsed.clear()
  same(read(folder), first)
  assert len(parsed) == FILES and kept() == [file]
  parsed.clear()
  same(read(folder), first)
  assert not parsed and capsys.readouterr() == ("", "")


def test_one_that_cannot_be_written_and_a_few_files_are_read_as_ever(folder, parsed, monkeypatch):
  read(folder, map(name, range(20)))
  assert not os.path.exists(places.cache())
  blocked = folder.parent / "file"
  blocked.write_text("")
  monkeypatch.setenv(places.CACHE, str(blocked))
  parsed.clear()
  same(read(folder), read(folder))
  assert len(parsed) == 2 * FILES


def test_many_at_once_leave_one_whole_file(folder):
  with concurrent.futures.ThreadPoolExecutor(6) as pool:
    found = list(pool.map(lambda _: read(folder), range(6)))
  for other in found[1:]:
    same(other, found[0])
  assert [f.suffix for f in kept()] == [".npz"]


def test_a_broken_file_is_told_every_time(folder):
  (folder / name(3)).write_text("<annotation>")
  for _ in range(2):
    with pytest.raises(errors.DataError, match="000003.xml is no xml"):
      read(folder)
