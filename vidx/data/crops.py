"""Crops of objects from public annotations: clips of YouTube-BoundingBoxes, and EPFL's cars by azimuth.

Clips are what `vidx data triplets` takes, OUT/clips/SPLIT/VIDEO__OBJECT/MILLISECONDS.jpg;
cars by azimuth are single images with a clips.csv, to train a judge of poses.
"""

import collections
import csv
import math
import os
from typing import Any

import cv2
import numpy as np

from vidx import errors, reading, writing
from vidx.data import media_files
from vidx.data.decode import open_video
from vidx.terminal import counted

YTBB = {"train": "yt_bb_detection_train.csv", "val": "yt_bb_detection_validation.csv"}
YTBB_COLUMNS = ("youtube_id", "timestamp_ms", "class_id", "class_name", "object_id", "object_presence", "xmin", "xmax",
                "ymin", "ymax")
EPFL = "tripod-seq.txt"
BINS = 16  # of azimuth
SOURCES = ("ytbb", "epfl_cars")
_LEAST = 16  # pixels of the shorter side of a box


def convert(root: str, out: str, source: str = "ytbb", name: str = "car", least: int = _LEAST) -> dict[str, Any]:
  """Writes the crops of a source.

  Args:
    root: of 'ytbb' the csv files, as published without a header, and videos/YOUTUBE_ID.mp4, or of another ending; of
      'epfl_cars' tripod-seq.txt with its images and boxes.
    out: folder to write.
    source: 'ytbb' or 'epfl_cars'.
    name: class of the objects of 'ytbb', such as car, bus or truck.
    least: pixels; boxes whose shorter side has fewer are left out.

  Returns:
    {'clips' or 'classes', 'images', 'missing' (videos)}.

  Raises:
    ConfigError: an unknown source.
    DataError: no annotation there, or a broken one, or nothing to crop.
  """
  errors.check_choice("source:", source, SOURCES)
  for flag, value in (("root", root), ("out", out)):
    if not value:
      raise errors.ConfigError(f"no {flag}: add --{flag}=FOLDER.")
  made = _ytbb(root, out, name, least) if source == "ytbb" else _epfl_cars(root, out)
  if not made["images"]:
    raise errors.DataError(f"{root}: no crops of {name if source == 'ytbb' else 'cars'} could be made"
                           + (f"; not in {root}/videos: {counted(made['missing'], 'video')}." if made.get("missing")
                              else "."))
  return made


def boxes(path: str, name: str) -> dict[str, list[tuple[str, int, tuple[float, ...]]]]:
  """{video: [(object, milliseconds, (x0, y0, x1, y1) in 0..1)]} of the objects of a class that are to be seen.

  Raises:
    DataError: a line that is none.
  """
  found = collections.defaultdict(list)
  with reading.boundary(f"{path} cannot be read"), reading.open_text(path, newline="") as f:
    for line, row in enumerate(csv.reader(f), 1):
      if row == list(YTBB_COLUMNS):
        continue
      if len(row) != len(YTBB_COLUMNS):
        raise errors.DataError(f"{path}, line {line}: {counted(len(row), 'column')}, not {len(YTBB_COLUMNS)}.")
      video, time, _, kind, thing, presence, *edges = row
      if kind != name or presence != "present":
        continue
      try:
        x0, x1, y0, y1 = (min(max(float(v), 0.0), 1.0) for v in edges)
        if math.isnan(x0 + x1 + y0 + y1):
          raise ValueError
        found[video].append((thing, int(time), (x0, y0, x1, y1)))
      except ValueError:
        raise errors.DataError(f"{path}, line {line}: '{','.join(row[1:2] + edges)}' are no time and box.") from None
  return dict(found)


def _ytbb(root, out, name, least):
  tables = {split: os.path.join(root, file) for split, file in YTBB.items()}
  tables = {split: path for split, path in tables.items() if os.path.isfile(path)}
  if not tables:
    raise errors.DataError(f"{root} holds none of {', '.join(YTBB.values())}.")
  folder = os.path.join(root, "videos")
  files = {os.path.splitext(n)[0]: os.path.join(folder, n) for n in media_files.names(folder)}
  clips, images, missing = set(), 0, 0
  for split, path in tables.items():
    for video, rows in boxes(path, name).items():
      if video not in files:
        missing += 1
        continue
      try:
        with open_video(files[video]) as reader:
          at = [_at(reader.timestamps, time / 1000) for _, time, _ in rows]
          shown = list(zip(rows, reader.frames([i for i in at if i >= 0]))) if min(at) >= 0 else [
              (row, reader.frames([i])[0]) for row, i in zip(rows, at) if i >= 0]
      except errors.DecodeError:
        missing += 1
        continue
      for (thing, time, box), frame in shown:
        crop = _crop(frame, box)
        if min(crop.shape[:2]) >= least:
          _write(os.path.join(out, "clips", split, f"{video}__{thing}", f"{time:08d}.jpg"), crop)
          clips.add((split, video, thing))
          images += 1
  return {"clips": len(clips), "images": images, "missing": missing}


def _at(timestamps: np.ndarray, seconds: float) -> int:
  """The frame on the screen at a time, -1 half a second behind the end."""
  return -1 if seconds > timestamps[-1] + 0.5 else max(0, int(np.searchsorted(timestamps, seconds, "right")) - 1)


def _crop(frame, box):
  height, width = frame.shape[:2]
  x0, y0, x1, y1 = box
  return frame[math.floor(y0 * height):math.ceil(y1 * height), math.floor(x0 * width):math.ceil(x1 * width)]


def _write(path, image):
  writing.write_bytes(path, cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]),
                                         [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def _epfl_cars(root, out):
  """OUT/frames/SEQUENCE_FRAME/0.jpg and OUT/clips.csv: the first half of the sequences to learn from."""
  path = os.path.join(root, EPFL)
  try:
    with reading.open_text(path) as f:
      words = f.read().split()
    count = int(words[0])
    numbers = [int(w) for w in words[3:3 + count]]
    images, places = words[3 + count:5 + count]
    round_, front, sense = (np.asarray(words[5 + count * (1 + i):5 + count * (2 + i)], int) for i in range(3))
    if not len(numbers) == len(round_) == len(front) == len(sense) == count:
      raise ValueError(f"it ends before {counted(count, 'sequence')} are described")
    if (round_ < 1).any():
      raise ValueError("a round of no frames")
    images % (1, 1), places % 1  # patterns of names: of sequence and frame, and of the sequence
  except OSError as e:
    raise errors.DataError(f"{path}: {(e.strerror or 'unreadable').lower()}.") from None
  except (ValueError, IndexError, TypeError) as e:
    raise errors.DataError(f"{path} is not the list of EPFL's sequences: {e}.") from None
  rows = []
  for s in range(count):
    split = "train" if s < count // 2 else "val"
    found = _numbers(os.path.join(root, places % (s + 1)))
    for frame, (x, y, w, h) in enumerate(found[:numbers[s]], 1):
      picture = cv2.imread(os.path.join(root, images % (s + 1, frame)))
      if picture is None:
        continue
      crop = picture[max(0, int(y)):int(y + h), max(0, int(x)):int(x + w)]
      if crop.size:
        place, azimuth = f"frames/{s + 1:02d}_{frame:03d}", bin_of(frame, front[s], round_[s], sense[s])
        _write(os.path.join(out, place, "0.jpg"), crop[..., ::-1])
        rows.append((place, f"azimuth{azimuth:02d}", split))
  writing.write_table(os.path.join(out, "clips.csv"), ("path", "label", "split"), rows)
  return {"classes": len({label for _, label, _ in rows}), "images": len(rows)}


def bin_of(frame: int, front: int, frames: int, sense: int) -> int:
  """Which of 16 azimuths a frame shows: 0 around the front, on in the sense of the rotation."""
  return round(sense * (frame - front) / frames * BINS) % BINS


def _numbers(path):
  try:
    found = np.loadtxt(path, ndmin=2)[:, :4]
    if found.shape[1] < 4 or not np.isfinite(found).all():
      raise ValueError("fewer than four numbers in a line, or some that are none")
    return found
  except (OSError, ValueError, IndexError) as e:
    raise errors.DataError(f"{path}: no boxes x, y, width, height can be read ({e}).") from None
