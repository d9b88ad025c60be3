"""Terms of the game between a generator and its critics, one value per example, in fp32.

A critic gives what `MultiScaleCritic` does: per scale 'score' (B, N), perhaps
'classes' (B, C), and 'features'. All terms are means over scales.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from vidx.nn import choices

Seen = Sequence[Mapping[str, Any]]
FORMS = ("logistic", "lsgan")


def verdict(seen: Seen, real: bool, form: str = "logistic") -> jax.Array:
  """(B,): how far scores are from calling the images real, or not real.

  'logistic': -log sigmoid(score) or -log(1 - sigmoid(score)), which the generator uses
  without saturation; 'lsgan': the square of the distance from 1, or from 0.
  """
  choices.check("gan", form, FORMS)

  def far(score):
    score = score.astype(jnp.float32)
    if form == "lsgan":
      return (score - real) ** 2
    return nn.softplus(-score if real else score)

  return sum(far(scale["score"]).mean(1) for scale in seen) / len(seen)


def recognition(seen: Seen, label: jax.Array) -> jax.Array:
  """(B,): cross entropy of the auxiliary classes; 0 where the label is -1."""
  entropy = lambda x: optax.softmax_cross_entropy_with_integer_labels(x.astype(jnp.float32), jnp.maximum(label, 0))
  return jnp.where(label >= 0, sum(entropy(scale["classes"]) for scale in seen) / len(seen), 0)


def feature_matching(fake: Seen, real: Seen) -> jax.Array:
  """(B,): mean distances of what the layers give for both, added over layers; no gradient through the real ones."""
  total = 0.0
  for a, b in zip(fake, real, strict=True):
    for x, y in zip(a["features"], b["features"], strict=True):
      total += per_example(jnp.abs(x.astype(jnp.float32) - jax.lax.stop_gradient(y.astype(jnp.float32))))
  return total / len(fake)


def halves(seen: Seen, parts: int = 2) -> list[Seen]:
  """What critics gave for a batch that is several ones behind each other, apart."""
  cut = lambda i: lambda x: x[i * (len(x) // parts):(i + 1) * (len(x) // parts)]
  return [jax.tree.map(cut(i), list(seen)) for i in range(parts)]


def per_example(x: jax.Array) -> jax.Array:
  """(B, ...) -> (B,), means."""
  return x.reshape(len(x), -1).mean(1)
