"""Any number of classes per video: sigmoid cross entropy; mean average precision, over all and by category."""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors
from vidx.metrics import ranking
from vidx.tasks import base

REDUCTIONS = ("mean", "sum")


@dataclasses.dataclass(frozen=True)
class MultiLabel(base.Task):
  """Attributes:
    reduction: 'mean' or 'sum' over the classes of an example.
    categories: (name, class ids) of kinds of classes that are scored apart; a
      mapping may be given. Taken from the data set where empty.
  """

  reduction: str = "mean"
  categories: tuple[tuple[str, tuple[int, ...]], ...] = ()

  best_metric: ClassVar[str] = "mAP"
  multilabel: ClassVar[bool] = True

  def __post_init__(self):
    if self.reduction not in REDUCTIONS:
      raise errors.ConfigError(f"task.reduction '{self.reduction}' is not one of {', '.join(REDUCTIONS)}"
                               f"{errors.hint(self.reduction, REDUCTIONS)}.")
    pairs = self.categories.items() if isinstance(self.categories, Mapping) else self.categories
    object.__setattr__(self, "categories", tuple((name, tuple(ids)) for name, ids in pairs))

  def for_dataset(self, dataset: Any) -> "MultiLabel":
    """With the data set's categories, unless some were configured."""
    return self if self.categories else dataclasses.replace(self, categories=dataset.categories)

  def target(self, label: jax.Array, num_classes: int) -> jax.Array:
    """Multi-hot labels (B, C) as float32; class ids (B,) become one-hot."""
    return label.astype(jnp.float32) if label.ndim == 2 else jax.nn.one_hot(label, num_classes, dtype=jnp.float32)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Binary cross entropy of all classes in fp32."""
    logits = outputs["logits"].astype(jnp.float32)
    each = optax.sigmoid_binary_cross_entropy(logits, self.target(batch["label"], logits.shape[-1]))
    reduce = jnp.mean if self.reduction == "mean" else jnp.sum
    return base.with_system_losses(outputs, {"binary_cross_entropy": reduce(each, axis=-1)})

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores': (B, C)}: probability of each class in fp32."""
    del batch
    return {"scores": jax.nn.sigmoid(outputs["logits"].astype(jnp.float32))}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of 'scores' and 'label' (N, C): 'mAP', and 'mAP/NAME' of every category."""
    found = ranking.average_precisions(predictions["scores"], predictions["label"])
    result = {"mAP": ranking.mean_known(found)}
    for name, ids in self.categories:
      result[f"mAP/{name}"] = ranking.mean_known(found[list(ids)])
    return result

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,), 'ap' (C,) percent}."""
    label = predictions["label"]
    return {"count": (label > 0).sum(axis=0), "ap": ranking.average_precisions(predictions["scores"], label)}
