"""Preparing a data set: its videos again, smaller and with dense key frames, its annotations as they are.

Any frame of a prepared video is at most a few cheap frames behind a key frame, so
random access costs a small part of what it costs in a file as cameras and sites
make it. Prepared files are H.264 in mp4 under the names they had, so that lists
and readers find them; programs tell the kind of a file by its content.
"""

from collections.abc import Callable
import dataclasses
import os
import pathlib
import shutil
from typing import Any

from vidx import errors, writing
from vidx.data import file_jobs, media_files

_SETTINGS = "prepared.json"
_DONE = "prepared"
_COPIED_SOUND = ("aac", "mp3", "opus", "ac3", "eac3", "alac", "flac")


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
  file_jobs.keep_settings(out / _SETTINGS, dataclasses.asdict(settings), _DONE)
  for part in out.rglob(f"*{file_jobs.PART}"):
    part.unlink()
  copied = sum(_copy(f, out / f.relative_to(root)) for f in sorted({*files} - {*videos}))
  first = _first_names(videos)
  todo = {str(f.relative_to(root)): (str(f), str(out / f.relative_to(root))) for f in videos
          if first[f] == f and not _current(f, out / f.relative_to(root))}
  failed = file_jobs.run(encode, todo, settings, workers, _DONE, progress)
  bad.update(failed)
  linked = 0
  for f in videos:
    name, own = (str(x.relative_to(root)) for x in (f, first[f]))
    if name != own and own in bad:
      bad[name] = bad[own]
    elif name != own and not _current(f, out / name):
      _link(out / own, out / name)
      linked += 1
  written = [f for f in videos if first[f] == f and str(f.relative_to(root)) not in bad]
  encoded, lost = len(todo) - len(failed), sum(str(f.relative_to(root)) in bad for f in videos)
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
  with writing.whole(target, file_jobs.PART) as part:
    return prepare_video.write(source, part, settings, _COPIED_SOUND)


def _check(root: pathlib.Path, out: pathlib.Path, settings: Settings) -> None:
  if not root.is_dir():
    raise errors.DataError(f"{root}: no such folder; name the data set with --root.")
  if out == root or root in out.parents:
    raise errors.DataError(f"{out} lies inside {root}; choose an --out elsewhere.")
  if settings.short_side < 16 or settings.gop < 1:
    raise errors.ConfigError(
        f"short_side={settings.short_side}, gop={settings.gop}: at least 16 pixels and 1 frame.")


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
    with writing.whole(target, file_jobs.PART) as part:
      os.symlink(os.path.relpath(source, target.parent), part)
  except OSError:
    with writing.whole(target, file_jobs.PART) as part:
      shutil.copy2(source, part)


def _current(source: pathlib.Path, target: pathlib.Path) -> bool:
  return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime


def _copy(source: pathlib.Path, target: pathlib.Path) -> bool:
  """Copies a file; False where that was done before."""
  if target.is_file() and target.stat().st_size == source.stat().st_size and _current(source, target):
    return False
  with writing.whole(target, file_jobs.PART) as part:
    shutil.copy2(source, part)
  return True
