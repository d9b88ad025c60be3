"""Any number of classes per video: sigmoid or softmax cross entropy; mean average precision, in all and by category."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors
from vidx.metrics import ranking
from vidx.tasks import base, scores as scores_lib

REDUCTIONS = ("mean", "sum")
ACTIVATIONS = ("sigmoid", "softmax")
POSITIVES = ("sum", "first", "normalised")


@dataclasses.dataclass(frozen=True)
class MultiLabel(scores_lib.Scored):
  """Attributes:
    reduction: 'mean' or 'sum' over the classes of an example, of 'sigmoid'.
    activation: 'sigmoid', a decision per class, or 'softmax', one distribution over all,
      as where nearly every video has one class (ActivityNet, FCVID).
    positives: what 'softmax' is trained with where a video has several classes: the 'sum'
      of their cross entropies, that of the 'first' by number alone, or 'normalised', their mean.
    categories: (name, class ids) of kinds of classes that are scored apart; a
      mapping may be given. Taken from the data set where empty.
  """

  reduction: str = "mean"
  activation: str = "sigmoid"
  positives: str = "sum"
  categories: tuple[tuple[str, tuple[int, ...]], ...] = ()

  best_metric: ClassVar[str] = "mAP"
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: True}

  def __post_init__(self):
    for field, known in (("reduction", REDUCTIONS), ("activation", ACTIVATIONS), ("positives", POSITIVES)):
      value = getattr(self, field)
      if value not in known:
        raise errors.ConfigError(f"task.{field} '{value}' is not one of {', '.join(known)}{errors.hint(value, known)}.")
    pairs = self.categories.items() if isinstance(self.categories, Mapping) else self.categories
    object.__setattr__(self, "categories", tuple((name, tuple(ids)) for name, ids in pairs))

  def for_dataset(self, dataset: Any) -> "MultiLabel":
    """With the data set's categories, unless some were configured."""
    return self if self.categories else dataclasses.replace(self, categories=dataset.categories)

  def target(self, label: jax.Array, num_classes: int) -> jax.Array:
    """Multi-hot labels (B, C) as float32, zeros where they are -1; class ids (B,) become one-hot."""
    if label.ndim == 2:
      return jnp.maximum(label.astype(jnp.float32), 0)
    return jax.nn.one_hot(label, num_classes, dtype=jnp.float32)

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """0 where a label is -1; of 'softmax' also where it names no class, which no distribution can show."""
    del targets
    if "labelled" in batch:
      return batch["labelled"]
    label = jnp.asarray(batch["label"])
    if label.ndim == 1:
      return (label >= 0).astype(jnp.float32)
    known = (label > 0).any(-1) if self.activation == "softmax" else (label >= 0).all(-1)
    return known.astype(jnp.float32)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross entropy in fp32, binary for each class or over all of them; 0 for an unlabelled example."""
    logits = outputs["logits"].astype(jnp.float32)
    target, known = self.target(batch["label"], logits.shape[-1]), self.labelled(batch)
    if self.activation == "softmax":
      entropy = optax.softmax_cross_entropy(logits, self._distribution(target))
      return base.with_system_losses(outputs, {"cross_entropy": entropy}, known)
    each = optax.sigmoid_binary_cross_entropy(logits, target / jnp.maximum(known, 1e-6)[:, None])
    reduce = jnp.mean if self.reduction == "mean" else jnp.sum
    return base.with_system_losses(outputs, {"binary_cross_entropy": known * reduce(each, axis=-1)}, known)

  def _distribution(self, target: jax.Array) -> jax.Array:
    """(B, C): what the softmax is compared with."""
    if self.positives == "first":
      return target * (jnp.cumsum(target, -1) <= 1)
    return target / jnp.maximum(target.sum(-1, keepdims=True), 1) if self.positives == "normalised" else target

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores': (B, C)}: probability of each class in fp32."""
    del batch
    return {"scores": getattr(jax.nn, self.activation)(outputs["logits"].astype(jnp.float32))}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of 'scores' and 'label' (N, C): 'mAP', and 'mAP/NAME' of every category; unlabelled examples are left out."""
    found = ranking.average_precisions(*_labelled(predictions))
    result = {"mAP": ranking.mean_known(found)}
    for name, ids in self.categories:
      result[f"mAP/{name}"] = ranking.mean_known(found[list(ids)])
    return result

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,), 'ap' (C,) percent}."""
    scores, label = _labelled(predictions)
    return {"count": (label > 0).sum(axis=0), "ap": ranking.average_precisions(scores, label)}


def _labelled(predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  known = (predictions["label"] >= 0).all(axis=-1)
  return predictions["scores"][known], predictions["label"][known]
