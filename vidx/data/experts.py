"""Features of videos from several experts, as they lie on the disk.

| layout | what |
|---|---|
| NAME/<video>.npy | a folder per expert, (tokens, features); `vidx data experts` writes it |
| NAME/features/<video>.npy | the same, as `vidx data features --out=experts/NAME` writes it |
| <video>.npz | an array per expert, named by it |
| <video>.h5 | the same, or `features.NAME` as in the release of Gabeur et al. 2020; needs the extra `text` |

An expert that saw nothing in a video is absent, empty, or begins with what is no number.
"""

from collections.abc import Mapping, Sequence
import os

import numpy as np

from vidx import errors, reading
from vidx.data import media_files
from vidx.data.records import Media
from vidx.terminal import counted

KIND = "experts"
FOLDER = "experts"
H5 = (".h5", ".hdf5")
ENDINGS = (".npz", *H5)
ALIASES = {"audio": ("audio", "vggish"), "vggish": ("vggish", "audio")}
_NAME = "NAME"  # in the pattern of a folder per expert
_OWN = "features"  # folder in that of an expert, where `vidx data features` has written it


def read(media: Media, names: Sequence[str]) -> dict[str, np.ndarray]:
  """The experts that saw something: float32 (tokens, features) by name.

  Raises:
    DecodeError: a file that is absent or broken, or an array of another rank.
  """
  with reading.boundary(f"{media.path}: no features of experts", errors.DecodeError):
    try:
      found = _arrays(media, names)
    except FileNotFoundError:
      raise errors.DecodeError(f"{media.path}: there are no features of experts, nor in a folder '{FOLDER}' near by;"
                               " `vidx data experts` and `vidx data features` write them.") from None
  kept = {}
  for name, values in found.items():
    if values.dtype.kind not in "fiu":
      raise errors.DecodeError(f"{media.path}: expert '{name}' holds {values.dtype}, no numbers.")
    if is_missing(values):
      continue
    if values.ndim == 1:
      values = values[None]
    if values.ndim != 2:
      raise errors.DecodeError(f"{media.path}: expert '{name}' is {values.shape}, not (tokens, features).")
    kept[name] = np.asarray(values, np.float32)
  return kept


def named(media: Media) -> list[str]:
  """The experts of a video, whatever they are called; those of `read` by name.

  Raises:
    DecodeError: its file is absent or broken.
  """
  if media.pattern:
    return [name for name in media_files.folders(media.path) if files(media, (name,))]
  with reading.boundary(f"{media.path}: no features of experts", errors.DecodeError):
    with _hdf5(media.path) if media.path.lower().endswith(H5) else reading.arrays(media.path) as f:
      apart = [key.removeprefix("features.") for key in f if key.startswith("features.")]  # of captions and the like
      return sorted(apart or f)


def files(media: Media, names: Sequence[str]) -> dict[str, str]:
  """The file of each expert that has one, by name: the same for all unless they lie in a folder per expert."""
  if not media.pattern:
    return {name: media.path for name in names}
  found = {}
  for name in names:
    paths = (os.path.join(media.path, media.pattern.replace(_NAME, at)) for other in ALIASES.get(name, (name,))
             for at in (other, os.path.join(other, _OWN)))
    path = next(filter(os.path.isfile, paths), None)
    if path is not None:
      found[name] = path
  return found


def is_missing(values: np.ndarray) -> bool:
  """Whether an expert saw nothing: it is empty, or its first number is none."""
  values = np.asarray(values)
  return values.size == 0 or (values.dtype.kind == "f" and bool(np.isnan(values.reshape(-1)[0])))


def _arrays(media: Media, names: Sequence[str]) -> dict[str, np.ndarray]:
  if media.pattern:
    if not os.path.isdir(media.path):
      raise FileNotFoundError(media.path)
    return {name: reading.array(path) for name, path in files(media, names).items()}
  if media.path.lower().endswith(".npz"):
    with reading.arrays(media.path) as f:
      return _chosen(f, names)
  if media.path.lower().endswith(H5):
    with _hdf5(media.path) as f:
      return _chosen(f, names)
  raise errors.DecodeError(f"{media.path}: features of experts are .npz, .h5 or a folder per expert.")


def _hdf5(path: str):
  """An HDF5 file, open."""
  try:
    import h5py
  except ImportError:
    raise errors.ConfigError(f"{path} needs the library h5py: pip install vidx[text].") from None
  reading.regular(path)
  return h5py.File(path, "r")


def all_of(path: str) -> dict[str, np.ndarray]:
  """All `features.NAME` of an HDF5 file by name.

  Raises:
    DecodeError: it cannot be read.
  """
  with reading.boundary(f"{path}: no HDF5 file", errors.DecodeError), _hdf5(path) as f:
    return {k.removeprefix("features."): _whole(f, k) for k in f if k.startswith("features.")}


def _chosen(store: Mapping, names: Sequence[str]) -> dict[str, np.ndarray]:
  """The named arrays of an open file, under whichever of their names."""
  found = {}
  for name in names:
    keys = (key for other in ALIASES.get(name, (name,)) for key in (other, f"features.{other}"))
    key = next((k for k in keys if k in store), None)
    if key is not None:
      found[name] = _whole(store, key)
  return found


def _whole(store: Mapping, key: str) -> np.ndarray:
  """An array of an open file; one of HDF5 says its size before it is read."""
  found = store[key]
  if not isinstance(found, np.ndarray):
    size, on_disk = getattr(found, "nbytes", 0), os.path.getsize(store.filename)
    if size > max(reading.MODEST, reading.RATIO * on_disk):
      raise ValueError(f"'{key}' would unfold into {counted(size, 'byte')}")
  return np.asarray(found)


class Stores:
  """Finds the features of videos below a folder, in whichever layout they are."""

  def __init__(self, root: str, folder: str = FOLDER):
    """
    Args:
      root: of the data set.
      folder: of the features, below the root unless absolute; "mult_h5" is that of Gabeur et al.
    """
    self.path = os.path.join(root, folder)
    self._files: dict[str, str] = {}
    self._apart: set[str] = set()
    for at, names in media_files.walk(self.path) if os.path.isdir(self.path) else ():
      for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in ENDINGS:
          self._files.setdefault(stem, os.path.join(at, name))
        elif ending == ".npy":
          of = os.path.dirname(at) if os.path.basename(at) == _OWN else at
          if self.path.rstrip("/") in (os.path.dirname(of), os.path.dirname(at)):
            self._apart.add(stem)

  def find(self, video: str) -> Media | None:
    """The features of a video, None where it has none of any expert."""
    if video in self._apart:
      return Media(self.path, KIND, pattern=os.path.join(_NAME, f"{video}.npy"))
    return Media(self._files[video], KIND) if video in self._files else None

  def names(self) -> list[str]:
    """All videos that have features, sorted."""
    return sorted(self._files.keys() | self._apart)


def of_file(path: str) -> Media:
  """The features of one file: itself, or of a video those in a folder `experts` near by.

  Folders up to two levels above the video are looked at.
  """
  if path.lower().endswith(ENDINGS):
    return Media(path, KIND)
  folder, name = os.path.split(path)
  stem = os.path.splitext(name)[0]
  for up in range(3):
    at = os.path.normpath(os.path.join(folder, *[".."] * up))
    if os.path.isdir(os.path.join(at, FOLDER)):
      found = _near(os.path.join(at, FOLDER), stem)
      if found is not None:
        return found
  return Media(os.path.join(folder, f"{stem}.npz"), KIND)


def _near(folder: str, stem: str) -> Media | None:
  """The features of a video in a folder, found without listing what is in it."""
  for ending in ENDINGS:
    if os.path.isfile(os.path.join(folder, stem + ending)):
      return Media(os.path.join(folder, stem + ending), KIND)
  media = Media(folder, KIND, pattern=os.path.join(_NAME, f"{stem}.npy"))
  return media if files(media, os.listdir(folder)) else None
