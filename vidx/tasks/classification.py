"""One class per video: softmax cross entropy; top-1, top-5 and mean class accuracy."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors
from vidx.metrics import accuracy
from vidx.tasks import base, scores as scores_lib
from vidx.terminal import counted


@dataclasses.dataclass(frozen=True)
class Classification(scores_lib.Scored):
  """Attributes:
    label_smoothing: share of the target that is spread evenly over all classes.
    class_weights: factors of the losses of the classes, or 'balanced': those at which all classes of the training split
      weigh alike, videos / (classes x videos of the class). The loss of an evaluation has them, too, 'balanced' ones
      while training alone, for a run does not keep them.
    among: (name, class ids): accuracy is told among these alone, too. Taken from the data set where empty.
  """

  label_smoothing: float = 0.0
  class_weights: str | tuple[float, ...] = ()
  among: tuple[str, tuple[int, ...]] | tuple[()] = ()

  best_metric: ClassVar[str] = "top-1"
  headlines: ClassVar[tuple[str, ...]] = ("top-5", "mean class")

  def __post_init__(self):
    if not 0 <= self.label_smoothing < 1:
      raise errors.ConfigError(f"task.label_smoothing={self.label_smoothing} is not in [0, 1).")
    if isinstance(self.class_weights, str) and self.class_weights not in ("", "balanced") or (
        not isinstance(self.class_weights, str) and any(w < 0 for w in self.class_weights)):
      raise errors.ConfigError(f"task.class_weights={self.class_weights!r}: 'balanced', or a number from 0 on per"
                               " class.")

  def for_dataset(self, dataset: Any) -> "Classification":
    """With the classes among which the data set asks for accuracy, and the weights of its classes.

    Raises:
      ConfigError: there are not as many weights as classes.
    """
    given = self.among or getattr(dataset, "facts", {}).get("among", ())
    weights = self.class_weights
    if weights == "balanced":
      count = np.bincount([label for label in dataset.values() if label >= 0], minlength=len(dataset.classes))
      weights = tuple(float(count.sum() / (np.count_nonzero(count) * n)) if n else 0.0 for n in count)
    elif weights and len(weights) != len(dataset.classes):
      more = ", ..." if len(dataset.classes) > 5 else ""
      raise errors.ConfigError(f"task.class_weights are {len(weights)}, and the data has"
                               f" {counted(len(dataset.classes), 'class')}: {', '.join(dataset.classes[:5])}{more}.")
    return dataclasses.replace(self, among=given, class_weights=weights)

  def target(self, label: jax.Array, num_classes: int) -> jax.Array:
    """Class ids (B,), or soft labels (B, C) as they are, as float32 (B, C); zeros where the id is -1."""
    return label.astype(jnp.float32) if label.ndim == 2 else jax.nn.one_hot(label, num_classes, dtype=jnp.float32)

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """1 for a class id, 0 for -1; of soft labels their sum."""
    del targets
    if "labelled" in batch:
      return batch["labelled"]
    label = jnp.asarray(batch["label"])
    return label.astype(jnp.float32).sum(-1) if label.ndim == 2 else (label >= 0).astype(jnp.float32)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross entropy in fp32; 0 for an unlabelled example."""
    logits = outputs["logits"].astype(jnp.float32)
    target = self.target(batch["label"], logits.shape[-1])
    if self.label_smoothing:
      known = target.sum(axis=-1, keepdims=True)
      target = known * optax.smooth_labels(target, self.label_smoothing)
    if self.class_weights and not isinstance(self.class_weights, str):
      weights = jnp.asarray(self.class_weights, jnp.float32)  # a head may have more outputs than there are classes
      target = target * jnp.pad(weights, (0, logits.shape[-1] - len(self.class_weights)), constant_values=1.0)
    entropy = optax.softmax_cross_entropy(logits, target)
    return base.with_system_losses(outputs, {"cross_entropy": entropy}, self.labelled(batch))

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores': (B, C)}: class probabilities in fp32."""
    del batch
    return {"scores": jax.nn.softmax(outputs["logits"].astype(jnp.float32))}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of 'scores' (N, C) and 'label' (N,); unlabelled examples are left out, top-5 where 5 classes are all of them."""
    scores, label = _labelled(predictions)
    confusion = accuracy.confusion_matrix(scores, label)
    several = {"top-5": accuracy.top_k(scores, label, 5)} if scores.shape[-1] > 5 else {}
    return {"top-1": accuracy.top_k(scores, label, 1), **several,
            "mean class": accuracy.mean_class_accuracy(confusion), **self._among(scores, label)}

  def _among(self, scores, label):
    if not self.among:
      return {}
    name, ids = self.among
    place = {c: i for i, c in enumerate(ids)}
    rows = np.flatnonzero([int(y) in place for y in label])
    own = np.array([place[int(label[row])] for row in rows], int)
    return {f"top-1 among {name}": accuracy.top_k(scores[np.ix_(rows, ids)], own, 1)}

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,), 'accuracy' (C,) percent, 'confusion' (C, C)}."""
    confusion = accuracy.confusion_matrix(*_labelled(predictions))
    return {"count": confusion.sum(axis=1), "accuracy": accuracy.per_class_accuracy(confusion),
            "confusion": confusion}


def _labelled(predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  known = predictions["label"] >= 0
  return predictions["scores"][known], predictions["label"][known]
