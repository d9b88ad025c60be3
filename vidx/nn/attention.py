"""Attention over sets of tokens: exact under key masks, whole or in chunks of queries.

Vaswani et al.: "Attention Is All You Need", 2017. Rows of the attention matrix do
not depend on each other, so a chunk of queries needs its own rows alone (Rabe and
Staats: "Self-attention Does Not Need O(n^2) Memory", 2021).
"""

from collections.abc import Callable

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp

from vidx.nn import tracing
from vidx.nn.initialisers import param

_FAR = -1e30  # score of a dead key: finite, so that a row without live keys stays finite
_WHOLE = 2**28  # more scores than this (1 GiB in fp32) are never held at once on a device
# A TPU's core has 128 MiB beside its units; scores that fit there need no way to its memory and back. So of many
# queries as many are taken at a time as fit, unless the keys and values, which all of them read, are too many bytes.
_MANY, _NEAR_SCORES, _NEAR_KEYS = 1024, 2**24, 48 << 20


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
    fused: (..., N) fp32, weights of the input tokens in one more, which has the last
      live place of `rows`; the queries are all tokens then. None: there is none.
    scale: factor of the scores.
  """

  q: jax.Array
  k: jax.Array
  v: jax.Array
  mask: jax.Array | None = None
  rows: jax.Array | None = None
  live: jax.Array | None = None
  fused: jax.Array | None = None
  scale: float = struct.field(pytree_node=False, default=1.0)


def _scores(q, k, mask):
  """fp32 scores (..., H, N, M) of q (..., H, N, d) and k (..., H, M, d); dead keys far below."""
  scores = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)
  return scores if mask is None else jnp.where(mask[..., None, None, :], scores, _FAR)


def _mean_over(live, keys):
  """1 / number of live keys, to be multiplied to (..., H, N, d)."""
  return 1 / keys if live is None else 1 / jnp.maximum(live.sum(-1), 1)[..., None, None, None]


def _softmax(q, k, v, mask):
  """Attention of (..., H, N, d) in one piece."""
  return jax.lax.platform_dependent(q, k, v, mask, cpu=_normalised_late, default=_normalised_early)


def _normalised_early(q, k, v, mask):
  """Accelerators' compilers put the whole softmax into the two products, and a mask if it is a term and a factor."""
  scores = _scores(q, k, None)
  if mask is None:
    return _product("...qk,...kd->...qd", jax.nn.softmax(scores, axis=-1), v)
  far, any_live = jnp.where(mask, 0, _FAR)[..., None, None, :], mask.any(-1)[..., None, None, None]
  return _product("...qk,...kd->...qd", jax.nn.softmax(scores + far, axis=-1) * any_live, v)


def _normalised_late(q, k, v, mask):
  """After the product there is less to normalise."""
  scores = _scores(q, k, mask)
  top = jnp.maximum(scores.max(-1, keepdims=True), _FAR / 2)  # a dead key's weight is exactly 0, also without live keys
  weights = jnp.exp(scores - jax.lax.stop_gradient(top))
  total = weights.sum(-1, keepdims=True)
  return _product("...qk,...kd->...qd", weights, v) / (total if mask is None else jnp.maximum(total, 1e-30))


def _relu(q, k, v, mask):
  """The mean over live keys of relu(q k^T) v, of (..., H, N, d) in one piece."""
  weights = nn.relu(_scores(q, k, mask))
  return _product("...qk,...kd->...qd", weights, v) * _mean_over(mask, k.shape[-2])


def _linear(q, k, v, mask):
  """The mean over live keys of (q k^T) v as q (k^T v), in O(N d^2); values of dead keys are zero."""
  gathered = _product("...kc,...kd->...cd", k, v) * _mean_over(mask, k.shape[-2])
  return _product("...qc,...cd->...qd", q, gathered)


FORMS = {"softmax": _softmax, "relu": _relu, "linear": _linear}


def _product(spec, a, b):
  """A product in the dtype of `b`, added up in fp32."""
  return jnp.einsum(spec, a.astype(b.dtype), b, preferred_element_type=jnp.float32)


def _in_chunks(rows, q, chunk):
  """`rows` of (..., N, d) queries, at most `chunk` at a time; the backward pass recomputes each chunk."""
  queries = q.shape[-2]
  count = -(-queries // chunk)
  size = -(-queries // count)
  q = jnp.pad(q, [(0, 0)] * (q.ndim - 2) + [(0, count * size - queries), (0, 0)])
  parts = jnp.moveaxis(q.reshape(*q.shape[:-2], count, size, q.shape[-1]), -3, 0)
  out = jnp.moveaxis(jax.lax.map(jax.checkpoint(rows), parts), 0, -3)
  return out.reshape(*out.shape[:-3], count * size, out.shape[-1])[..., :queries, :]


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None, *,
           scale: float | None = None, form: str = "softmax", chunk: int | None = None,
           lowering: str = "matmul") -> jax.Array:
  """softmax(scale q k^T) v per head, with scores and softmax in fp32; or a form without a softmax.

  A query whose keys are all dead gets zeros. Values of dead keys, even infinite
  ones, reach neither the output nor the gradient of live ones.

  Args:
    q: (..., N, H, d) queries.
    k: (..., M, H, d) keys.
    v: (..., M, H, e) values.
    mask: (..., M) bool, live keys.
    scale: factor of the scores; default d ** -0.5.
    form: "softmax"; "relu", the mean over live keys of relu(scores) v; or "linear",
      the mean of scores v, in O(N d e).
    chunk: queries worked on at a time, in the backward pass too, which recomputes
      their scores; 0 for all; default all unless more than 2**28 scores would be
      held at once, or on a TPU more than stay on its core.
    lowering: "matmul", or "cudnn" for the fused kernel of NVIDIA GPUs (fp16, bf16).
      On a CPU "matmul" took 0.4 of the time of `jax.nn.dot_product_attention`
      (8 x 197 tokens, 6 heads of 64).

  Returns:
    (..., N, H, e), dtype of `v`.
  """
  if form not in FORMS:
    raise ValueError(f"attend: form '{form}' is not known: {', '.join(FORMS)}")
  scale = q.shape[-1] ** -0.5 if scale is None else scale
  if mask is not None:
    k, v = (jnp.where(mask[..., None, None], x, 0) for x in (k, v))
  if lowering == "cudnn" and form == "softmax":
    fold = lambda x: x.reshape(-1, *x.shape[-3:])
    keys = None if mask is None else mask.reshape(-1, 1, 1, mask.shape[-1])
    out = jax.nn.dot_product_attention(fold(q), fold(k), fold(v), mask=keys, scale=scale, implementation="cudnn")
    return out.reshape(*q.shape[:-1], v.shape[-1])
  if lowering != "matmul":
    raise ValueError(f"attend: lowering '{lowering}' is not known for {form}: 'matmul', or 'cudnn' for softmax")
  q, k, v = (jnp.swapaxes(x, -2, -3) for x in (q * scale, k, v))
  chunk = _chunk(q, k, v) if chunk is None else chunk
  rows = lambda q: FORMS[form](q, k, v, mask)
  whole = form == "linear" or not chunk or chunk >= q.shape[-2]
  return jnp.swapaxes(rows(q) if whole else _in_chunks(rows, q, chunk), -2, -3).astype(v.dtype)


def _chunk(q, k, v):
  """How many queries (..., H, N, d) are worked on at a time, 0 for all; batches may be spread over several devices."""
  devices = tracing.spread()
  of_one = q.size // (q.shape[-1] * q.shape[-2]) * k.shape[-2]  # scores of a query of each example
  held, room, least = q.shape[-2] * of_one, devices * _WHOLE, 128
  if (tracing.platform() == "tpu" and not _is_few(q.shape[-2], _MANY)
      and _is_few((k.size + v.size) * k.dtype.itemsize, devices * _NEAR_KEYS)):
    room, least = devices * _NEAR_SCORES, 64
  return 0 if _is_few(held, room) else max(least, room // of_one)


def attention_weights(q: jax.Array, k: jax.Array, mask: jax.Array | None = None, *, scale: float,
                      form: str = "softmax") -> jax.Array:
  """What `attend` takes of each key for a few queries (..., N, H, d): fp32 (..., H, N, M)."""
  scores = _scores((q * scale).swapaxes(-2, -3), k.swapaxes(-2, -3), mask)
  if form == "softmax":
    return jax.nn.softmax(scores, axis=-1)
  scores = nn.relu(scores) if form == "relu" else jnp.where(scores > _FAR, scores, 0)
  return scores * _mean_over(mask, k.shape[-3])


class Projections(nn.Module):
  """Several dense layers of one input's width, whose kernels and biases are stored side by side.

  Attributes:
    count: of layers.
    bias: whether they have biases.
    dtype: compute dtype; None is that of the input and the parameters.
    kernel_init: initialiser of the stored kernel (D, count D).
  """

  count: int
  bias: bool = True
  dtype: jnp.dtype | None = None
  kernel_init: Callable = nn.initializers.truncated_normal(0.02)

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
    """(..., D) -> as many (..., D)."""
    width = x.shape[-1]
    kernel = param(self, "kernel", self.kernel_init, (width, self.count * width))
    bias = param(self, "bias", nn.initializers.zeros, (self.count * width,)) if self.bias else None
    x, *weights = nn.dtypes.promote_dtype(x, *((kernel, bias) if self.bias else (kernel,)), dtype=self.dtype)
    return jax.lax.platform_dependent(x, *weights, cpu=self._joined, default=self._apart)

  def _joined(self, x, kernel, bias=None):
    """One product; its result is taken apart."""
    y = x @ kernel if bias is None else x @ kernel + bias
    return tuple(jnp.split(y, self.count, axis=-1))

  def _apart(self, x, kernel, bias=None):
    """One product each: accelerators lay out each result as what follows wants it, and copy a joined one."""
    kernels = jnp.split(kernel, self.count, axis=-1)
    biases = [0] * self.count if bias is None else jnp.split(bias, self.count)
    return tuple(x @ k if bias is None else x @ k + b for k, b in zip(kernels, biases))


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
    qkv = Projections(3, self.bias, self.dtype, self.kernel_init, name="qkv")(x)
    heads = Heads(*(y.reshape(*x.shape[:-1], self.heads, width // self.heads) for y in qkv), mask, scale=scale)
    heads = heads if between is None else between(heads)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      first = attention_weights(heads.q[..., :1, :, :], heads.k, heads.mask, scale=scale)
      self.sow("maps", "first", first[..., 0, :])
    out = attend(heads.q, heads.k, heads.v, heads.mask, scale=scale, chunk=self.chunk, lowering=self.lowering)
    out = out.reshape(*out.shape[:-2], width)
    return nn.Dense(width, self.out_bias, self.dtype, kernel_init=self.kernel_init, name="proj")(out), heads


def _is_few(held, room) -> bool:
  """Whether there is room for so much; a number that is left open in an export is taken for small."""
  try:
    return bool(held <= room)
  except jax.errors.InconclusiveDimensionOperation:
    return True
