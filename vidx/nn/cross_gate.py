"""Gates of one stream by another: h sigmoid(W g + b).

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, eq. 3.3 to 3.8.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp


class CrossGate(nn.Module):
  """Channels of candidates weighed by the other stream.

  Attributes:
    dtype: compute dtype; the gate is fp32.
  """

  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, h: jax.Array, other: jax.Array) -> jax.Array:
    """h (B, N, C), other (B, D) -> (B, N, C), dtype of `h`."""
    s = nn.sigmoid(nn.Dense(h.shape[-1], dtype=self.dtype, name="fc")(other).astype(jnp.float32))
    return (h * s[:, None]).astype(h.dtype)
