"""The Visual Tracker Benchmark, OTB-2013: sequences with the boxes of a target, of Jogging of two.

  root/<Sequence>/img/0001.jpg
  root/<Sequence>/groundtruth_rect.txt   x, y, w, h of a frame per line, from 1 on, between commas, tabs or blanks;
                                         groundtruth_rect.1.txt, .2.txt of several targets
  root/<Sequence>/attrs.txt              attributes such as IV, OCC, between commas or blanks, where there are some

Wu, Lim and Yang: "Online Object Tracking: A Benchmark", 2013.
"""

import os
import re

import numpy as np

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

ATTRIBUTES = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")
FIRST = {"David": 300}  # number of the frame of the first line where it is not 1
MARKS = ("*/groundtruth_rect*.txt",)


def read(root: str, split: str) -> Dataset:
  """Reads all sequences; every split holds all.

  Args:
    root: the folder.
    split: "train", "val" or "test".
  """
  records, missing = [], []
  for name in media_files.names(root):
    folder, frames = os.path.join(root, name), os.path.join(root, name, "img")
    files = [n for n in media_files.names(folder) if re.fullmatch(r"groundtruth_rect(\.\d+)?\.txt", n)]
    if not files:
      continue
    count = len(media_files.images(frames))
    if not count:
      missing.append(name)
      continue
    first = FIRST.get(name, 1) - 1
    boxes = [_boxes(os.path.join(folder, file), count, first) for file in files]
    found = os.path.join(folder, "attrs.txt")
    attributes = re.split(r"[,\s]+", common.read_text(found).strip()) if os.path.isfile(found) else []
    for a in filter(None, attributes):
      if a not in ATTRIBUTES:
        raise errors.DataError(f"{found}: '{a}' is none of {', '.join(ATTRIBUTES)}{errors.hint(a, ATTRIBUTES)}.")
    records.append(Record(name, Media(frames, "frames"), extra={
        "objects": tuple(str(i + 1) for i in range(len(files))), "boxes": tuple(boxes), "first": first,
        "attributes": tuple(filter(None, attributes))}))
  if not records and not missing:
    raise errors.DataError(f"{root} holds no SEQUENCE/groundtruth_rect.txt.")
  return Dataset("otb2013", split, tuple(records), missing=tuple(missing))


def _boxes(path: str, count: int, first: int) -> np.ndarray:
  """fp64 (N, 4) of all frames as corners from 0 on; nan where nothing is said, or the sides are not above 0."""
  out = np.full((count, 4), np.nan)
  for line, text in enumerate(common.read_lines(path), start=1):
    if not text.strip():
      continue
    numbers = [common.as_number(n, "number", path, line) if n.lower() != "nan" else np.nan
               for n in re.split(r"[,\s]+", text.strip())]
    if len(numbers) != 4:
      raise errors.DataError(f"{path}, line {line}: {counted(len(numbers), 'number')}, expected x, y, width and"
                             " height.")
    if first + line > count:
      raise errors.DataError(f"{path}, line {line}: frame {first + line} of a sequence of {counted(count, 'image')}.")
    x, y, w, h = numbers
    if w > 0 and h > 0:
      out[first + line - 1] = x - 1, y - 1, x - 1 + w, y - 1 + h
  return out
