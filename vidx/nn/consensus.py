"""Consensus of a sentence with references, inside of compiled programs: CIDEr-D of numbers of words.

Vedantam, Zitnick, Parikh: "CIDEr: Consensus-based Image Description Evaluation", 2015. It is what the self-critical
stage of a captioner is rewarded for (Rennie et al.: "Self-critical Sequence Training for Image Captioning", 2017).
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

ORDERS, SIGMA, SCALE = 4, 6.0, 10.0
Rarity = tuple[np.ndarray, np.ndarray, float]  # hashes (M,) in order, their weights (M,), weight of all others


def hashes(grams):
  """uint32 (...) of runs of words (..., n); arrays of NumPy or JAX."""
  lib = np if isinstance(grams, np.ndarray) else jnp
  found = lib.full(grams.shape[:-1], 2166136261 + 97 * grams.shape[-1], lib.uint32)
  for i in range(grams.shape[-1]):
    found = (found ^ (grams[..., i].astype(lib.uint32) + lib.uint32(1))) * lib.uint32(16777619)
    found = found ^ (found >> lib.uint32(15))
  return found


def rarity(videos: Iterable[Sequence[np.ndarray]]) -> Rarity:
  """Weights of runs of words: log(videos / those of which a sentence has it).

  Args:
    videos: of each the sentences, int (length,) without start, end and padding.
  """
  keys, total = [], 0
  for sentences in videos:
    total += 1
    own = [hashes(np.lib.stride_tricks.sliding_window_view(s, n)) for s in sentences for n in range(1, ORDERS + 1)
           if len(s) >= n]
    keys.append(np.unique(np.concatenate(own)) if own else np.zeros(0, np.uint32))
  known, counts = np.unique(np.concatenate(keys) if keys else np.zeros(0, np.uint32), return_counts=True)
  most = float(np.log(max(total, 1)))
  return known, (most - np.log(counts)).astype(np.float32), most


def consensus(words: jax.Array, count: jax.Array, references: jax.Array, lengths: jax.Array,
              weights: Rarity | None = None) -> jax.Array:
  """CIDEr-D of one sentence each.

  Args:
    words: int (B, S), of which `count` (B,) are live.
    count: int (B,).
    references: int (B, Q, R).
    lengths: int (B, Q), their live words; 0: there is no such reference.
    weights: of runs of words; None: all weigh 1.

  Returns:
    fp32 (B,), from 0 to 10; 0 without references.
  """
  def weighed(grams):
    if weights is None or not len(weights[0]):
      return jnp.ones(grams.shape[:-1])
    keys, values, other = weights
    at = jnp.searchsorted(jnp.asarray(keys), key := hashes(grams))
    at = jnp.minimum(at, len(keys) - 1)
    return jnp.where(jnp.asarray(keys)[at] == key, jnp.asarray(values)[at], other)

  def of_order(n, own, count, other, lengths):
    runs = lambda x: jnp.stack([x[..., i:x.shape[-1] - n + 1 + i] for i in range(n)], -1)
    a, b = runs(own), runs(other)  # (S', n), (Q, R', n)
    live_a = jnp.arange(a.shape[0]) < count - n + 1
    live_b = jnp.arange(b.shape[1]) < lengths[:, None] - n + 1
    same = lambda x, y: (x[..., :, None, :] == y[..., None, :, :]).all(-1)
    often = lambda x, y, live: (same(x, y) & live[..., None, :]).sum(-1)
    count_a, count_b, shared = often(a, a, live_a), often(b, b, live_b), often(a[None], b, live_b)
    weight_a, weight_b = weighed(a) ** 2, weighed(b) ** 2
    norm = jnp.sqrt((live_a * count_a * weight_a).sum() * (live_b * count_b * weight_b).sum(-1))
    product = (live_a * jnp.minimum(count_a, shared) * shared * weight_a / jnp.maximum(count_a, 1)).sum(-1)
    return jnp.where(norm > 0, product / jnp.where(norm > 0, norm, 1), 0)

  def of_one(own, count, other, lengths):
    orders = range(1, min(ORDERS, own.shape[-1], other.shape[-1]) + 1)
    found = sum(of_order(n, own, count, other, lengths) for n in orders) / ORDERS
    found = found * jnp.exp(-jnp.square(count - lengths) / (2 * SIGMA ** 2))
    return SCALE * (found * (lengths > 0)).sum() / jnp.maximum((lengths > 0).sum(), 1)

  return jax.vmap(of_one)(words, count, references, lengths)
