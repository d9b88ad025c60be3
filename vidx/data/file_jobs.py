"""Work on each of many files, in processes: what could not be done, how far it is, and with which settings."""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import errno
import json
import multiprocessing
import os
import pathlib
import sys
import time
from typing import Any

from vidx import errors, reading, writing
from vidx.terminal import counted

PART = ".vidx-part"  # ending of what is not whole yet
_LINES_EVERY = 10.0  # seconds

Job = Callable[[str, str, Any], Any]  # (source, target, settings)


def run(job: Job, todo: Mapping[str, tuple[str, str]], settings: Any, workers: int, what: str,
        progress: Callable[[int, int, int], None] | None = None) -> dict[str, str]:
  """Does a job for every file.

  Args:
    job: writes `target` whole or not at all, whose folder is made for it; a function that processes can import.
    todo: (source, target) of each by name.
    settings: for all of them.
    workers: processes; 0: one per core.
    what: is done, such as "prepared", for lines of progress and for messages.
    progress: called with (done, all, bad) now and then; by default prints a line.

  Returns:
    Why something could not be done, by name: what cannot be decoded does not end the rest.

  Raises:
    DataError: a process died.
    OSError: nothing can be written any more.
  """
  progress = progress or (lambda done, count, bad: print(
      f"{what} {done} of {counted(count, 'video')}" + (f", {bad} bad" if bad else ""), file=sys.stderr, flush=True))
  bad, said = {}, time.monotonic()
  for done, (name, reason) in enumerate(_tried_all(job, todo, settings, workers or os.cpu_count() or 1), 1):
    if reason:
      bad[name] = reason
    if time.monotonic() - said > _LINES_EVERY or done == len(todo):
      said = time.monotonic()
      progress(done, len(todo), len(bad))
  return bad


def keep_settings(path: str | os.PathLike, settings: Mapping[str, Any], what: str) -> None:
  """Writes settings into a folder, a file of JSON.

  Args:
    path: of the file.
    settings: by name, as JSON gives them back.
    what: as in `run`.

  Raises:
    DataError: the folder was made with others, which it names.
  """
  path, now = pathlib.Path(path), dict(settings)
  try:
    with reading.open_text(path) as f:
      earlier = dict(json.load(f))
  except (FileNotFoundError, TypeError, ValueError):
    earlier = now
  changed = [f"{k} ({earlier.get(k)}, now {now.get(k)})" for k in {**now, **earlier} if earlier.get(k) != now.get(k)]
  if changed:
    raise errors.DataError(f"{path.parent} was {what} with another {', '.join(changed)}; use the same settings or"
                           " another --out.")
  writing.write_json(path, now)


def _tried_all(job: Job, todo: Mapping[str, tuple[str, str]], settings: Any, workers: int
               ) -> Iterator[tuple[str, str]]:
  """(name, reason why not) as files are finished."""
  context = multiprocessing.get_context("spawn")
  with futures.ProcessPoolExecutor(min(workers, max(1, len(todo))), mp_context=context) as pool:
    jobs = {pool.submit(_tried, job, *files, settings): name for name, files in todo.items()}
    try:
      for found in futures.as_completed(jobs):
        yield jobs[found], found.result()
    except futures.process.BrokenProcessPool as e:
      raise errors.DataError(
          "a process died; if memory is short, use fewer --workers. The same command goes on.") from e
    finally:
      pool.shutdown(cancel_futures=True)


def _tried(job: Job, source: str, target: str, settings: Any) -> str:
  """The reason why a file could not be made, empty where it was."""
  os.makedirs(os.path.dirname(target), exist_ok=True)
  try:
    job(source, target, settings)
  except errors.DecodeError as e:
    return str(e)
  except (OSError, ValueError) as e:
    if getattr(e, "errno", None) in (errno.ENOSPC, errno.EACCES, errno.EROFS):
      raise OSError(e.errno, os.strerror(e.errno), target) from None  # as it is: PyAV's own cannot be sent
    return f"{source}: {e}"
  return ""
