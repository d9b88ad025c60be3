"""Verbs and nouns of first-person clips: a cross entropy each, and actions from their pairs."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors
from vidx.metrics import accuracy, verb_noun
from vidx.tasks import base, scores as scores_lib

NAMES = ("verb", "noun")
SCORES = "scores/"
_LISTED = 100  # pairs of a segment in a submission
_LEAST = -100.0  # logarithm of a probability, for challenges take finite numbers alone


@dataclasses.dataclass(frozen=True)
class VerbNoun(base.Task):
  """Takes the outputs 'logits': {'verb': (B, V), 'noun': (B, M)}.

  Attributes:
    only: 'verb' or 'noun' where a system has that one; '': both.
    prior: of pairs in the score of an action: 'none', their frequency in training ('joint'), or that of
      the noun given the verb ('conditional').
    weights: of the losses of verbs and nouns.
    facts: what the data knows besides labels: 'pairs', counts (V, M) in training; 'unseen', a bool per record;
      'tail', class ids by target.
  """

  only: str = ""
  prior: str = "none"
  weights: tuple[float, float] = (1.0, 1.0)
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

  best_metric: ClassVar[str] = "action/top-1"
  headlines: ClassVar[tuple[str, ...]] = ("verb/top-1", "noun/top-1")
  targets: ClassVar[Mapping[str, bool]] = dict.fromkeys(NAMES, False)
  fusable: ClassVar[Mapping[str, str]] = {f"{SCORES}{name}": name for name in NAMES}

  def __post_init__(self):
    if self.only not in ("", *NAMES):
      raise errors.ConfigError(f"task.only '{self.only}' is not verb or noun, or nothing for both.")
    errors.check_choice("task.prior", self.prior, verb_noun.PRIORS)
    if len(self.weights) != 2:
      raise errors.ConfigError(f"task.weights={tuple(self.weights)}: one of the verb's loss, one of the noun's.")
    object.__setattr__(self, "weights", tuple(self.weights))
    if self.only:
      own = {"best_metric": f"{self.only}/top-1", "headlines": (f"{self.only}/top-5",),
             "targets": {self.only: False}, "fusable": {f"{SCORES}{self.only}": self.only}}
      for name, value in own.items():
        object.__setattr__(self, name, value)

  def num_classes(self, sizes: Mapping[str, int]) -> dict[str, int]:
    """{'verb': ..., 'noun': ...} of those that are learned."""
    return {name: sizes[name] for name in self.targets if name in sizes}

  def for_dataset(self, dataset: Any) -> "VerbNoun":
    """With the facts of a split.

    Raises:
      ConfigError: a prior, and no counts of pairs.
    """
    records = dataset.records
    facts = {k: v for k, v in dataset.facts.items() if k == "pairs"}
    if self.prior != "none" and "pairs" not in facts:
      raise errors.ConfigError(f"task.prior='{self.prior}': data set '{dataset.name}' does not say how often pairs"
                               " occur in training; set it to 'none'.")
    if any("unseen" in r.extra for r in records):
      facts["unseen"] = np.array([bool(r.extra.get("unseen")) for r in records])
    rare = {name: sorted({r.value(name) for r in records if r.extra.get(f"tail_{name}")}) for name in NAMES}
    if any(rare.values()):
      facts["tail"] = rare
    return dataclasses.replace(self, facts=facts)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross entropies in fp32, 0 where a verb or noun is unknown."""
    terms = {}
    for name in self.targets:
      label, logits = batch[f"label/{name}"], outputs["logits"][name].astype(jnp.float32)
      entropy = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(label, 0))
      terms[name] = self.weights[NAMES.index(name)] * jnp.where(label >= 0, entropy, 0)
    return base.with_system_losses(outputs, terms, self.labelled(batch))

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'scores/verb', 'scores/noun'}: class probabilities in fp32, and weights of candidates where there are any."""
    del batch
    found = {SCORES + name: jax.nn.softmax(outputs["logits"][name].astype(jnp.float32)) for name in self.targets}
    return found | {k: v for k, v in outputs.items() if k.startswith("weights/")}

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Those of `vidx.metrics.verb_noun.evaluate`; of a single target accuracy and mean class accuracy."""
    if self.only:
      scores, label = predictions[SCORES + self.only], predictions[f"label/{self.only}"]
      scores, label = scores[label >= 0], label[label >= 0]
      confusion = accuracy.confusion_matrix(scores, label)
      return {**{f"{self.only}/top-{k}": accuracy.top_k(scores, label, k) for k in (1, 5)},
              f"{self.only}/mean class": accuracy.mean_class_accuracy(confusion)}
    unseen = self.facts.get("unseen")
    return verb_noun.evaluate(*(predictions[SCORES + name] for name in NAMES),
                              *(predictions[f"label/{name}"] for name in NAMES), prior=self._prior(),
                              probabilities=True, tail=self.facts.get("tail"),
                              unseen=None if unseen is None else unseen[predictions["index"]])

  def _prior(self):
    return None if self.prior == "none" else verb_noun.prior_of(self.prior, self.facts["pairs"])

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'verb/count' (V,), 'verb/accuracy' (V,) percent, ...}."""
    found = {}
    for name in self.targets:
      label = predictions[f"label/{name}"]
      confusion = accuracy.confusion_matrix(predictions[SCORES + name][label >= 0], label[label >= 0])
      found |= {f"{name}/count": confusion.sum(1), f"{name}/accuracy": accuracy.per_class_accuracy(confusion)}
    return found

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = scores_lib.TOP
               ) -> dict[str, Any]:
    """{'verb', 'noun': [{'label', 'score'}, ...], 'action': [{'label': 'verb noun', 'score'}, ...]}."""
    classes = {name: dataset.targets[name].classes for name in self.targets}
    found = {name: scores_lib.best(predictions[SCORES + name][row], classes[name], top) for name in self.targets}
    if not self.only:
      ids, logs = verb_noun.best_actions(*(predictions[SCORES + name][row:row + 1] for name in NAMES), top,
                                         self._prior(), probabilities=True)
      found["action"] = [
          {"label": f"{classes['verb'][i // verb_noun.ACTION_ID]} {classes['noun'][i % verb_noun.ACTION_ID]}",
           "score": float(np.exp(value))} for i, value in zip(ids[0].tolist(), logs[0])]
    return found

  def submission(self, predictions: Mapping[str, np.ndarray], dataset: Any, failures: Mapping[str, str],
                 supervision: Sequence[int] = ()) -> dict[str, Any]:
    """The JSON of an action recognition challenge of EPIC-KITCHENS; scores are logarithms of probabilities.

    Actions are listed where a prior speaks of them, and for EPIC-KITCHENS-55, whose challenge asks for them.

    Raises:
      DataError: a segment of the split is missing: its video is absent, or could not be decoded.
    """
    ids = [dataset.records[i].id for i in predictions["index"]]
    scores = [np.maximum(verb_noun.log_probabilities(predictions[SCORES + name], True), _LEAST) for name in NAMES]
    wanted = dataset.facts.get("ids") or [r.id for r in dataset.records]
    if failures:
      name = next(iter(failures))
      raise errors.DataError(f"submission: {len(failures)} of the segments asked for cannot be decoded, such as"
                             f" '{name}': {failures[name]}")
    old = dataset.name == "epic55"
    levels = dict(zip(("pretraining", "labels", "data"), supervision))
    return verb_noun.submission(ids, *scores, wanted=wanted, actions=_LISTED if old or self.prior != "none" else 0,
                                mu=self._prior(), version="0.1" if old else "0.2", **levels)

  @property
  def nothing(self) -> dict[str, Any]:
    """No classes."""
    return {name: [] for name in (*self.targets, *(() if self.only else ("action",)))}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> base.Samples:
    """(row, {'truth', 'top', 'right'}) of clips: the most confident mistakes and an even choice of the others."""
    first = next(iter(self.targets))
    rows = np.arange(len(predictions["index"]))
    tops = {name: accuracy.ranked(predictions[SCORES + name], 1)[:, 0] for name in self.targets}
    right = np.all([tops[name] == predictions[f"label/{name}"] for name in self.targets], axis=0)
    confidence = predictions[SCORES + first][rows, tops[first]]
    found = []
    for row in scores_lib.choice(right, confidence, limit).tolist():
      described = self.describe(predictions, row, dataset)
      truth = [dataset.targets[name].classes[c] for name in self.targets
               if (c := int(predictions[f"label/{name}"][row])) >= 0]
      best = described["action" if not self.only else self.only]
      found.append((row, {"truth": [" ".join(truth)] if truth else [], "right": bool(right[row]),
                          "top": [{**t, "score": round(t["score"], 4)} for t in best]}))
    return found
