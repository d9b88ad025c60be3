"""Merge and reduce: two branches side by side in channels, brought back to the width of one.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 5.3.3; Diba et al.: "Large Scale Holistic Video Understanding", 2020.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices, pool
from vidx.nn.norm import BatchNorm

INITS = ("he", "select")


def select_own(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
  """(1, 1, 1, C + C', C): the identity on the first C channels, zero on the others."""
  del key
  return jnp.eye(shape[-2], shape[-1], dtype=dtype).reshape(shape)


class MergeReduce(nn.Module):
  """R(own, other) = relu(norm([own, other] W)), W a convolution 1x1x1 from C + C' to C channels.

  Each branch has its own: `own` is the branch that goes on with the result. Channels
  are not put side by side in memory, [own, other] W = own W_1 + other W_2.

  Attributes:
    mr_init: of W: 'he', or 'select', the identity on `own` and zero on `other`, so that in
      evaluation a branch starts as the network that it was before.
    plain: the convolution alone, with a bias, without normalisation and activation.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  mr_init: str = "he"
  plain: bool = False
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("mr_init", self.mr_init, INITS)
    super().__post_init__()

  @nn.compact
  def __call__(self, own: jax.Array, other: jax.Array, train: bool = False, mask: jax.Array | None = None
               ) -> jax.Array:
    """Args: own (B, T, H, W, C); other (B, T, H, W, C'); mask (B, T), the others leave as zeros -> like `own`."""
    if own.shape[:-1] != other.shape[:-1]:
      raise ValueError(f"branches of shapes {own.shape} and {other.shape} cannot be merged: frames and sizes differ")
    dtype, width = self.dtype or jnp.float32, own.shape[-1]
    init = select_own if self.mr_init == "select" else nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    kernel = self.param("kernel", init, (1, 1, 1, width + other.shape[-1], width), jnp.float32)
    w = kernel[0, 0, 0].astype(dtype)
    y = own.astype(dtype) @ w[:width] + other.astype(dtype) @ w[width:]
    if self.plain:
      y = y + self.param("bias", nn.initializers.zeros, (width,), jnp.float32).astype(dtype)
    else:
      norm = dict(self.norm)
      # Stored statistics of a fresh network are 0 and 1: this scale undoes their epsilon.
      scale = float(np.sqrt(1 + norm.get("eps", BatchNorm.eps))) if self.mr_init == "select" else 1.0
      y = nn.relu(BatchNorm(**norm, scale_init=scale, dtype=self.dtype, name="norm")(y, train, mask))
    return pool.live_frames(y, mask)
