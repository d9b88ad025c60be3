"""Attention over sets of tokens: exact under key masks, whole or in chunks of keys.

Vaswani et al.: "Attention Is All You Need", 2017. The chunked form is the online
softmax of Milakov and Gimelshein: "Online normalizer calculation for softmax", 2018.
"""

from collections.abc import Callable

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp

_FAR = -1e30  # score of a dead key: finite, so that a row without live keys stays finite
_WHOLE = 2**28  # more scores than this (1 GiB in fp32) are never held at once


@struct.dataclass
class Heads:
  """What attention works on; a plug-in of the site `*.heads` takes one and returns one.

  Attributes:
    q: (..., N, H, d) queries.
    k: (..., M, H, d) keys.
    v: (..., M, H, d) values.
    mask: (..., M) bool, live keys; None where all are.
    rows: (..., N) int32, the input tokens that the queries belong to; None for all
      tokens in their order. The block keeps only these.
    live: (..., N) bool, live queries where `rows` is given.
  """

  q: jax.Array
  k: jax.Array
  v: jax.Array
  mask: jax.Array | None = None
  rows: jax.Array | None = None
  live: jax.Array | None = None


def _scores(q, k, mask):
  """fp32 scores (..., H, N, M) of q (..., H, N, d) and k (..., H, M, d); dead keys far below."""
  scores = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)
  return scores if mask is None else jnp.where(mask[..., None, None, :], scores, _FAR)


def _weights(scores, top, mask):
  """exp(scores - top), exactly 0 for dead keys."""
  weights = jnp.exp(scores - top)
  return weights if mask is None else jnp.where(mask[..., None, None, :], weights, 0)


def _whole(q, k, v, mask):
  """Attention of (..., H, N, d) in one piece; normalised after the product, where it is cheap."""
  scores = _scores(q, k, mask)
  weights = _weights(scores, jax.lax.stop_gradient(scores.max(-1, keepdims=True)), mask)
  total = weights.sum(-1, keepdims=True)
  out = jnp.einsum("...qk,...kd->...qd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
  return out / (total if mask is None else jnp.maximum(total, 1e-30))


def _chunked(q, k, v, mask, chunk):
  """`_whole` with a running maximum and sum over chunks of keys; the backward pass recomputes them."""
  keys = k.shape[-2]
  count = -(-keys // chunk)
  if mask is None:
    mask = jnp.ones(k.shape[:-3] + (keys,), bool)
  room = count * chunk - keys
  k, v = (jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, room), (0, 0)]) for x in (k, v))
  mask = jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, room)])
  in_front = lambda x, axis: jnp.moveaxis(
      x.reshape(*x.shape[:axis], count, chunk, *x.shape[axis + 1:]), axis, 0)

  @jax.checkpoint
  def step(carry, part):
    out, total, top = carry
    k, v, mask = part
    scores = _scores(q, k, mask)
    above = jnp.maximum(top, jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    weights = _weights(scores, above, mask)
    before = jnp.exp(top - above)
    more = jnp.einsum("...qk,...kd->...qd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (out * before + more, total * before + weights.sum(-1, keepdims=True), above), None

  rows = q.shape[:-1] + (1,)
  start = (jnp.zeros(q.shape, jnp.float32), jnp.zeros(rows, jnp.float32), jnp.full(rows, _FAR, jnp.float32))
  parts = in_front(k, k.ndim - 2), in_front(v, v.ndim - 2), in_front(mask, mask.ndim - 1)
  (out, total, _), _ = jax.lax.scan(step, start, parts)
  return out / jnp.maximum(total, 1e-30)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None, *,
           scale: float | None = None, chunk: int | None = None, lowering: str = "matmul") -> jax.Array:
  """softmax(scale q k^T) v per head, with the softmax in fp32.

  A query whose keys are all dead gets zeros. Values of dead keys, even infinite
  ones, reach neither the output nor the gradient of live ones.

  Args:
    q: (..., N, H, d) queries.
    k: (..., M, H, d) keys.
    v: (..., M, H, d) values.
    mask: (..., M) bool, live keys.
    scale: factor of the scores; default d ** -0.5.
    chunk: keys worked on at a time; 0 for all; default all unless more than 2**28
      scores would be held at once.
    lowering: "matmul", or "cudnn" for the fused kernel of NVIDIA GPUs (fp16, bf16).
      On a CPU "matmul" took 0.4 of the time of `jax.nn.dot_product_attention`
      (8 x 197 tokens, 6 heads of 64).

  Returns:
    (..., N, H, d), dtype of `v`.
  """
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  if mask is not None:
    k, v = (jnp.where(mask[..., None, None], x, 0) for x in (k, v))
  if lowering == "cudnn":
    fold = lambda x: x.reshape(-1, *x.shape[-3:])
    keys = None if mask is None else mask.reshape(-1, 1, 1, mask.shape[-1])
    out = jax.nn.dot_product_attention(fold(q), fold(k), fold(v), mask=keys, scale=scale, implementation="cudnn")
    return out.reshape(*q.shape[:-1], v.shape[-1])
  if lowering != "matmul":
    raise ValueError(f"attend: lowering '{lowering}' is not known: 'matmul' or 'cudnn'")
  q, k, v = (jnp.swapaxes(x, -2, -3) for x in (q * scale, k, v))
  if chunk is None:
    held = q.size // q.shape[-1] * k.shape[-2]
    chunk = 0 if held <= _WHOLE else max(128, k.shape[-2] * _WHOLE // held)
  small = not chunk or chunk >= k.shape[-2]
  out = _whole(q, k, v, mask) if small else _chunked(q, k, v, mask, chunk)
  return jnp.swapaxes(out, -2, -3).astype(v.dtype)


def first_row(heads: Heads, scale: float) -> jax.Array:
  """fp32 attention (..., H, M) of the first query: how much the CLS token takes from each key."""
  q = (heads.q[..., :1, :, :] * scale).swapaxes(-2, -3)
  scores = _scores(q, heads.k.swapaxes(-2, -3), heads.mask)
  return jax.nn.softmax(scores, axis=-1)[..., 0, :]


class Attention(nn.Module):
  """Multi-head self-attention with one projection to queries, keys and values.

  The 3 D outputs of `qkv` are q, k, v in this order, each split into heads. If the
  caller makes the collection `maps` mutable, the attention of the first token,
  (..., H, M), is left there as `first`; otherwise it costs nothing.

  Attributes:
    heads: number of heads H; D must divide by it.
    bias: whether q, k and v have a bias.
    out_bias: whether the output projection has one.
    scale: factor of the scores; default (D / H) ** -0.5.
    chunk: see `attend`.
    lowering: see `attend`.
    dtype: compute dtype.
  """

  heads: int
  bias: bool = True
  out_bias: bool = True
  scale: float | None = None
  chunk: int | None = None
  lowering: str = "matmul"
  dtype: jnp.dtype | None = None
  kernel_init: Callable = nn.initializers.truncated_normal(0.02)

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None,
               between: Callable[[Heads], Heads] | None = None) -> tuple[jax.Array, Heads]:
    """Attends.

    Args:
      x: (..., N, D) tokens.
      mask: (..., N) bool, live tokens.
      between: called with the `Heads` on their way from the projection to the product.

    Returns:
      (..., N', D) and the `Heads` used; N' is the number of queries left by `between`.
    """
    width = x.shape[-1]
    if width % self.heads:
      raise ValueError(f"Attention: {width} channels do not divide into {self.heads} heads")
    scale = (width // self.heads) ** -0.5 if self.scale is None else self.scale
    qkv = nn.Dense(3 * width, self.bias, self.dtype, kernel_init=self.kernel_init, name="qkv")(x)
    qkv = qkv.reshape(*x.shape[:-1], 3, self.heads, width // self.heads)
    heads = Heads(qkv[..., 0, :, :], qkv[..., 1, :, :], qkv[..., 2, :, :], mask)
    heads = heads if between is None else between(heads)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "first", first_row(heads, scale))
    out = attend(heads.q, heads.k, heads.v, heads.mask, scale=scale, chunk=self.chunk, lowering=self.lowering)
    out = out.reshape(*out.shape[:-2], width)
    return nn.Dense(width, self.out_bias, self.dtype, kernel_init=self.kernel_init, name="proj")(out), heads
