"""The pre-norm transformer block and its parts, for tokens (..., N, D).

Dosovitskiy et al.: "An Image is Worth 16x16 Words", 2020. Huang et al.: "Deep
Networks with Stochastic Depth", 2016.
"""

from collections.abc import Callable, Iterable
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import compaction
from vidx.nn import sites as sites_lib
from vidx.nn.attention import Attention, Heads

BLOCK_SITES = ("in", "heads", "attn", "mlp", "out")

token_init = nn.initializers.truncated_normal(0.02)
_exact_gelu = functools.partial(jax.nn.gelu, approximate=False)
_TANH = (0.7974992316, 0.0370068777, -0.0003513403)  # fitted to erf: the values are off by 2.7e-5, the slopes by 1.1e-4


def gelu(x: jax.Array) -> jax.Array:
  """x times the normal distribution function, exactly on a CPU and in float32.

  In bfloat16, whose steps are 300 times as large as the error, accelerators take it by a tanh: erf is a long
  polynomial there, of which the product that follows needed most of its time.
  """
  if x.dtype == jnp.float32:
    return _exact_gelu(x)
  return jax.lax.platform_dependent(x, cpu=_exact_gelu, default=_tanh_gelu)


def _tanh_gelu(x: jax.Array) -> jax.Array:
  y = x.astype(jnp.float32)
  square = jnp.minimum(y * y, 36.0)  # beyond, tanh is 1
  slope = _TANH[0] + square * (_TANH[1] + square * _TANH[2])
  return (0.5 * y * (1 + jnp.tanh(y * slope))).astype(x.dtype)


def quick_gelu(x: jax.Array) -> jax.Array:
  """x sigmoid(1.702 x)."""
  return x * jax.nn.sigmoid(1.702 * x)


class Mlp(nn.Module):
  """Two dense layers with an activation between, back to the width of the input."""

  hidden: int
  act: Callable = gelu
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., D) -> (..., D)."""
    y = self.act(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=token_init, name="fc1")(x))
    return nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=token_init, name="fc2")(y)


class SumNorm(nn.Module):
  """LayerNorm of a residual sum, to which later layers add.

  XLA for TPUs does not keep such a sum: each layer that reads it adds up once more what was added since the trunk's
  start. In evaluation it is kept here, together with its statistics, by the product that gives the last term: a forward
  pass of deit_s takes 0.84 of the cycles that its compiler estimates otherwise. A train step takes 1.05 of them.

  Attributes:
    eps: added to the variance.
    dtype: of the norm; None is that of the input and the parameters.
  """

  eps: float = 1e-6
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(..., D) -> x itself, for what is added to it, and its norm (..., D)."""
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = y.mean(-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.maximum((y * y).mean(-1, keepdims=True) - mean * mean, 0) + self.eps)
    if not train:
      x, mean, inverse = jax.lax.platform_dependent(
          x, mean, inverse, tpu=lambda *kept: jax.lax.optimization_barrier(kept), default=lambda *kept: kept)
    y = (x - mean) * (inverse * scale) + bias
    return x, y.astype(nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype))


class DropPath(nn.Module):
  """Leaves the branch of whole examples out in training, and scales the others up."""

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, ...) -> (B, ...)."""
    return nn.Dropout(self.rate, broadcast_dims=range(1, x.ndim), deterministic=not train)(x)


def kept_rows(x: jax.Array, y: jax.Array, mask: jax.Array | None, heads: Heads
              ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
  """What is left where a plug-in dropped queries.

  Args:
    x: (..., N, D) tokens that entered attention.
    y: (..., M, D) what attention gave for the queries in `heads`.
    mask: (..., N) live tokens.
    heads: see `attention.Heads`.

  Returns:
    Rows of x, rows of y, and their mask.
  """
  if heads.rows is None:
    return x, y, mask
  if heads.fused is None:
    return compaction.take(x, heads.rows, x.ndim - 2), y, heads.live
  last = jnp.arange(heads.rows.shape[-1]) == heads.live.sum(-1, keepdims=True) - 1
  last = (last & heads.fused.any(-1, keepdims=True))[..., None]

  def left(z):
    fused = jnp.einsum("...n,...nd->...d", heads.fused.astype(z.dtype), z)[..., None, :]
    return jnp.where(last, fused, compaction.take(z, heads.rows, z.ndim - 2))

  return left(x), left(y), heads.live


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Sites: `.in` (what enters), `.heads` (queries, keys, values on their way into
  attention; see `attention.Heads`), `.attn` and `.mlp` (what the branches add),
  `.out` (what leaves).

  Attributes:
    site: name of the block in its trunk.
    heads: of attention.
    mlp_ratio: hidden width of the MLP over D.
    qkv_bias: whether queries, keys and values have a bias.
    scale: of the scores; None: head width ** -0.5.
    between: called with the `Heads` before the site `.heads`.
    drop_path: rate.
    eps: of the norms.
    chunk: see `attention.attend`.
    sites: blocks to plug in.
    dtype: compute dtype.
  """

  site: str
  heads: int
  mlp_ratio: float = 4.0
  qkv_bias: bool = True
  scale: float | None = None
  between: Callable[[Heads], Heads] | None = None
  drop_path: float = 0.0
  eps: float = 1e-6
  chunk: int | None = None
  sites: sites_lib.Placed = sites_lib.merge()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False, half: int | None = None
               ) -> tuple[jax.Array, jax.Array | None]:
    """(..., N, D) tokens and (..., N) bool, live tokens -> the same, maybe with fewer tokens; or see `in_halves`."""
    at = sites_lib.within(self.site, self.sites)
    norm = lambda name: SumNorm(self.eps, self.dtype, name=name)
    drop = DropPath(self.drop_path)
    between = lambda heads: at("heads")(self.between(heads) if self.between else heads, heads.mask, train)[0]

    if half != 1:
      x, mask = at("in")(x, mask, train)
      x, y = norm("norm1")(x, train)
      y, heads = Attention(self.heads, self.qkv_bias, scale=self.scale, chunk=self.chunk, dtype=self.dtype,
                           name="attn")(y, mask, between)
      x, y, mask = kept_rows(x, y, mask, heads)
      y, mask = at("attn")(y, mask, train)
      x = x + drop(y, train)
    if half == 0:
      return x, mask
    x, y = norm("norm2")(x, train)
    y, mask = at("mlp")(Mlp(int(x.shape[-1] * self.mlp_ratio), dtype=self.dtype, name="mlp")(y), mask, train)
    return at("out")(x + drop(y, train), mask, train)


def in_halves(steps: Iterable[tuple[str, nn.Module]]) -> list[tuple[str, Callable]]:
  """Blocks as two pieces of a trunk each (see vidx.backbones.chain), so that their MLPs may be given fewer tokens.

  Args:
    steps: (name, block) pairs; blocks are called with `half`: 0 is all up to what the attention adds, 1 the rest.
  """
  call = lambda block, half: lambda ways, train: [block(*ways[0], train=train, half=half)]
  return [(f"{name}{part}", call(block, half)) for name, block in steps
          for half, part in enumerate((".attention", ""))]


def read_cls(x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array | None]:
  """Tokens (..., N, D), the CLS first, and mask (..., N) -> the CLS (..., D), and where any other token is live."""
  return x[..., 0, :], None if mask is None else mask[..., 1:].any(-1)
