"""What a decoding process does before its first clip: it stays off the devices and ends with its parent."""

import multiprocessing
from multiprocessing import connection
import os
import shutil
import signal
import threading

# Smaller arrays travel with the message; only larger ones are worth a segment of shared memory.
MIN_SHARED_BYTES = 4096


def start(index: int, count: int) -> None:
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
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
  parent = multiprocessing.parent_process()
  if parent is not None:
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
  """Ends this process once its parent has gone, however that ended."""
  connection.wait([sentinel])
  os._exit(1)


def shared_memory_left() -> int:
  """Bytes free for shared memory; a large number where that cannot be told."""
  try:
    return shutil.disk_usage("/dev/shm").free
  except OSError:
    return 1 << 62


def mark_flags_parsed() -> None:
  """Grain reads absl flags when it starts processes; outside an absl program nobody has parsed them."""
  from absl import flags
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
