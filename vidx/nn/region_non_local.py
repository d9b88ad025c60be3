"""Region-based non-local operation: positions are compared by their neighbourhoods.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, chapter 4;
Huang and Bors: "Region-based Non-local Operation for Video Classification", 2020.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, pool
from vidx.nn.conv import Conv, convolve
from vidx.nn.non_local import add, gather

FORMS = {"gaussian": "softmax", "dot": "linear", "cosine": "relu"}
DESCRIPTORS = ("dwconv", "avgpool", "maxpool", "identity")


def depthwise(x: jax.Array, w: jax.Array) -> jax.Array:
  """Depth-wise convolution of stride 1 with a large kernel of odd sizes; keeps the size.

  On a CPU it adds up one row of the kernel after the other, so that the backward
  pass holds the shifted inputs of one row alone.

  Args:
    x: (B, T, H, W, C).
    w: (kt, kh, kw, 1, C).

  Returns:
    (B, T, H, W, C), dtype of `x`.
  """
  padding = tuple(k // 2 for k in w.shape[:3])
  whole = lambda x, w: convolve(x, w, (1, 1, 1), padding, groups=x.shape[-1], lowering="native")
  return jax.lax.platform_dependent(x, w.astype(x.dtype), cpu=_by_rows, default=whole)


def _by_rows(x, w):
  kt, kh, kw, _, channels = w.shape
  padded = jnp.pad(x, [(0, 0), *((k // 2, k // 2) for k in (kt, kh, kw)), (0, 0)])
  shape = (*x.shape[:3], padded.shape[3], channels)

  @jax.checkpoint
  def add_row(total, row):
    at, taps = row
    part = jax.lax.dynamic_slice(padded, (0, at // kh, at % kh, 0, 0), shape)
    return total + sum(part[:, :, :, j:j + x.shape[3]] * taps[j] for j in range(kw)), None

  rows = jnp.arange(kt * kh), w.reshape(kt * kh, kw, channels)
  return jax.lax.scan(add_row, jnp.zeros_like(x), rows)[0]


class RegionConv(nn.Module):
  """`depthwise` with its kernel, which starts as in the public code (Xavier, uniform)."""

  kernel: tuple[int, int, int]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    xavier = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
    return depthwise(x, self.param("kernel", xavier, (*self.kernel, 1, x.shape[-1]), jnp.float32))


class RegionNonLocal(nn.Module):
  """y_i = 1/C sum_j f(r_i, r_j) g_j with g = W_g x, r = F(g) (eq. 4.4, eq. 4.9); z = BN(W_z y) + x (eq. 4.8).

  It starts as the identity. The matrix of all pairs of positions is never held,
  and `dot` takes O(N d^2). If the caller makes the collection `maps` mutable,
  what the position at `query` takes from each other is left there as
  `attention`, (B, T, H, W).

  Attributes:
    form: f and C: "gaussian", exp(r_i^T r_j), C = sum_j f (eq. 4.5); "dot", r_i^T r_j,
      C = THW (eq. 4.6); "cosine", ReLU(r_i^T r_j / |r_i| |r_j|), C = THW (eq. 4.7).
    descriptor: F, of each channel apart: "dwconv", a learned kernel; "avgpool", which
      counts the padding; "maxpool"; "identity".
    kernel: of the region, in time, height, width.
    scale: factor of the products inside f.
    chunk: positions that gather at a time; 0 for all.
    query: place whose map is shown, as shares of time, height, width.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; f is fp32.
  """

  form: str = "gaussian"
  descriptor: str = "dwconv"
  kernel: tuple[int, int, int] = (3, 7, 7)
  scale: float = 1.0
  chunk: int = 512
  query: tuple[float, float, float] = (0.5, 0.5, 0.5)
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("RegionNonLocal: form", self.form, FORMS)
    choices.check("RegionNonLocal: descriptor", self.descriptor, DESCRIPTORS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) of live frames -> (B, T, H, W, C)."""
    g = Conv(x.shape[-1] // 2, (1, 1, 1), use_bias=True, dtype=self.dtype, name="g")(x)
    r = self._regions(g, mask)
    if self.form == "cosine":
      r = r.astype(jnp.float32)
      r = r * jax.lax.rsqrt(jnp.square(r).sum(-1, keepdims=True) + 1e-12)
    return add(self, x, gather(self, r, r, g, FORMS[self.form], mask), train, mask)

  def _regions(self, g, mask):
    """r = F(g); frames that are not live are to it what lies beyond the end of a clip."""
    if self.descriptor == "identity":
      return g
    beyond = jnp.finfo(g.dtype).min if self.descriptor == "maxpool" else 0
    if mask is not None:
      g = jnp.where(mask[:, :, None, None, None] > 0, g, beyond)
    if self.descriptor == "dwconv":
      return RegionConv(self.kernel, name="region")(g)
    around = (self.kernel, (1, 1, 1), tuple(k // 2 for k in self.kernel))
    return pool.max_pool(g, *around) if self.descriptor == "maxpool" else pool.average_pool(
        g, *around, count_padding=True)
