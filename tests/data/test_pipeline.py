import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import batch as batch_lib, clips
from vidx.data import pipeline, workers


def train(dataset, batch_size=4, seed=1, start=0, process=(0, 1), **changes):
  return pipeline.train_batches(dataset, tiny.data_config(**changes), batch_size=batch_size, seed=seed,
                                start=start, process=process)


def take(batches, count):
  return [next(batches) for _ in range(count)]


def assert_equal(a, b):
  assert a["id"] == b["id"]
  for key in ("video", "label", "weight", "index"):
    np.testing.assert_array_equal(a[key], b[key])


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
  return tiny.dataset(tmp_path_factory.mktemp("ten"), 10)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
  return tiny.dataset(tmp_path_factory.mktemp("damaged"), 10, broken=(3, 7))


def test_batches_keep_to_the_vocabulary(ten):
  with train(ten) as batches:
    batch = next(batches)
  batch_lib.validate(batch)
  assert batch["video"].shape == (4, 4, 32, 32, 3) and batch["weight"].sum() == 4
  assert [f"v{i}" for i in batch["index"]] == batch["id"]
  np.testing.assert_array_equal(batch["label"], batch["index"] % 2)


def test_an_epoch_shows_every_record_once_and_the_next_in_another_order(ten):
  with train(ten, batch_size=5) as batches:
    a, b, c, d = (batch["index"].tolist() for batch in take(batches, 4))
  assert sorted(a + b) == sorted(c + d) == list(range(10)) and a + b != c + d


def test_a_set_smaller_than_a_batch_wraps(tmp_path):
  with train(tiny.dataset(tmp_path, 3), batch_size=8) as batches:
    index = next(batches)["index"].tolist()
  assert sorted(index[:3]) == sorted(index[3:6]) == [0, 1, 2] and len(index) == 8


def test_another_seed_gives_another_stream(ten):
  with train(ten, seed=1) as a, train(ten, seed=2) as b:
    assert not np.array_equal(next(a)["video"], next(b)["video"])


def test_a_batch_can_be_made_alone(ten):
  with train(ten) as a, train(ten, start=4) as b:
    assert_equal(take(a, 5)[4], next(b))


def test_processes_and_threads_give_the_same_batches(ten):
  with train(ten, workers=0) as a, train(ten, workers=2) as b:
    for x, y in zip(take(a, 5), take(b, 5)):
      assert_equal(x, y)
      assert type(y["video"]) is np.ndarray


def test_hosts_share_every_batch(ten):
  with train(ten) as whole, train(ten, process=(0, 2)) as first, train(ten, process=(1, 2)) as second:
    for _ in range(3):
      x, a, b = next(whole), next(first), next(second)
      assert x["id"] == a["id"] + b["id"]
      np.testing.assert_array_equal(x["video"], np.concatenate([a["video"], b["video"]]))


@pytest.mark.parametrize("key", ["workers", "prefetch", "timeout_s", "max_failures"])
def test_numbers_below_none_are_refused(ten, key):
  with pytest.raises(errors.ConfigError, match=f"data.{key}=-1: write a number from 0 on"):
    train(ten, **{key: -1})


def test_a_batch_that_hosts_cannot_share_is_refused(ten):
  with pytest.raises(errors.ConfigError, match="batch size 4 does not divide into 3 processes"):
    train(ten, process=(0, 3))


@pytest.mark.parametrize("done", [0, 2, 7])  # 7 batches of 4: inside the third epoch
def test_a_state_goes_on_exactly_with_other_workers(ten, done):
  with train(ten) as a:
    take(a, done)
    state = a.get_state()
    expected = take(a, 2)
  with train(ten, workers=1 if done == 2 else 0) as b:
    b.set_state(state)
    for x, y in zip(expected, take(b, 2)):
      assert_equal(x, y)
    assert b.get_state()["batches"] == done + 2


def test_a_state_can_be_set_back_while_running(ten):
  with train(ten) as batches:
    first = next(batches)
    batches.set_state({"batches": 0, "failures": {}})
    assert_equal(first, next(batches))


def test_a_broken_video_is_replaced_and_named_once(damaged):
  with train(damaged, max_failures=0.2) as a, train(damaged, max_failures=0.2, workers=2) as b:
    for x, y in zip(take(a, 5), take(b, 5)):
      assert_equal(x, y)
      assert x["weight"].sum() == 4 and not {"v3", "v7"} & set(x["id"])
    assert a.failures == b.failures and sorted(a.failures) == ["v3", "v7"]
    assert "v3.mp4" in a.failures["v3"]
    assert a.get_state()["failures"] == a.failures


def test_the_replacement_is_the_next_of_the_order(damaged):
  order = pipeline.permutation(2, 0, 10).tolist()
  expected = [order[(k + 1) % 10] if order[k] in (3, 7) else order[k] for k in range(10)]
  assert not {3, 7} & set(expected), "this seed makes the two broken videos neighbours"
  with train(damaged, batch_size=10, seed=2, max_failures=0.2) as batches:
    assert next(batches)["index"].tolist() == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_videos_stop_the_run_with_their_list(damaged, workers):
  with train(damaged, max_failures=0.1, workers=workers) as batches:
    with pytest.raises(errors.DataError, match=r"2 of 10 videos.*max_failures=0.1.*v[37]: .*v[37]: "):
      take(batches, 5)


def test_a_set_without_one_good_video_is_an_error(tmp_path):
  dataset = tiny.dataset(tmp_path, 3, broken=(0, 1, 2))
  with train(dataset, max_failures=1.0) as batches, pytest.raises(errors.DataError, match="3 of 3"):
    next(batches)


def evaluated(dataset, batch_size=4, clips=1, crops=1, process=(0, 1), **changes):
  batches = pipeline.eval_batches(dataset, tiny.data_config(**changes), batch_size=batch_size, clips=clips,
                                  crops=crops, process=process)
  return batches, list(batches)


def test_evaluation_shows_every_record_once_and_pads(ten):
  _, batches = evaluated(ten, crops=3)
  for batch in batches:
    batch_lib.validate(batch)
    assert batch["video"].shape == (4, 3, 4, 32, 32, 3)
  index = np.concatenate([b["index"] for b in batches])
  weight = np.concatenate([b["weight"] for b in batches])
  assert index.tolist() == [*range(10), -1, -1]
  np.testing.assert_array_equal(weight, index >= 0)


def test_evaluation_is_the_same_on_any_number_of_hosts_and_workers(ten):
  _, whole = evaluated(ten, workers=2)
  shares = [evaluated(ten, process=(p, 2))[1] for p in range(2)]
  assert len(shares[0]) == len(shares[1]) == len(whole) == 3
  for x, a, b in zip(whole, *shares):
    assert x["id"] == a["id"] + b["id"]
    np.testing.assert_array_equal(x["video"], np.concatenate([a["video"], b["video"]]))


def test_a_host_with_only_padding_keeps_step(tmp_path):
  _, batches = evaluated(tiny.dataset(tmp_path, 2), process=(1, 2))
  assert len(batches) == 1 and batches[0]["weight"].sum() == 0


def test_a_broken_video_keeps_its_place_in_evaluation_with_weight_0(damaged):
  batches, found = evaluated(damaged)
  index, weight = (np.concatenate([b[k] for b in found]) for k in ("index", "weight"))
  assert index.tolist() == [*range(10), -1, -1]
  assert index[weight == 0].tolist() == [3, 7, -1, -1]
  assert sorted(batches.failures) == ["v3", "v7"]


def test_where_shared_memory_is_small_batches_travel_through_temporary_files(ten, tmp_path, monkeypatch):
  monkeypatch.setattr(pipeline.workers, "_free", lambda folder: 1 << 10)
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  with train(ten, workers=1) as a, train(ten) as b:
    assert_equal(next(a), next(b))
    assert len(os.listdir(tmp_path)) == 1
  assert not os.listdir(tmp_path)


def test_closing_ends_the_workers_at_once(ten):
  batches = train(ten, workers=2)
  next(batches)
  assert len(multiprocessing.active_children()) == 2
  began = time.perf_counter()
  batches.close()
  assert time.perf_counter() - began < 10 and not multiprocessing.active_children()
  assert not os.path.exists(batches._spool)
  with pytest.raises(StopIteration):
    next(batches)


def test_a_worker_that_is_killed_is_told_in_one_line(ten):
  batches = train(ten, workers=1)
  next(batches)
  os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
  with pytest.raises(errors.DataError, match="exit code -9"):
    take(batches, 10)


def test_a_worker_that_is_stopped_is_given_up_in_one_line(ten):
  batches = train(ten, workers=1, prefetch=1, timeout_s=100.0)  # it takes seconds to start
  next(batches)
  batches._waiter._seconds = 1.0
  child, = multiprocessing.active_children()
  os.kill(child.pid, signal.SIGSTOP)
  with pytest.raises(errors.DataError, match="nothing was read for data.timeout_s=.*stopped") as found:
    take(batches, 20)
  assert "\n" not in str(found.value)
  child.join(5)
  assert not child.is_alive() and not os.path.exists(batches._spool)


def test_a_file_that_never_comes_is_named_and_given_up(ten, monkeypatch):
  came, never = threading.Event(), threading.Event()
  monkeypatch.setattr(workers, "held_up", False)
  batches = train(ten, timeout_s=1.0)
  example = batches._source.example
  batches._source.example = lambda g, *x: example(g, *x) if g < 4 or (came.set(), never.wait(30)) else None
  with pytest.raises(errors.DataError, match=r"waiting for v\d.*a disk that does not answer"):
    take(batches, 20)
  assert came.is_set() and workers.held_up and not os.path.exists(batches._spool)
  never.set()


def test_time_is_measured_from_the_last_example_on(ten):
  batches = train(ten, timeout_s=4.0)
  example = batches._source.example
  batches._source.example = lambda *x: (time.sleep(1.2), example(*x))[1]
  with batches:
    assert len(next(batches)["weight"]) == 4  # in 4.8 seconds


class Probe:
  """Stands in for clips in a worker and reports what JAX has done there."""

  train_shape = (1, 2, 2, 3)

  def cut(self, record, rng):
    import jax
    from jax._src import xla_bridge
    started = xla_bridge.backends_are_initialized()
    made = np.full(self.train_shape, [started, jax.config.jax_platforms == "cpu", 0], np.uint8)
    return clips.Cut(made, np.zeros((1, 1), np.int64), ())


def test_no_backend_starts_in_a_worker(ten):
  with train(ten, workers=1) as batches:
    batches._source.examples._first._clips = Probe()
    video = next(batches)["video"]
  assert video[..., 0].max() == 0, "a JAX backend was initialised in a decoding process"
  assert video[..., 1].min() == 1, "a decoding process may see devices"


PROGRAM = """
    import signal, sys, time
    from tests.data import tiny
    from vidx.data import pipeline
    import pathlib
    if __name__ == "__main__":
      signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
      dataset = tiny.dataset(pathlib.Path(sys.argv[1]), 4)
      batches = pipeline.train_batches(dataset, tiny.data_config(workers=2), batch_size=2, seed=0)
      next(batches)
      import multiprocessing
      print(batches._spool, *[p.pid for p in multiprocessing.active_children()], flush=True)
      time.sleep(float(sys.argv[2]))
"""


def program(tmp_path, seconds):
  script = tmp_path / "program.py"
  script.write_text(textwrap.dedent(PROGRAM))
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  started = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(seconds)], cwd=root, text=True,
                             env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True)
  spool, *pids = started.stdout.readline().split()
  return started, spool, [int(pid) for pid in pids]


def gone(pids, seconds=20.0):
  until = time.monotonic() + seconds
  while time.monotonic() < until:
    alive = [p for p in pids if os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().split()[2] != "Z"]
    if not alive:
      return True
    time.sleep(0.05)
  return False


def test_an_unclosed_pipeline_does_not_hold_up_the_end_of_the_program(tmp_path):
  started, spool, workers = program(tmp_path, 0)
  _, complaints = started.communicate(timeout=60)
  assert started.returncode == 0 and not complaints and len(workers) == 2
  assert gone(workers) and not os.path.exists(spool)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, how):
  started, spool, workers = program(tmp_path, 60)
  os.killpg(started.pid, how) if how == signal.SIGINT else started.send_signal(how)
  _, complaints = started.communicate(timeout=60)
  assert gone(workers) and not os.path.exists(spool)
  assert complaints.count("Traceback") == (1 if how == signal.SIGINT else 0)
