"""Detections: objects found in the frames of a video, kept as one npz per video.

| array | shape | what |
|---|---|---|
| time_s | (F,) | seconds since the first frame of the video, ascending |
| frame_index | (F,) | the number of the frame, 0 the first one |
| boxes | (F, K, 4) | x0, y0, x1, y1 in parts of the whole frame, 0..1 |
| scores | (F, K) | confidence, the best first; 0 where a frame has fewer than K |
| feats | (F, K, D) float16 | features of the objects |

Files are not compressed, so that a few frames are read without the others.
"""

from collections.abc import Mapping
import functools
import os
import zipfile

import numpy as np

from vidx import errors, reading, writing

_NEEDED = ("time_s", "boxes", "scores", "feats")
_ROOM = 1e-3  # by which a box may leave the frame: rounding of pixels


def write(path: str, time_s: np.ndarray, boxes: np.ndarray, scores: np.ndarray, feats: np.ndarray,
          frame_index: np.ndarray | None = None, source: str = "") -> None:
  """Writes a store; detections of a frame are sorted by score, frames by time.

  `source` is named where they cannot be, in place of `path`.

  Raises:
    DataError: boxes that lie outside the frame or have no area, or arrays that do not fit each other.
  """
  order = np.argsort(time_s, kind="stable")
  frame_index = np.arange(len(order)) if frame_index is None else np.asarray(frame_index)
  best = np.argsort(-np.asarray(scores)[order], axis=1, kind="stable")
  rows = order[:, None]
  found = {"time_s": np.asarray(time_s, np.float64)[order], "frame_index": frame_index[order],
           "boxes": np.asarray(boxes, np.float32)[rows, best], "scores": np.asarray(scores, np.float32)[rows, best],
           "feats": np.asarray(feats)[rows, best].astype(np.float16)}
  _check(found, source or path)
  writing.write_arrays(path, found)


class Store:
  """An open store: `time_s`, `boxes` and `scores` in memory, `feats` on the disk where it is not compressed."""

  def __init__(self, path: str):
    """
    Raises:
      DecodeError: it is absent, is no such file, or holds boxes that cannot be.
    """
    with reading.boundary(f"{path} holds no detections", errors.DecodeError):
      try:
        with reading.arrays(path) as f:
          arrays = {k: f[k] for k in _NEEDED[:3]}
          self.frame_index = f["frame_index"] if "frame_index" in f else np.arange(len(arrays["time_s"]))
          feats = _mapped(path, "feats.npy")
          self.feats = f["feats"] if feats is None else feats
        _check({**arrays, "feats": self.feats}, path)
      except FileNotFoundError:
        raise errors.DecodeError(f"{path}: there are no detections of this video.") from None
      except errors.DataError as e:
        raise errors.DecodeError(str(e)) from None
    self.name = path
    self.time_s, self.boxes, self.scores = (arrays[k] for k in _NEEDED[:3])

  def around(self, centre: float, frames: int, rate: float, count: int
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best `count` detections of each of `frames` frames, `rate` a second, around a time.

    A time that no stored frame is near (half a period) has none, as before the start of
    the video and behind its end.

    Returns:
      feats float32 (frames * count, D), boxes float32 (frames * count, 4) of 0..1, and
      float32 (frames * count,) 1 where there is a detection.
    """
    width = self.feats.shape[-1]
    feats, boxes = np.zeros((frames, count, width), np.float32), np.zeros((frames, count, 4), np.float32)
    mask = np.zeros((frames, count), np.float32)
    have = min(count, self.scores.shape[1])
    for i in range(frames if len(self.time_s) else 0):
      time = centre + (i - (frames - 1) / 2) / rate
      at = int(np.abs(self.time_s - time).argmin())
      if abs(self.time_s[at] - time) > 0.5 / rate + 1e-6:
        continue
      live = self.scores[at, :have] > 0
      mask[i, :have] = live
      feats[i, :have] = np.where(live[:, None], self.feats[at, :have], 0)
      boxes[i, :have] = np.where(live[:, None], self.boxes[at, :have], 0)
    return feats.reshape(-1, width), boxes.reshape(-1, 4), mask.reshape(-1)

  def of_frame(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float32 (N, 4) of 0..1 and scores (N,) of a frame, the best first; none where it was not looked at."""
    at = np.flatnonzero(self.frame_index == frame)
    if not len(at):
      return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    live = self.scores[at[0]] > 0
    return self.boxes[at[0]][live], self.scores[at[0]][live]


def beside(video: str) -> str:
  """Where detections of a video are that no annotation names: <video>.npz, or that in a folder `detections` near by.

  Folders up to two levels above are looked at, as those of a participant's videos.
  """
  folder, name = os.path.split(os.path.splitext(video)[0] + ".npz")
  places = [folder, *(os.path.join(folder, *[".."] * up, "detections") for up in range(3))]
  paths = [os.path.normpath(os.path.join(at, name)) for at in places]
  return next((path for path in paths if os.path.isfile(path)), paths[0])


@functools.lru_cache(maxsize=32)
def open_store(path: str) -> Store:
  """A store, kept open in this process."""
  return Store(path)


def _mapped(path: str, name: str) -> np.ndarray | None:
  """An array of an npz as a map of the file; None where it is compressed."""
  with zipfile.ZipFile(path) as archive, open(path, "rb") as f:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
      return None
    f.seek(info.header_offset)
    header = f.read(30)
    start = info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    f.seek(start)
    shape, fortran, dtype, length = reading.header(f, os.path.getsize(path))
    if not length:
      return None
    return np.memmap(path, dtype, "r", f.tell(), shape, "F" if fortran else "C")


def _check(arrays: Mapping[str, np.ndarray], path: str) -> None:
  """Raises DataError for arrays that do not belong together and for boxes that cannot be."""
  frames, count = arrays["scores"].shape if arrays["scores"].ndim == 2 else (-1, -1)
  shapes = {"time_s": (frames,), "boxes": (frames, count, 4), "feats": (frames, count, arrays["feats"].shape[-1])}
  for name, shape in shapes.items():
    if arrays[name].shape != shape:
      raise errors.DataError(f"{path}: {name} of shape {arrays[name].shape} beside scores of {arrays['scores'].shape}.")
  boxes, live = arrays["boxes"], arrays["scores"] > 0
  finite = np.isfinite(boxes).all(-1)
  outside = live & ~(finite & (boxes >= -_ROOM).all(-1) & (boxes <= 1 + _ROOM).all(-1))
  flat = live & finite & ~((boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1]))
  for bad, what in ((outside, "lies outside the frame (0..1)"), (flat, "has no area")):
    if bad.any():
      i, k = np.argwhere(bad)[0]
      raise errors.DataError(f"{path}, frame {i} (at {arrays['time_s'][i]:g} s), box {k}:"
                             f" {np.round(boxes[i, k], 4).tolist()} {what}.")
