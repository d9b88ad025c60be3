"""Preparing a data set: its videos again, smaller and with dense key frames, its annotations as they are.

Any frame of a prepared video is at most a few cheap frames behind a key frame, so
random access costs a small part of what it costs in a file as cameras and sites
make it. Prepared files are H.264 in mp4 under the names they had, so that lists
and readers find them; programs tell the kind of a file by its content.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
import errno
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import time
from typing import Any

from vidx import errors, reading, writing
from vidx.data import media_files

_PART = ".vidx-part"
_SETTINGS = "prepared.json"
_COPIED_SOUND = ("aac", "mp3", "opus", "ac3", "eac3", "alac", "flac")
_LINES_EVERY = 10.0  # seconds


@dataclasses.dataclass(frozen=True)
class Settings:
  """How videos are written.

  Attributes:
    short_side: pixels at most; smaller videos keep their size. Sizes are even.
    gop: frames from one key frame to the next.
    crf: x264's quality; lower is better and larger.
  """

  short_side: int = 256
  gop: int = 8
  crf: int = 20


def prepare(root: str | os.PathLike, out: str | os.PathLike, short_side: int = 256, gop: int = 8, crf: int = 20,
            workers: int = 0, progress: Callable[[int, int, int], None] | None = None) -> dict[str, Any]:
  """Re-encodes every video below a folder and copies every other file.

  Links are followed, each folder once; a file of two names is encoded once and linked.
  Names that begin with a dot are passed over.

  Frame counts and time stamps stay; the display matrix is applied; sound is kept.
  A second call does what is left: a file that is there is whole, and is made anew
  only where its source is newer. A video that cannot be decoded is left out.

  Args:
    root: the data set.
    out: folder to write, outside `root`.
    short_side: pixels at most.
    gop: frames from one key frame to the next.
    crf: quality of x264.
    workers: processes; 0: one per core.
    progress: called with (done, all, bad) now and then; by default prints a line.

  Returns:
    Counts `videos`, `encoded`, `linked` (further names), `kept` (of an earlier call), `copied` (other files),
    `bytes_in`, `bytes_out` and `bad`, the reasons by relative path.

  Raises:
    DataError: no such folder, no videos in it, or `out` was made with other settings.
  """
  root, out = pathlib.Path(root).resolve(), pathlib.Path(out).resolve()
  settings = Settings(short_side, gop, crf)
  _check(root, out, settings)
  found = sorted(pathlib.Path(at, name) for at, names in media_files.walk(str(root)) for name in names)
  bad = {str(f.relative_to(root)): "it is no file, or a link to nothing." for f in found if not f.is_file()}
  files = [f for f in found if f.is_file()]
  videos = [f for f in files if media_files.is_video(f.name) and not media_files.is_text(str(f))]
  if not videos:
    raise errors.DataError(f"{root}: no videos here or below; name the folder that holds the data set.")
  out.mkdir(parents=True, exist_ok=True)
  for part in out.rglob(f"*{_PART}"):
    part.unlink()
  writing.write_json(out / _SETTINGS, dataclasses.asdict(settings))
  copied = sum(_copy(f, out / f.relative_to(root)) for f in sorted({*files} - {*videos}))
  first = _first_names(videos)
  todo = [f for f in videos if first[f] == f and not _current(f, out / f.relative_to(root))]
  failed = 0
  said = time.monotonic()
  for done, (path, reason) in enumerate(_encoded(todo, root, out, settings, workers or os.cpu_count() or 1), 1):
    if reason:
      bad[path] = reason
      failed += 1
    if time.monotonic() - said > _LINES_EVERY or done == len(todo):
      said = time.monotonic()
      (progress or _say)(done, len(todo), failed)
  linked = 0
  for f in videos:
    name, own = (str(x.relative_to(root)) for x in (f, first[f]))
    if name != own and own in bad:
      bad[name] = bad[own]
    elif name != own and not _current(f, out / name):
      _link(out / own, out / name)
      linked += 1
  written = [f for f in videos if first[f] == f and str(f.relative_to(root)) not in bad]
  encoded, lost = len(todo) - failed, sum(str(f.relative_to(root)) in bad for f in videos)
  return {"videos": len(videos), "encoded": encoded, "linked": linked,
          "kept": len(videos) - encoded - linked - lost, "copied": copied,
          "bytes_in": sum(f.stat().st_size for f in written),
          "bytes_out": sum((out / f.relative_to(root)).stat().st_size for f in written),
          "bad": dict(sorted(bad.items()))}


def encode(source: str, target: str, settings: Settings) -> int:
  """Writes one prepared video, whole or not at all.

  Args:
    source: any video.
    target: file to write.
    settings: how.

  Returns:
    The number of frames.

  Raises:
    DecodeError: the source cannot be decoded.
  """
  from vidx.data import prepare_video
  with writing.whole(target, _PART) as part:
    return prepare_video.write(source, part, settings, _COPIED_SOUND)


def _encoded(todo: list[pathlib.Path], root: pathlib.Path, out: pathlib.Path, settings: Settings, workers: int
             ) -> Iterator[tuple[str, str]]:
  """(relative path, reason why not) as videos are finished."""
  context = multiprocessing.get_context("spawn")
  with futures.ProcessPoolExecutor(min(workers, max(1, len(todo))), mp_context=context) as pool:
    jobs = {pool.submit(_job, str(f), str(out / f.relative_to(root)), settings): str(f.relative_to(root)) for f in todo}
    try:
      for job in futures.as_completed(jobs):
        yield jobs[job], job.result()
    except futures.process.BrokenProcessPool as e:
      raise errors.DataError(
          f"{root}: an encoding process died; if memory is short, use fewer workers. The same command goes on.") from e
    finally:
      pool.shutdown(cancel_futures=True)


def _job(source: str, target: str, settings: Settings) -> str:
  """The reason why a video could not be prepared, empty where it was."""
  os.makedirs(os.path.dirname(target), exist_ok=True)
  try:
    encode(source, target, settings)
  except errors.DecodeError as e:
    return str(e)
  except (OSError, ValueError) as e:
    if getattr(e, "errno", None) in (errno.ENOSPC, errno.EACCES, errno.EROFS):
      raise OSError(e.errno, os.strerror(e.errno), target) from None  # as it is: PyAV's own cannot be sent
    return f"{source}: {e}"
  return ""


def _check(root: pathlib.Path, out: pathlib.Path, settings: Settings) -> None:
  if not root.is_dir():
    raise errors.DataError(f"{root}: no such folder; name the data set with --root.")
  if out == root or root in out.parents:
    raise errors.DataError(f"{out} lies inside {root}; choose an --out elsewhere.")
  if settings.short_side < 16 or settings.gop < 1:
    raise errors.ConfigError(
        f"short_side={settings.short_side}, gop={settings.gop}: at least 16 pixels and 1 frame.")
  try:
    with reading.open_text(out / _SETTINGS) as f:
      earlier = json.load(f)
  except (FileNotFoundError, ValueError):
    return
  if earlier != dataclasses.asdict(settings):
    raise errors.DataError(f"{out} was prepared with {earlier}; use the same settings or another --out.")


def _first_names(videos: list[pathlib.Path]) -> dict[pathlib.Path, pathlib.Path]:
  """The name under which a file is encoded, by each of its names: one that is no link, where it has one."""
  firsts: dict[Any, pathlib.Path] = {}
  for f in sorted(videos, key=lambda f: (f.is_symlink(), f)):
    firsts.setdefault(media_files.identity(str(f)), f)
  return {f: firsts[media_files.identity(str(f))] for f in videos}


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
  """A relative link, or a copy where there are no links."""
  target.parent.mkdir(parents=True, exist_ok=True)
  try:
    with writing.whole(target, _PART) as part:
      os.symlink(os.path.relpath(source, target.parent), part)
  except OSError:
    with writing.whole(target, _PART) as part:
      shutil.copy2(source, part)


def _current(source: pathlib.Path, target: pathlib.Path) -> bool:
  return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime


def _copy(source: pathlib.Path, target: pathlib.Path) -> bool:
  """Copies a file; False where that was done before."""
  if target.is_file() and target.stat().st_size == source.stat().st_size and _current(source, target):
    return False
  with writing.whole(target, _PART) as part:
    shutil.copy2(source, part)
  return True


def _say(done: int, count: int, bad: int) -> None:
  print(f"prepared {done} of {count} videos" + (f", {bad} bad" if bad else ""), file=sys.stderr, flush=True)
