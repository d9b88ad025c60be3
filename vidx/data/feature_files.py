"""Files of features per frame: a .npy file, or a text file of rows `index f1 .. fD`, with the labels of its frames."""

from typing import NamedTuple

import numpy as np

from vidx import errors, reading
from vidx.data.records import Record
from vidx.terminal import counted

TOLERANCE = 0.05  # share of the labels by which features may be longer or shorter,
LEAST = 30  # but always so many frames


class FeatureSequence(NamedTuple):
  """Features (T, D) fp32 and frame labels (T,) int32, None where there are none."""

  features: np.ndarray
  labels: np.ndarray | None


def load(record: Record) -> FeatureSequence:
  """Features and labels of a record, cut to the shorter of the two.

  Raises:
    DecodeError: the file is broken.
    DataError: the two do not belong together.
  """
  path = record.media.path
  with reading.boundary(f"features {path} cannot be read", errors.DecodeError):
    reading.regular(path)
    x = np.loadtxt(path, np.float32, ndmin=2)[:, 1:] if path.endswith(".txt") else reading.array(path)
  if x.ndim != 2:
    raise errors.DecodeError(f"features {path}: of shape {x.shape}, expected frames x features.")
  if x.dtype.kind not in "fiu":
    raise errors.DecodeError(f"features {path}: of {x.dtype}, not of numbers.")
  x = np.asarray(x.T if record.extra["time_axis"] else x, np.float32)
  if not np.isfinite(x).all():
    raise errors.DecodeError(f"features {path}:"
                             f" frame {int(np.flatnonzero(~np.isfinite(x).all(1))[0])} holds no numbers.")
  runs = record.extra["runs"]
  if not runs:
    return FeatureSequence(x, None)
  labels = np.repeat(*np.array(runs, np.int32).T).astype(np.int32)
  frames = common_length(len(x), len(labels), path)
  return FeatureSequence(x[:frames], labels[:frames])


def common_length(features: int, labels: int, path: str) -> int:
  """Frames that both have.

  Raises:
    DataError: they differ by more than a slip at the end.
  """
  if abs(features - labels) > slack(labels):
    raise errors.DataError(f"features {path}: {counted(features, 'frame')}, but {labels} are labelled; were they"
                           " computed at another frame rate?")
  return min(features, labels)


def slack(labels: int) -> float:
  """Frames by which features may be longer or shorter than labels."""
  return max(LEAST, TOLERANCE * labels)


def size_of(record: Record) -> int | None:
  """Features per frame, None where the file cannot be read."""
  path = record.media.path
  if path.endswith(".txt"):
    with reading.boundary(f"features {path} cannot be read"):
      reading.regular(path)
      with reading.open_text(path) as f:
        return len(f.readline().split()) - 1 or None
  shape = array_shape(path)
  return shape and shape[1 - record.extra["time_axis"]]


def array_shape(path: str) -> tuple[int, int] | None:
  """Shape of the matrix in a .npy file, None where it cannot be read."""
  try:
    shape = reading.array_shape(path)
  except Exception:  # a damaged header may raise anything; whoever loads the file says what
    return None
  if len(shape) != 2 or not all(shape):
    raise errors.DataError(f"features {path}: of shape {shape}, expected frames x features or features x frames.")
  return shape
