"""What a task is: pure functions from outputs to losses, predictions and metrics."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np

Batch = Mapping[str, Any]
Outputs = Mapping[str, Any]
TARGETS = ("label", "transcript", "frame_label")  # keys of a batch that say what an example shows
FRAMES = "frames/"  # predictions so called have a row per frame, (B, T); of a whole split, lists of (T,)
Loss = Callable[[Outputs, Batch], tuple[jax.Array, dict[str, jax.Array]]]


@dataclasses.dataclass(frozen=True)
class Objective:
  """A loss and the parameters that it trains.

  Attributes:
    name: appears in the log.
    loss: (outputs, batch) -> (per_example (B,), terms {name: (B,)}).
    pattern: regular expression over parameter paths such as 'res2/0/conv1/kernel'.
    labelled: whether the loss is that of the labelled examples alone, over which it is averaged then.
  """

  name: str
  loss: Loss
  pattern: str = ".*"
  labelled: bool = True


@dataclasses.dataclass(frozen=True)
class Task:
  """Base of all tasks; a subclass is a frozen dataclass whose fields are the keys of `config.task`.

  Attributes:
    best_metric: the metric by which the best checkpoint is kept; larger is better.
    multilabel: whether labels are multi-hot.
    combine: how gradients are combined where the patterns of objectives overlap:
      'sum', or a function (list of gradient trees, int32 step from 0, total steps)
      -> (gradient tree, {name: figure for the log}).
  """

  best_metric: ClassVar[str] = ""
  multilabel: ClassVar[bool] = False
  combine: ClassVar[str | Callable[[list[Any], jax.Array, int], tuple[Any, dict[str, jax.Array]]]] = "sum"

  @property
  def objectives(self) -> tuple[Objective, ...]:
    """One objective over all parameters, unless a task says otherwise."""
    return (Objective("loss", self.loss),)

  def labelled(self, batch: Batch, targets: Sequence[str] = TARGETS) -> jax.Array:
    """Share of each example that has a label, fp32 (B,): 1 or 0, and between them where `mixup` made soft labels.

    Args:
      batch: as it is, or with 'labelled' as a training step has mixed it, which is the answer then.
      targets: keys of the batch that the system learns from, where it takes some itself.
    """
    raise TypeError(f"{type(self).__name__} does not say which examples are labelled.")

  def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of each example times its `labelled`, and the terms it is the sum of: (B,), {name: (B,)}."""
    raise TypeError(f"{type(self).__name__} defines no loss.")

  def predict(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
    """Predictions of each example, such as {'scores': (B, C)}, or of its frames (see FRAMES).

    Those of an example may be averaged over views.
    """
    raise TypeError(f"{type(self).__name__} defines no predictions.")

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics, in percent, of the predictions of a whole split as NumPy arrays."""
    raise TypeError(f"{type(self).__name__} defines no metrics.")

  def target(self, label: jax.Array, num_classes: int) -> jax.Array:
    """The label as float32 (B, C), which mixup may mix and `loss` accepts in its place."""
    raise TypeError(f"{type(self).__name__} defines no targets.")

  def for_dataset(self, dataset: Any) -> "Task":
    """The task with what only the data set knows, such as categories of classes."""
    del dataset
    return self


def with_system_losses(outputs: Outputs, terms: dict[str, jax.Array], labelled: jax.Array
                       ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Adds the per-example losses that the system itself put out, of `labelled` examples, and sums: (per_example, terms).

  The `terms` are 0 for unlabelled examples already.
  """
  terms = {**terms, **{name: labelled * value for name, value in outputs.get("losses", {}).items()}}
  return sum(terms.values()), terms
