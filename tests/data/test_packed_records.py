import os
import pathlib
import pickle

import pytest

from tests.data import tiny
from vidx.data import packed_records, pipeline, workers
from vidx.data.records import Dataset, Media, Record


def test_packed_records_are_the_records(tmp_path):
  records = tuple(Record(f"v{i}", Media(f"/v{i}.mp4"), i % 3, extra={"n": i}) for i in range(100))
  packed = packed_records.pack(records, str(tmp_path / "records"))
  again = pickle.loads(pickle.dumps(packed))
  os.unlink(tmp_path / "records")  # mapped files stay readable
  assert tuple(again) == records and again[-1] == records[99] and again[3:5] == records[3:5] and len(again) == 100
  with pytest.raises(IndexError):
    again[100]


def test_many_records_travel_as_where_they_lie(tmp_path, monkeypatch):
  monkeypatch.setattr(packed_records, "LEAST", 10)
  dataset = Dataset("d", "train", tuple(Record(f"v{i}" * 50, Media(f"/v{i}.mp4")) for i in range(1000)))
  whole = len(pickle.dumps(dataset))
  with packed_records.shared(dataset, str(tmp_path)):
    text = pickle.dumps(dataset)
  assert len(text) < whole / 50 and len(pickle.dumps(dataset)) == whole
  assert tuple(pickle.loads(text).records) == dataset.records


def test_batches_of_shared_records_are_those_of_records(tmp_path, monkeypatch):
  dataset = tiny.dataset(pathlib.Path(tmp_path), 6)

  def ids(workers):
    batches = pipeline.train_batches(dataset, tiny.data_config(workers=workers), batch_size=2, seed=0)
    try:
      return [next(batches)["id"] for _ in range(4)]
    finally:
      batches.close()

  wanted = ids(0)
  monkeypatch.setattr(packed_records, "LEAST", 2)
  assert ids(1) == wanted


def test_spools_of_killed_runs_are_cleared_and_those_of_living_ones_stay(tmp_path, monkeypatch):
  monkeypatch.setattr(workers, "SHARED_MEMORY", str(tmp_path))
  living = workers.make_spool(0)
  dead = tmp_path / f"{workers.PREFIX}dead"
  dead.mkdir()
  for name in ("owner", "1-0", "records"):
    (dead / name).write_bytes(b"x")
  half = tmp_path / f"{workers.PREFIX}half"
  half.mkdir()  # just being made
  new = workers.make_spool(0)
  assert os.path.isdir(living) and os.path.isdir(new) and half.is_dir() and not dead.exists()
  for spool in (living, new):
    workers.remove(spool)
    assert not os.path.exists(spool)
