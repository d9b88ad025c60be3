"""Boxes that were found in a video, and how they are told: as entries of JSON, as csv, and as rows of a table."""

from collections.abc import Mapping, Sequence
import csv
import io
from typing import Any, NamedTuple

import numpy as np

from vidx.terminal import counted


class Found(NamedTuple):
  """Boxes of a video, one a row.

  Attributes:
    frame: int (N,).
    box: (N, 4) in pixels of the video.
    label: int (N,).
    score: (N,).
    track: int (N,), which boxes are of one chain, -1 for none.
  """

  frame: np.ndarray
  box: np.ndarray
  label: np.ndarray
  score: np.ndarray
  track: np.ndarray


def entry_of(found: Found, classes: Sequence[str], least: float = 0.05) -> list[dict[str, Any]]:
  """[{'frame', 'boxes': [{'label', 'score', 'track', 'box' in pixels}]}] of every frame with a box from a score on."""
  out: dict[int, list] = {}
  for frame, box, label, score, track in zip(*found):
    if score >= least:
      out.setdefault(int(frame), []).append({
          "label": classes[label], "score": float(score), "track": int(track),
          "box": [round(float(x), 2) for x in box]})
  return [{"frame": frame, "boxes": boxes} for frame, boxes in sorted(out.items())]


def to_csv(entries: Sequence[Mapping[str, Any]]) -> str:
  """`path,frame,track,label,score,x0,y0,x1,y1`, a line per box."""
  out = io.StringIO()
  rows = csv.writer(out, lineterminator="\n")
  rows.writerow(("path", "frame", "track", "label", "score", "x0", "y0", "x1", "y1"))
  for entry in entries:
    for frame in entry.get("frames", ()):
      rows.writerows((entry["path"], frame["frame"], b["track"], b["label"], f"{b['score']:.6f}", *b["box"])
                     for b in frame["boxes"])
  return out.getvalue()


def lines(entry: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
  """(path, what, best score, frames) of each track of an entry, and of boxes of none by class, for a table."""
  kinds: dict[tuple[str, int], list[tuple[float, int]]] = {}
  for frame in entry["frames"]:
    for b in frame["boxes"]:
      kinds.setdefault((b["label"], b["track"]), []).append((b["score"], frame["frame"]))
  rows = []
  for (label, track), seen in sorted(kinds.items(), key=lambda k: -max(k[1])[0]):
    numbers = [frame for _, frame in seen]
    rows.append((entry["path"], label + (f", track {track}" if track >= 0 else ""), f"{100 * max(seen)[0]:.1f} %",
                 f"{min(numbers)} to {max(numbers)}, in {len(set(numbers))}"))
  return rows or [(entry["path"], "no box", "", f"in {counted(entry['count'], 'frame')}, none reaches the threshold")]
