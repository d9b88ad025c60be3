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
import shutil
import signal
import tempfile
import threading
from typing import Any

import numpy as np

SHARED_MEMORY = "/dev/shm"
_MIN_BYTES = 4096  # smaller arrays travel with the message
PREFIX = "vidx-batches-"
_OWNER = "owner"  # file of a spool that its owner has locked
_held: dict[str, int] = {}
_numbers = itertools.count()


class Stopped(Exception):
  """The batches are no longer wanted."""


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
