"""Files of videos and of features: which names are theirs, and which files paths, folders and globs mean."""

from collections.abc import Iterable, Sequence
import glob
import os

from vidx import errors

VIDEOS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".3gp", ".3g2", ".ts",
          ".mts", ".m2ts", ".vob", ".ogv", ".gif")
FEATURES = (".npy",)


def is_video(name: str) -> bool:
  """Whether the ending of a name, in whatever case, is that of a video."""
  return name.lower().endswith(VIDEOS)


def find(paths: str | os.PathLike | Iterable[str | os.PathLike], endings: Sequence[str] = VIDEOS) -> list[str]:
  """The files that paths mean: files as they are, videos in folders (recursively, sorted), globs.

  A name that exists nowhere stays, so that it can be reported; every file is
  listed once.

  Raises:
    DataError: no file at all.
  """
  paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
  found: dict[str, None] = {}
  for path in map(os.fspath, paths):
    if os.path.isdir(path):
      found.update(dict.fromkeys(_below(path, endings)))
    elif os.path.exists(path) or not glob.has_magic(path):
      found[path] = None
    else:
      for match in sorted(glob.glob(path, recursive=True)):
        found.update(dict.fromkeys(_below(match, endings) if os.path.isdir(match) else [match]))
  if not any(os.path.exists(f) for f in found):
    raise errors.DataError(
        f"no video in {', '.join(map(str, paths)) or 'an empty list'}: name video files, folders of them"
        f" ({', '.join(endings[:4])}, ...) or globs.")
  return list(found)


def _below(folder: str, endings: Sequence[str]) -> list[str]:
  return sorted(os.path.join(at, name) for at, _, names in os.walk(folder)
                for name in names if name.lower().endswith(tuple(endings)))
