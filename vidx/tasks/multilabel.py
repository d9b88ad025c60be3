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
from vidx.tasks import base, categories as categories_lib, scores as scores_lib
from vidx.terminal import counted

REDUCTIONS = ("mean", "sum")
ACTIVATIONS = ("sigmoid", "softmax")
POSITIVES = ("sum", "first", "normalised")
RULES = (*ranking.RULES, "both")


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
    by_category: the loss is sum_k w_k (mean over the classes of category k), of 'sigmoid'.
    heads: the system has a head for each category.
    weights: w_k by name, 1 where not named.
    category_mask: categories of which a video has no class do not count in its loss.
    prior: output biases of 'sigmoid' start with the classes' frequencies in training.
    ap: area under the curve of precision over recall by 'step' or 'trapezoid'; 'both': the
      metrics of the second begin with its name.
    threshold: a class is a tag of a video from this score on, where tags are asked for.
    views: scores of several views become their 'mean', or the largest of each class, 'max', as on Charades.
  """

  reduction: str = "mean"
  activation: str = "sigmoid"
  positives: str = "sum"
  categories: tuple[tuple[str, tuple[int, ...]], ...] = ()
  by_category: bool = False
  heads: bool = False
  weights: tuple[tuple[str, float], ...] = ()
  category_mask: bool = False
  prior: bool = True
  ap: str = "step"
  threshold: float = 0.5
  views: str = "mean"

  best_metric: ClassVar[str] = "mAP"
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: True}

  def __post_init__(self):
    for field, known in (("reduction", REDUCTIONS), ("activation", ACTIVATIONS), ("positives", POSITIVES),
                         ("ap", RULES), ("views", ("mean", "max"))):
      errors.check_choice(f"task.{field}", getattr(self, field), known)
    pairs = lambda given: given.items() if isinstance(given, Mapping) else given
    object.__setattr__(self, "categories", tuple((name, tuple(ids)) for name, ids in pairs(self.categories)))
    object.__setattr__(self, "weights", tuple((name, float(w)) for name, w in pairs(self.weights)))
    if not 0 <= self.threshold <= 1:
      raise errors.ConfigError(f"task.threshold={self.threshold} is not in [0, 1].")
    if self.categories:
      names = [name for name, _ in self.categories]
      for name, _ in self.weights:
        if name not in names:
          raise errors.ConfigError(f"task.weights: '{name}' is not one of the categories {', '.join(names)}"
                                   f"{errors.hint(name, names)}.")

  def merge(self, key: str) -> str:
    """As `views` says of scores."""
    return self.views if key == "scores" else "mean"

  def for_dataset(self, dataset: Any) -> "MultiLabel":
    """With the data set's categories, unless some were configured.

    Raises:
      ConfigError: there are none and the task needs them, or they leave classes out.
    """
    task = self if self.categories else dataclasses.replace(self, categories=dataset.categories)
    needed = [f for f in ("by_category", "heads", "category_mask") if getattr(self, f)]
    if needed:
      ids = sorted(i for _, own in task.categories for i in own)
      if ids != list(range(len(dataset.classes))):
        raise errors.ConfigError(f"task.{needed[0]} needs a category for each of the"
                                 f" {counted(len(dataset.classes), 'class')} of data set '{dataset.name}',"
                                 f" which has {len(ids)} in {len(task.categories)}.")
    return task

  def num_classes(self, sizes: Mapping[str, int]) -> int | dict[str, int]:
    """All classes, or {category: number} where categories have heads; see base.Task."""
    return {name: len(ids) for name, ids in self.categories} if self.heads else sizes[base.LABEL]

  def initial(self, params: Any, dataset: Any) -> Any:
    """Parameters with output biases log(p / (1 - p)), p the frequency of a class; see base.Task."""
    if not self.prior or self.activation != "sigmoid":
      return params
    labels = [r.label for r in dataset.records if isinstance(r.label, tuple)]
    bias = categories_lib.prior_bias(labels, len(dataset.classes))
    return categories_lib.with_bias(params, bias, self.categories if self.heads else ())

  def logits(self, outputs: base.Outputs) -> jax.Array:
    """Logits of all classes, (B, C) fp32."""
    given = outputs["logits"]
    if isinstance(given, Mapping) and base.LABEL in given:
      given = given[base.LABEL]
    return categories_lib.side_by_side(given, self.categories)

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
    logits = self.logits(outputs)
    target, known = self.target(batch["label"], logits.shape[-1]), self.labelled(batch)
    if self.activation == "softmax":
      entropy = optax.softmax_cross_entropy(logits, self._distribution(target))
      return base.with_system_losses(outputs, {"cross_entropy": entropy}, known)
    terms = categories_lib.cross_entropy(
        logits, target / jnp.maximum(known, 1e-6)[:, None], self.reduction, self.categories, self.by_category,
        dict(self.weights), self.category_mask)
    return base.with_system_losses(outputs, {name: known * term for name, term in terms.items()}, known)

  def _distribution(self, target: jax.Array) -> jax.Array:
    """(B, C): what the softmax is compared with."""
    if self.positives == "first":
      return target * (jnp.cumsum(target, -1) <= 1)
    return target / jnp.maximum(target.sum(-1, keepdims=True), 1) if self.positives == "normalised" else target

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores': (B, C)}: probability of each class in fp32."""
    del batch
    return {"scores": getattr(jax.nn, self.activation)(self.logits(outputs))}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of 'scores' and 'label' (N, C), without unlabelled examples.

    'mAP' is the mean over classes; where there are categories it is the mean of theirs,
    'mAP/NAME', and 'mAP over classes' is that of all classes.
    """
    return self.figures(predictions)[0]

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,), 'ap' (C,) percent}, where both rules are asked for by the first."""
    return self.figures(predictions)[1]

  def figures(self, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any]]:
    """Both, of one table of average precisions."""
    scores, label = _labelled(predictions)
    rules = ranking.RULES if self.ap == "both" else (self.ap,)
    each, result = [ranking.average_precisions(scores, label, rule) for rule in rules], {}
    for i, (rule, found) in enumerate(zip(rules, each)):
      word = f"{rule} " if i else ""
      if not self.categories:
        result[f"{word}mAP"] = ranking.mean_known(found)
        continue
      result[f"{word}mAP"], means = ranking.mean_by_category(found, dict(self.categories))
      result |= {f"{word}mAP/{name}": value for name, value in means.items()}
      result[f"{word}mAP over classes"] = ranking.mean_known(found)
    return result, {"count": (label > 0).sum(axis=0), "ap": each[0]}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = scores_lib.TOP
               ) -> dict[str, Any]:
    """{'predictions': [{'label', 'score'}, ...], 'tags': {category: those from `threshold` on}}, from the highest."""
    scores = predictions["scores"][row]
    return {"predictions": scores_lib.best(scores, dataset.classes, top), "tags": self.tags(scores, dataset.classes)}

  def tags(self, scores: np.ndarray, classes: Sequence[str], true: Sequence[int] | None = None
           ) -> dict[str, list[dict[str, Any]]]:
    """{category: [{'label', 'score'}, ...]} of scores (C,) from `threshold` on, the highest first; 'all' without any.

    With the `true` class ids, these are among them, and 'right' says which are.
    """
    found = {}
    for name, ids in self.categories or (("all", range(len(classes))),):
      chosen = [c for c in ids if scores[c] >= self.threshold or c in (true or ())]
      found[name] = [{"label": classes[c], "score": round(float(scores[c]), 4),
                      **({} if true is None else {"right": c in true})}
                     for c in sorted(chosen, key=lambda c: -scores[c])]
    return found

  @property
  def nothing(self) -> dict[str, Any]:
    """No classes."""
    return {"predictions": [], "tags": {}}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> base.Samples:
    """As `vidx.tasks.scores.samples`, with 'tags', see `tags`."""
    found = scores_lib.samples(predictions, dataset, limit)
    truth = lambda row: dataset.records[int(predictions["index"][row])].label
    return [(row, {**sample, "tags": self.tags(predictions["scores"][row], dataset.classes, _ids(truth(row)))})
            for row, sample in found]


def _labelled(predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  known = (predictions["label"] >= 0).all(axis=-1)
  return predictions["scores"][known], predictions["label"][known]


def _ids(label: int | tuple[int, ...]) -> tuple[int, ...]:
  return label if isinstance(label, tuple) else (label,) if label >= 0 else ()
