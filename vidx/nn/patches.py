"""Images and clips as patches: one linear map of each p x p square."""

from flax import linen as nn
import jax
import jax.numpy as jnp


class PatchEmbed(nn.Module):
  """A p x p convolution with stride p, as the matrix product that it is.

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
    x = x[..., :h * p, :w * p, :].astype(dtype).reshape(*lead, h, p, w, p, channels)
    x = x.swapaxes(-4, -3).reshape(*lead, h, w, p * p * channels)
    return x @ kernel.reshape(-1, self.features).astype(dtype) + bias.astype(dtype)
