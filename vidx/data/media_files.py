"""Files of videos and of features: which names are theirs, and which files paths, folders and globs mean.

Names that begin with a dot are passed over, as the `._x.mp4` that a Mac writes beside x.mp4.
"""

from collections.abc import Callable, Iterable, Sequence
import fnmatch
import glob
import os
import re
import sys
from typing import NamedTuple

from vidx import errors
from vidx.terminal import counted

VIDEOS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".3gp", ".3g2",
          ".ts", ".mts", ".m2ts", ".vob", ".ogv", ".gif")
IMAGES = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp"}  # and their codecs
FEATURES = (".npy",)
_SOURCES = (".ts", ".mts")  # which TypeScript has, too
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_SHOWN = 3


class Folder(NamedTuple):
  """A folder and the names of its files, sorted."""

  path: str
  files: list[str]


class Contents(NamedTuple):
  """Paths below a folder, sorted: of videos and folders of frames, and of files that are neither."""

  media: list[str]
  others: list[str]


def is_video(name: str) -> bool:
  """Whether the ending of a name, in whatever case, is that of a video."""
  return name.lower().endswith(VIDEOS)


def is_text(path: str) -> bool:
  """Whether a file is a program's text though its ending is that of a video."""
  if not path.lower().endswith(_SOURCES):
    return False
  try:
    with open(path, "rb") as f:
      head = f.read(1024)
  except OSError:
    return False
  return bool(head) and (head[:2] in (b"\xff\xfe", b"\xfe\xff") or head == head.translate(None, _CONTROL))


def is_image(name: str) -> bool:
  """Whether the ending of a name is that of an image that may be a frame."""
  return os.path.splitext(name)[1].lower() in IMAGES


def holds_frames(files: Sequence[str], least: int = 2) -> bool:
  """Whether files make a folder of frames: numbered images, none of them of optical flow, and no video."""
  images = [n for n in files if is_image(n) and any(c.isdigit() for c in n) and not n.lower().startswith("flow")]
  return len(images) >= least and not any(map(is_video, files))


def status(path: str) -> os.stat_result | None:
  """What the system says of a file or folder, whatever links lead to it; None where there is none."""
  try:
    return os.stat(path)
  except OSError:
    return None


def identity(path: str) -> tuple[int, int] | None:
  """Of a file or folder whatever its names and links; None where there is none."""
  found = status(path)
  return found and (found.st_dev, found.st_ino)


def names(folder: str) -> list[str]:
  """Sorted names in a folder; none where it cannot be listed."""
  try:
    return sorted(n for n in os.listdir(folder) if not n.startswith("."))
  except OSError:
    return []


def folders(folder: str) -> list[str]:
  """Sorted names of the folders in a folder, as `names`."""
  return [n for n in names(folder) if os.path.isdir(os.path.join(folder, n))]


def images(folder: str) -> list[str]:
  """Names of the images in a folder, in the order of `by_number`, as a folder of frames has them; else as `names`."""
  return sorted(filter(is_image, names(folder)), key=by_number)


def by_number(name: str) -> tuple[list[int], str]:
  """What names of frames are sorted by: their last numbers, whether or not zeros stand in front, then all of them."""
  return [int(d) for d in re.findall(r"\d+", name)][-1:], name


def walk(root: str) -> list[Folder]:
  """A folder and those below it, each once, however many links lead to it.

  Links are followed, but a folder keeps the place that it has without them: none
  leads up or aside.

  Raises:
    DataError: a folder cannot be listed.
  """
  found, seen, links = [], set(), [root]
  while links:
    pending, links = sorted(links, reverse=True), []
    while pending:
      at = pending.pop()
      if (key := identity(at)) in seen:
        continue
      seen.add(key)
      files = []
      try:
        with os.scandir(at) as entries:
          for entry in entries:
            if entry.name.startswith("."):
              continue
            if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
              (links if entry.is_symlink() else pending).append(entry.path)
            else:
              files.append(entry.name)
      except OSError as e:
        raise errors.DataError(f"folder {at} cannot be listed: {e.strerror}.") from e
      found.append(Folder(at, sorted(files)))
  return sorted(found)


def below(root: str, endings: Sequence[str] = VIDEOS) -> Contents:
  """The videos and folders of frames at and below a folder; raises as `walk`."""
  media, others = [], []
  for path, files in walk(root):
    frames = holds_frames(files)
    if frames:
      media.append(path)
    for name in files:
      file = os.path.join(path, name)
      if name.lower().endswith(tuple(endings)) and not is_text(file):
        media.append(file)
      elif not (frames and is_image(name)):
        others.append(file)
  return Contents(sorted(media), others)


def check(paths: Sequence[str]) -> None:
  """Raises DataError where nothing that paths name is there; globs may name anything."""
  if not any(os.path.exists(path) or glob.has_magic(path) for path in paths):
    raise _none(paths)


def _none(paths: Iterable[str | os.PathLike], endings: Sequence[str] = VIDEOS) -> errors.DataError:
  return errors.DataError(
      f"no video in {', '.join(map(str, paths)) or 'an empty list'}: name video files, folders of them"
      f" ({', '.join(endings[:4])}, ...), folders of frames or globs.")


def find(paths: str | os.PathLike | Iterable[str | os.PathLike], endings: Sequence[str] = VIDEOS,
         say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)) -> list[str]:
  """The files that paths mean: files as they are, videos and folders of frames in folders (sorted), globs.

  A name that exists nowhere stays, so that it can be reported; every file is
  listed once.

  Args:
    paths: of files, folders (searched recursively) and globs.
    endings: of the files to find in folders.
    say: is given a line for a path that means no file, and for text that is left out.

  Raises:
    DataError: no file at all, or a folder that cannot be listed.
  """
  paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
  found: dict[str, None] = {}
  empty = []
  for path in map(os.fspath, paths):
    if os.path.exists(path) or not glob.has_magic(path):
      matches = [path]
    else:
      matches = _matching(path)
    files = [file for m in matches for file in (_in_folder(m, endings, say) if os.path.isdir(m) else [m])]
    found.update(dict.fromkeys(files))
    if not files:
      empty.append(path)
  if not any(os.path.exists(f) for f in found):
    raise _none(paths, endings)
  for path in empty:
    say(f"no video in {path}")
  return list(found)


def listed(paths: Sequence[str], root: str = "") -> str:
  """The first of some paths, below a root, and that there are more."""
  shown = [os.path.relpath(p, root) if root else p for p in paths[:_SHOWN]]
  return ", ".join(shown) + (", ..." if len(paths) > _SHOWN else "")


def _in_folder(folder: str, endings: Sequence[str], say: Callable[[str], None]) -> list[str]:
  found = below(folder, endings)
  texts = [p for p in found.others if is_text(p)]
  if texts:
    say(f"{folder}: left out {counted(len(texts), 'text file')} with the ending of a video ({listed(texts, folder)})")
  return found.media or ([folder] if holds_frames(names(folder), 1) else [])


def _matching(pattern: str) -> list[str]:
  """Paths that match a glob, sorted; `**` goes round no circle of links."""
  head, stars, tail = pattern.partition("**")
  if not stars or (head and not head.endswith(os.sep)) or tail[:1] not in ("", os.sep):
    return sorted(glob.glob(pattern))
  found, wanted = [], ["**", *filter(None, tail.split(os.sep))]
  for base in sorted(glob.glob(head)) if head else ["."]:
    for at, files in walk(base):
      parts = [p for p in os.path.relpath(at, base).split(os.sep) if p != "."]
      if _matches(parts, wanted):
        found.append(os.path.join(head and base, *parts))
      found += [os.path.join(head and base, *parts, f) for f in files if _matches([*parts, f], wanted)]
  return sorted(p for p in found if p)


def _matches(parts: Sequence[str], wanted: Sequence[str]) -> bool:
  if not wanted:
    return not parts
  if wanted[0] == "**":
    return any(_matches(parts[i:], wanted[1:]) for i in range(len(parts) + 1))
  return bool(parts) and fnmatch.fnmatch(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
