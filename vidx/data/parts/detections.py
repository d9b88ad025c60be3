"""The part of detected objects: candidates around the middle of a clip, in pixels of the clip."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import detections, geometry
from vidx.data.records import Dataset
from vidx.terminal import counted


class Detections:
  """`detections/features`, `detections/boxes` and `detections/mask`, which follow the frames of a clip."""

  keys = ("detections/features", "detections/boxes", "detections/mask")

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    """
    Raises:
      DataError: the data set has no detections.
    """
    del seed, timed
    without = next((r for r in dataset.records if "detections" not in r.companions), None)
    if without is not None:
      raise errors.DataError(f"the system takes detections, and data set '{dataset.name}' has none of '{without.id}':"
                             " make its folder of detections by `vidx data detections`.")
    self._dataset, self._data, self._training = dataset, data.detections, training
    self._views = () if training else (clips * crops,)

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """Candidates of each view of a record.

    Raises:
      DecodeError: its file of detections is absent or broken.
    """
    del rng, room
    d = self._data
    path = self._dataset.records[index].companions["detections"].path
    store = detections.open_store(path)
    if store.feats.shape[-1] != d.size:
      raise errors.DecodeError(f"{path}: {counted(store.feats.shape[-1], 'feature')} per object, not {d.size} as"
                               " data.detections.size says.")
    views = []
    for seconds in cut.seconds:
      found = store.around(sum(clips_lib.extent(seconds)) / 2, d.frames, d.rate, d.boxes)
      views += [self._seen(*found, where) for where in cut.geometry]
    joined = {key: np.stack([view[key] for view in views]) for key in self.keys}
    return {key: value[0] for key, value in joined.items()} if self._training else joined, None

  def _seen(self, feats, boxes, mask, where):
    """One view: boxes in its pixels, as far as they lie inside; one that does not is none."""
    inside = geometry.clip(geometry.to_pixels(boxes, where), where)
    mask = mask * (geometry.area(inside) > 0)
    return {"detections/features": feats, "detections/boxes": inside * mask[:, None],
            "detections/mask": mask.astype(np.float32)}

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No detections."""
    del index, room
    return {key: np.zeros((*self._views, *shape), dtype) for key, (shape, dtype) in self._shapes(self._data).items()}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of a clip."""
    del num_classes
    return cls._shapes(data.detections)

  @staticmethod
  def _shapes(d):
    if min(d.frames, d.boxes, d.size) < 1 or d.rate <= 0:
      raise errors.ConfigError(f"data.detections={dict(d)}: write numbers above 0.")
    count = d.frames * d.boxes
    return {"detections/features": ((count, d.size), np.float32), "detections/boxes": ((count, 4), np.float32),
            "detections/mask": ((count,), np.float32)}
