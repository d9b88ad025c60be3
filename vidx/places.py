"""Where things are: the cache, VIDX_CACHE or `vidx` in the user's cache, and the configs that come along."""

import contextlib
from collections.abc import Iterator
import fcntl
import os
import pathlib

from vidx import errors

CACHE = "VIDX_CACHE"


def cache(*names: str) -> str:
  """The path of a file or folder in the cache; nothing is made."""
  base = os.environ.get(CACHE) or os.path.join(
      os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "vidx")
  return os.path.join(base, *names)


def configs() -> pathlib.Path:
  """The folder of configs: inside the package where it was installed, beside it in a clone."""
  package = pathlib.Path(__file__).resolve().parent
  inside = package / "configs"
  return inside if inside.is_dir() else package.parent / "configs"


@contextlib.contextmanager
def held(path: str, waiting: str = "") -> Iterator[None]:
  """Keeps other processes of this machine out of what `path` will be; its folder is made.

  Args:
    path: of a file or folder in the cache, there or not.
    waiting: what to print where another process is at it.

  Raises:
    UserError: the cache cannot be written.
  """
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o666)
  except OSError as e:
    raise errors.UserError(f"the cache {cache()} cannot be written ({(e.strerror or str(e)).lower()}): name another"
                           f" folder by {CACHE}.") from e
  try:
    try:
      fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      if waiting:
        print(waiting, flush=True)
      fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
      pass  # a file system without locks
    yield
  finally:
    os.close(fd)
