"""Any number of tags and one class per video: multi-label losses beside a softmax cross entropy.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 5.4.5: Kinetics-600 with the tags of HVU beside its classes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.metrics import accuracy
from vidx.tasks import base, scores as scores_lib
from vidx.tasks.multilabel import MultiLabel

CLASS = "class"  # the target of one class
_KEY = f"{base.LABEL}/{CLASS}"


@dataclasses.dataclass(frozen=True)
class TagsAndClass(MultiLabel):
  """Losses of `MultiLabel` for the tags plus `class_weight` times the cross entropy of the class.

  The system has a head 'class', and one for all tags ('label') or one for every category.

  Attributes:
    class_weight: of the cross entropy.
  """

  class_weight: float = 1.0

  best_metric: ClassVar[str] = "top-1"
  headlines: ClassVar[tuple[str, ...]] = ("mAP",)
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: True, CLASS: False}
  fusable: ClassVar[Mapping[str, str]] = {"scores": base.LABEL, f"scores/{CLASS}": CLASS}

  def num_classes(self, sizes: Mapping[str, int]) -> dict[str, int]:
    """{head: number}; see base.Task."""
    tags = super().num_classes(sizes)
    return {**(tags if self.heads else {base.LABEL: tags}), CLASS: sizes[CLASS]}

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """1 where tags and class are known."""
    if "labelled" in batch:
      return batch["labelled"]
    return super().labelled(batch, targets) * (jnp.asarray(batch[_KEY]) >= 0)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sum of the losses of tags and class in fp32; 0 for an unlabelled example."""
    tags, terms = super().loss(outputs, batch)
    logits = outputs["logits"][CLASS].astype(jnp.float32)
    label = jnp.maximum(jnp.asarray(batch[_KEY]), 0)
    entropy = self.class_weight * optax.softmax_cross_entropy_with_integer_labels(logits, label) * self.labelled(batch)
    return tags + entropy, {**terms, "cross_entropy": entropy}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores': (B, C) of tags, 'scores/class': (B, K)} in fp32."""
    return {**super().predict(outputs, batch), f"scores/{CLASS}": jax.nn.softmax(
        outputs["logits"][CLASS].astype(jnp.float32))}

  def figures(self, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any]]:
    """As of `MultiLabel`, with 'top-1' and 'top-5' of the class, and in details 'class/count', 'class/accuracy'."""
    metrics, details = super().figures(predictions)
    scores, label = self._classes(predictions)
    confusion = accuracy.confusion_matrix(scores, label)
    return ({"top-1": accuracy.top_k(scores, label, 1), "top-5": accuracy.top_k(scores, label, 5), **metrics},
            {**details, f"{CLASS}/count": confusion.sum(axis=1),
             f"{CLASS}/accuracy": accuracy.per_class_accuracy(confusion)})

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = scores_lib.TOP
               ) -> dict[str, Any]:
    """As `MultiLabel.describe`, its 'predictions' those of the class."""
    best = scores_lib.best(predictions[f"scores/{CLASS}"][row], dataset.targets[CLASS].classes, top)
    return {**super().describe(predictions, row, dataset, top), "predictions": best}

  def _classes(self, predictions):
    known = predictions[_KEY] >= 0
    return predictions[f"scores/{CLASS}"][known], predictions[_KEY][known]
