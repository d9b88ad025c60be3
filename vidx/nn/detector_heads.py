"""What a detector over proposed boxes has behind its trunk: a neck, and heads of two kinds.

Dai et al.: "R-FCN: Object Detection via Region-based Fully Convolutional Networks", 2016.
Girshick: "Fast R-CNN", 2015.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.conv import Conv
from vidx.nn.ps_roi_pool import ps_roi_pool
from vidx.nn.roi_pool import roi_pool

STRIDE = 16  # pixels per entry of a map
BINS = 7


class ConvAct(nn.Module):
  """A convolution with bias and ReLU."""

  features: int
  kernel: int
  dilation: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, T, h, w, C) -> (B, T, h, w, features)."""
    return nn.relu(Conv(self.features, (self.kernel,) * 2, dilation=self.dilation, use_bias=True, dtype=self.dtype,
                        name="conv")(x))


class Neck(nn.Module):
  """Reduces the trunk's channels over a wide reach, and expands them: F of the thesis."""

  inner: int
  features: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, T, h, w, C) -> (B, T, h, w, features)."""
    x = ConvAct(self.inner, 3, 6, self.dtype, name="reduce")(x)
    return ConvAct(self.features, 1, 1, self.dtype, name="expand")(x)


class PositionSensitiveHeads(nn.Module):
  """Scores and moves of boxes from maps with channels for each of 7 x 7 parts of a box."""

  num_classes: int
  inner: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array, rois: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """x (B, h, w, C), rois (B, R, 4) -> logits (B, R, num_classes + 1) and deltas (B, R, 4), fp32."""
    del train
    conv = lambda features, name: Conv(features, (1, 1), use_bias=True, dtype=self.dtype, name=name)
    x = conv(self.inner, "post")(x)
    pooled = lambda channels, name: ps_roi_pool(conv(channels * BINS**2, name)(x).astype(jnp.float32), rois, BINS,
                                                scale=1 / STRIDE).mean((2, 3))
    return pooled(self.num_classes + 1, "cls"), pooled(4, "box")


class DenseHeads(nn.Module):
  """Scores and moves of boxes from two dense layers over what a box pools."""

  num_classes: int
  hidden: Sequence[int]
  dropout: float
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array, rois: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """x (B, h, w, C), rois (B, R, 4) -> logits (B, R, num_classes + 1) and deltas (B, R, 4), fp32."""
    x = roi_pool(x, rois, BINS, scale=1 / STRIDE)
    x = jnp.moveaxis(x, -1, 2).reshape(*x.shape[:2], -1)  # channels first, as the dense layers of VGG have them
    for i, width in enumerate(self.hidden, 1):
      x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"hidden{i}")(x))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    x = x.astype(jnp.float32)
    dense = lambda features, std, name: nn.Dense(features, kernel_init=nn.initializers.normal(std), name=name)(x)
    return dense(self.num_classes + 1, 0.01, "cls"), dense(4, 0.001, "box")
