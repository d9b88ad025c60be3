"""MatchTrans: a memory follows what moves, by comparing each place with the ones around it a frame ago.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, section 3.3. It has no parameters.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from vidx.nn import choices

AFFINITIES = ("cosine", "dot")
SCOPE = "match_trans"  # of all its operations, in the text of programs
_ROOM = 1e-8  # added to norms, as the public code does
_NOTHING = 1e-7  # sum of affinities below which nothing matches


def neighbours(x: jax.Array, reach: int) -> Iterator[jax.Array]:
  """x (..., h, w, C) at (y + i, x + j) for i, then j, in -reach..reach; zeros outside of the map."""
  height, width = x.shape[-3:-1]
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)])
  for i in range(2 * reach + 1):
    for j in range(2 * reach + 1):
      yield x[..., i:i + height, j:j + width, :]


def match_weights(now: jax.Array, before: jax.Array, mask: jax.Array | None = None, *, reach: int = 2,
                  affinity: str = "cosine", stop_grad: bool = True) -> jax.Array:
  """The share of each place around, a frame ago, in what a place takes over.

  Shares are products of features, 0 where negative and outside of the map, over their
  sum; where that is 0 the place takes over its own memory.

  Args:
    now: (..., h, w, C) features of a frame.
    before: (..., h, w, C) of the frame before it.
    mask: (..., h, w), 1 for places of the frame, 0 for padding, which nothing is taken from; None: all are.
    reach: places up, down, left and right; k of the thesis.
    affinity: 'cosine', of features of length 1, or 'dot', the product itself (section 3.3).
    stop_grad: lets no gradient through the shares.

  Returns:
    fp32 (..., h, w, (2 reach + 1)**2), rows of places first, which sum to 1.
  """
  choices.check("affinity", affinity, AFFINITIES)
  with jax.named_scope(SCOPE):
    return _weights(now, before, mask, reach, affinity, stop_grad)


def _weights(now, before, mask, reach, affinity, stop_grad):
  now, before = _unit(now), _unit(before) if affinity == "cosine" else before.astype(jnp.float32)
  if mask is not None:
    before = jnp.where(mask[..., None] > 0, before, 0)
  products = jnp.stack([(now * there).sum(-1) for there in neighbours(before, reach)], -1)
  products = jnp.maximum(products, 0)
  total = products.sum(-1, keepdims=True)
  matched = total >= _NOTHING
  own = jax.nn.one_hot(products.shape[-1] // 2, products.shape[-1])
  shares = jnp.where(matched, products / jnp.where(matched, total, 1), own)
  return jax.lax.stop_gradient(shares) if stop_grad else shares


def _unit(x):
  """x of length 1 over its channels (nothing stays nothing); a place's length cancels out of its own shares."""
  x = x.astype(jnp.float32)
  squares = (x * x).sum(-1, keepdims=True)
  length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
  return x / (length + _ROOM)


def take_over(memory: jax.Array, shares: jax.Array) -> jax.Array:
  """The memory (..., h, w, D) of places around, weighed by `match_weights`' shares: fp32 (..., h, w, D)."""
  reach = (round(shares.shape[-1]**0.5) - 1) // 2
  with jax.named_scope(SCOPE):
    memory = memory.astype(jnp.float32)
    return sum(shares[..., k, None] * there for k, there in enumerate(neighbours(memory, reach)))


def match_transform(memory: jax.Array, now: jax.Array, before: jax.Array, mask: jax.Array | None = None, *,
                    reach: int = 2, affinity: str = "cosine", stop_grad: bool = True) -> jax.Array:
  """The memory of the frame before, moved to where its features are now (section 3.3).

  Args:
    memory: (..., h, w, D).
    now: see `match_weights`, as the rest.
    before: (..., h, w, C).
    mask: (..., h, w) or None.
    reach: places up, down, left and right.
    affinity: one of AFFINITIES.
    stop_grad: lets no gradient into the features.

  Returns:
    (..., h, w, D), dtype of `memory`; sums are fp32.
  """
  shares = match_weights(now, before, mask, reach=reach, affinity=affinity, stop_grad=stop_grad)
  return take_over(memory, shares).astype(memory.dtype)
