"""Stages of a video that are kept on disk: each says what it depends on, and is made anew where that changed.

A stage is one .npz file, or one for every so many frames, so that a stopped run goes on
where it was and no more than a part of a long video is in memory.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import glob
import hashlib
import json
import os
import time
from typing import Any
import zipfile

import numpy as np

from vidx import errors, writing
from vidx.data import media_files
from vidx.terminal import counted

BLOCK = 32  # frames of a file
_KEY = "key"
_HELD = 2  # blocks of a stage in memory

Arrays = Mapping[str, np.ndarray]


def key_of(*parts: Any) -> str:
  """Text that is equal where all parts are: settings, and the keys of the stages before."""
  plain = json.dumps(parts, sort_keys=True, default=lambda x: x.to_dict() if hasattr(x, "to_dict") else str(x))
  return hashlib.sha256(plain.encode()).hexdigest()[:20]


def files_of(*paths: str) -> list[tuple[str, int, int]]:
  """What tells contents of files from those before without reading them: path, size and time of the last change.

  Args:
    paths: of files, and of folders, which stand for all files below them; what is not there is left out, and so is ''.
  """
  found = []
  for path in map(os.path.abspath, filter(None, paths)):
    below = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
    for file in sorted(below) if os.path.isdir(path) else [path]:
      if (status := media_files.status(file)) is not None:
        found.append((file, status.st_size, status.st_mtime_ns))
  return found


class Blocks:
  """Arrays over the frames of a video, in files of `BLOCK` frames, of which few are held at a time.

  Attributes:
    key: what they depend on.
    count: frames.
  """

  def __init__(self, paths: Sequence[str], key: str, count: int):
    self.key, self.count, self._paths = key, count, paths
    self._load = functools.lru_cache(maxsize=_HELD)(self._block)

  def __len__(self) -> int:
    return len(self._paths)

  def __getitem__(self, i: int) -> Arrays:
    """The arrays of block i, over frames BLOCK i to `stop(i)`."""
    return self._load(i)

  def _block(self, i):
    found = _read(self._paths[i], self.key)
    if found is None:
      raise errors.DataError(f"'{self._paths[i]}' is broken, or was changed meanwhile: delete it and call again.")
    return found

  def stop(self, i: int) -> int:
    """The frame behind the last of block i."""
    return min((i + 1) * BLOCK, self.count)

  def at(self, frame: int, name: str) -> np.ndarray:
    """An array of one frame."""
    return self._load(frame // BLOCK)[name][frame % BLOCK]

  def whole(self, *names: str) -> list[np.ndarray]:
    """Arrays over all frames, for those that are small."""
    parts = [[self._load(i)[n] for n in names] for i in range(len(self))]
    return [np.concatenate(p) for p in zip(*parts)]


class Stages:
  """The folder of a video's stages.

  Attributes:
    seconds: that each stage took in this run, by name; 0 of one that was there.
  """

  def __init__(self, folder: str, say: Callable[[str], None] = lambda text: None):
    """
    Args:
      folder: for the files.
      say: is given a line now and then.
    """
    self._folder, self._say = folder, say
    self.seconds: dict[str, float] = {}

  def one(self, name: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of a stage of one file, which `make` gives where there is none of this key."""
    path, start = os.path.join(self._folder, f"{name}.npz"), time.perf_counter()
    found = _read(path, key)
    if found is None:
      found = {k: np.asarray(v) for k, v in make().items()}
      writing.write_arrays(path, {**found, _KEY: np.array(key)})
      self._took(name, start)
    self.seconds.setdefault(name, 0.0)
    return found

  def blocks(self, name: str, key: str, count: int, make: Callable[[int, int], Arrays]) -> Blocks:
    """The arrays of a stage over `count` frames; `make(start, stop)` gives those of a block that is not there."""
    starts = range(0, count, BLOCK)
    paths = [os.path.join(self._folder, f"{name}_{start:06d}.npz") for start in starts]
    for path in set(glob.glob(os.path.join(glob.escape(self._folder), f"{name}_*.npz"))) - set(paths):
      os.unlink(path)  # of a longer video or another stride
    begin = time.perf_counter()
    for start, path in zip(starts, paths):
      if not _has(path, key):
        stop = min(start + BLOCK, count)
        writing.write_arrays(path, {**make(start, stop), _KEY: np.array(key)})
        self._took(name, begin)
        self._say(f"{name}: {stop} of {counted(count, 'frame')}, {self.seconds[name]:.0f} s")
    self.seconds.setdefault(name, 0.0)
    return Blocks(paths, key, count)

  def _took(self, name, start):
    self.seconds[name] = time.perf_counter() - start


def _has(path: str, key: str) -> bool:
  """Whether `_read` would find arrays, as far as the table of contents tells."""
  return _read(path, key, names=()) is not None


def _read(path: str, key: str, names: Sequence[str] | None = None) -> Arrays | None:
  """The arrays of a file, or some; None where there is no file, a broken one, or one of another key."""
  try:
    with np.load(path, allow_pickle=False) as f:
      if str(f[_KEY]) != key:
        return None
      return {k: f[k] for k in (f.files if names is None else names) if k != _KEY}
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None
