"""What a task is: pure functions from outputs to losses, predictions and metrics."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors

LABEL = "label"  # the target of data sets that have one
Batch = Mapping[str, Any]
Outputs = Mapping[str, Any]
TARGETS = ("label", "transcript", "frame_label")  # keys of a batch that say what an example shows
FRAMES = "frames/"  # predictions so called have a row per frame, (B, T); of a whole split, lists of (T,)
MERGES = ("mean", "max", "first", "none")
Samples = list[tuple[int, dict[str, Any]]]  # (row of the predictions, what to show of it)
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
    best_metric: the headline metric, by which the best checkpoint is kept; larger is better.
    headlines: further metrics for the training log and the curves of the report.
    targets: what the data must say of every video: {name: whether it may have several classes}.
    inputs: batch keys that losses and predictions read besides those of the model and labels.
    fusable: predictions that fusion may average over runs, each with the target whose classes are its last axis.
    reads_words: whether it takes the words of a vocabulary, see `for_texts`.
    activation: by which logits become probabilities: 'softmax' over all classes, or 'sigmoid' of each.
    pairs: whether the loss compares the examples of a batch, which then may not be cut into micro-batches.
    combine: how gradients are combined where the patterns of objectives overlap:
      'sum', or a function (list of gradient trees, int32 step from 0, total steps)
      -> (gradient tree, {name: figure for the log}).
  """

  best_metric: ClassVar[str] = ""
  headlines: ClassVar[tuple[str, ...]] = ()
  targets: ClassVar[Mapping[str, bool]] = {LABEL: False}
  inputs: ClassVar[tuple[str, ...]] = ()
  fusable: ClassVar[Mapping[str, str]] = {}
  reads_words: ClassVar[bool] = False
  activation: ClassVar[str] = "softmax"
  pairs: ClassVar[bool] = False
  combine: ClassVar[str | Callable[[list[Any], jax.Array, int], tuple[Any, dict[str, jax.Array]]]] = "sum"

  @property
  def objectives(self) -> tuple[Objective, ...]:
    """One objective over all parameters, unless a task says otherwise."""
    return (Objective("loss", self.loss),)

  @property
  def scattered(self) -> tuple[tuple[str, str], ...]:
    """Pairs of figures of the log that a report draws against one another; none, unless a task says otherwise."""
    return ()

  @property
  def schedules(self) -> Mapping[str, tuple[str, Callable[[int], np.ndarray]]]:
    """What the task changes over a run: {figure of the log: (title, f(total steps) -> (total steps,) its values)}."""
    return {}

  def labelled(self, batch: Batch, targets: Sequence[str] = TARGETS) -> jax.Array:
    """Share of each example that has a label, fp32 (B,): 1 or 0, and between them where `mixup` made soft labels.

    By default 1 where one of the task's targets is known, and for all where it has none.

    Args:
      batch: as it is, or with 'labelled' as a training step has mixed it, which is the answer then.
      targets: keys of the batch that the system learns from, where it takes some itself.
    """
    del targets
    if "labelled" in batch:
      return batch["labelled"]
    known = jnp.zeros(batch["weight"].shape, bool) if self.targets else jnp.ones(batch["weight"].shape, bool)
    for name in self.targets:
      key = LABEL if name == LABEL else f"{LABEL}/{name}"
      if key in batch:
        label = jnp.asarray(batch[key])
        known |= (label >= 0).reshape(len(label), -1).all(-1)
    return known.astype(jnp.float32)

  def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of each example times its `labelled`, and the terms it is the sum of: (B,), {name: (B,)}."""
    raise TypeError(f"{type(self).__name__} defines no loss.")

  def predict(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
    """Predictions of each example, such as {'scores': (B, C)}, or of its frames (see FRAMES).

    Those of an example may be averaged over views.
    """
    raise TypeError(f"{type(self).__name__} defines no predictions.")

  def merge(self, key: str) -> str:
    """How a prediction of several views becomes one of an example.

    'mean', 'max' over views, that of the 'first', or 'none': (V, ...), all of them.
    """
    del key
    return "mean"

  def ragged(self, key: str) -> str | None:
    """The prediction or batch key that counts the live entries of (B, T, ...), None where all are.

    Of a whole split such a prediction is an array of N arrays, each of its own length.
    """
    return "length" if key.startswith(FRAMES) else None

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics, in percent, of the predictions of a whole split as NumPy arrays."""
    raise TypeError(f"{type(self).__name__} defines no metrics.")

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tables for the result file: {'count' (C,), and a figure per class such as 'accuracy' (C,), 'confusion' (C, C)}.

    Keys of other targets than 'label' have its name in front: 'verb/count'.
    """
    del predictions
    return {}

  def figures(self, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any] | None]:
    """`metrics`, and `details` of tasks where both come of the same work; None: `details` gives them."""
    return self.metrics(predictions), None

  def files(self, predictions: Mapping[str, np.ndarray], dataset: Any) -> dict[str, str]:
    """Files beside the result of an evaluation, for tools of others: {ending of the name: text}."""
    del predictions, dataset
    return {}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """What `vidx predict` says of one video, as JSON: by default every prediction of it as it is.

    Args:
      predictions: of a split.
      row: of the video.
      dataset: its `targets` name the classes.
      top: classes to name.
    """
    del dataset, top
    hidden = ("index", "loss", "labelled", "audio_valid", LABEL)
    return {k: np.asarray(v[row]).tolist() for k, v in predictions.items() if k.partition("/")[0] not in hidden}

  @property
  def nothing(self) -> dict[str, Any]:
    """`describe` of a video that cannot be read."""
    return {}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> Samples:
    """Up to `limit` videos for the result file and the report: (row, what to show of it).

    By default an even choice of the videos, with what `describe` says.
    """
    return [(row, self.describe(predictions, row, dataset)) for row in evenly(len(predictions["index"]), limit)]

  def target(self, label: jax.Array, num_classes: int) -> jax.Array:
    """The label as float32 (B, C), which mixup may mix and `loss` accepts in its place."""
    raise TypeError(f"{type(self).__name__} defines no targets.")

  def for_dataset(self, dataset: Any) -> "Task":
    """The task with what only the data set knows, such as categories of classes."""
    del dataset
    return self

  def for_texts(self, tokenizer: Any, dataset: Any = None) -> "Task":
    """The task with what only a vocabulary knows, and of a training split what is said in it."""
    del tokenizer, dataset
    return self

  def with_threshold(self, threshold: float) -> "Task":
    """The task with another score from which a class is a tag.

    Raises:
      ConfigError: a task without tags, or a threshold that is no score.
    """
    if "threshold" not in [f.name for f in dataclasses.fields(self)]:
      raise errors.ConfigError("--threshold is for runs that learned tags, several per video.")
    return dataclasses.replace(self, threshold=threshold)

  def initial(self, params: Any, dataset: Any) -> Any:
    """The parameters with which training starts, from those of a fresh model and the training split; pure."""
    del dataset
    return params

  def num_classes(self, sizes: Mapping[str, int]) -> int | dict[str, int]:
    """What the field `num_classes` of a system is set to: a number, or {head: number} where there are several targets.

    Args:
      sizes: classes by target, of the data.
    """
    own = {name: sizes[name] for name in self.targets if name in sizes}
    return next(iter(own.values())) if len(own) == 1 else own


def evenly(count: int, limit: int) -> list[int]:
  """Up to `limit` of so many rows, evenly."""
  return np.unique(np.linspace(0, count - 1, min(limit, count)).round().astype(int)).tolist() if count else []


def with_system_losses(outputs: Outputs, terms: dict[str, jax.Array], labelled: jax.Array
                       ) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Adds the per-example losses that the system itself put out, of `labelled` examples, and sums: (per_example, terms).

  The `terms` are 0 for unlabelled examples already.
  """
  terms = {**terms, **{name: labelled * value for name, value in outputs.get("losses", {}).items()}}
  return sum(terms.values()), terms
