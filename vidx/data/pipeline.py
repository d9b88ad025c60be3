"""Batches: an endless shuffled stream for training, one padded pass for evaluation.

The stream is a function of (seed, position) alone. Position g = step x batch size
+ slot; epoch, k = divmod(g, n); the record is the k-th of that epoch's permutation
and everything random about it comes from (seed, epoch, record); or the k-th of what the
data set's plan draws for the epoch (vidx/data/plans.py), and k counts, too. So the number of
decoding processes, the number of hosts and a restart change nothing. Grain runs it:
one element of its data set is one batch of this host. Where examples differ in length,
those of a batch are of similar length, and the whole batch is as long as its longest:
every process knows all lengths, and so the length of the batch.

Where the time goes: of batches of (16, 8, 80, 80, 3), two cores make 468 clips per
second in threads (`workers=0`), 375 in one process and 686 in two from files of 48
frames of 96x96; 76, 43 and 85 from 300 frames of 340x256. A batch that is ready costs
its reader 0.2 ms from a thread and 1.3 ms from a process. A process takes a second to
start, and memory for its own libraries: where few cores are shared with training,
threads are the better choice; where cores are many, processes are.
"""

from collections.abc import Mapping, Sequence
import copy
import functools
import math
from multiprocessing import util
import os
from typing import Any
import weakref

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import examples as examples_lib
from vidx.data import packed_records, plans, workers
from vidx.data.records import Dataset
from vidx.terminal import counted

_RANGES = dict.fromkeys(("workers", "prefetch", "timeout_s", "max_failures"), errors.Range(0))
_ENDLESS = 1 << 40  # batches
_GROUP = 8  # batches, at most half of an epoch, inside which sequences are sorted by length
_AHEAD_BYTES = 1 << 30  # made ahead per process; evaluation with many views has large batches


def train_batches(dataset: Dataset, data: ConfigDict, *, batch_size: int, seed: int, start: int = 0,
                  process: tuple[int, int] = (0, 1), wanted: Sequence[str] = ()) -> "BatchIterator":
  """Endless training batches of a data set.

  Args:
    dataset: the training split.
    data: the `config.data` section.
    batch_size: examples per step over all processes.
    seed: of permutations, clips and crops.
    start: batches already consumed.
    process: index and number of the processes that share every batch; each takes
      an equal, contiguous share of its slots.
    wanted: keys that model and task read (see `batch.wanted`).
  """
  if not len(dataset):
    raise errors.DataError(f"split '{dataset.split}' has no records to train on.")
  source = TrainSource(dataset, data, _share(batch_size, process), batch_size, seed, wanted)
  return BatchIterator(source, data, start, max_failures=data.max_failures)


def eval_batches(dataset: Dataset, data: ConfigDict, *, batch_size: int, clips: int = 1, crops: int = 1,
                 process: tuple[int, int] = (0, 1), wanted: Sequence[str] = ()) -> "BatchIterator":
  """One pass in the order of the records, the last batch padded with weight 0.

  Every process yields the same number of batches. A video that cannot be decoded
  keeps its place, with weight 0 and its name in `failures`.

  Args:
    dataset: the split to evaluate.
    data: the `config.data` section.
    batch_size: videos per step over all processes.
    clips: temporal clips per video; 0: as many as each has.
    crops: spatial crops per clip.
    process: index and number of the processes that share every batch.
    wanted: keys that model and task read (see `batch.wanted`).
  """
  source = EvalSource(dataset, data, _share(batch_size, process), batch_size, clips, crops, wanted)
  return BatchIterator(source, data, 0, max_failures=1.0)


def _share(batch_size: int, process: tuple[int, int]) -> range:
  """The slots of every global batch that belong to a process."""
  index, count = process
  if batch_size <= 0 or batch_size % count:
    raise errors.ConfigError(f"batch size {batch_size} does not divide into {count} processes.")
  size = batch_size // count
  return range(index * size, (index + 1) * size)


@functools.lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
  """(n,) int64: the order of the records in an epoch."""
  return np.random.default_rng((seed, epoch, n)).permutation(n)


@functools.lru_cache(maxsize=4)
def order(seed: int, epoch: int, n: int, batch_size: int, lengths: tuple[int, ...] | None) -> np.ndarray:
  """(n,) int64: the order of the records in an epoch, batches of similar length where there are lengths.

  The permutation is cut into groups of batches, each sorted by length, and the batches
  are shuffled. Records that share a batch with the next or the last epoch keep their place.
  """
  mixed = permutation(seed, epoch, n)
  head = min(n, -epoch * n % batch_size)
  count = (n - head) // batch_size
  if lengths is None or batch_size == 1 or not count:
    return mixed
  whole = mixed[head:head + count * batch_size]
  sizes = np.asarray(lengths)[whole]
  group = np.arange(len(whole)) // (min(_GROUP, -(-count // 2)) * batch_size)
  batches = whole[np.lexsort((sizes, group))].reshape(count, batch_size)
  batches = batches[np.random.default_rng((seed, epoch, n, batch_size)).permutation(count)]
  return np.concatenate([mixed[:head], batches.reshape(-1), mixed[head + count * batch_size:]])


class _Source:
  """Random access to batches; what Grain reads from, here or in a decoding process."""

  def __init__(self, dataset: Dataset, data: ConfigDict, slots: range, batch_size: int, examples: Any):
    self.dataset, self.data, self.slots, self.batch_size = dataset, data, slots, batch_size
    self.start, self.spool, self.spooling = 0, "", False
    self.examples = examples

  def __len__(self) -> int:
    return self.total() - self.start

  def __getitem__(self, i: int) -> dict[str, Any]:
    """A batch, with the failures met on the way as `failures`: [[id, reason], ...]."""
    failures: dict[str, str] = {}
    first = (self.start + int(i)) * self.batch_size
    indices = self.indices(first)
    room = self.examples.room(indices)
    examples = []
    for slot in self.slots:
      if self.spool:
        if not os.path.exists(self.spool):
          raise workers.Stopped()
        workers.note(self.spool, self.dataset.records[indices[slot]].id if slot < len(indices) else "")
      examples.append(self.example(first + slot, room, failures))
    if self.spool:
      workers.note(self.spool, "")
    batch = batch_lib.stack(examples)
    if self.spooling:
      batch = {k: workers.put(v, self.spool) for k, v in batch.items()}
    return {**batch, "failures": [[k, v] for k, v in failures.items()]}

  def total(self) -> int:
    """Batches from the very first one on."""
    return _ENDLESS

  def indices(self, first: int) -> list[int]:
    """Records of the global batch that starts at a position."""
    raise TypeError("a source of batches defines `indices`.")

  def example(self, g: int, room: int, failures: dict[str, str]) -> dict[str, Any]:
    """The example at a position of the global stream, in a batch of `room` frames."""
    raise TypeError("a source of batches defines `example`.")


class TrainSource(_Source):
  """Shuffled and endless; a video that cannot be decoded gives its place to the next one that can."""

  def __init__(self, dataset: Dataset, data: ConfigDict, slots: range, batch_size: int, seed: int,
               wanted: Sequence[str] = ()):
    super().__init__(dataset, data, slots, batch_size,
                     examples_lib.make(dataset, data, training=True, wanted=wanted, seed=seed))
    self.seed = seed

  def indices(self, first: int) -> list[int]:
    places = (divmod(first + slot, self.dataset.epoch) for slot in range(self.batch_size))
    return [int(self._entries(epoch)[k, 0]) for epoch, k in places]

  def _entries(self, epoch: int) -> np.ndarray:
    """(n, 1 + k) int: the records of an epoch in their order, with what a plan says of them."""
    if self.dataset.plan is not None:
      return plans.drawn(self.dataset.plan, self.seed, epoch)
    return order(self.seed, epoch, len(self.dataset), self.batch_size, self.examples.lengths)[:, None]

  def example(self, g: int, room: int, failures: dict[str, str]) -> dict[str, Any]:
    records, n = self.dataset.records, self.dataset.epoch
    epoch, k = divmod(g, n)
    entries, longer = self._entries(epoch), False
    for place in ((k + tried) % n for tried in range(n)):
      index, *chosen = entries[place].tolist()
      if not self.examples.fits(index, room):
        longer = True
        continue
      again = () if self.dataset.plan is None else (place,)  # a plan may come to a record more than once
      rng = np.random.default_rng((self.seed, epoch, index, *again))
      try:
        return self.examples.train(index, rng, room, chosen)
      except errors.DecodeError as e:
        failures[records[index].id] = str(e)
        check_failures(failures, len(records), self.data.max_failures)
    if longer:
      return self.examples.blank(-1, room)  # the batch is of the shortest videos, and none of them can be read
    raise _too_many(failures, len(records), self.data.max_failures)


class EvalSource(_Source):
  """Each record once, in order."""

  def __init__(self, dataset: Dataset, data: ConfigDict, slots: range, batch_size: int, clips: int, crops: int,
               wanted: Sequence[str] = ()):
    super().__init__(dataset, data, slots, batch_size,
                     examples_lib.make(dataset, data, training=False, wanted=wanted, clips=clips, crops=crops))

  def total(self) -> int:
    return math.ceil(len(self.dataset) / self.batch_size)

  def indices(self, first: int) -> list[int]:
    return list(range(first, min(first + self.batch_size, len(self.dataset))))

  def example(self, g: int, room: int, failures: dict[str, str]) -> dict[str, Any]:
    if g >= len(self.dataset):
      return self.examples.blank(-1, room)
    try:
      return self.examples.evaluate(g, room)
    except errors.DecodeError as e:
      failures[self.dataset.records[g].id] = str(e)
      return self.examples.blank(g, room)


def check_failures(failures: Mapping[str, str], n: int, limit: float) -> None:
  """Raises DataError where more than the share `limit` of n records cannot be decoded."""
  if len(failures) > limit * n:
    raise _too_many(failures, n, limit)


def _too_many(failures: Mapping[str, str], n: int, limit: float) -> errors.DataError:
  listed = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failures.items())
  return errors.DataError(
      f"{len(failures)} of {counted(n, 'video')} cannot be decoded, more than data.max_failures={limit:g} allows;"
      f" repair or remove them (vidx data check lists all), or raise the limit: {listed}.")


class BatchIterator:
  """Batches as dicts of vidx/data/batch.py, made ahead by threads or processes.

  Nothing starts before the first `next`. Close it, or use it as a context
  manager, when it is not read to its end.

  Attributes:
    failures: reasons by id of every video that could not be decoded so far.
  """

  def __init__(self, source: _Source, data: ConfigDict, start: int, max_failures: float):
    errors.check_ranges(data, _RANGES, "data.")
    self._source, self._data, self._max_failures = source, data, max_failures
    self._batches, self._closed = start, False
    self._elements, self._waiter, self._finalizer, self._spool, self._validated = None, None, None, "", False
    self.failures: dict[str, str] = {}

  def __iter__(self) -> "BatchIterator":
    return self

  def __len__(self) -> int:
    """Batches still to come."""
    return self._source.total() - self._batches

  def __enter__(self) -> "BatchIterator":
    return self

  def __exit__(self, *exc) -> None:
    self.close()

  def __next__(self) -> batch_lib.Batch:
    if self._closed:
      raise StopIteration
    if self._elements is None:
      self._open()
    try:
      element = next(self._waiter)
    except (StopIteration, errors.UserError):
      self.close()
      raise
    except workers.Stuck as e:
      self.close()
      raise errors.DataError(
          f"nothing was read for data.timeout_s={self._data.timeout_s:g} s, while waiting for"
          f" {str(e) or 'a decoding process'}: a disk that does not answer, or a process that was stopped; look there"
          " and run the same command again.") from e
    except RuntimeError as e:
      self.close()
      if "terminated unexpectedly" not in str(e):
        raise
      raise errors.DataError(
          f"a decoding process died ({str(e).split('. ')[0]}); if memory is short, lower data.workers,"
          " data.prefetch or the batch size.") from e
    made = {k: workers.take(v) for k, v in element.items()}
    self.failures.update(made.pop("failures"))
    check_failures(self.failures, len(self._source.dataset), self._max_failures)
    if not self._validated:
      batch_lib.validate(made)
      self._validated = True
    self._batches += 1
    return made

  def get_state(self) -> dict[str, Any]:
    """JSON-able; says where the stream is after the last batch handed out."""
    return {"batches": self._batches, "failures": dict(self.failures)}

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Goes to where `get_state` was called, whatever the workers or processes were then."""
    self._stop()
    self._batches, self._closed = int(state["batches"]), False
    self.failures = dict(state.get("failures", {}))

  def close(self) -> None:
    """Ends threads and processes; a clip that is being decoded is the last."""
    self._closed = True
    self._stop()

  def _stop(self) -> None:
    if self._elements is not None:
      elements, waiter, self._elements, self._waiter = self._elements, self._waiter, None, None
      self._finalizer()
      if waiter is not None:
        waiter.close()
      if waiter is None or not (waiter.stuck and workers.held_up):  # that thread would be waited for
        elements.close()
      workers.remove(self._spool)  # what arrived there since

  def _open(self) -> None:
    import grain  # imports jax, which takes a second
    source = copy.copy(self._source)  # threads of an earlier opening may still hold theirs
    size = len(source.slots) * source.examples.size
    ahead = max(1, min(self._data.prefetch, _AHEAD_BYTES // size))
    count = min(self._data.workers, self._source.total() - self._batches)
    # Grain keeps `each` batches twice per process, and one is in hand at either end.
    each = max(1, ahead // 2)
    spool = workers.make_spool(count * (2 * each + 2) * size)
    source.start, source.spool, source.spooling = self._batches, spool, count > 0
    wait = lambda: workers.Waiter(self._elements, spool, self._data.timeout_s, count > 0)
    self._spool = spool
    # At the end of the program, before Grain and multiprocessing wind up.
    self._finalizer = util.Finalize(self, _end, (weakref.ref(self), spool), exitpriority=100)
    batches = grain.MapDataset.source(source)
    if not count:
      read = grain.ReadOptions(num_threads=min(ahead, os.cpu_count() or 1), prefetch_buffer_size=ahead)
      self._elements = iter(batches.to_iter_dataset(read))
      self._waiter = wait()
      return
    workers.mark_flags_parsed()
    # Grain's own shared memory is kept out of the way: what is left there at a close may never be freed.
    plain = grain.experimental.WithOptionsIterDataset(
        batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)),
        grain.experimental.DatasetOptions(min_shm_size=1 << 60))
    self._elements = iter(plain.mp_prefetch(grain.MultiprocessingOptions(count, each),
                                            worker_init_fn=functools.partial(workers.start, spool)))
    shared = packed_records.shared(self._source.dataset, spool)
    with workers.interrupts_for_the_parent(), shared:
      self._elements.get_state()  # makes the iterators that `start_prefetch` starts
      self._elements.start_prefetch()
    self._waiter = wait()


def _end(iterator: "weakref.ref[BatchIterator]", spool: str) -> None:
  """Removes the spool, which stops whoever makes batches, and closes what is left."""
  workers.remove(spool)
  if (alive := iterator()) is not None:
    alive.close()
