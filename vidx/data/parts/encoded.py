"""Parts of what networks that are not trained make of clips, kept on disk so that no clip is decoded again.

One npz per record: what a system's `encode` gives, and the cut of the clip, which other
parts follow. `vidx/train/cache.py` writes them.
"""

from collections.abc import Mapping
import hashlib
import json
import os
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors, reading
from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import geometry
from vidx.data import parts as parts_lib
from vidx.data.records import Dataset, Record

SETTINGS = "encoded.json"  # of a folder: how it was made, and the shapes of what it holds


def path_of(folder: str, record: Record) -> str:
  """The file of a record; where its span or its media file is another, so is this."""
  media = record.media
  size = os.path.getsize(media.path) if os.path.isfile(media.path) else 0
  named = json.dumps([record.id, record.span, os.path.basename(media.path), media.index, size])
  return os.path.join(folder, f"{hashlib.sha256(named.encode()).hexdigest()[:24]}.npz")


class Cuts:
  """`cut/seconds` (T,) and `cut/geometry` (6,) of the first view of an example."""

  keys = ("cut/seconds", "cut/geometry")

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del dataset, training, clips, crops, seed, timed
    self._frames = data.frames * data.consecutive

  def make(self, index: int, cut: clips_lib.Cut, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, None]:
    """Those of a cut."""
    del index, rng, room
    g = cut.geometry[0]
    return {"cut/seconds": np.asarray(cut.seconds[0], np.float64),
            "cut/geometry": np.array([g.height, g.width, *g.scale, *g.offset], np.float64)}, None

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Zeros."""
    del index, room
    return {"cut/seconds": np.zeros(self._frames), "cut/geometry": np.zeros(6)}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of a clip."""
    del num_classes
    return {"cut/seconds": ((data.frames * data.consecutive,), np.float64), "cut/geometry": ((6,), np.float64)}


class Encoded(parts_lib.OneShape):
  """`encoded/...` of one view, the same in training and evaluation, in place of frames."""

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    """
    Raises:
      ConfigError: several views.
      DataError: the folder holds nothing yet.
    """
    del seed, timed
    if not training and (clips, crops) != (1, 1):
      raise errors.ConfigError(f"data.cache holds one view of a video, not {clips or 'all'}x{crops}.")
    self._dataset, self._folder, self._training = dataset, data.cache, training
    try:
      with reading.open_text(os.path.join(self._folder, SETTINGS)) as f:
        self._shapes = {name: tuple(shape) for name, shape in json.load(f)["shapes"].items()}
    except Exception as e:  # of JSON of any content
      raise errors.DataError(f"data.cache={self._folder} holds no {SETTINGS} that can be read ({e}); training with it"
                             " fills it.") from e

  @property
  def keys(self) -> tuple[str, ...]:
    return tuple(batch_lib.ENCODED + name for name in self._shapes)

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return 4 * sum(int(np.prod(shape)) for shape in self._shapes.values())

  def make(self, index: int, cut: None, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, clips_lib.Cut]:
    """What is kept of a record.

    Raises:
      DecodeError: nothing is, for its media could not be decoded; or a damaged file.
    """
    del cut, rng, room
    path = path_of(self._folder, self._dataset.records[index])
    try:
      with reading.arrays(path) as f:
        found = {name: np.asarray(f[name], np.float32) for name in self._shapes}
        seconds, (height, width, *place) = f["cut/seconds"], f["cut/geometry"].tolist()
    except FileNotFoundError:
      raise errors.DecodeError(f"{self._dataset.records[index].media.path}: it could not be decoded, and data.cache"
                               " holds nothing of it.") from None
    except Exception as e:  # a damaged file may raise anything
      raise _damaged(path, reading.reason(e)) from e
    if {name: x.shape for name, x in found.items()} != self._shapes:
      raise _damaged(path, f"other shapes than {SETTINGS} says")
    where = geometry.Geometry(int(height), int(width), tuple(place[:2]), tuple(place[2:]))
    cut = clips_lib.Cut(np.zeros(0, np.uint8), np.zeros((1, 0), np.int64), (where,), seconds[None])
    return self._arrays(found), cut

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Ones: a size of frames is no 0."""
    del index, room
    return self._arrays({name: np.ones(shape, np.float32) for name, shape in self._shapes.items()})

  def _arrays(self, found):
    return {batch_lib.ENCODED + name: x if self._training else x[None] for name, x in found.items()}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """
    Raises:
      ConfigError: always; a system is initialised with clips.
    """
    raise errors.ConfigError("what is encoded initialises no system.")


def _damaged(path: str, why: str) -> errors.DecodeError:
  return errors.DecodeError(f"{path} is damaged ({why}); remove it, and it is made again.")
