"""One run at a time in a workdir: a lock that the operating system takes back when its process ends, in any way."""

from collections.abc import Iterator
import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket

from vidx import errors
from vidx.train import sharding

FILE = "train.lock"


class Lock:
  """The hold that a run has on its workdir; its first process has it for all of them.

  Attributes:
    workdir: the folder.
  """

  def __init__(self, workdir: str, fd: int | None):
    self.workdir, self._fd = workdir, fd

  def lost(self) -> bool:
    """Whether the workdir was deleted, or another put into its place."""
    if self._fd is None:
      return not os.path.isdir(self.workdir)
    try:
      return not os.path.samestat(os.stat(os.path.join(self.workdir, FILE)), os.fstat(self._fd))
    except FileNotFoundError:
      return True
    except OSError:
      return False  # such as a server of files that does not answer at the moment

  def check(self) -> None:
    """Raises CheckpointError where the workdir is no longer there, in the process that has the lock.

    Others may see files of a shared disk late, and are not asked.
    """
    if self._fd is not None and self.lost():
      raise self.gone()

  def gone(self) -> errors.CheckpointError:
    return errors.CheckpointError(
        f"workdir {self.workdir} was deleted or replaced while a run trained in it; bring it back and run the same"
        " command to go on from its last checkpoint, or begin another --workdir.")


@contextlib.contextmanager
def hold(workdir: str, main: bool) -> Iterator[Lock]:
  """Makes the folder if need be and keeps other runs out of it; all processes of a run call it.

  Args:
    workdir: folder of the run.
    main: whether this process takes the lock.

  Raises:
    CheckpointError: another run trains there, or the folder was deleted meanwhile.
    UserError: the folder cannot be written.
  """
  fd, problem = _take(workdir) if main else (None, "")
  try:
    if problem := sharding.gather_json(problem)[0]:
      raise errors.CheckpointError(problem)
    lock = Lock(workdir, fd)
    try:
      yield lock
    except Exception as e:
      if lock.lost():  # whatever else went wrong followed from that
        raise lock.gone() from e
      raise
    if fd is not None:
      os.ftruncate(fd, 0)
  finally:
    if fd is not None:
      os.close(fd)


def _take(workdir: str) -> tuple[int | None, str]:
  """(descriptor of the locked file, "") or (None, why not)."""
  try:
    os.makedirs(workdir, exist_ok=True)
    fd = os.open(os.path.join(workdir, FILE), os.O_RDWR | os.O_CREAT, 0o666)
  except OSError as e:
    return None, f"cannot write to workdir {workdir}: {e.strerror}."
  try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as e:
    if e.errno in (errno.EWOULDBLOCK, errno.EACCES):
      problem = (f"{_holder(fd)} trains in workdir {workdir}; wait until it ends, end it, or choose another --workdir.")
      os.close(fd)
      return None, problem
    print(f"{workdir} cannot be locked ({e.strerror}): see to it that nothing else trains there", flush=True)
  text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(),
                     "since": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")})
  os.ftruncate(fd, 0)
  os.pwrite(fd, text.encode(), 0)
  return fd, ""


def _holder(fd: int) -> str:
  """Who has the lock, in words."""
  try:
    known = json.loads(os.pread(fd, 4096, 0))
    return f"process {int(known['pid'])} on {known['host']}, since {known['since']},"
  except (OSError, ValueError, KeyError, TypeError):
    return "another process"
