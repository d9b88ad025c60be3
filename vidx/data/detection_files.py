"""`vidx data detections`: what detectors write, as one store per video (see vidx/data/detections.py).

  *.json          a list of {"video_id", "frame" or "time_s", "bbox": [x, y, width, height], "score",
                  "feature": [...]} in pixels, as COCO results with features; {"detections": [...], "videos":
                  {video: {"width", "height", "fps"}}} says the sizes too
  <video>.npz     boxes (F, K, 4) as x0, y0, x1, y1, scores (F, K), features or feats (F, K, D),
  <video>.pkl     frames (F,) or time_s (F,), width, height, fps; a dict of NumPy arrays as a pickle
  EPIC_train_object_labels.csv   boxes drawn by people: score 1, features zero

Videos whose sizes or rates no file says take those of the flags.
"""

from collections.abc import Iterator, Mapping
import ast
import glob
import os
from typing import Any

import numpy as np

from vidx import errors, reading
from vidx.data import detections, plain_pickle
from vidx.data.datasets import common
from vidx.terminal import counted

_EPIC = ("noun_class", "video_id", "frame", "bounding_boxes")
_FOUND = dict[float, list[tuple[list[float], float, Any]]]  # seconds: (box in pixels, score, feature)


def convert(root: str, out: str, width: int = 0, height: int = 0, fps: float = 0.0, count: int = 10, size: int = 0
            ) -> dict[str, Any]:
  """Writes a store per video.

  Args:
    root: a file, or a folder of such files.
    out: folder to write.
    width: of the frames that boxes are in, in pixels, where no file says it; boxes within 0..1 need none.
    height: as `width`.
    fps: of frames that have a number and no time.
    count: detections of a frame that are kept, the best.
    size: features of a detection that has none; 0: as many as the others have.

  Returns:
    {'videos', 'frames', 'detections', 'features'}: how many.

  Raises:
    DataError: files that cannot be read, or boxes that cannot be; file and row are named.
  """
  if not out:
    raise errors.ConfigError("no folder to write: add --out=FOLDER.")
  if count < 1:
    raise errors.ConfigError(f"count={count} detections per frame are none.")
  known = {"width": width, "height": height, "fps": fps}
  totals = {"videos": 0, "frames": 0, "detections": 0, "features": size}
  for video, found, facts, source in _videos(root, known):
    stored = _stored(found, facts, source, count, size)
    detections.write(os.path.join(out, f"{video}.npz"), *stored, source=f"{source}, video '{video}'")
    totals["videos"] += 1
    totals["frames"] += len(stored[0])
    totals["detections"] += int((stored[2] > 0).sum())
    totals["features"] = stored[3].shape[-1]
  if not totals["videos"]:
    raise errors.DataError(f"{root} holds no detections: .json, .npz, .pkl, or EPIC_train_object_labels.csv.")
  return totals


def _videos(root: str, known: Mapping[str, float]) -> Iterator[tuple[str, _FOUND, dict[str, float], str]]:
  """(video, detections, facts, file) of all videos of a file or folder."""
  if not os.path.exists(root):
    raise errors.DataError(f"{root} does not exist: name a file of detections or a folder of them (--root=PATH).")
  paths = sorted(glob.glob(os.path.join(glob.escape(root), "**", "*.*"), recursive=True)) if os.path.isdir(root) else [
      root]
  for path in paths:
    ending = os.path.splitext(path)[1].lower()
    stem = os.path.splitext(os.path.basename(path))[0]
    if ending == ".json":
      for video, (found, facts) in _json(path, known).items():
        yield video, found, facts, path
    elif ending in (".npz", ".pkl"):
      found, facts = _arrays(path, known)
      yield stem, found, facts, path
    elif ending == ".csv" and "object_labels" in stem:
      for video, found in _epic(path, known).items():
        yield video, found, dict(known), path


def _json(path: str, known: Mapping[str, float]) -> dict[str, tuple[_FOUND, dict[str, float]]]:
  content = common.read_json(path)
  rows, videos = (content.get("detections"), content.get("videos", {})) if isinstance(content, dict) else (content, {})
  if not isinstance(rows, list):
    raise errors.DataError(f"{path}: expected a list of detections.")
  out: dict[str, tuple[_FOUND, dict[str, float]]] = {}
  for i, row in enumerate(rows, 1):
    where = f"{path}, entry {i}"
    try:
      video, (x, y, w, h), score = str(row["video_id"]), map(float, row["bbox"]), float(row["score"])
      facts = {**known, **videos.get(video, {})}
      time = float(row["time_s"]) if "time_s" in row else _time(float(row["frame"]), facts, video, where)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
      raise errors.DataError(f"{where}: no detection with 'video_id', 'frame' or 'time_s', 'bbox' and 'score'"
                             f" ({type(e).__name__}: {e}).") from None
    out.setdefault(video, ({}, facts))[0].setdefault(time, []).append(([x, y, x + w, y + h], score, row.get("feature")))
  return out


def _time(frame: float, facts: Mapping[str, float], video: str, where: str) -> float:
  if not facts["fps"] > 0:
    raise errors.DataError(f"{where}: nothing says how many frames per second video '{video}' has; add fps=NUMBER.")
  return frame / facts["fps"]


def _arrays(path: str, known: Mapping[str, float]) -> tuple[_FOUND, dict[str, float]]:
  with reading.boundary(f"{path} holds no detections"):
    if path.endswith(".npz"):
      with reading.arrays(path) as f:
        content = dict(f)
    else:
      content = plain_pickle.load(path)
    boxes, scores = (np.asarray(content[k], np.float64) for k in ("boxes", "scores"))
    feats = next((np.asarray(content[k]) for k in ("feats", "features") if k in content), None)
    facts = {k: float(content[k]) if k in content else v for k, v in known.items()}
    video = os.path.splitext(os.path.basename(path))[0]
    times = (np.asarray(content["time_s"], np.float64) if "time_s" in content else
             [_time(float(n), facts, video, path) for n in content["frames"]])
    if boxes.shape != (*scores.shape, 4) or len(times) != len(scores) or (
        feats is not None and feats.shape[:2] != scores.shape):
      raise ValueError(f"boxes {boxes.shape}, scores {scores.shape} and {counted(len(times), 'time')} do not fit")
  return {float(t): [(boxes[i, k].tolist(), float(scores[i, k]), None if feats is None else feats[i, k])
                     for k in range(scores.shape[1]) if scores[i, k] > 0] for i, t in enumerate(times)}, facts


def _epic(path: str, known: Mapping[str, float]) -> dict[str, _FOUND]:
  """Boxes (top, left, height, width) of EPIC-KITCHENS-55, 60 frames per second unless said otherwise."""
  out: dict[str, _FOUND] = {}
  facts = {**known, "fps": known["fps"] or 60.0}
  for line, row in common.read_table(path, _EPIC):
    try:
      boxes = [tuple(map(float, box)) for box in ast.literal_eval(row["bounding_boxes"])]
      if any(len(box) != 4 for box in boxes):
        raise ValueError
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
      raise errors.DataError(f"{path}, line {line}: bounding_boxes '{row['bounding_boxes']}' is no list of (top, left,"
                             " height, width).") from None
    time = common.as_number(row["frame"], "frame", path, line) / facts["fps"]
    frame = out.setdefault(row["video_id"], {}).setdefault(time, [])
    frame += [([left, top, left + w, top + h], 1.0, None) for top, left, h, w in boxes]
  return out


def _stored(found: _FOUND, facts: Mapping[str, float], source: str, count: int, size: int):
  """time_s, boxes in parts of the frame, scores, feats, of the best `count` of each frame."""
  times = sorted(found)
  width = next((len(f) for t in times for _, _, f in found[t] if f is not None), size)
  corners = np.array([box for t in times for box, _, _ in found[t]], np.float64).reshape(-1, 4)
  in_pixels = bool(len(corners)) and corners.max() > 1 + 1e-3
  if in_pixels and not (facts["width"] > 0 and facts["height"] > 0):
    raise errors.DataError(f"{source}: boxes are in pixels and nothing says of what frames; add width=NUMBER"
                           " height=NUMBER.")
  unit = np.array([facts["width"], facts["height"]] * 2) if in_pixels else np.ones(4)
  boxes, scores = np.zeros((len(times), count, 4), np.float32), np.zeros((len(times), count), np.float32)
  feats = np.zeros((len(times), count, max(width, 1)), np.float16)
  for i, t in enumerate(times):
    best = sorted(found[t], key=lambda d: -d[1])[:count]
    for k, (box, score, feature) in enumerate(best):
      boxes[i, k], scores[i, k] = np.asarray(box) / unit, score
      if feature is not None and len(feature) != width:
        raise errors.DataError(f"{source}, at {t:g} s: a detection has {counted(len(feature), 'feature')}, others have"
                                 f" {width}.")
      if feature is not None:
        feats[i, k] = feature
  return np.array(times), boxes, scores, feats
