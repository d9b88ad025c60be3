"""What was predicted for the frames of a long video, as runs of equal class: for result files and for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidx.metrics import segments
from vidx.tasks.base import FRAMES

MAIN = "predicted"  # the first read-out of a system
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
