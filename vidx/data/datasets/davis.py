"""DAVIS 2016: sequences with the masks of one object.

  root/JPEGImages/<size>/<sequence>/00000.jpg, root/Annotations/<size>/<sequence>/00000.png
  root/ImageSets/2016/{train,val}.txt   names of sequences; where it is missing all are of every split

Perazzi et al.: "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", 2016.
"""

import os

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, object_tracks
from vidx.data.records import Dataset, Media, Record

MARKS = ("JPEGImages",)


def read(root: str, split: str, size: str = "") -> Dataset:
  """Reads one split.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    size: folder below JPEGImages, such as 480p; empty: 480p, or the only one.
  """
  frames = os.path.join(root, "JPEGImages")
  known = media_files.folders(frames)
  size = size or ("480p" if "480p" in known or not known else known[0])
  if size not in known:
    raise errors.DataError(f"{frames} holds no folder {size}{errors.hint(size, known)}.")
  listed = os.path.join(root, "ImageSets", "2016", f"{split}.txt")
  if os.path.isfile(listed):
    names = [os.path.basename(line.split()[0]) for line in common.read_lines(listed) if line.strip()]
  else:
    names = media_files.folders(os.path.join(frames, size))
  records, missing = [], []
  for name in names:
    folder = os.path.join(frames, size, name)
    stems = object_tracks.stems(folder)
    if not stems:
      missing.append(name)
      continue
    found = object_tracks.by_stem(os.path.join(root, "Annotations", size, name), stems, name)
    records.append(Record(name, Media(folder, "frames"),
                          extra={"objects": ("object",), "masks": (found,), "first": 0, "attributes": ()}))
  return Dataset("davis", split, tuple(records), missing=tuple(missing))
