"""Builds triplets of images from clips: features of every frame, nearest neighbours, clusters, balanced draws."""

from collections.abc import Callable, Sequence
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.data import triplets
from vidx.data.parts.triplets import image, squared
from vidx.data.records import Media
from vidx.infer import batched, load
from vidx.metrics import clustering
from vidx.nn import augment, sites
from vidx.terminal import counted

_SIDE, _SMALL = 128, 64  # of the images of which features of a trunk, or gradients, are taken
_FIT = 1024  # images from which principal components come


def build(root: str, split: str = "train", count: int = 0, clusters: int = 20, balance: bool = True, workdir: str = "",
          site: str = "conv4.2", components: int = 256, batch: int = 32, seed: int = 0) -> dict[str, Any]:
  """Writes root/triplets/SPLIT.csv from the images of root/clips/SPLIT/CLIP/, and SPLIT_crops.csv, to draw others.

  With balanced draws of "train" also clusters.npz, which goes with others. Of other splits by the same features,
  components and clusters are those, and SPLIT.csv says in which of them each image of pose is.

  Args:
    root: folder of the data set.
    split: "train", "val" or "test".
    count: triplets; 0: ten per image.
    clusters: of poses, M.
    balance: pairs of clusters are drawn equally often; otherwise all triplets are as likely, for evaluation.
    workdir: run or converted weights of a trunk, such as VGG-16 of ImageNet, whose features
      tell poses; '': histograms of oriented gradients.
    site: of the trunk.
    components: principal components to which its features are reduced; 0: all are kept.
    batch: images at once.
    seed: of clusters and draws.

  Returns:
    {'file', 'images', 'clips', 'alone' (clips of one image, which make no triplet), 'triplets', 'clusters' (of
    training that are told, 0 where these are by other features or there are none), 'features'}.

  Raises:
    DataError: there are no clips, or no two videos.
    ConfigError: numbers that cannot be used, or a site that the trunk has not.
  """
  if count < 0 or clusters < 1 or batch < 1 or components < 0:
    raise errors.ConfigError(f"count={count} and components={components} are at least 0, clusters={clusters} and"
                             f" batch={batch} at least 1.")
  crops = triplets.read_crops(root, split)
  medias = [Media(f"{root}/{path}", "image") for path in crops.paths]
  known = triplets.read_clusters(root) if split != "train" else None
  if known and (_place(known.workdir), known.site) != (_place(workdir), site if workdir else ""):
    known = None
  of = _by_trunk(workdir, site, batch) if workdir else triplets.gradients
  opened = lambda some: [image(medias[i], _SIDE if workdir else _SMALL) for i in some]
  if known:
    mean, axes = known.mean, known.axes
  else:
    mean, axes = _axes(of, opened, len(medias), components if workdir else 0, batch, seed)
  features = np.concatenate([_reduced(of(opened(range(i, min(i + batch, len(medias))))), mean, axes)
                             for i in range(0, len(medias), batch)])
  neighbour = triplets.nearest(features, crops.video)
  if balance:
    cluster = clustering.k_means(features, min(clusters, len(features)), restarts=1, seed=seed)
    cluster = np.unique(cluster, return_inverse=True)[1]  # without those that are empty
  else:
    cluster = np.zeros(len(features), np.int64)
  drawn = triplets.plan(cluster, crops.clip, neighbour, count or 10 * len(medias)).draw(seed, 0)
  if split == "train":
    if balance:
      centres = np.stack([features[cluster == c].mean(0) for c in range(1 + cluster.max())])
      known = triplets.Clusters(centres, mean, axes, workdir, site if workdir else "")
    triplets.write_clusters(root, known)
  triplets.write_crops(root, split, crops, cluster, neighbour)
  path = triplets.write(root, split, crops, drawn, known and (cluster if split == "train" else known.of(features)))
  alone = int((np.bincount(crops.clip) == 1).sum())
  return {"file": path, "images": len(medias), "clips": len(crops.clips), "alone": alone, "triplets": len(drawn),
          "clusters": len(known.centres) if known else 0,
          "features": f"{site} of {workdir}" if workdir else "oriented gradients"}


def clusters_of(root: str, room: int) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
  """Images, uint8 (H, W, 3) each, -> (N,) int32, their clusters of those of training, for systems that take clusters.

  Raises:
    DataError: there are no clusters below root.
    ConfigError: there are more than the `room` of the system.
  """
  known = triplets.read_clusters(root)
  if known is None:
    raise errors.DataError(f"{root}/{triplets.TABLE}/{triplets.CLUSTERS} does not exist, and the run takes poses by"
                           " their clusters: make it by `vidx data triplets` with balance=True.")
  if len(known.centres) > room:
    raise errors.ConfigError(f"{root}/{triplets.TABLE}/{triplets.CLUSTERS} has {counted(len(known.centres), 'cluster')}"
                             f" of poses, and the run was trained on {room}: make it again by `vidx data triplets` with"
                             f" clusters={room}.")
  of, side = (_by_trunk(known.workdir, known.site, 32), _SIDE) if known.workdir else (triplets.gradients, _SMALL)

  def told(images):
    return known.of(np.concatenate([_reduced(of([squared(x, side) for x in images[i:i + 32]]), known.mean, known.axes)
                                    for i in range(0, len(images), 32)]))

  return told


def _place(workdir):
  """The folder of a trunk, however it was spelt; '' stays."""
  return os.path.realpath(workdir) if workdir else ""


def _by_trunk(workdir, site, batch):
  """A function of at most `batch` images: features of length 1 of what leaves a site of a trunk."""
  loaded = load.load_checkpoint(workdir)
  data = loaded.config.data
  if tuple(loaded.model.inputs) != ("video",):
    raise errors.ConfigError(f"system '{loaded.config.system.name}' takes no images: poses are told by a trunk's site.")
  if site not in loaded.model.site_names():
    raise errors.ConfigError(f"'{site}' is no site of {loaded.config.system.name}"
                             f"{errors.hint(site, loaded.model.site_names())}.")

  @jax.jit
  def forward(variables, images):
    clip = augment.on_device({"video": images[:, None]}, data.mean, data.std, loaded.dtype)["video"]
    x = sites.features(loaded.model, variables, clip, site=site, train=False).astype(jnp.float32)
    x = x.reshape(len(x), -1)
    return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-12)

  return lambda images: np.asarray(forward(loaded.variables, batched.padded(np.stack(images), batch)))[:len(images)]


def _axes(of, opened, count, components, batch, seed):
  """Mean and principal components of a sample of the features; both empty where they stay as they are."""
  if not components:
    return np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
  chosen = np.random.default_rng(seed).permutation(count)[:_FIT]
  sample = np.concatenate([of(opened(chosen[i:i + batch])) for i in range(0, len(chosen), batch)])
  mean = sample.mean(0)
  return mean, np.linalg.svd(sample - mean, full_matrices=False)[2][:components].T


def _reduced(features, mean, axes):
  """Components of length 1 of features (N, C), or these as they are."""
  return clustering.normalised((features - mean) @ axes).astype(np.float32) if axes.size else features
