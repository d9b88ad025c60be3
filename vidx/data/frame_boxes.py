"""Boxes that an annotation knows in a video: checked once by readers, kept in `Record.extra["frame_boxes"]`.

What can be wrong with a box is treated alike for all formats: corners that are swapped or are
no numbers are an error; what lies outside of the frame is cut off; a box of which nothing is
inside, or that has no area, is left out and counted (`FrameBoxes.dropped`).
"""

from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

from vidx import errors

TRUTH, PROPOSED = "frame_boxes", "proposed_boxes"  # keys of Record.extra


@dataclasses.dataclass(frozen=True, eq=False)
class FrameBoxes:
  """Boxes of the frames of a video, one a row, frames ascending; made by `frame_boxes`.

  Attributes:
    frame: int32 (N,) numbers of frames of the media; None where all are of one key frame, that in the middle of a clip.
    box: float32 (N, 4) as x0, y0, x1, y1 in parts of the frame, 0..1.
    label: int32 (N,) class ids, -1 where unknown, or bool (N, C) where a box may be of several classes.
    track: int32 (N,) ids inside the video, -1 for none.
    score: float32 (N,), of proposed boxes; 1 for the truth.
    dropped: boxes that were left out.
  """

  frame: np.ndarray | None
  box: np.ndarray
  label: np.ndarray
  track: np.ndarray
  score: np.ndarray
  dropped: int = 0

  def __len__(self) -> int:
    return len(self.box)

  def rows(self, frame: int) -> np.ndarray:
    """Row numbers of a frame's boxes; of one key frame all, whatever the number."""
    if self.frame is None:
      return np.arange(len(self))
    return np.arange(*np.searchsorted(self.frame, (frame, frame + 1)))

  def most(self) -> int:
    """Boxes of the frame that has most."""
    if self.frame is None:
      return len(self)
    return int(np.unique(self.frame, return_counts=True)[1].max(initial=0))

  def classes(self) -> list[int]:
    """Ids of the classes that some box is of."""
    if self.label.ndim == 1:
      return [int(c) for c in np.unique(self.label) if c >= 0]
    return np.flatnonzero(self.label.any(0)).tolist()

  def moved(self, to: Sequence[int], classes: int) -> "FrameBoxes":
    """With class c called `to[c]`, of so many classes."""
    to = np.asarray(to, np.int32)
    if self.label.ndim == 1:
      return dataclasses.replace(self, label=np.where(self.label >= 0, to[self.label], self.label).astype(np.int32))
    label = np.zeros((len(self), classes), bool)
    label[:, to] = self.label
    return dataclasses.replace(self, label=label)

  def digest(self) -> str:
    """Hash of all that is in it."""
    own = hashlib.sha256()
    for array in (self.frame, self.box, self.label, self.track, self.score):
      own.update(b"" if array is None else array.tobytes())
    return own.hexdigest()


def frame_boxes(box: np.ndarray, label: np.ndarray, frame: np.ndarray | None = None, track: np.ndarray | None = None,
                score: np.ndarray | None = None, source: str | Sequence[str] = "") -> FrameBoxes:
  """Boxes as an annotation has them, checked and in order.

  Args:
    box: (N, 4) as x0, y0, x1, y1 in parts of the frame.
    label: (N,) class ids or (N, C) of zeros and ones.
    frame: (N,) numbers of frames; None for one key frame.
    track: (N,) ids; None for none.
    score: (N,); None for 1.
    source: what an error names, the same for all or one per row.

  Raises:
    DataError: corners that are swapped or no numbers.
  """
  box = np.asarray(box, np.float64).reshape(-1, 4)
  bad = ~np.isfinite(box).all(1) | (box[:, 2:] < box[:, :2]).any(1)
  if bad.any():
    i = int(np.argmax(bad))
    where = source if isinstance(source, str) else source[i]
    at = "" if frame is None or not isinstance(source, str) else f", frame {int(np.asarray(frame)[i])}"
    what = "swapped corners" if np.isfinite(box[i]).all() else "corners that are no numbers"
    raise errors.DataError(f"{where}{at}: the box {np.round(box[i], 4).tolist()} has {what}; boxes are x0, y0, x1, y1"
                           " from the upper left to the lower right, here in parts of the frame.")
  inside = np.clip(box, 0, 1)
  kept = ((inside[:, 2:] - inside[:, :2]) > 0).all(1)
  order = np.flatnonzero(kept)
  if frame is not None:
    order = order[np.argsort(np.asarray(frame)[order], kind="stable")]
  label = np.asarray(label)
  n = len(box)
  pick = lambda x, default, dtype: (np.full(n, default) if x is None else np.asarray(x))[order].astype(dtype)
  return FrameBoxes(None if frame is None else np.asarray(frame)[order].astype(np.int32),
                    inside[order].astype(np.float32),
                    label[order].astype(np.int32 if label.ndim == 1 else bool), pick(track, -1, np.int32),
                    pick(score, 1.0, np.float32), int(n - len(order)))
