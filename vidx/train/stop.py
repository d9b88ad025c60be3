"""How a run is asked to end before its last step: SIGTERM, which clusters send before they take a machine, or Ctrl-C.

JAX is imported only where it is needed: a command listens before it loads its libraries.
"""

from collections.abc import Iterator, Mapping
import contextlib
import itertools
import os
import signal
import sys
import threading
import time
import types
from typing import Any

from vidx import errors

STATUS = 75  # EX_TEMPFAIL of sysexits.h: call again
_TWICE_S = 1.0  # several signals within this time are one: launchers send them to a process and to its group
_EVERY = 16  # steps between agreements where JAX's service for pre-emption is switched off

# JAX's service settles on the number after the last that any process has asked with, which is 0 in a new process: it is
# asked with 1, 2, ..., by nobody else, or a run that goes on at step 84 would never come to the number 1.
_calls = itertools.count(1)

_GONE = ("Gloo ", "closed by peer", "reset by peer", "remote process exited")  # of messages, of Gloo and of NCCL


class Unfinished(errors.UserError):
  """A run that ended as it was asked to, before its last step; the same command goes on."""

  status = STATUS


@contextlib.contextmanager
def at_once() -> Iterator[None]:
  """Inside, where no `Listener` is, Ctrl-C ends the process as SIGTERM does, with nothing said.

  There is nothing to save before the first step, and the exception that Ctrl-C raises
  elsewhere may be swallowed by a library that is being loaded.
  """
  with _handlers({signal.SIGINT: signal.SIG_DFL}):
    yield


class Listener:
  """Hears SIGTERM and Ctrl-C as wishes, which `due` reports, while it is entered.

  A second Ctrl-C, a second later or more, ends the process without saving. Among
  several processes SIGTERM is heard by JAX's service for pre-emption, from
  `jax.distributed.initialize` on, and Ctrl-C is passed on to it.
  """

  def __init__(self):
    self._asked, self._stack = None, contextlib.ExitStack()

  def __enter__(self) -> "Listener":
    heard = (signal.SIGINT,) if _together() else (signal.SIGINT, signal.SIGTERM)
    self._stack.enter_context(_handlers(dict.fromkeys(heard, self._hear)))
    return self

  def __exit__(self, *exception) -> None:
    self._stack.close()

  def due(self, step: int) -> bool:
    """Whether the run ends after this step, with the same answer in all of its processes.

    Every process asks once per step. JAX's service settles on a step that none has begun
    and costs no message in a step without a signal.
    """
    import jax
    if not _together() and jax.process_count() == 1:
      return self._asked is not None
    if _together():
      from jax.experimental import multihost_utils
      with contextlib.suppress(RuntimeError):  # the service is switched off
        return multihost_utils.reached_preemption_sync_point(next(_calls))
    from vidx.train import sharding
    return step % _EVERY == 0 and any(sharding.gather_json(self._asked is not None))

  def _hear(self, signum: int, frame: types.FrameType | None) -> None:
    del frame
    now = time.monotonic()
    if self._asked is not None:
      if signum == signal.SIGINT and now - self._asked >= _TWICE_S:
        os.write(2, b"\nvidx: ended without saving; the same command goes on from the last checkpoint.\n")
        os._exit(STATUS)
      return
    self._asked = now
    if signum == signal.SIGINT:
      os.write(2, b"\nvidx: ending after this step; Ctrl-C a second later ends at once, without saving.\n")
      if _together():
        os.kill(os.getpid(), signal.SIGTERM)


def of_others(e: BaseException) -> BaseException:
  """A UserError where a step failed since another process of the run has gone, else the same exception."""
  if not _together() or isinstance(e, errors.UserError) or not any(word in str(e) for word in _GONE):
    return e
  return errors.UserError("another process of this run has ended, and a step needs all of them: see what that one said,"
                          " and start all again, which go on from the last checkpoint.")


@contextlib.contextmanager
def _handlers(wanted: Mapping[int, Any]) -> Iterator[None]:
  """Sets handlers of signals until the end of the context, where this is the thread that hears signals."""
  before = {}
  if threading.current_thread() is threading.main_thread():
    for signum, handler in wanted.items():
      if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup and background jobs of a shell have it
        before[signum] = signal.signal(signum, handler)
  try:
    yield
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)


def _together() -> bool:
  """Whether this process has joined a run of `jax.distributed`."""
  distributed = getattr(sys.modules.get("jax"), "distributed", None)  # JAX may be half loaded
  joined = getattr(distributed, "is_initialized", None)
  return joined is not None and joined()
