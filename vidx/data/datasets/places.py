"""Where the media that an annotation names are on the disk, though letters, endings or folders differ."""

from collections.abc import Sequence
import os

from vidx.data import media_files


def annotation(root: str, names: Sequence[str], folders: Sequence[str] = ("",)) -> str:
  """The first of some annotation files that exists; else where the first is expected."""
  paths = [os.path.normpath(os.path.join(root, folder, name)) for name in names for folder in folders]
  return next((p for p in paths if os.path.isfile(p)), paths[0])


def marks(folders: Sequence[str], *names: str) -> tuple[str, ...]:
  """Globs of what lies in one of some folders below the root of a data set; see vidx/data/datasets/__init__.py."""
  return tuple(os.path.join(folder, name) for folder in folders for name in names)


class Places:
  """Looks paths up below some folders of a root; each folder is listed once.

  An exact match comes first, then one that differs in the case of letters, then
  one that differs in the ending (videos that were encoded anew).
  """

  def __init__(self, root: str, folders: Sequence[str] = ("",)):
    """
    Args:
      root: of the data set.
      folders: below the root, in the order of search.
    """
    self._bases = [os.path.normpath(os.path.join(root, f)) for f in folders]
    self._listings: dict[str, tuple[frozenset[str], dict[str, str]]] = {}

  def find(self, path: str) -> str | None:
    """Path of a file or folder on the disk, None where there is none."""
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if os.path.isabs(path):
      return path if os.path.exists(path) else None
    return next((p for p in (self._below(b, parts) for b in self._bases) if p), None)

  def _below(self, at: str, parts: Sequence[str]) -> str | None:
    for part in parts:
      names, similar = self._listing(at)
      if part not in names:
        stem = os.path.splitext(part)[0] if media_files.is_video(part) else part
        part = similar.get(part.lower()) or similar.get(stem.lower())
        if part is None:
          return None
      at = os.path.join(at, part)
    return at

  def _listing(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
    """Names in a folder, and the names by what is left of them in lower case, with and without ending."""
    if folder not in self._listings:
      names = media_files.names(folder)
      similar = {os.path.splitext(n)[0].lower(): n for n in reversed(names) if media_files.is_video(n)}
      similar.update((n.lower(), n) for n in reversed(names))
      self._listings[folder] = frozenset(names), similar
    return self._listings[folder]


def by_stem(root: str) -> dict[str, str]:
  """Paths of all videos below a folder, links included, by their names without ending."""
  found: dict[str, str] = {}
  for at, files in media_files.walk(root):
    for name in files:
      if media_files.is_video(name):
        found.setdefault(os.path.splitext(name)[0], os.path.join(at, name))
  return found


def trimmed(videos: dict[str, str], youtube_id: str, start: float, end: float) -> tuple[str, str | None]:
  """Name and path of a clip cut from a video: `<id>_<start>_<end>.mp4`, whole seconds in six digits.

  Args:
    videos: of `by_stem`.
    youtube_id: of the uncut video.
    start: seconds.
    end: seconds.

  Returns:
    The usual name, and the path of the file of that name, with another ending
    or with an underscore before it; None where there is none.
  """
  stem = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
  return stem + ".mp4", videos.get(stem) or videos.get(stem + "_")
