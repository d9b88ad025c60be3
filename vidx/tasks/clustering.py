"""Clusters of clip features: how well features that were learned elsewhere tell classes apart.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 5.4.8.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import clustering
from vidx.tasks import base
from vidx.terminal import counted


@dataclasses.dataclass(frozen=True)
class Clustering(base.Task):
  """Nothing is learned: features are averaged over the views of a video, brought to length 1 and clustered.

  Attributes:
    clusters: k of k-means; 0: as many as there are classes among the videos.
    restarts: starts of k-means, of which the one with the lowest inertia counts.
    seeds: how often all of that is repeated.
  """

  clusters: int = 0
  restarts: int = 20
  seeds: int = 10

  best_metric: ClassVar[str] = "clustering accuracy"
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: False}

  def __post_init__(self):
    if self.clusters < 0 or min(self.restarts, self.seeds) < 1:
      raise errors.ConfigError(f"task.clusters={self.clusters} is at least 0, task.restarts={self.restarts} and"
                               f" task.seeds={self.seeds} at least 1.")

  def labelled(self, batch: base.Batch, targets=base.TARGETS) -> jax.Array:
    """1 for a class id, 0 for -1."""
    return (jnp.asarray(batch[base.LABEL]) >= 0).astype(jnp.float32)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """None: zeros."""
    zero = jnp.zeros(outputs["features"].shape[:1])
    return zero, {"none": zero}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'features': (B, C)} in fp32, of frames their mean."""
    del batch
    features = outputs["features"].astype(jnp.float32)
    return {"features": features.reshape(features.shape[0], -1, features.shape[-1]).mean(1)}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """Nothing: features are no words."""
    return {}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> list:
    """None."""
    return []

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean and deviation of the clustering accuracy over the seeds, of labelled videos."""
    known = predictions[base.LABEL] >= 0
    features, label = clustering.normalised(predictions["features"][known]), predictions[base.LABEL][known]
    clusters = self.clusters or len(np.unique(label))
    if not 1 <= clusters <= len(label):
      raise errors.DataError(f"{counted(len(label), 'labelled video')} cannot make {counted(clusters, 'cluster')}.")
    found = [clustering.clustering_accuracy(clustering.k_means(features, clusters, self.restarts, seed), label)
             for seed in range(self.seeds)]
    return {"clustering accuracy": float(np.mean(found)), "clustering accuracy/std": float(np.std(found)),
            "clusters": float(clusters)}
