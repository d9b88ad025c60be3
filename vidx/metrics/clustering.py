"""How well clusters of features are classes: k-means, and accuracy under the best map of clusters to classes."""

import numpy as np
from scipy import optimize
from scipy.cluster import vq

from vidx.terminal import counted

_ROUNDS = 100  # of ten iterations each


def k_means(features: np.ndarray, clusters: int, restarts: int = 20, seed: int = 0) -> np.ndarray:
  """Cluster of each row, of the start with the lowest inertia.

  Starts are drawn as k-means++ does; each is iterated until no row moves.

  Args:
    features: (N, C), N at least `clusters`.
    clusters: k.
    restarts: number of starts.
    seed: of the starts.

  Returns:
    (N,) int64 in 0..k-1.

  Raises:
    ValueError: fewer rows than clusters.
  """
  features = np.asarray(features, np.float64)
  if not 1 <= clusters <= len(features):
    raise ValueError(f"{counted(len(features), 'example')} cannot make {counted(clusters, 'cluster')}")
  rng, best = np.random.default_rng(seed), (np.inf, np.zeros(len(features), np.int64))
  for _ in range(restarts):
    centres, found = vq.kmeans2(features, clusters, iter=10, minit="++", missing="warn", rng=rng)
    for _ in range(_ROUNDS):
      centres, moved = vq.kmeans2(features, centres, iter=10, minit="matrix", missing="warn")
      if np.array_equal(found, moved):
        break
      found = moved
    inertia = ((features - centres[found])**2).sum()
    if inertia < best[0]:
      best = inertia, found.astype(np.int64)
  return best[1]


def clustering_accuracy(cluster: np.ndarray, label: np.ndarray) -> float:
  """Percent of examples that the best one-to-one map of clusters to classes gets right (the Hungarian method).

  Args:
    cluster: (N,) ids from 0.
    label: (N,) class ids from 0.

  Returns:
    Percent; nan of no examples.
  """
  cluster, label = np.asarray(cluster, np.int64), np.asarray(label, np.int64)
  if not len(label):
    return float("nan")
  size = 1 + max(cluster.max(), label.max())
  counts = np.bincount(cluster * size + label, minlength=size * size).reshape(size, size)
  return 100.0 * float(counts[optimize.linear_sum_assignment(counts, maximize=True)].sum()) / len(label)


def normalised(features: np.ndarray) -> np.ndarray:
  """Rows of length 1, fp64; rows of zeros stay."""
  features = np.asarray(features, np.float64)
  return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
