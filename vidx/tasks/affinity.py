"""Affinity: images of one object are closer to each other than to that of another, learned from clips without labels.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. Of a triplet, identity and
target are of one clip; the pose image is of another video, and hard to tell apart since it stands alike.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx.tasks import base


@dataclasses.dataclass(frozen=True)
class Affinity(base.Task):
  """max(f(x1) f(y) - f(x1) f(x2) + m, 0) of features of length 1, x1 and x2 of one clip and y of another.

  Attributes:
    margin: m.
  """

  margin: float = 0.3

  best_metric: ClassVar[str] = "told"
  headlines: ClassVar[tuple[str, ...]] = ("same", "other")
  targets: ClassVar[Mapping[str, bool]] = {}

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """fp32 (B,), by the cosines of the first image with the third and the second."""
    same, other = cosines(outputs)
    margin = jnp.maximum(other - same + self.margin, 0)
    return base.with_system_losses(outputs, {"margin": margin}, self.labelled(batch))

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'same', 'other'}: cosines (B,) of images of one clip and of two."""
    del batch
    return dict(zip(("same", "other"), cosines(outputs)))

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """'told': percent of the triplets whose clip is told; 'same', 'other': mean cosines, in percent."""
    same, other = predictions["same"], predictions["other"]
    return {"told": 100 * float((same > other).mean()), "same": 100 * float(same.mean()),
            "other": 100 * float(other.mean())}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'same', 'other'} of one triplet."""
    del dataset, top
    return {key: float(predictions[key][row]) for key in ("same", "other")}


def cosines(outputs: base.Outputs) -> tuple[jax.Array, jax.Array]:
  """Of 'features' (B, 3, D) of identity, pose and target: (B,) identity with target, and with pose."""
  identity, pose, target = jnp.moveaxis(outputs["features"], 1, 0)
  product = lambda x, y: (x * y).sum(-1)
  return product(identity, target), product(identity, pose)
