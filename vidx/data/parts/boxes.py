"""The part of boxes: the objects of every frame of a clip, or of its key frame, and proposals where to look for them.

Boxes are in pixels of the frames beside them, through crop, flip, resize and padding. Rows
behind the last box of a frame are zeros with a mask of 0; so are boxes that a crop leaves
nothing of. A frame with more objects than there are places is an error, since both training
and its measure would silently be of other data; of proposals the best are taken.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import detections, geometry
from vidx.data.frame_boxes import PROPOSED, TRUTH, FrameBoxes
from vidx.data.records import Dataset, Record
from vidx.terminal import counted

FRAMES = ("all", "middle")
TRAIN_ROIS = ("file", "truth")
OF_TRUTH = ("boxes", "box_label", "box_track", "box_mask")


class Boxes:
  """`boxes`, `box_label`, `box_track` and `box_mask` of annotated data, `rois` and `roi_mask` where wanted, `extent`.

  The section `data.boxes` says: `frames` "all", (T, G, 4), or "middle", the key frame, (G, 4); `most` G, 0 for the
  most that a frame of the split has; `rois` R, 0 for no proposals; `least` score of proposals; `train_rois` "truth"
  where training takes the true boxes in place of proposals, row by row.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    """
    Raises:
      ConfigError: a section that cannot be.
      DataError: a frame has more boxes than `data.boxes.most`, or a record has no proposals.
    """
    del seed, timed
    check(data.boxes)
    self._dataset, self._data, self._training = dataset, data, training
    self._views = () if training else (clips * crops,)
    self._annotated = any(TRUTH in r.extra for r in dataset.records)
    self._room = self._most()
    own = training and data.boxes.train_rois == "truth"
    self._rois = 0 if not data.boxes.rois else self._room if own else data.boxes.rois
    if data.boxes.rois and not own:
      without = next((r for r in dataset.records if PROPOSED not in r.extra and "proposals" not in r.companions), None)
      if without is not None:
        raise errors.DataError(f"data.boxes.rois={data.boxes.rois}: data set '{dataset.name}' has no proposals of"
                               f" '{without.id}'; name their folder, data.dataset.proposals.")

  @property
  def keys(self) -> tuple[str, ...]:
    return (*(OF_TRUTH if self._annotated else ()), *(("rois", "roi_mask") if self._rois else ()), "extent")

  def _most(self) -> int:
    found = [(r.extra[TRUTH].most(), r.id) for r in self._dataset.records if TRUTH in r.extra]
    count, name = max(found, default=(1, ""))
    most = self._data.boxes.most
    if most and count > most:
      raise errors.DataError(f"{name}: a frame has {counted(count, 'box')}, more than the {most} of data.boxes.most;"
                             f" make it {count}, or 0 for the most that the split has.")
    return most or max(1, count)

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """The boxes of each view of a record.

    Raises:
      DecodeError: its file of proposals is absent or broken.
    """
    del rng, room
    record, views = self._dataset.records[index], []
    for frames in cut.indices:
      if self._data.boxes.frames == "middle":
        frames = frames[len(frames) // 2:][:1]
      truth = [self._truth(record, int(frame)) for frame in frames]
      rois = [self._proposed(record, int(frame)) for frame in frames]
      views += [self._seen(truth, rois, place) for place in cut.geometry]
    if self._training:
      return views[0], None
    return {key: np.stack([view[key] for view in views]) for key in self.keys}, None

  def _truth(self, record: Record, frame: int):
    """(boxes, labels, tracks) of a frame."""
    found: FrameBoxes | None = record.extra.get(TRUTH)
    if found is None:
      return np.zeros((0, 4), np.float32), np.zeros((0, *self._label_shape)), np.zeros(0)
    rows = found.rows(frame)
    return found.box[rows], found.label[rows], found.track[rows]

  def _proposed(self, record: Record, frame: int) -> np.ndarray:
    """(N, 4) of a frame, the best first."""
    if not self._rois:
      return np.zeros((0, 4), np.float32)
    if self._training and self._data.boxes.train_rois == "truth":
      return self._truth(record, frame)[0]
    if PROPOSED in record.extra:
      found = record.extra[PROPOSED]
      rows = found.rows(frame)
      boxes, scores = found.box[rows], found.score[rows]
    else:
      boxes, scores = detections.open_store(record.companions["proposals"].path).of_frame(frame)
    order = np.argsort(-scores, kind="stable")
    return boxes[order][scores[order] >= self._data.boxes.least][:self._rois]

  def _seen(self, truth, rois, place: geometry.Geometry) -> batch_lib.Batch:
    """The arrays of one view."""
    example = self._empty(len(truth))
    for t, ((boxes, labels, tracks), proposed) in enumerate(zip(truth, rois)):
      if self._annotated:
        n = len(boxes)
        example["boxes"][t, :n], example["box_mask"][t, :n] = _placed(boxes, place)
        example["box_label"][t, :n], example["box_track"][t, :n] = labels, tracks
      if self._rois:
        n = len(proposed)
        example["rois"][t, :n], example["roi_mask"][t, :n] = _placed(proposed, place)
    if self._data.boxes.frames == "middle":
      example = {key: value[0] for key, value in example.items()}
    corner = geometry.clip(geometry.to_pixels(np.array([0.0, 0.0, 1.0, 1.0]), place), place)[2:]
    return {**example, "extent": corner[::-1].copy()}

  @property
  def _label_shape(self) -> tuple[int, ...]:
    return (len(self._dataset.classes),) if self._dataset.multilabel else ()

  def _empty(self, frames: int) -> batch_lib.Batch:
    """Frames without boxes."""
    out = {}
    if self._annotated:
      lead = (frames, self._room)
      several = self._dataset.multilabel
      out = {"boxes": np.zeros((*lead, 4), np.float32), "box_track": np.full(lead, -1, np.int32),
             "box_label": np.zeros((*lead, *self._label_shape), np.float32) if several else np.full(lead, -1, np.int32),
             "box_mask": np.zeros(lead, np.float32)}
    if self._rois:
      out |= {"rois": np.zeros((frames, self._rois, 4), np.float32),
              "roi_mask": np.zeros((frames, self._rois), np.float32)}
    return out

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No boxes."""
    del index, room
    middle = self._data.boxes.frames == "middle"
    example = self._empty(1 if middle else self._data.frames * self._data.consecutive)
    example = {key: value[0] if middle else value for key, value in example.items()}
    example["extent"] = np.ones(2, np.float32)
    return {key: np.broadcast_to(value, (*self._views, *value.shape)).copy() for key, value in example.items()}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of a clip; labels as of one class per box."""
    del num_classes
    d = data.boxes
    check(d)
    frames = () if d.frames == "middle" else (data.frames * data.consecutive,)
    lead = (*frames, d.most or 1)
    found = {"boxes": ((*lead, 4), np.float32), "box_label": (lead, np.int32), "box_track": (lead, np.int32),
             "box_mask": (lead, np.float32), "extent": ((2,), np.float32)}
    if d.rois:
      found |= {"rois": ((*frames, d.rois, 4), np.float32), "roi_mask": ((*frames, d.rois), np.float32)}
    return found


def check(section: ConfigDict) -> None:
  """Raises ConfigError for a section `data.boxes` that cannot be."""
  errors.check_choice("data.boxes.frames", section.frames, FRAMES)
  errors.check_choice("data.boxes.train_rois", section.train_rois, TRAIN_ROIS)
  if min(section.most, section.rois) < 0:
    raise errors.ConfigError(f"data.boxes={dict(section)}: write 0 or more for most and rois.")


def _placed(boxes: np.ndarray, place: geometry.Geometry) -> tuple[np.ndarray, np.ndarray]:
  """Boxes (N, 4) of 0..1 in pixels of an array, zeros where nothing of one is inside, and (N,) whether something is."""
  inside = geometry.clip(geometry.to_pixels(boxes, place), place)
  mask = (geometry.area(inside) > 0).astype(np.float32)
  return inside * mask[:, None], mask
