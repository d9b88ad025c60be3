"""Segments of long videos, as frames and seconds, and as csv."""

from collections.abc import Mapping, Sequence
import csv
import io
from typing import Any

import numpy as np

from vidx.tasks.timelines import MAIN


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
