"""Breakfast as its authors give it: coarse segments and text files of reduced Fisher vectors.

  root/segmentation_coarse/<activity>/<video>.txt   start-end name
  root/breakfast_data/s1/<activity>/<video>.txt     index f1 .. f64, a frame per line
  root/mapping.txt                                  id name, may be left out

Kuehne, Arslan, Serre: "The Language of Actions: Recovering the Syntax and Semantics
of Goal-Directed Human Activities", CVPR 2014.
"""

import os
import re

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, sequences
from vidx.data.records import Dataset

_BACKGROUND = "SIL"
_FIRST, _PERSONS = 3, 13  # the folds are P03-P15, P16-P28, P29-P41, P42-P54
MARKS = ("segmentation_coarse",)


def read(root: str, split: str, fold: int = 1, features: str = "breakfast_data/s1") -> Dataset:
  """Reads one split; "val" and "test" are both the thirteen persons of the fold.

  Without a mapping the classes are SIL and the other names in order.

  Args:
    root: folder of the data set.
    split: "train", "val" or "test".
    fold: 1 to 4.
    features: folder of the features below the root.
  """
  if fold not in (1, 2, 3, 4):
    raise errors.ConfigError(f"data.dataset.fold={fold!r}: Breakfast has the folds 1 to 4.")
  base = os.path.join(root, "segmentation_coarse")
  found = sorted(os.path.relpath(os.path.join(at, f), base).removesuffix(".txt")
                 for at, files in (media_files.walk(base) if os.path.isdir(base) else ())
                 for f in files if f.endswith(".txt"))
  if not found:
    raise errors.DataError(f"{root} holds no segmentation_coarse/<activity>/<video>.txt.")
  mapping = os.path.join(root, "mapping.txt")
  listed = os.path.isfile(mapping)
  classes = sequences.read_mapping(mapping) if listed else _classes([os.path.join(base, f"{v}.txt") for v in found])
  ids = {c: i for i, c in enumerate(classes)}
  videos = [v for v in found if (_fold(v) == fold) == (split != "train")]

  def annotate(video):
    runs = sequences.runs_of_spans(os.path.join(base, f"{video}.txt"), ids, mapping if listed else base)
    return sequences.Annotation(runs, tuple(c for c, _ in runs))

  return sequences.collect("breakfast", split, videos, classes, lambda v: os.path.join(root, features, f"{v}.txt"),
                           annotate, 0)


def _fold(video: str) -> int:
  """1 to 4, by the person whose number starts the name."""
  person = re.match(r"P(\d+)_", os.path.basename(video))
  if not person or not _FIRST <= int(person[1]) < _FIRST + 4 * _PERSONS:
    raise errors.DataError(f"video '{video}' of Breakfast: its name starts with none of P03_ to P54_.")
  return (int(person[1]) - _FIRST) // _PERSONS + 1


def _classes(paths: list[str]) -> tuple[str, ...]:
  """Names in files of segments, background first."""
  names = {parts[1] for p in paths for parts in map(str.split, common.read_lines(p)) if len(parts) == 2}
  return tuple(sorted(names, key=lambda n: (n != _BACKGROUND, n)))
