"""Builds triplets of images from clips: features of every frame, nearest neighbours, clusters, balanced draws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.data import triplets
from vidx.data.parts.triplets import image
from vidx.data.records import Media
from vidx.infer import batched, load
from vidx.metrics import clustering
from vidx.nn import augment, sites

_SIDE = 128  # of the images of which features are taken
_FIT = 1024  # images from which principal components come


def build(root: str, split: str = "train", count: int = 0, clusters: int = 20, balance: bool = True, workdir: str = "",
          site: str = "conv4.2", components: int = 256, batch: int = 32, seed: int = 0) -> dict[str, Any]:
  """Writes root/triplets/SPLIT.csv from the images of root/clips/SPLIT/CLIP/, and SPLIT_crops.csv, to draw others.

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
    {'file', 'images', 'clips', 'alone' (clips of one image, which make no triplet), 'triplets', 'features'}.

  Raises:
    DataError: there are no clips, or no two videos.
    ConfigError: numbers that cannot be used, or a site that the trunk has not.
  """
  if count < 0 or clusters < 1 or batch < 1 or components < 0:
    raise errors.ConfigError(f"count={count} and components={components} are at least 0, clusters={clusters} and"
                             f" batch={batch} at least 1.")
  crops = triplets.read_crops(root, split)
  medias = [Media(f"{root}/{path}", "image") for path in crops.paths]
  if workdir:
    features = _by_trunk(medias, workdir, site, components, batch, seed)
  else:
    features = np.concatenate([triplets.gradients([image(m, 64) for m in medias[i:i + 256]])
                               for i in range(0, len(medias), 256)])
  neighbour = triplets.nearest(features, crops.video)
  if balance:
    cluster = clustering.k_means(features, min(clusters, len(features)), restarts=1, seed=seed)
  else:
    cluster = np.zeros(len(features), np.int64)
  drawn = triplets.plan(cluster, crops.clip, neighbour, count or 10 * len(medias)).draw(seed, 0)
  triplets.write_crops(root, split, crops, cluster, neighbour)
  path = triplets.write(root, split, crops, drawn)
  alone = int((np.bincount(crops.clip) == 1).sum())
  return {"file": path, "images": len(medias), "clips": len(crops.clips), "alone": alone, "triplets": len(drawn),
          "features": f"{site} of {workdir}" if workdir else "oriented gradients"}


def _by_trunk(medias, workdir, site, components, batch, seed):
  """Features of length 1 of what leaves a site of a trunk."""
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

  def of(some):
    images = np.stack([image(m, _SIDE) for m in some])
    return np.asarray(forward(loaded.variables, batched.padded(images, batch)))[:len(images)]

  every = lambda some: (of(some[i:i + batch]) for i in range(0, len(some), batch))
  if not components:
    return np.concatenate(list(every(medias)))
  chosen = np.random.default_rng(seed).permutation(len(medias))[:_FIT]
  sample = np.concatenate(list(every([medias[i] for i in chosen])))
  mean = sample.mean(0)
  axes = np.linalg.svd(sample - mean, full_matrices=False)[2][:components].T
  return clustering.normalised(np.concatenate([(x - mean) @ axes for x in every(medias)])).astype(np.float32)
