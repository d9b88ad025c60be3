"""What the process of a command sets before the work: its memory, its libraries, the other processes of a run."""

import _thread
import contextlib
import glob
import hashlib
import os
import platform
import signal
import sys
import threading
import time
import types

from vidx import places

# Pages of 2 MiB; one heap for all threads, large arrays included, of which nothing is given back.
MALLOC = ("glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"
          ":glibc.malloc.arena_max=1")

ACCELERATORS = ("/dev/nvidia*", "/dev/dxg", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")  # dxg: of Windows
_SOON_S = 0.02
_PATIENCE_S = 10.0  # of a process that has failed, for others that fail, too, and have their own line to say


def tune_malloc() -> None:
  """Starts the program anew such that arrays get large pages of memory that is kept, unless the user tunes malloc.

  XLA allocates its buffers afresh for every program that it runs on a CPU. glibc takes
  them from Linux each time, in pages of 4 KiB that have to be zeroed first, which cost
  a training step of X3D-S two fifths of its time. It reads these settings at its start only.
  """
  if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
    return
  os.environ["GLIBC_TUNABLES"] = MALLOC
  os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def quiet_xla() -> None:
  """Lets XLA log nothing on a CPU, unless the user says what: it calls a slow compilation an error, and raises others.

  For before JAX is loaded. Of accelerators and of runs of several processes its errors say what exceptions do not.
  """
  several = any(os.environ.get(name) for name in ("VIDX_COORDINATOR", "VIDX_DISTRIBUTED"))
  if not several and (os.environ.get("JAX_PLATFORMS") == "cpu" or not any(map(glob.glob, ACCELERATORS))):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what is fatal


def start_jax(offline: bool = False) -> None:
  """Quiet libraries; joins the other processes of the run, where a launcher started several.

  Args:
    offline: nothing is downloaded.
  """
  sys.unraisablehook = _of_what_is_raised_aside
  import jax
  from absl import logging
  logging.set_verbosity(logging.FATAL)  # what goes wrong in the background is raised as well
  sys.excepthook = _of_the_main_thread
  if offline:
    os.environ["VIDX_OFFLINE"] = "1"
  _keep_programs(jax)
  if os.environ.get("VIDX_COORDINATOR"):
    if os.environ.get("JAX_PLATFORMS", "") == "cpu":
      jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        os.environ["VIDX_COORDINATOR"], int(os.environ["VIDX_NUM_PROCESSES"]),
        int(os.environ["VIDX_PROCESS_ID"]))
  elif os.environ.get("VIDX_DISTRIBUTED"):  # a cluster that jax recognises: Slurm, TPU, Kubernetes
    jax.distributed.initialize()


def part() -> bool:
  """Leaves the other processes of a run, where there are some and this one has failed; False where that takes long.

  JAX waits five minutes for the others to end as well, and ends all with an error of its own then. They wait for
  this one, in a step that needs all of them, and go on when it is gone: that fails at once.
  """
  distributed = getattr(sys.modules.get("jax"), "distributed", None)
  if distributed is None or not distributed.is_initialized():
    return True
  left = threading.Event()

  def leave():
    with contextlib.suppress(Exception):  # others have died
      distributed.shutdown()
      left.set()

  thread = threading.Thread(target=leave, daemon=True)
  thread.start()
  thread.join(_PATIENCE_S)
  return left.is_set()


def held_up() -> bool:
  """Whether a thread waits for a file that may never come, for which the end of the program would wait, too."""
  workers = sys.modules.get("vidx.data.workers")
  return workers is not None and workers.held_up


def _keep_programs(jax: types.ModuleType) -> None:
  """Compiled programs are kept in the cache, unless the user says where, or nobody can write there.

  A folder per kind of processor: a program for another one's instructions does not run.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR") is not None or jax.config.jax_compilation_cache_dir:
    return
  try:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
      kind = next((line for line in f if line.startswith(("flags", "Features"))), "")
  except OSError:
    kind = platform.processor()
  folder = places.cache("xla", f"{platform.machine()}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}")
  try:
    os.makedirs(folder, exist_ok=True)
  except OSError:
    return
  if os.access(folder, os.W_OK):
    jax.config.update("jax_compilation_cache_dir", folder)


def _of_the_main_thread(kind, value, trace) -> None:
  """Leaves out what writes of a checkpoint that has failed already, and raised its error, find when they end."""
  if threading.current_thread() is threading.main_thread():
    sys.__excepthook__(kind, value, trace)


def _of_what_is_raised_aside(unraisable) -> None:
  """Brings a Ctrl-C again that came where Python can raise nothing, as while it collects garbage, which JAX listens to.

  Leaves out that the other writes of a save that has failed report to its event loop, which is closed by then.
  """
  lost = isinstance(unraisable.exc_value, KeyboardInterrupt)
  try:
    if not lost and not (isinstance(unraisable.exc_value, RuntimeError)
                         and str(unraisable.exc_value) == "Event loop is closed"):
      sys.__unraisablehook__(unraisable)
  except KeyboardInterrupt:  # came here, where Python can raise nothing either
    lost = True
  if lost:  # a bare thread: to start a `Thread` is to wait for it, which the next Ctrl-C would end
    _thread.start_new_thread(_interrupt_again, (threading.main_thread().ident, _of_what_is_raised_aside.__code__))


def _interrupt_again(thread: int, where: types.CodeType) -> None:
  """Sends a thread a Ctrl-C as soon as it has left a function."""
  inside = True
  while inside:
    time.sleep(_SOON_S)
    frame, inside = sys._current_frames().get(thread), False
    while frame is not None and not inside:
      frame, inside = frame.f_back, frame.f_code is where
  signal.pthread_kill(thread, signal.SIGINT)
