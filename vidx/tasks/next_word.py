"""The next word: what a model of language learns from sentences alone.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, section 6.2.2.
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
class NextWord(base.Task):
  """Cross entropy of 'logits' (..., L - 1, V) for the words from the second on, and how well they are told.

  The loss of an example is the sum over its words, divided by the mean number of words per
  example of the batch, so that a step averages over words, not over sentences.
  """

  best_metric: ClassVar[str] = "next word"
  headlines: ClassVar[tuple[str, ...]] = ("perplexity",)
  targets: ClassVar[Mapping[str, bool]] = {}
  pairs: ClassVar[bool] = True  # by their mean number of words

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """fp32 (B,) in nats per word."""
    nats, _, words = _told(outputs, batch)
    weight = batch["weight"]
    mean = (words * weight).sum() / jnp.maximum(weight.sum(), 1)
    loss = nats / jnp.maximum(mean, 1e-6)
    return loss, {"cross_entropy": loss}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """fp32 {'nats', 'hits', 'words'}: (B,), sums over the words of an example."""
    return dict(zip(("nats", "hits", "words"), _told(outputs, batch)))

  def merge(self, key: str) -> str:
    """There is one view of a text."""
    del key
    return "first"

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """'next word', percent of words that were the first choice, and 'perplexity', exp of the mean cross entropy."""
    nats, hits, words = (float(np.asarray(predictions[k]).sum(dtype=np.float64)) for k in ("nats", "hits", "words"))
    if not words:
      return {"next word": float("nan"), "perplexity": float("nan")}
    return {"next word": 100 * hits / words, "perplexity": float(np.exp(min(nats / words, 700.0)))}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'captions', 'words', 'perplexity'} of one record."""
    record = dataset.records[int(predictions["index"][row])]
    words = float(predictions["words"][row])
    return {"captions": list(record.extra.get("captions", ()))[:top], "words": int(words),
            "perplexity": float(np.exp(min(predictions["nats"][row] / max(words, 1), 700.0)))}


def _told(outputs, batch):
  """Nats, hits and words (B,) of all texts of each example; a text of one token has no next word."""
  logits = outputs["logits"].astype(jnp.float32)
  text, live = batch["text"][..., 1:], batch["text_mask"][..., 1:].astype(jnp.float32)
  nats = optax.softmax_cross_entropy_with_integer_labels(logits, text) * live
  hits = (logits.argmax(-1) == text) * live
  total = lambda x: x.reshape(len(x), -1).sum(-1)
  return total(nats), total(hits), total(live)
