"""What readers of long videos share: a file of features per video, and its segments.

A record of such a data set holds

  media   kind "features": a .npy file, or a text file of rows `index f1 .. fD`
  label   the set of actions, ascending class ids
  extra   transcript: class ids in order
          runs: (class id, frames) of the frame labels, () where there are none
          time_axis: of the array in the file
          frames: most that may be loaded, from the header of the file or its labels

and `vidx.data.feature_files.load` gives its arrays.
"""

from collections.abc import Callable, Mapping, Sequence
import os
from typing import NamedTuple

import numpy as np

from vidx import errors, reading
from vidx.data import feature_files
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record
from vidx.metrics import segments
from vidx.terminal import counted

SIZES = (64, 2048)  # of the published features: reduced Fisher vectors, two-stream I3D

Runs = tuple[tuple[int, int], ...]


class Annotation(NamedTuple):
  """Of one video: frame labels as runs, () where unknown, and the transcript."""

  runs: Runs
  transcript: tuple[int, ...]


def time_axis(shape: tuple[int, int], frames: int, usual: int) -> int:
  """Which axis of a feature array is time.

  The one that is as long as the labels, where the other is not; else the one that
  is not of a known feature size, where the other is; else as is usual.

  Args:
    shape: of the array.
    frames: that are labelled, 0 where unknown.
    usual: of the layout.
  """
  near = [frames > 0 and abs(size - frames) <= feature_files.slack(frames) for size in shape]
  if near[0] != near[1]:
    return near.index(True)
  known = [size in SIZES for size in shape]
  return known.index(False) if known[0] != known[1] else usual


def collect(name: str, split: str, videos: Sequence[str], classes: tuple[str, ...], features: Callable[[str], str],
            annotate: Callable[[str], Annotation], usual_axis: int) -> Dataset:
  """The records of a split; only the headers of the feature files are read.

  A file whose header cannot be read stays a record: whoever loads it says so.

  Args:
    name: of the reader.
    split: of the records.
    videos: names, which become the ids.
    classes: names by id.
    features: path of a video's features.
    annotate: its labels and transcript; raises DataError.
    usual_axis: see `time_axis`.

  Raises:
    DataError: a broken file, or features of different sizes.
  """
  records, missing, size = [], [], 0
  for video in videos:
    path = features(video)
    if not os.path.isfile(path):
      missing.append(video)
      continue
    runs, transcript = annotate(video)
    if not transcript:
      raise errors.DataError(f"video '{video}': " + (
          "its transcript names no action, though it has labels." if runs else "it has no labels and no transcript."))
    axis, frames = 0, sum(n for _, n in runs)
    shape = feature_files.array_shape(path) if path.endswith(".npy") else None
    if shape:
      axis = time_axis(shape, frames, usual_axis)
      frames = feature_files.common_length(shape[axis], frames, path) if runs else shape[axis]
      size = size or shape[1 - axis]
      if shape[1 - axis] != size:
        raise errors.DataError(f"features {path}: {shape[1 - axis]} per frame, but those before have {size}.")
    extra = {"transcript": transcript, "runs": runs, "time_axis": axis, "frames": frames}
    records.append(Record(video, Media(path, "features"), tuple(sorted(set(transcript))), extra=extra))
  return Dataset(name, split, tuple(records), classes, multilabel=True, missing=tuple(missing))


def read_mapping(path: str) -> tuple[str, ...]:
  """Class names of a file of lines `id name`, ids 0, 1, .. in any order."""
  found: dict[int, str] = {}
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    parts = text.split()
    if len(parts) != 2:
      raise errors.DataError(f"{path}, line {line}: {counted(len(parts), 'column')}, expected `id name`.")
    number = common.as_int(parts[0], "class id", path, line)
    if number in found or parts[1] in found.values():
      raise errors.DataError(f"{path}, line {line}: '{text.strip()}' names a class or an id that stands already above.")
    found[number] = parts[1]
  if sorted(found) != list(range(len(found))):
    raise errors.DataError(f"{path}: the class ids are not 0 to {len(found) - 1}.")
  return tuple(found[i] for i in range(len(found)))


def split_lists(lists: Mapping[str, str], split: str) -> list[str]:
  """Names of one split, from a file of one name per line; endings, folders and lines of `#` are left out.

  Args:
    lists: file by split.
    split: a key.

  Raises:
    AbsentError: no such file.
    DataError: a name stands twice, in one list or in two.
  """
  seen: dict[str, str] = {}
  names: dict[str, list[str]] = {}
  for key, path in lists.items():
    if key != split and not os.path.isfile(path):
      continue
    names[key] = []
    for line, text in enumerate(common.read_lines(path), 1):
      name = os.path.basename(text.strip()).removesuffix(".txt").removesuffix(".npy")
      if not name or name.startswith("#"):
        continue
      if name in seen:
        raise errors.DataError(f"{path}, line {line}: '{name}' stands already in {seen[name]}.")
      seen[name] = f"{path}, line {line}"
      names[key].append(name)
  return names[split]


def labels_of_text(path: str, ids: Mapping[str, int], source: str) -> np.ndarray:
  """Class ids of a file of one class name per line: (T,).

  Args:
    path: of the file.
    ids: by name.
    source: where the names come from.
  """
  lines = _text(path)
  try:
    return np.array([ids[text] for text in lines], np.int32)
  except KeyError:
    return np.array([common.class_id(text.strip(), ids, path, i, source) for i, text in enumerate(lines, 1)], np.int32)


def labels_of_array(path: str, classes: int) -> np.ndarray:
  """Class ids of a .npy file of whole numbers: (T,)."""
  found = whole_numbers(path)
  if found.size and found.max() >= classes:
    raise errors.DataError(f"{path}: class id {found.max()} is none of the {counted(classes, 'class')}.")
  return found


def whole_numbers(path: str) -> np.ndarray:
  """A .npy file of a list of whole numbers, none below 0."""
  _needed(path)
  with reading.boundary(f"{path} cannot be read"):
    found = reading.array(path)
  if found.ndim != 1 or found.dtype.kind not in "iuf" or (found != np.round(found)).any() or (found < 0).any():
    raise errors.DataError(f"{path}: of shape {found.shape} and type {found.dtype}, expected a list of whole numbers.")
  return found.astype(np.int64)


def runs_of_spans(path: str, ids: Mapping[str, int], source: str) -> Runs:
  """Runs of a file of lines `start-end name`, frames from 1 on and the end included, without gaps."""
  runs, end = [], 0
  for line, text in enumerate(_text(path), 1):
    if not text.strip():
      continue
    span, *name = text.split()
    start, dash, last = span.partition("-")
    if not dash or len(name) != 1:
      raise errors.DataError(f"{path}, line {line}: expected `start-end name`, not '{text.strip()}'.")
    start, last = common.as_int(start, "start", path, line), common.as_int(last, "end", path, line)
    if start != end + 1 or last < start:
      raise errors.DataError(f"{path}, line {line}: the span {span} does not follow frame {end}.")
    runs.append((common.class_id(name[0], ids, path, line, source), last - start + 1))
    end = last
  return tuple(runs)


def annotation(labels: np.ndarray) -> Annotation:
  """Runs and transcript of frame labels (T,)."""
  found = segments.segments(labels)
  classes = tuple(found.classes.tolist())
  return Annotation(tuple(zip(classes, (found.ends - found.starts).tolist())), classes)


def _text(path: str) -> list[str]:
  _needed(path)
  return common.read_lines(path)


def _needed(path: str) -> None:
  if not os.path.isfile(path):
    raise errors.DataError(f"annotation file {path} does not exist, though a list names its video.")
