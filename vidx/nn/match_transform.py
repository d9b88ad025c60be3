"""MatchTrans: a memory follows what moves, by comparing each place with the ones around it a frame ago.

Places are compared by matrix products: of a block of rows with the blocks above, at and
below it, of which what lies too far away is dropped. That is several times as many products
as there are neighbours, and on a CPU and by a TPU's compiler's estimate a fraction of the
time of sums over shifted maps. The table of all pairs of places is never made.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, section 3.3. It has no parameters.
"""

import jax
from jax import lax
import jax.numpy as jnp

from vidx.nn import choices, shapes

AFFINITIES = ("cosine", "dot")
SCOPE = "match_trans"  # of all its operations, in the text of programs
_ROOM = 1e-8  # added to norms, as the public code does
_NOTHING = 1e-7  # sum of affinities below which nothing matches
_LANES = 8  # the width is filled up to a multiple of it: to join rows then moves nothing on a TPU
_BLOCK = 64  # places of a block, at least


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
    fp32 (..., N, P, 3 P), for `take_over`: of P places, which are a block of rows, the shares of those in the block
    above, of its own and of those in the block below. They sum to 1.

  Raises:
    ValueError: features and mask that do not fit, or a reach that is none.
  """
  shapes.check("match_transform", now=(now, "... h w C"), before=(before, "... h w C"), mask=(mask, "... h w"))
  shapes.check_numbers("match_transform", 0, reach=reach)
  choices.check("affinity", affinity, AFFINITIES)
  with jax.named_scope(SCOPE):
    if mask is not None:
      before = jnp.where(mask[..., None] > 0, before, 0)
    rows, width = _rows(now, reach), now.shape[-2]
    now, before = _blocks(now, rows), _blocks(before, rows)
    return _shares(now, _scale(now), before, _scale(before, affinity), width, reach, stop_grad)


def step_weights(x: jax.Array, mask: jax.Array | None = None, *, reach: int = 2, affinity: str = "cosine",
                 stop_grad: bool = True) -> jax.Array:
  """`match_weights` of every frame but the first one with the frame before it, for which it looks at each once.

  Args:
    x: (B, T + 1, h, w, C), blank where a frame has padding.
    mask: (B, T, h, w) of all but the first frame; see `match_weights`, as the rest.
    reach: places up, down, left and right.
    affinity: one of AFFINITIES.
    stop_grad: lets no gradient through the shares.

  Returns:
    fp32 (B, T, N, P, 3 P).
  """
  choices.check("affinity", affinity, AFFINITIES)
  with jax.named_scope(SCOPE):
    rows = _rows(x, reach)
    blocks = _blocks(x, rows)  # all that follows sees these: an estimate for TPUs is lower than of two copies
    scale = _scale(blocks)
    before = scale[:, :-1] if affinity == "cosine" else jnp.ones_like(scale[:, :-1])
    if mask is not None:
      before = jnp.where(_blocks(mask[..., None], rows)[..., 0] > 0, before, 0)
    return _shares(blocks[:, 1:], scale[:, 1:], blocks[:, :-1], before, x.shape[-2], reach, stop_grad)


def _shares(now, of_now, before, of_before, width, reach, stop_grad):
  """Shares of blocks (..., N, P, C), whose products are multiplied by factors (..., N, P)."""
  wide = _wide(width)
  rows, before = now.shape[-2] // wide, before.astype(now.dtype)
  exact = lax.Precision.HIGHEST if now.dtype == jnp.float32 else None
  products = lambda a, b: jnp.einsum("...pc,...qc->...pq", a, b, precision=exact, preferred_element_type=jnp.float32)
  edge = lambda x, *ends: jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [ends, (0, 0), (0, 0)])
  above = edge(products(now[..., 1:, :, :], before[..., :-1, :, :]), 1, 0)
  below = edge(products(now[..., :-1, :, :], before[..., 1:, :, :]), 0, 1)
  found = jnp.concatenate([above, products(now, before), below], -1)
  found *= of_now[..., None] * jnp.concatenate(_around(edge(of_before[..., None, :], 1, 1)), -1)
  place, other = jnp.arange(rows * wide)[:, None], jnp.arange(3 * rows * wide) - rows * wide
  up, left = other // wide - place // wide, other % wide - place % wide
  found = jnp.where((abs(up) <= reach) & (abs(left) <= reach), jnp.maximum(found, 0), 0)
  total = found.sum(-1, keepdims=True)
  matched = total >= _NOTHING
  shares = jnp.where(matched, found / jnp.where(matched, total, 1), (place == other).astype(jnp.float32))
  return lax.stop_gradient(shares) if stop_grad else shares


def _rows(x, reach):
  """Rows of a block: as many as a place reaches up, more of narrow maps, but no more than there are."""
  return min(max(reach, -(-_BLOCK // _wide(x.shape[-2]))), x.shape[-3])


def _wide(width):
  return -(-width // _LANES) * _LANES


def _blocks(x, rows, around=0):
  """(..., h, w, C) in blocks of rows, (..., N, P, C), with so many blank ones before and behind them."""
  height, width, channels = x.shape[-3:]
  count, wide = -(-height // rows), _wide(width)
  fill = (around * rows, (around + count) * rows - height), (0, wide - width), (0, 0)
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + list(fill))
  return x.reshape(*x.shape[:-3], count + 2 * around, rows * wide, channels)


def _around(x):
  """The blocks above, at and below each of (..., N + 2, P, C)."""
  return x[..., :-2, :, :], x[..., 1:-1, :, :], x[..., 2:, :, :]


def _scale(x, affinity="cosine"):
  """What makes features (..., C) of length 1 of them, or 1; a place's length cancels out of its own shares."""
  if affinity == "dot":
    return jnp.ones(x.shape[:-1], jnp.float32)
  squares = jnp.square(x.astype(jnp.float32)).sum(-1)
  return 1 / (jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0) + _ROOM)


def take_over(memory: jax.Array, shares: jax.Array) -> jax.Array:
  """The memory (..., h, w, D) of places around, weighed by `match_weights`' shares: fp32 (..., h, w, D)."""
  height, width, channels = memory.shape[-3:]
  with jax.named_scope(SCOPE):
    rows = shares.shape[-2] // _wide(width)
    sides = zip(jnp.split(shares, 3, -1), _around(_blocks(memory.astype(jnp.float32), rows, 1)))
    moved = sum(jnp.einsum("...pq,...qd->...pd", share, there, precision=lax.Precision.HIGHEST)
                for share, there in sides)
    moved = moved.reshape(*moved.shape[:-3], -1, _wide(width), channels)
    return moved[..., :height, :width, :]


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

  Raises:
    ValueError: arrays that do not fit, a memory of whole numbers, or a reach that is none.
  """
  shapes.check("match_transform", memory=(memory, "... h w D"), now=(now, "... h w C"))
  shapes.check_floats("match_transform", memory=memory)
  shares = match_weights(now, before, mask, reach=reach, affinity=affinity, stop_grad=stop_grad)
  return take_over(memory, shares).astype(memory.dtype)
