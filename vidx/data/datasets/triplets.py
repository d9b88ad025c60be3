"""Triplets of images, as `vidx data triplets` writes them: root/triplets/{train,val,test}.csv.

Columns identity, pose, target: paths of images below the root; clip, pose_clip: numbers of the clips
of the first two.
"""

import os

from vidx.data import triplets
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record


def read(root: str, split: str) -> Dataset:
  """Reads one split.

  Args:
    root: folder below which the paths are.
    split: "train", "val" or "test".
  """
  path = os.path.join(root, triplets.TABLE, f"{split}.csv")
  records, missing, known = [], {}, {}
  for line, row in common.read_table(path, triplets.COLUMNS):
    places = [common.inside(root, row[key]) for key in ("identity", "pose", "target")]
    clips = tuple(common.as_int(row[key], key, path, line) for key in ("clip", "pose_clip"))
    for place in places:
      if place not in known:
        known[place] = os.path.isfile(place)
    absent = [place for place in places if not known[place]]
    if absent:
      missing[absent[0]] = None
      continue
    identity, pose, target = (Media(place, "image") for place in places)
    records.append(Record(f"{line - 2:06d}", identity, companions={"pose": pose, "target": target},
                          extra={"clips": clips}))
  return Dataset("triplets", split, tuple(records), missing=tuple(missing))
