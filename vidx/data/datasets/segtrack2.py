"""SegTrack-v2: 14 sequences with the masks of 24 objects.

  root/JPEGImages/<sequence>/*                frames
  root/GroundTruth/<sequence>/*               masks of the one object, or
  root/GroundTruth/<sequence>/<1, 2, ...>/*   of each

Li et al.: "Video Segmentation by Tracking Many Figure-Ground Segments", 2013. Frames and masks
have one name with perhaps another ending; what is 128 or more is of the object.
"""

import os

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, object_tracks
from vidx.data.records import Dataset, Media, Record

MARKS = ("JPEGImages",)


def read(root: str, split: str) -> Dataset:
  """Reads all sequences; every split holds all.

  Args:
    root: the folder.
    split: "train", "val" or "test".
  """
  frames, truth = os.path.join(root, "JPEGImages"), os.path.join(root, "GroundTruth")
  names = media_files.folders(frames)
  if not names:
    raise errors.DataError(f"{root} holds no JPEGImages/SEQUENCE with frames.")
  records, missing = [], []
  for name in names:
    stems = object_tracks.stems(os.path.join(frames, name))
    folder = os.path.join(truth, name)
    if not stems or not os.path.isdir(folder):
      missing.append(name)
      continue
    objects = common.natural(media_files.folders(folder)) or [""]
    masks = tuple(object_tracks.by_stem(os.path.join(folder, o), stems, name) for o in objects)
    records.append(Record(name, Media(os.path.join(frames, name), "frames"),
                          extra={"objects": tuple(o or "1" for o in objects), "masks": masks, "first": 0,
                                 "attributes": ()}))
  return Dataset("segtrack2", split, tuple(records), missing=tuple(missing))
