"""Captioning: sentences about videos, and the parts of speech that come before them.

Section 5.4.7 of Fayyaz: "Temporal and Multi-label Understanding of Video", 2024.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.metrics import sentences
from vidx.nn import consensus
from vidx.tasks import base

SHOWN = 5


def _followed(logits: jax.Array, targets: jax.Array, live: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean cross entropy of the live ones of (B, L - 1) words, and the share of them that is likeliest, (B,) each."""
  live = live.astype(jnp.float32)
  mean = lambda x: (x * live).sum(1) / jnp.maximum(live.sum(1), 1)
  entropy = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(targets, 0))
  return mean(entropy), mean((logits.argmax(-1) == targets).astype(jnp.float32))


def _first(x: jax.Array) -> jax.Array:
  return x[:, 0] if x.ndim == 3 else x


@dataclasses.dataclass(frozen=True)
class Captioning(base.Task):
  """Takes what vidx/systems/captioner.py gives.

  The loss is the mean cross entropy of a sentence's words; of sentences that were drawn,
  their log probability times how much more they agree with the references than the likeliest ones (CIDEr-D).

  Attributes:
    words: the vocabulary, by number.
    references: of each record its captions.
    rarity: weights of runs of words in the training captions.
  """

  words: Any = dataclasses.field(default=None, compare=False, repr=False)
  references: Any = dataclasses.field(default=None, compare=False, repr=False)
  rarity: Any = dataclasses.field(default=None, compare=False, repr=False)

  best_metric: ClassVar[str] = "BLEU-4"
  headlines: ClassVar[tuple[str, ...]] = ("BLEU-1",)
  targets: ClassVar[Mapping[str, bool]] = {}
  inputs: ClassVar[tuple[str, ...]] = ("text_count",)
  reads_words: ClassVar[bool] = True

  def for_dataset(self, dataset: Any) -> "Captioning":
    """With the captions of its records."""
    return dataclasses.replace(self, references=tuple(tuple(r.extra.get("captions", ())) for r in dataset.records))

  def for_texts(self, tokenizer: Any, dataset: Any = None) -> "Captioning":
    """With the words of a vocabulary and, of a training split, how rare runs of them are.

    Args:
      tokenizer: text -> (numbers, which are live) with start and end; its `vocabulary` are numbers by word.
      dataset: the training split.
    """
    numbers = {number: word for word, number in tokenizer.vocabulary.items()}
    words = tuple(numbers.get(i, "") for i in range(max(numbers) + 1))
    if dataset is None:
      return dataclasses.replace(self, words=words)

    def within(text):
      ids, live = tokenizer(text)
      return ids[1:int(live.sum()) - 1]

    captions = ([within(t) for t in r.extra.get("captions", ())] for r in dataset.records)
    return dataclasses.replace(self, words=words, rarity=consensus.rarity(captions))

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Of each video: see the class. 'reward' and 'likeliest' are CIDEr-D of what is drawn and of what is likeliest."""
    there = (batch["weight"] > 0) & (batch["text_count"] > 0)
    if "drawn" in outputs:
      drawn, likeliest = outputs["drawn"], outputs["likeliest"]
      lengths = (batch["references_mask"].sum(-1) - 2).astype(jnp.int32)  # without start and end
      reward, before = (jnp.where(there, consensus.consensus(
          x["words"], x["count"], batch["references"][:, :, 1:], lengths, self.rarity), 0) for x in (drawn, likeliest))
      gain = jax.lax.stop_gradient(reward - before)
      said = drawn["log_prob"].sum(1) / (drawn["count"] + 1)
      loss = jnp.where(there, -gain * said, 0)
      return loss, {"critical": loss, "reward": reward, "likeliest": before}
    text, live = _first(batch["text"]), _first(batch["text_mask"])
    loss, right = _followed(outputs["logits"], text[:, 1:], live[:, 1:])
    loss = jnp.where(there, loss, 0)
    return loss, {"words": loss, "right": jnp.where(there, right, 0)}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'words' (B, S), 'count' (B,), 'score' (B,), 'gates' (B, S)} of a video's sentence."""
    del batch
    return {key: outputs[key] for key in ("words", "count", "score", "gates")}

  def merge(self, key: str) -> str:
    """There is one view of a video."""
    del key
    return "first"

  def ragged(self, key: str) -> str | None:
    """Sentences have as many words as they have."""
    return "count" if key in ("words", "gates") else None

  def said(self, predictions: Mapping[str, Any], row: int) -> list[str]:
    """The words of a sentence; a number for which a system has a place and the vocabulary no word is unknown."""
    return [self.words[i] if i < len(self.words) else "[UNK]" for i in map(int, predictions["words"][row])]

  def metrics(self, predictions: Mapping[str, Any]) -> dict[str, float]:
    """BLEU of one to four words, percent, of the videos that have captions."""
    rows = [(self.said(predictions, row), [sentences.words(t) for t in self.references[int(index)]])
            for row, index in enumerate(predictions["index"])]
    rows = [(own, right) for own, right in rows if right]
    if not rows:
      return {self.best_metric: float("nan")}
    own, right = zip(*rows)
    return {f"BLEU-{n}": sentences.bleu(own, right, n) for n in range(1, sentences.ORDERS + 1)}

  def describe(self, predictions: Mapping[str, Any], row: int, dataset: Any, top: int = SHOWN) -> dict[str, Any]:
    """{'caption', 'log_prob', 'gates': how far each of its words opens the gate of the parts of speech}."""
    del dataset, top
    return {"caption": " ".join(self.said(predictions, row)), "log_prob": round(float(predictions["score"][row]), 4),
            "gates": [round(float(g), 4) for g in predictions["gates"][row]]}

  def samples(self, predictions: Mapping[str, Any], dataset: Any, limit: int) -> base.Samples:
    """An even choice of the videos: {'caption', 'captions': what people said}."""
    return [(row, {"caption": " ".join(self.said(predictions, row)), "captions": list(
        dataset.records[int(predictions["index"][row])].extra.get("captions", ()))[:SHOWN]})
            for row in base.evenly(len(predictions["index"]), limit)]


@dataclasses.dataclass(frozen=True)
class Tagging(base.Task):
  """Takes the logits of parts of speech; in evaluation those after each part of the first caption."""

  best_metric: ClassVar[str] = "accuracy"
  targets: ClassVar[Mapping[str, bool]] = {}
  inputs: ClassVar[Sequence[str]] = ("text_count",)

  def _of(self, outputs, batch):
    tags = _first(batch["tags"])[:, 1:]
    there = (batch["weight"] > 0) & (batch["text_count"] > 0)
    loss, right = _followed(outputs["logits"], tags, tags >= 0)
    return jnp.where(there, loss, 0), jnp.where(there, right, 0)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean cross entropy of a sentence's parts of speech."""
    loss, right = self._of(outputs, batch)
    return loss, {"tags": loss, "right": right}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'right' (B,)}: share of the parts of speech that were the likeliest."""
    return {"right": self._of(outputs, batch)[1]}

  def metrics(self, predictions: Mapping[str, Any]) -> dict[str, float]:
    """Percent, mean over the videos that have captions."""
    told = np.asarray(predictions["text_count"]) > 0
    return {"accuracy": 100 * float(np.mean(predictions["right"][told])) if told.any() else float("nan")}
