"""When frames are shown, where a file's time stamps are whole and where they are not."""

from collections.abc import Sequence
import bisect

import numpy as np

_MOST = 0.9  # of the frames; below that, the clock has been set anew rather than a stamp spoilt


def ascending(stamps: Sequence[int | None], step: float) -> np.ndarray:
  """(N,) strictly ascending times, those that are there and fit together unchanged.

  Stamps that are missing, or that do not ascend with nearly all others, are put between
  their neighbours. Where a clock starts again, as in files that were joined, what
  follows goes on one step after what came before.

  Args:
    stamps: of the frames in the order in which they are shown.
    step: usual time between two frames, in the stamps' unit.
  """
  there = [i for i, s in enumerate(stamps) if s is not None]
  if not there:
    return np.arange(len(stamps)) * step
  values = np.array([stamps[i] for i in there], np.float64)
  if np.any(np.diff(values) <= 0):
    kept = _longest_ascent(values)
    if len(kept) >= _MOST * len(values):
      there, values = [there[k] for k in kept], values[kept]
    else:
      ahead = np.diff(values)
      values = values + np.append(0.0, np.cumsum(np.where(ahead <= 0, step - ahead, 0.0)))
  if len(values) == len(stamps):
    return values
  times = np.interp(np.arange(len(stamps)), there, values)
  first, last = there[0], there[-1]
  times[:first] = values[0] - step * np.arange(first, 0, -1)
  times[last + 1:] = values[-1] + step * np.arange(1, len(stamps) - last)
  return times


def _longest_ascent(values: np.ndarray) -> list[int]:
  """Indices of a longest strictly ascending part of a sequence."""
  ends, at, before = [], [], []
  for i, v in enumerate(values.tolist()):
    place = bisect.bisect_left(ends, v)
    before.append(at[place - 1] if place else -1)
    ends[place:place + 1], at[place:place + 1] = [v], [i]
  found, i = [], at[-1]
  while i >= 0:
    found.append(i)
    i = before[i]
  return found[::-1]
