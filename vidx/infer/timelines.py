"""What was predicted for the frames of long videos, as segments: for result files, for people and for tables."""

from collections.abc import Mapping, Sequence
import csv
import io
from typing import Any

import numpy as np

from vidx.metrics import segments
from vidx.tasks.base import FRAMES
from vidx.tasks.segmentation import MAIN

CONFIDENCES = 200  # most values kept of a video's confidence


def runs(labels: np.ndarray, classes: Sequence[str]) -> list[list[Any]]:
  """[[class name, frames], ...] of frame labels (T,), 'unknown' for -1."""
  found = segments.segments(labels)
  return [[classes[c] if c >= 0 else "unknown", int(end - start)]
          for c, start, end in zip(found.classes, found.starts, found.ends)]


def entry(predictions: Mapping[str, Any], row: int, classes: Sequence[str]) -> dict[str, Any]:
  """What one video shows.

  Args:
    predictions: of a split, as the task `segmentation` makes them.
    row: of the video.
    classes: names by id.

  Returns:
    {'frames', 'predicted': {read-out: runs}, the system's first as 'predicted',
    'confidence': at most CONFIDENCES means over equal parts}, and 'truth' where it is known.
  """
  prefix = FRAMES + MAIN
  readouts = sorted(k for k in predictions if k.startswith(prefix))
  confidence = np.asarray(predictions[FRAMES + "confidence"][row], np.float64)
  parts = np.array_split(confidence, min(CONFIDENCES, len(confidence)))
  truth = predictions.get(FRAMES + "truth")
  return {"frames": len(confidence),
          "predicted": {k.removeprefix(prefix + "/").removeprefix(FRAMES): runs(predictions[k][row], classes)
                        for k in readouts},
          "confidence": [round(float(p.mean()), 4) for p in parts],
          **({"truth": runs(truth[row], classes)} if truth is not None and len(truth[row]) and truth[row].min() >= 0
             else {})}


def samples(result: Any, limit: int) -> list[dict[str, Any]]:
  """Up to `limit` videos of an evaluation, evenly over the split."""
  predictions = result.predictions
  count = result.evaluated
  chosen = []
  for row in np.unique(np.linspace(0, count - 1, min(limit, count)).round().astype(int)):
    record = result.dataset.records[int(predictions["index"][row])]
    found = entry(predictions, row, result.dataset.classes)
    if "truth" in found:
      found["right"] = float(np.mean(predictions[FRAMES + MAIN][row] == predictions[FRAMES + "truth"][row]))
    chosen.append({"id": record.id, "media": {"path": record.media.path, "kind": record.media.kind}, **found})
  return chosen


def segments_of(found: Mapping[str, Any], confidence: np.ndarray, fps: float | None = None, stride: int = 1,
                frames: int = 0) -> list[dict[str, Any]]:
  """The segments of an `entry`: [{'label', 'start', 'end', 'confidence'}], frames from 0 on, the end exclusive.

  Args:
    found: the entry.
    confidence: (T,) of its frames.
    fps: frames per second of the video, which adds 'start_seconds' and 'end_seconds'.
    stride: frames of the video per frame of the entry.
    frames: of the video, where that is known; the last segment ends there.
  """
  listed, first = [], 0
  for label, count in found["predicted"][MAIN]:
    last = first + count
    start, end = first * stride, min(last * stride, frames) if frames else last * stride
    seconds = {"start_seconds": round(start / fps, 3), "end_seconds": round(end / fps, 3)} if fps else {}
    listed.append({"label": label, "start": start, "end": end, **seconds,
                   "confidence": round(float(confidence[first:last].mean()), 4)})
    first = last
  return listed


def to_csv(found: Sequence[Mapping[str, Any]]) -> str:
  """A line per segment of predicted videos; those that cannot be read are left out."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  columns = ("label", "start", "end", "start_seconds", "end_seconds", "confidence")
  writer.writerow(("path", *columns))
  for video in found:
    writer.writerows((video["path"], *(s.get(c, "") for c in columns)) for s in video["segments"])
  return text.getvalue()
