"""Triplets from clips: who and how are learned from frames of one clip and their nearest neighbours in other videos.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. Identity and target are
two frames of a clip; the pose image is the nearest neighbour of the target among frames of
other videos. Draws are balanced over pairs of clusters of poses, so that large changes
of pose are as frequent as small ones.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import os
from typing import Any

import numpy as np

from vidx import errors, reading, writing
from vidx.data import media_files, plans

FOLDER = "clips"  # below the root, then a folder per split
TABLE = "triplets"
COLUMNS = ("identity", "pose", "target", "clip", "pose_clip")
POSE_CLUSTER = "pose_cluster"  # of the same table, where clusters are those of training
CLUSTERS = "clusters.npz"  # of training, by which those of other images are found
CROPS = "crops"  # of the table of all frames: triplets/SPLIT_crops.csv
CROP_COLUMNS = ("path", "clip", "cluster", "neighbour")


@dataclasses.dataclass(frozen=True)
class Crops:
  """The frames of all clips of a split.

  Attributes:
    paths: of images below the root, clip after clip.
    clip: (N,) int32 numbers of their clips.
    video: (N,) int32 numbers of the videos of which the clips are.
    clips: names of the clips.
  """

  paths: tuple[str, ...]
  clip: np.ndarray
  video: np.ndarray
  clips: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Clusters:
  """Clusters of poses, and of which features of an image they are.

  Attributes:
    centres: (M, D) fp32.
    mean: (C,) fp32 of features before their components, (0,) where they stay as they are.
    axes: (C, D) fp32, their principal components, (0, 0) where they stay as they are.
    workdir: of the trunk whose features they are; '': histograms of oriented gradients.
    site: of the trunk.
  """

  centres: np.ndarray
  mean: np.ndarray
  axes: np.ndarray
  workdir: str = ""
  site: str = ""

  def of(self, features: np.ndarray) -> np.ndarray:
    """(N,) int32, the nearest centre of each row (N, D)."""
    apart = (self.centres ** 2).sum(1) - 2 * np.asarray(features, np.float32) @ self.centres.T
    return apart.argmin(1).astype(np.int32)


def write_clusters(root: str, clusters: Clusters | None) -> None:
  """Writes root/triplets/clusters.npz; None: training has none, and those of an earlier one go."""
  path = os.path.join(root, TABLE, CLUSTERS)
  if clusters is None:
    with contextlib.suppress(FileNotFoundError):
      os.remove(path)
    return
  fields = {f.name: np.asarray(getattr(clusters, f.name)) for f in dataclasses.fields(clusters)}
  writing.write_arrays(path, fields)


def read_clusters(root: str) -> Clusters | None:
  """The clusters of training, None where they were not written.

  Raises:
    DataError: the file is damaged.
  """
  path = os.path.join(root, TABLE, CLUSTERS)
  if not os.path.isfile(path):
    return None
  with reading.boundary(f"{path} is damaged: make it again by `vidx data triplets`"), reading.arrays(path) as f:
    arrays = [np.asarray(f[name], np.float32) for name in ("centres", "mean", "axes")]
    return Clusters(*arrays, *(str(f[name]) for name in ("workdir", "site")))


def read_crops(root: str, split: str) -> Crops:
  """The images of root/clips/SPLIT/CLIP/; a clip named VIDEO__OBJECT is one of a video, others are videos of their own.

  Raises:
    DataError: there is no such folder, or there are no images in it.
  """
  folder = os.path.join(root, FOLDER, split)
  if not os.path.isdir(folder):
    raise errors.DataError(f"{folder} does not exist: clips are folders of images, {FOLDER}/{split}/CLIP/FRAME.jpg.")
  paths, clip, names = [], [], []
  for name in sorted(n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n))):
    files = sorted(f for f in os.listdir(os.path.join(folder, name)) if media_files.is_image(f))
    if files:
      paths += [f"{FOLDER}/{split}/{name}/{f}" for f in files]
      clip += [len(names)] * len(files)
      names.append(name)
  if not paths:
    raise errors.DataError(f"{folder} holds no images in folders of clips.")
  video = [n.rpartition("__")[0] or n for n in names]
  videos = {v: i for i, v in enumerate(dict.fromkeys(video))}
  of_clip = np.asarray([videos[v] for v in video], np.int32)
  clip = np.asarray(clip, np.int32)
  return Crops(tuple(paths), clip, of_clip[clip], tuple(names))


def nearest(features: np.ndarray, group: np.ndarray, block: int = 1024) -> np.ndarray:
  """For each row the one of another group with the largest product, exactly, a block of rows at a time.

  Args:
    features: (N, D), of length 1 where cosines are meant.
    group: (N,) int, such as videos.
    block: rows at a time.

  Returns:
    (N,) int32, the first of equals, -1 where all rows are of one group.
  """
  features, group = np.asarray(features, np.float32), np.asarray(group)
  found = np.empty(len(features), np.int32)
  for start in range(0, len(features), block):
    rows = slice(start, start + block)
    alike = features[rows] @ features.T
    alike[group[rows, None] == group[None]] = -np.inf
    best = alike.argmax(1)
    found[rows] = np.where(np.isfinite(alike[np.arange(len(best)), best]), best, -1)
  return found


def plan(cluster: np.ndarray, clip: np.ndarray, neighbour: np.ndarray, count: int) -> plans.Balanced:
  """Draws of triplets (identity, pose, target) whose pairs of clusters, of identity and of pose, are equally frequent.

  Every draw takes one of the pairs that were drawn least, by chance among equals, and in
  it one of its triplets, all as likely. Pairs that no triplet has take no part, nor do
  clips of one frame.

  Args:
    cluster: (N,) cluster of each frame's pose.
    clip: (N,) clip of each frame, in runs.
    neighbour: (N,) frame of the same pose in another video, -1 for none.
    count: triplets of an epoch.

  Raises:
    DataError: no clip has two frames, or no frame a neighbour.
  """
  identity, target = _pairs(clip)
  kept = np.asarray(neighbour)[target] >= 0
  identity, target = identity[kept], target[kept]
  if not len(identity):
    raise errors.DataError("no triplets: they take clips of two images at least, of two videos at least.")
  pose = np.asarray(neighbour)[target]
  cell = np.asarray(cluster)[identity].astype(np.int64) * (1 + int(np.max(cluster))) + np.asarray(cluster)[pose]
  return plans.Balanced(np.stack([identity, pose, target], 1), cell, count)


def _pairs(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """All ordered pairs of different frames of one clip; clips are runs of equal numbers."""
  starts = np.flatnonzero(np.diff(clip, prepend=clip[:1] - 1))
  ends = np.append(starts[1:], len(clip))
  first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
  for start, end in zip(starts, ends):
    i, j = np.meshgrid(np.arange(start, end), np.arange(start, end), indexing="ij")
    first.append(i[i != j])
    second.append(j[i != j])
  return np.concatenate(first), np.concatenate(second)


def check_room(model: Any, dataset: Any, training: bool) -> None:
  """Raises ConfigError where a system has no class for a clip of triplets, or no code for the cluster of a pose.

  Args:
    model: its fields `clips` and `poses` say for how many there is room; 0: it looks at none.
    dataset: a split; of triplets it says in its `facts` how many there are.
    training: whether it is learned from, for which alone clips are told.
  """
  for field, what in {"clips": "clips", "poses": "clusters of poses"}.items():
    have, need = getattr(model, field, 0), dataset.facts.get(field)
    if not have or need is None or (field == "clips" and not training):
      continue
    if have < need:
      raise errors.ConfigError(f"system.{field} is {have}, but split '{dataset.split}' has {need} {what}: set"
                               f" system.{field}={need}.")
    if field == "poses" and not need:
      raise errors.ConfigError(f"system.poses is {have}, but split '{dataset.split}' tells no clusters of poses: make"
                               " train, then this one, again by `vidx data triplets`, train with balance=True.")


def write_crops(root: str, split: str, crops: Crops, cluster: np.ndarray, neighbour: np.ndarray) -> str:
  """Writes root/triplets/SPLIT_crops.csv, of which training draws triplets anew in each epoch; returns its path."""
  path = crops_path(root, split)
  writing.write_table(path, CROP_COLUMNS, (
      (crops.paths[i], crops.clip[i], cluster[i], crops.paths[neighbour[i]] if neighbour[i] >= 0 else "")
      for i in range(len(crops.paths))))
  return path


def crops_path(root: str, split: str) -> str:
  """The table of all frames of a split."""
  return os.path.join(root, TABLE, f"{split}_{CROPS}.csv")


def write(root: str, split: str, crops: Crops, triplets: np.ndarray, cluster: np.ndarray | None = None) -> str:
  """Writes root/triplets/SPLIT.csv, with clusters (N,) of the frames where they are those of training; its path."""
  path = os.path.join(root, TABLE, f"{split}.csv")
  told = lambda i: () if cluster is None else (cluster[i],)
  writing.write_table(path, (*COLUMNS, *([] if cluster is None else [POSE_CLUSTER])), (
      (*(crops.paths[i] for i in (identity, pose, target)), crops.clip[identity], crops.clip[pose], *told(pose))
      for identity, pose, target in triplets.tolist()))
  return path


def gradients(images: Sequence[np.ndarray], cell: int = 8, bins: int = 9) -> np.ndarray:
  """Histograms of oriented gradients (N, 1764) fp32 of length 1, of images (64, 64, 3) uint8.

  Of each pixel the colour with the steepest gradient votes, by its steepness, for the two
  nearest of the directions in a half turn; 2 x 2 cells make a block of length 1, of which
  no entry counts for more than 0.2 (Dalal and Triggs 2005). They tell shapes without the weights of a network.

  Args:
    images: all of one size, sides of a multiple of `cell`.
    cell: side of a cell, in pixels.
    bins: directions.
  """
  x = np.asarray(images, np.float32) / 255
  down, right = np.gradient(x, axis=(1, 2))
  steep = np.hypot(down, right)
  first = steep.argmax(-1)[..., None]
  down, right, steep = (np.take_along_axis(a, first, -1)[..., 0] for a in (down, right, steep))
  at = np.arctan2(down, right) % np.pi * bins / np.pi
  low, share = np.floor(at).astype(np.int64) % bins, at - np.floor(at)
  votes = np.zeros((*steep.shape, bins), np.float32)
  np.put_along_axis(votes, low[..., None], (steep * (1 - share))[..., None], -1)
  other = np.zeros_like(votes)
  np.put_along_axis(other, ((low + 1) % bins)[..., None], (steep * share)[..., None], -1)
  votes += other
  count, height, width = steep.shape
  cells = votes.reshape(count, height // cell, cell, width // cell, cell, bins).sum((2, 4))
  rows, columns = height // cell - 1, width // cell - 1
  blocks = np.concatenate([cells[:, i:i + rows, j:j + columns] for i in (0, 1) for j in (0, 1)], -1)
  unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-6)
  return unit(unit(np.minimum(unit(blocks), 0.2)).reshape(count, -1)).astype(np.float32)
