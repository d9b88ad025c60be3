import dataclasses
import json
import os
import pickle

import numpy as np
import pytest

from tests.data.datasets.test_lists import touch, write
from vidx import errors
from vidx.data import datasets, media_files, notices, packed_records, record_table, records

FOLDS = dict(train_folds="0,1", val_folds=2)
HEADERS = {
    "path,label": {}, "path,label,split": {}, "path,label,fold,start,end": FOLDS, "path,label,group": {}, "": {},
    "path,label,camera,start,end,group": {}}


def rows(root, header):
  """A table of a few dozen files of all kinds, of which one is absent and one a folder of frames."""
  names = [f"c{i % 3}/Ünï {i}.mp4" for i in range(20)] + ["loud.WAV", "frames", str(root / "far" / "v.avi")]
  touch(root, *names[:-2], names[-1], "frames/img_00001.jpg")
  os.symlink(root / "far", root / "near")
  touch(root, "near/other.mp4")
  names += ["near/other.mp4", "c0/gone.mp4"]
  for i, name in enumerate(names):
    values = dict(path=name, label=f"class {i % 4}", split=("train", "val")[i % 5 == 0], fold=str(i % 4),
                  camera=f"k{i}", group=("", f"g{i % 7}")[i % 2], start=("", f"{i}.5")[i % 3 > 0], end=("", f"{i + 2}")[i % 3 > 0])
    yield ",".join(values[c] for c in header.split(",")) if header else f"{name},{i % 4}"


@pytest.fixture(params=HEADERS, ids=lambda h: h or "no header")
def both(request, tmp_path, monkeypatch):
  """{split: (the data set with records, the same with a table of them)}."""
  header = request.param
  write(tmp_path, "clips.csv", *([header] if header else []), *rows(tmp_path, header))
  read = lambda split: datasets.load("folder", str(tmp_path), split, max_missing=0.9, **HEADERS[header])
  some = {split: read(split) for split in ("train", "val")}
  monkeypatch.setattr(packed_records, "LEAST", 1)
  found = {split: (some[split], read(split)) for split in some}
  assert {(type(a.records), type(b.records)) for a, b in found.values()} == {(tuple, record_table.VideoTable)}
  return found


def test_a_table_is_the_records(both):
  for plain, table in both.values():
    assert tuple(table.records) == plain.records == tuple(table.records[i] for i in range(len(table)))
    assert table.records[-1] == plain.records[-1] and table.records[::2] == plain.records[::2]
    assert dataclasses.replace(table, records=plain.records) == plain and len(table) == len(plain)
    with pytest.raises(IndexError):
      table.records[len(table)]


def test_what_columns_answer_is_what_records_do(both):
  for plain, table in both.values():
    assert table.fingerprint() == plain.fingerprint()
    assert table.values() == plain.values() and table.values("verb") == plain.values("verb") == [-1] * len(plain)
    assert table.media() == plain.media() and table.truths() == plain.truths() == {}
  assert notices.about([t for _, t in both.values()]) == notices.about([p for p, _ in both.values()])


def test_processes_share_a_table(both, tmp_path):
  for plain, table in both.values():
    with packed_records.shared(table, str(tmp_path)):
      text = pickle.dumps(table)
    again = pickle.loads(text)
    os.unlink(tmp_path / "records")  # mapped files stay readable
    assert tuple(again.records) == plain.records and again.fingerprint() == plain.fingerprint()
    assert tuple(pickle.loads(pickle.dumps(again)).records) == plain.records


def test_a_table_that_travels_is_small(tmp_path, monkeypatch):
  touch(tmp_path, *(f"a/video {i}.mp4" for i in range(2000)))
  write(tmp_path, "clips.csv", "path,label,split", *(f"a/video {i}.mp4,{i % 9},train" for i in range(2000)))
  monkeypatch.setattr(packed_records, "LEAST", 1000)
  table = datasets.load("folder", str(tmp_path), "train")
  whole = len(pickle.dumps(table))
  with packed_records.shared(table, str(tmp_path)):
    assert len(pickle.dumps(table)) < whole / 50


def test_splits_that_share_files_are_told(tmp_path, monkeypatch):
  touch(tmp_path, *(f"a/{i}.mp4" for i in range(12)))
  os.link(tmp_path / "a" / "3.mp4", tmp_path / "again.mp4")
  write(tmp_path, "train.csv", "path,label", *(f"a/{i}.mp4,{i % 2}" for i in range(12)))
  write(tmp_path, "val.csv", "path,label", "again.mp4,1")
  monkeypatch.setattr(packed_records, "LEAST", 1)
  about = notices.about([datasets.load("csv", str(tmp_path), split) for split in ("train", "val")])
  assert about == ["1 of the 1 record of split 'val' are in 'train', too (again.mp4): its figures promise too much"]


def test_files_are_what_the_system_says_one_by_one(tmp_path, monkeypatch):
  touch(tmp_path, *(f"many/{i}.mp4" for i in range(40)), "few/a.mp4", "few/frames/1.jpg", "x.mp4")
  os.link(tmp_path / "few" / "a.mp4", tmp_path / "linked.mp4")
  os.symlink(tmp_path / "many", tmp_path / "way")
  os.symlink(tmp_path / "nothing", tmp_path / "many" / "dangling.mp4")
  os.symlink(tmp_path / "many" / "3.mp4", tmp_path / "many" / "three.mp4")
  os.mkdir(tmp_path / "many" / "folder")
  paths = [*(f"many/{i}.mp4" for i in range(41)), "many/dangling.mp4", "many/three.mp4", "many/folder", "few/a.mp4",
           "few/frames/", "few/frames", "./x.mp4", "linked.mp4", "way/7.mp4", str(tmp_path / "many/9.mp4"),
           "absent/b.mp4", "x.mp4/", "/", "few/../x.mp4", "."]
  paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
  full = [os.path.join(tmp_path, p) for p in paths]
  wanted = [(media_files.identity(p) or (0, 0), os.path.isdir(p), os.path.exists(p)) for p in full]
  for listed, longest in ((8, 16), (8, 1), (1, 1000), (10 ** 9, 16)):
    monkeypatch.setattr(record_table, "_LISTED", listed)
    monkeypatch.setattr(record_table, "_LONGEST", longest)
    files = record_table.look_at(str(tmp_path), paths)
    assert list(zip(files.identities(), files.folder.tolist(), files.there.tolist())) == wanted


def test_a_drive_that_gives_all_files_one_number_is_asked_file_by_file(tmp_path, monkeypatch):
  touch(tmp_path, *(f"many/{i}.mp4" for i in range(40)))
  paths = [f"many/{i}.mp4" for i in range(40)]
  wanted = record_table.look_at(str(tmp_path), paths).identities()
  real = os.scandir

  @dataclasses.dataclass
  class Entry:
    name: str
    is_symlink = staticmethod(lambda: False)
    is_dir = staticmethod(lambda: False)
    inode = staticmethod(lambda: 0xffffffff)

  class Listing:
    def __init__(self, path):
      self._real = real(path)

    def __enter__(self):
      return (Entry(e.name) for e in self._real)

    def __exit__(self, *error):
      self._real.close()

  monkeypatch.setattr(os, "scandir", Listing)
  assert record_table.look_at(str(tmp_path), paths).identities() == wanted and len(set(wanted)) == 40


def test_sizes_of_some_files_stand_for_those_of_many(tmp_path, monkeypatch):
  touch(tmp_path, *(f"a/{i}.mp4" for i in range(30)))
  write(tmp_path, "clips.csv", "path,label,split", *(f"a/{i}.mp4,{i % 2},train" for i in range(30)))
  monkeypatch.setattr(records, "_SIZES", 10)
  read = lambda: datasets.load("folder", str(tmp_path), "train")
  plain = read()
  before = plain.fingerprint()
  monkeypatch.setattr(packed_records, "LEAST", 1)
  assert read().fingerprint() == before
  (tmp_path / "a" / "4.mp4").write_bytes(b"longer than it was")
  assert read().fingerprint() == plain.fingerprint() == before
  (tmp_path / "a" / "6.mp4").write_bytes(b"longer than it was")
  assert read().fingerprint() == plain.fingerprint() != before


@pytest.mark.parametrize("spans", [False, True])
@pytest.mark.parametrize("extra", [{}, {"camera": "küche"}])
@pytest.mark.parametrize("rates", [False, True])
def test_a_table_of_shards_is_the_records(tmp_path, monkeypatch, spans, extra, rates):
  lines = [{"id": f"v {i}", "label": i % 3, "span": [i / 2, i + 1.5] if spans and i % 2 else None, "extra": extra,
            "shard": f"s-{i % 2}", "index": i // 2, **({"fps": 29.97 + i} if rates and i % 3 else {})}
           for i in range(9)]
  header = {"name": "csv", "classes": ["a", "b", "c"], "multilabel": False, "categories": {}}
  touch(tmp_path, "s-0")
  write(tmp_path, "records-train.jsonl", *map(json.dumps, [header, *lines]))
  read = lambda: datasets.load("array_record", str(tmp_path), "train")
  plain = read()
  monkeypatch.setattr(packed_records, "LEAST", 1)
  table = read()
  assert isinstance(table.records, record_table.ShardTable) and isinstance(plain.records, tuple)
  assert tuple(table.records) == plain.records == tuple(table.records[i] for i in range(9))
  assert table.fingerprint() == plain.fingerprint() and table.values() == plain.values()
  assert table.media() == plain.media()
  for other in ({"label": [0, 1]}, {"extra": {"n": 3}}, {"extra": {"other": "x"}}, {"labels": {"verb": 1}},
                {"span": [1, 2.5]}):
    write(tmp_path, "records-train.jsonl", *map(json.dumps, [header, *lines, {**lines[0], "id": "last", **other}]))
    assert isinstance(read().records, tuple) and len(read()) == 10


@pytest.mark.parametrize("damage", [lambda lines: [*lines, ""], lambda lines: [lines[0], ",".join(lines[1:])],
                                    lambda lines: [lines[0], lines[1][:-1]], lambda lines: []])
def test_a_file_of_records_has_one_in_each_line(tmp_path, damage):
  header = {"name": "csv", "classes": ["a"], "multilabel": False, "categories": {}}
  line = {"id": "v", "label": 0, "span": None, "extra": {}, "shard": "s", "index": 0}
  texts = [json.dumps(x) for x in (header, line, {**line, "id": "w"})]
  write(tmp_path, "records-train.jsonl", *texts)
  assert len(datasets.load("array_record", str(tmp_path), "train")) == 2
  write(tmp_path, "records-train.jsonl", *damage(texts))
  with pytest.raises(errors.DataError, match="records-train.jsonl is damaged"):
    datasets.load("array_record", str(tmp_path), "train")


def test_spans_that_differ_have_names_that_differ(tmp_path):
  touch(tmp_path, "long.mp4")
  write(tmp_path, "train.csv", "path,label,start,end", "long.mp4,a,1234.561,1236.5", "long.mp4,a,1234.562,1236.5",
        "long.mp4,a,0.3,2", "long.mp4,a,86399.999,86400.001")
  assert [r.id for r in datasets.load("csv", str(tmp_path), "train").records] == [
      f"long.mp4 at {span}" for span in ("1234.561 to 1236.5", "1234.562 to 1236.5", "0.3 to 2",
                                         "86399.999 to 86400.001")]


def test_texts_are_kept_as_they_are():
  texts = ["", "a", "Ünï\n", "\udcff", "", "日本"]
  column = record_table.Texts.of(texts)
  assert list(column) == texts == [column[i] for i in range(len(texts))] and len(column) == 6
  assert list(record_table.Texts.of([])) == []


def test_labels_of_a_changed_table_are_read_again(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
  write(tmp_path, "train.csv", "path,label", "a.mp4,one")
  write(tmp_path, "val.csv", "path,label", "b.mp4,two")
  assert datasets.load("csv", str(tmp_path), "train").classes == ("one", "two")
  write(tmp_path, "val.csv", "path,label", "b.mp4,two", "c.mp4,three")
  assert datasets.load("csv", str(tmp_path), "train").classes == ("one", "three", "two")
