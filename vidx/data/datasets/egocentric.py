"""What the readers of verbs and nouns share: class files, time stamps, and where a kitchen's media are."""

from collections.abc import Iterable, Mapping, Sequence
import os
import re

import numpy as np

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Target
from vidx.metrics import verb_noun

FRAMES = "frame_{:010d}.jpg"
DETECTIONS = "detections"


def read_class_file(path: str, columns: tuple[str, str], limit: int = 0) -> tuple[str, ...]:
  """Names by id of a csv with a column of ids and one of keys.

  Args:
    path: the file.
    columns: those of ids and keys.
    limit: ids from it on are left out; 0: none is.

  Raises:
    DataError: ids that are not 0, 1, 2, ...
  """
  found: dict[int, str] = {}
  for line, row in common.read_table(path, columns):
    number = common.as_int(row[columns[0]], columns[0], path, line)
    if limit and number >= limit:
      continue
    if number != len(found):
      raise errors.DataError(f"{path}, line {line}: id {number} follows {len(found) - 1}; ids are 0, 1, 2, ...")
    found[number] = row[columns[1]]
  return tuple(found.values())


def class_of(text: str, classes: Sequence[str], what: str, path: str, line: int, source: str) -> int:
  """A class id; -1 where nothing stands there.

  Raises:
    DataError: an id that the class file does not have.
  """
  if not text:
    return -1
  number = common.as_int(text, what, path, line)
  if not 0 <= number < len(classes):
    raise errors.DataError(f"{path}, line {line}: {what} {number} is not one of the {len(classes)} of {source}.")
  return number


def seconds(text: str, what: str, path: str, line: int) -> float:
  """Of 'HH:MM:SS.ss'."""
  parts = re.fullmatch(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)", text)
  if not parts:
    raise errors.DataError(f"{path}, line {line}: {what} '{text}' is no time such as 00:01:02.34.")
  return int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3])


class Videos:
  """Finds the media of videos: files, or folders of frames, as EPIC-KITCHENS ships them, or all in one folder.

    <participant>/videos/<video>.MP4              videos/<video>.mp4
    <participant>/rgb_frames/<video>/frame_...    frames/<video>/frame_...
  """

  def __init__(self, root: str, rates: Mapping[str, float], source: str, detections: str = DETECTIONS):
    """
    Args:
      root: of the data set.
      rates: frames per second by video.
      source: of the rates, for messages.
      detections: folder of detections, one npz per video; see vidx/data/detections.py.
    """
    self._root, self._rates, self._source, self._detections = root, rates, source, detections
    self._disk: dict[str, places.Places] = {}
    self._found: dict[str, Media | None] = {}

  def find(self, video: str, participant: str) -> Media | None:
    """The media of a video, None where there are none.

    Raises:
      DataError: its frames are there, but nothing says how many there are per second.
    """
    if video not in self._found:
      self._found[video] = self._find(video, participant)
    return self._found[video]

  def companions(self, video: str) -> dict[str, Media]:
    """{'detections': Media} where the folder of detections exists, whether or not the video has some."""
    folder = os.path.join(self._root, self._detections)
    if not os.path.isdir(folder):
      return {}
    return {DETECTIONS: Media(os.path.join(folder, f"{video}.npz"), DETECTIONS)}

  def _find(self, video, participant):
    fps = self._rates.get(video, 0.0)
    if participant not in self._disk:
      folders = (f"{participant}/videos", f"{participant}/rgb_frames", "videos", "frames", f"frames/{participant}", "")
      self._disk[participant] = places.Places(self._root, folders)
    found = self._disk[participant].find(f"{video}.MP4") or self._disk[participant].find(video)
    if not found:
      return None
    if not os.path.isdir(found):
      return Media(found, fps=fps)
    if not fps:
      raise errors.DataError(f"{self._source}: nothing says how many frames per second video '{video}' has, whose"
                             f" frames are in {found}.")
    return Media(found, "frames", pattern=FRAMES, fps=fps)


def read_rates(path: str, columns: tuple[str, str], needed: bool = False) -> dict[str, tuple[float, float]]:
  """(frames per second, duration in seconds or inf) by video; none where the file is absent and not needed."""
  if not needed and not os.path.isfile(path):
    return {}
  found = {}
  for line, row in common.read_table(path, columns):
    fps = common.as_number(row[columns[1]], columns[1], path, line)
    if fps <= 0:
      raise errors.DataError(f"{path}, line {line}: {columns[1]} '{row[columns[1]]}' is not above 0.")
    duration = common.as_number(row["duration"], "duration", path, line) if row.get("duration") else float("inf")
    found[row[columns[0]]] = fps, duration
  return found


def span(row: Mapping[str, str], duration: float, video: str, path: str, line: int) -> tuple[float, float]:
  """Start and end in seconds of a row of EPIC-KITCHENS.

  Raises:
    DataError: it ends before it starts, or starts after the video's end.
  """
  start, stop = (seconds(row[f"{k}_timestamp"], f"{k}_timestamp", path, line) for k in ("start", "stop"))
  if stop <= start:
    raise errors.DataError(f"{path}, line {line}: the segment ends at {stop:g} s and starts at {start:g} s.")
  if start >= duration:
    raise errors.DataError(f"{path}, line {line}: the segment starts at {start:g} s, and video '{video}' ends at"
                           f" {duration:g} s.")
  return start, min(stop, duration)


def dataset(name: str, split: str, records: Sequence, verbs: Sequence[str], nouns: Sequence[str],
            missing: Sequence[str], pairs: np.ndarray | None = None, ids: Iterable[str] = ()) -> Dataset:
  """A data set with the targets 'verb' and 'noun'.

  Its facts are counts of pairs (V, M) in training, and the ids of all segments, those without media too, where
  they are known.
  """
  return Dataset(name, split, tuple(records), missing=tuple(dict.fromkeys(missing)),
                 named={"verb": Target(tuple(verbs)), "noun": Target(tuple(nouns))},
                 facts={**({} if pairs is None else {"pairs": pairs}), **({"ids": tuple(ids)} if ids else {})})


def pairs_of(rows: Iterable[tuple[int, int]], verbs: Sequence[str], nouns: Sequence[str]) -> np.ndarray:
  """Counts (V, M) of (verb, noun) pairs."""
  found = np.array(list(rows), np.int64).reshape(-1, 2)
  return verb_noun.pair_counts(found[:, 0], found[:, 1], len(verbs), len(nouns))
