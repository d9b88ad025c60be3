import json
import os
import threading

import pytest

from vidx import errors
from vidx.bench import start_speed
from vidx.data import datasets


@pytest.fixture(scope="module")
def rows():
  """What 200 rows come to where a start takes 3 seconds and a millisecond per row."""
  def started(root, reader, workdir):
    count = len(datasets.load(reader, str(root), "train"))
    return 3 + count / 1000, 100.0

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(start_speed, "_started", started)
    patch.setattr(start_speed, "FEW", 100)
    return start_speed.bench_start(200)


def test_few_and_many_rows_of_both_kinds_are_started(rows):
  assert [(r["files"], r["rows"], r["seconds"], r["ratio"]) for r in rows] == [
      (files, n, 3 + n / 1000, (3 + n / 1000) / 3.1) for files in ("csv", "prepared") for n in (100, 200)]


def test_the_table_and_json_hold_every_row(rows):
  assert start_speed.to_table(rows).count("\n") == 4 and json.loads(json.dumps(rows)) == rows


def test_a_training_comes_to_a_step_and_its_workers_have_memory(tmp_path):
  start_speed.write_csv(tmp_path / "data", 100)
  seconds, memory = start_speed._started(tmp_path / "data", "csv", tmp_path / "run")
  assert seconds > 1 and 50 < memory < 2000


def test_threads_that_end_while_they_are_read_are_passed_over():
  stopped = threading.Event()

  def come_and_go():
    while not stopped.is_set():
      threads = [threading.Thread(target=lambda: None) for _ in range(20)]
      for act in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
          act(thread)

  background = threading.Thread(target=come_and_go)
  background.start()
  try:
    assert all(start_speed._workers(os.getpid()) == [] for _ in range(300))
  finally:
    stopped.set()
    background.join()


def test_fewer_rows_than_few_are_refused():
  with pytest.raises(errors.ConfigError, match="rows=10: at least 1000"):
    start_speed.bench_start(10)
