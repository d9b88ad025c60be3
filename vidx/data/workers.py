"""Decoding processes: how they start, how their batches travel, and how they end.

Large arrays travel as files of a spool folder in shared memory, which the reader of
a batch removes. The folder is also the processes' licence to work: whoever finds it
gone stops, and when the parent dies, in whatever way, they remove it and end.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import glob
import itertools
import multiprocessing
from multiprocessing import connection, resource_tracker
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from typing import Any

import numpy as np

SHARED_MEMORY = "/dev/shm"
_MIN_BYTES = 4096  # smaller arrays travel with the message
PREFIX = "vidx-batches-"
_NOTE = "reads-"  # of files in which threads say what they read
_LONGEST_NOTE = 1000  # bytes
_OWNER = "owner"  # file of a spool that its owner has locked
_held: dict[str, int] = {}
_numbers = itertools.count()


_noting = threading.local()  # the file in which a thread says what it reads
held_up = False  # whether a thread of this process waits for what may never come, so that the process cannot wind up


class Stopped(Exception):
  """The batches are no longer wanted."""


class Stuck(Exception):
  """Nothing was read for too long; the message says what was being read."""


@dataclasses.dataclass(frozen=True)
class Spooled:
  """An array that lies in a file."""

  path: str
  shape: tuple[int, ...]
  dtype: str


def start(spool: str, index: int, count: int) -> None:
  """Runs once in every decoding process, before the data set arrives there."""
  del index, count
  os.environ["JAX_PLATFORMS"] = "cpu"
  import jax  # grain has imported it already; no backend may start in this process
  jax.config.update("jax_platforms", "cpu")
  try:
    import cv2
    cv2.setNumThreads(0)  # the processes are the parallelism
  except ImportError:
    pass
  parent = multiprocessing.parent_process()
  if parent is not None:
    threading.Thread(target=_end_with, args=(parent.sentinel, spool), daemon=True).start()


@contextlib.contextmanager
def interrupts_for_the_parent() -> Iterator[None]:
  """Threads and processes that start inside see neither Ctrl-C nor SIGTERM: the parent handles them and ends its own.

  Launchers send both to all processes of a group, and a run saves with its workers alive.
  """
  resource_tracker.ensure_running()  # its start would let interrupts in again
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(sentinel: int, spool: str) -> None:
  """Ends this process once its parent has gone, however that ended."""
  connection.wait([sentinel])
  remove(spool)
  os._exit(1)


def mark_flags_parsed() -> None:
  """Grain reads absl flags when it starts processes; outside an absl program nobody has parsed them."""
  from absl import flags
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


# ---------------------------------------------------------------- the spool


def make_spool(size: int) -> str:
  """A new folder in shared memory, or among the temporary files where `size` bytes do not fit there.

  This process holds a lock in it until `remove`, or its end; folders whose owner was
  killed together with its processes, so that nobody was left to remove them, go now.
  """
  for place in {SHARED_MEMORY, tempfile.gettempdir()}:
    clear(place)
  spool = tempfile.mkdtemp(prefix=PREFIX, dir=SHARED_MEMORY if _free(SHARED_MEMORY) >= size else None)
  fd = os.open(os.path.join(spool, _OWNER), os.O_RDWR | os.O_CREAT, 0o600)
  fcntl.flock(fd, fcntl.LOCK_EX)
  _held[spool] = fd
  return spool


def clear(place: str) -> None:
  """Removes the spool folders in a place whose owners have ended; those of others' are left where they may not be."""
  for spool in glob.glob(os.path.join(glob.escape(place), f"{PREFIX}*")):
    try:
      fd = os.open(os.path.join(spool, _OWNER), os.O_RDWR)
    except OSError:
      continue  # being made, of somebody else, or gone
    try:
      fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
      remove(spool)
    except OSError:
      continue  # its owner lives
    finally:
      os.close(fd)


def _free(folder: str) -> int:
  try:
    return shutil.disk_usage(folder).free
  except OSError:
    return -1


def remove(spool: str) -> None:
  """Removes a spool folder, though others may still be writing there."""
  if (fd := _held.pop(spool, None)) is not None:
    os.close(fd)
  for _ in range(3):
    shutil.rmtree(spool, ignore_errors=True)
    if not os.path.exists(spool):
      return


# ---------------------------------------------------------------- waiting


def note(spool: str, what: str) -> None:
  """Leaves word in the spool of what this thread begins to read, '' for nothing, for whoever waits for it."""
  if getattr(_noting, "spool", None) != spool:
    _noting.note, _noting.spool = _Note(spool), spool
  os.pwrite(_noting.note.fd, what.encode("utf-8", "replace")[:_LONGEST_NOTE] + b"\0", 0)


class _Note:
  """The file in which a thread says what it reads; it is closed when the thread ends."""

  def __init__(self, spool: str):
    path = os.path.join(spool, f"{_NOTE}{os.getpid()}-{threading.get_native_id()}")
    try:
      self.fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except FileNotFoundError:
      raise Stopped() from None

  def __del__(self):
    if hasattr(self, "fd"):
      os.close(self.fd)


class Waiter:
  """Takes elements of an iterator in a thread of its own: whoever waits for one need not wait for ever."""

  def __init__(self, elements: Iterator[Any], spool: str, seconds: float, processes: bool):
    """
    Args:
      elements: of an iterator that reads and leaves notes.
      spool: where it does.
      seconds: after which, without any note, reading is given up.
      processes: whether other processes read, which can be ended.
    """
    self._elements, self._spool, self._seconds, self._processes = elements, spool, seconds, processes
    self._asked, self._found, self.stuck = queue.SimpleQueue(), queue.SimpleQueue(), False
    threading.Thread(target=self._run, daemon=True).start()

  def __next__(self) -> Any:
    """The next element.

    Raises:
      StopIteration: there is none.
      Stuck: nothing was read for `seconds`; processes that read have been ended.
    """
    begun = time.time()
    self._asked.put(True)
    while True:
      try:
        element, error = self._found.get(timeout=min(1.0, self._seconds / 4))
      except queue.Empty:
        if time.time() - begun > self._seconds:
          self._check(begun)
        continue
      if error is not None:
        raise error
      return element

  def close(self) -> None:
    """Ends the thread."""
    self._asked.put(False)

  def _run(self) -> None:
    while self._asked.get():
      try:
        self._found.put((next(self._elements), None))
      except BaseException as e:  # pylint: disable=broad-except
        self._found.put((None, e))

  def _check(self, begun: float) -> None:
    notes = []
    for path in glob.glob(os.path.join(glob.escape(self._spool), f"{_NOTE}*")):
      with contextlib.suppress(OSError), open(path, "rb") as f:
        what = f.read().partition(b"\0")[0].decode("utf-8", "replace")
        notes.append((os.fstat(f.fileno()).st_mtime, int(os.path.basename(path)[len(_NOTE):].partition("-")[0]), what))
    if time.time() - max([begun, *(at for at, _, _ in notes)]) <= self._seconds:
      return
    self.stuck = True
    if self._processes:
      for child in {pid for _, pid, _ in notes} - {os.getpid()}:
        with contextlib.suppress(OSError):
          os.kill(child, signal.SIGKILL)  # one that is stopped hears nothing else
    else:
      global held_up
      held_up = True
    raise Stuck(", ".join(sorted({what for _, _, what in notes if what})))


# ---------------------------------------------------------------- arrays


def put(value: Any, spool: str) -> Any:
  """A large array as a file of the spool; anything else as it is.

  Raises:
    Stopped: the spool is gone.
  """
  if not isinstance(value, np.ndarray) or value.nbytes < _MIN_BYTES:
    return value
  path = os.path.join(spool, f"{os.getpid()}-{next(_numbers)}")
  try:
    with open(path, "wb", buffering=0) as f:
      view = memoryview(np.ascontiguousarray(value)).cast("B")
      while view:
        view = view[f.write(view):]
  except FileNotFoundError:
    raise Stopped() from None
  return Spooled(path, value.shape, value.dtype.str)


def take(value: Any) -> Any:
  """The inverse of `put`; frees the file."""
  if not isinstance(value, Spooled):
    return value
  array = np.fromfile(value.path, value.dtype).reshape(value.shape)
  os.unlink(value.path)
  return array
