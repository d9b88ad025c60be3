"""Images and clips as patches: one linear map of each p x p square."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import conv


class PatchEmbed(nn.Module):
  """A p x p convolution with stride p, which is one matrix product.

  Attributes:
    features: channels D of a token.
    patch: side p of a square; pixels beyond the last whole square are left out.
    dtype: compute dtype.
  """

  features: int
  patch: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., H, W, C) -> (..., H // p, W // p, D)."""
    p, channels = self.patch, x.shape[-1]
    lead, (h, w) = x.shape[:-3], (x.shape[-3] // p, x.shape[-2] // p)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), (p, p, channels, self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    dtype = self.dtype or jnp.float32
    x, kernel = x[..., :h * p, :w * p, :].astype(dtype), kernel.astype(dtype)
    return jax.lax.platform_dependent(x, kernel, cpu=_product, default=_convolution) + bias.astype(dtype)


def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Squares (..., H, W, C) by (p, p, C, D) as rows of one matrix."""
  p, _, channels, features = kernel.shape
  *lead, height, width, _ = x.shape
  x = x.reshape(*lead, height // p, p, width // p, p, channels).swapaxes(-4, -3)
  return x.reshape(*x.shape[:-3], p * p * channels) @ kernel.reshape(-1, features)


def _convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """The same without a copy of the squares, which accelerators would write in another layout first."""
  p = kernel.shape[0]
  y = conv.convolve(x.reshape(-1, 1, *x.shape[-3:]), kernel[None], (1, p, p), (0, 0, 0), lowering="native")
  return y.reshape(*x.shape[:-3], *y.shape[2:])
