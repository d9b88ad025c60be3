"""Matching: whether frames and a clip belong together, learned from videos without labels.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency", 2024, section 4.3.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.tasks import base


@dataclasses.dataclass(frozen=True)
class Matching(base.Task):
  """Softmax cross entropy of one pair that matches and one that does not per clip.

  Takes the outputs 'match', 'mismatch' and 'paired' of vidx/systems/transfer.py.
  """

  best_metric: ClassVar[str] = "match accuracy"
  targets: ClassVar[Mapping[str, bool]] = {}

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean of -log p(match) of the clip's own frames and of -log(1 - p(match)) of those of another video."""
    label = lambda logits, value: jnp.full(logits.shape[0], value, jnp.int32)
    entropy = lambda logits, value: optax.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), label(logits, value))
    positive, negative = entropy(outputs["match"], 1), entropy(outputs["mismatch"], 0)
    share = 1 / (1 + outputs["paired"])
    return base.with_system_losses(outputs, {"match": share * positive,
                                             "mismatch": share * outputs["paired"] * negative},
                                   self.labelled(batch))

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """p(match) of the clip with its own frames, with those of another video, and whether there was one; (B,) each."""
    del batch
    probability = lambda key: jax.nn.softmax(outputs[key].astype(jnp.float32))[:, 1]
    return {"match": probability("match"), "mismatch": probability("mismatch"), "paired": outputs["paired"]}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Share of the pairs that are told right, of all and of either kind; nan where there are none."""
    right = predictions["match"] > 0.5
    wrong = predictions["mismatch"][predictions["paired"] > 0] <= 0.5
    share = lambda hits: 100 * float(np.mean(hits)) if len(hits) else float("nan")
    return {"match accuracy": share(np.concatenate([right, wrong])), "matches": share(right),
            "mismatches": share(wrong)}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'match': p(match) of the clip with its own frames, 'mismatch': that with others, None where there are none}."""
    del dataset, top
    paired = predictions["paired"][row] > 0
    return {"match": float(predictions["match"][row]),
            "mismatch": float(predictions["mismatch"][row]) if paired else None}
