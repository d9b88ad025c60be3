"""Triplets of images, as `vidx data triplets` writes them.

root/triplets/SPLIT.csv is a list, with columns identity, pose, target: paths of images below the root; clip,
pose_clip: numbers of the clips of the first two; and perhaps pose_cluster: the cluster of the second
one's pose, of those of training. root/triplets/SPLIT_crops.csv has all images of the split, with
columns path, clip, cluster, neighbour (the path of the pose image of whoever has this one as target); of
them training draws triplets anew in each epoch.
"""

import os

import numpy as np

from vidx import errors
from vidx.data import triplets
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record

MARKS = ("triplets",)


def read(root: str, split: str, draws: int = 0) -> Dataset:
  """Reads one split.

  Args:
    root: folder below which the paths are.
    split: "train", "val" or "test".
    draws: triplets of an epoch of training, drawn anew in each; 0: those of the list. Of other splits than
      "train" they are always those of the list.

  Raises:
    DataError: a broken table, or one of which no triplet can be drawn.
  """
  drawn = draws and split == "train"
  path = triplets.crops_path(root, split) if drawn else os.path.join(root, triplets.TABLE, f"{split}.csv")
  if not os.path.isfile(path):
    raise errors.AbsentError(f"annotation file {path} does not exist: make it by vidx data triplets --root={root}"
                             f" --split={split}.")
  if drawn:
    return _drawn(root, split, draws)
  records, missing, known = [], {}, {}
  for line, row in common.read_table(path, triplets.COLUMNS):
    places = [common.inside(root, row[key]) for key in ("identity", "pose", "target")]
    clips = tuple(common.as_int(row[key], key, path, line) for key in ("clip", "pose_clip"))
    cluster = common.as_int(row.get(triplets.POSE_CLUSTER) or "-1", triplets.POSE_CLUSTER, path, line)
    for place in places:
      if place not in known:
        known[place] = os.path.isfile(place)
    absent = [place for place in places if not known[place]]
    if absent:
      missing[absent[0]] = None
      continue
    identity, pose, target = (Media(place, "image") for place in places)
    records.append(Record(f"{line - 2:06d}", identity, companions={"pose": pose, "target": target},
                          extra={"clips": clips, "clusters": (-1, cluster)}))
  clips, clusters = ([number for r in records for number in r.extra[key]] for key in ("clips", "clusters"))
  return Dataset("triplets", split, tuple(records), missing=tuple(missing), facts=_counts(clips, clusters))


def _counts(clips, clusters):
  """How many clips and clusters of poses are numbered, by the fields of systems that have room for them."""
  return {"clips": 1 + max(clips, default=-1), "poses": 1 + max(clusters, default=-1)}


def _drawn(root, split, draws):
  """One record per image, and a plan of which of them are together."""
  path, rows, missing = triplets.crops_path(root, split), [], []
  if draws < 0:
    raise errors.ConfigError(f"data.dataset.draws={draws}: write how many triplets an epoch has.")
  for line, row in common.read_table(path, triplets.CROP_COLUMNS):
    place = common.inside(root, row["path"])
    clip, cluster = (common.as_int(row[key], key, path, line) for key in ("clip", "cluster"))
    if os.path.isfile(place):
      rows.append((row["path"], Media(place, "image"), clip, cluster, row["neighbour"]))
    else:
      missing.append(place)
  names, media, clip, cluster, beside = (tuple(column) for column in zip(*rows)) if rows else ((),) * 5
  number = {name: i for i, name in enumerate(names)}
  neighbour = np.asarray([number.get(name, -1) for name in beside], int)  # one that is missing is nobody's
  clip, cluster = np.asarray(clip, int), np.asarray(cluster, int)
  if not rows:
    return Dataset("triplets", split, (), missing=tuple(missing))
  records = []
  for i, name in enumerate(names):
    other = i + 1 if i + 1 < len(names) and clip[i + 1] == clip[i] else max(i - 1, 0)
    target = other if clip[other] == clip[i] else i
    pose = max(int(neighbour[target]), 0)
    records.append(Record(name, media[i], companions={"pose": media[pose], "target": media[target]},
                          extra={"clips": (int(clip[i]), int(clip[pose])),
                                 "clusters": (int(cluster[i]), int(cluster[pose]))}))
  return Dataset("triplets", split, tuple(records), missing=tuple(missing),
                 facts=_counts(clip.tolist(), cluster.tolist()), plan=triplets.plan(cluster, clip, neighbour, draws))
