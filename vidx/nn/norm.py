"""Batch normalisation with fp32 statistics, and the convolution-norm-activation unit of every trunk."""

from collections.abc import Callable
import contextlib
import contextvars
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool, tracing
from vidx.nn.conv import Conv, copies_inside, frames_among_channels, frames_behind
from vidx.nn.initialisers import param


_exact: contextvars.ContextVar[bool] = contextvars.ContextVar("exact", default=False)


def exact_statistics() -> contextlib.AbstractContextManager[None]:
  """Within the block, `BatchNorm` stores in training the statistics of the batch alone, nothing of those before."""
  return tracing.setting(_exact, True)


class BatchNorm(nn.Module):
  """Normalises channels by the statistics of the batch, or by stored ones in evaluation.

  Statistics are fp32 and, under `jax.jit`, those of the global batch however it
  is sharded. Parameters `scale`, `bias`; statistics `mean`, `var` in
  `batch_stats`.

  Attributes:
    momentum: share of the stored statistics that is kept per step.
    eps: added to the variance.
    groups: the batch is normalised in so many equal consecutive parts, each by
      its own statistics; the stored ones take the mean over the parts.
    frozen: stored statistics also in training, and no gradient for `scale` and `bias`.
    scale_init: 0 where a residual branch should start as nothing.
    dtype: of the result; None is fp32.
  """

  momentum: float = 0.9
  eps: float = 1e-5
  groups: int = 1
  frozen: bool = False
  scale_init: float = 1.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None,
               beside: jax.Array | None = None) -> Any:
    """Args: x (B, ..., C); mask (B, T) or any leading axes of x, 1 for live entries; beside (B, ..., C).

    Entries that are not live take no part in the statistics, nor does what is `beside`: it is
    normalised by those of x alone, and comes as the second of two results.
    """
    copies = copies_inside()
    channels = (x.shape[-1] // copies,)
    mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
    var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
    scale = param(self, "scale", nn.initializers.constant(self.scale_init), channels, jnp.float32)
    bias = param(self, "bias", nn.initializers.zeros, channels, jnp.float32)
    if self.frozen:
      scale, bias = jax.lax.stop_gradient((scale, bias))

    def normalised(mean, var):  # (C,), or those of each group (G, C)
      each = [jnp.tile(s, copies) for s in (mean, var, scale, bias)] if copies > 1 else (mean, var, scale, bias)

      def by(y):
        if mean.ndim == 1:
          return self._apply(y, *each)
        spread = lambda s: s.reshape(len(s), *[1] * (y.ndim - 1), -1)
        parts = y.reshape(len(mean), -1, *y.shape[1:])
        return self._apply(parts, spread(each[0]), spread(each[1]), *each[2:]).reshape(y.shape)

      return by(x) if beside is None else (by(x), by(beside))

    if not train or self.frozen:
      return normalised(mean.value, var.value)
    groups = self.groups
    if x.shape[0] % groups:
      raise ValueError(f"bn_groups = {groups} does not divide the batch of {x.shape[0]}")
    parts = x.reshape(groups, x.shape[0] // groups, *x.shape[1:])
    live = None if mask is None else mask.reshape(groups, -1, *mask.shape[1:])
    m, v = batch_statistics(parts, live)
    if copies > 1:
      m, v = _over_copies(m, v, copies)
    if not self.is_initializing():
      keep = 0.0 if _exact.get() else self.momentum
      mean.value = keep * mean.value + (1 - keep) * m.mean(0)
      var.value = keep * var.value + (1 - keep) * v.mean(0)
    return normalised(m[0], v[0]) if groups == 1 else normalised(m, v)

  def _apply(self, x, mean, var, scale, bias):
    return _normalise(x, mean, var, scale, bias, self.eps, self.dtype or jnp.float32)


@functools.partial(jax.jit, static_argnums=(5, 6), inline=True)  # equal layers are traced once
def _normalise(x, mean, var, scale, bias, eps, dtype):
  factor = scale * jax.lax.rsqrt(var + eps)
  return (x.astype(jnp.float32) * factor + (bias - mean * factor)).astype(dtype)


@functools.partial(jax.jit, inline=True)
def batch_statistics(x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
  """fp32 mean and (biased) variance per group and channel.

  Args:
    x: (G, B, ..., C).
    mask: (G, B, ...), leading axes of x; only entries with 1 count.

  Returns:
    mean (G, C), variance (G, C).
  """
  x = x.astype(jnp.float32)
  axes = tuple(range(1, x.ndim - 1))
  if mask is None:
    mean = x.mean(axes)
    return mean, jnp.maximum((x * x).mean(axes) - mean * mean, 0)
  weight = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)).astype(jnp.float32)
  rest = 1
  for size in x.shape[mask.ndim:-1]:
    rest *= size
  count = jnp.maximum(weight.sum(axes) * rest, 1)
  mean = (x * weight).sum(axes) / count
  return mean, jnp.maximum((x * x * weight).sum(axes) / count - mean * mean, 0)


def _over_copies(mean, var, copies):
  """Those of the channels of each frame or clip (G, copies C), together: (G, C)."""
  m, v = (s.reshape(len(s), copies, -1) for s in (mean, var))
  whole = m.mean(1)
  return whole, (v + (m - whole[:, None])**2).mean(1)


def instance_norm(x: jax.Array, eps: float = 1e-5) -> jax.Array:
  """Every channel of every image at mean 0 and variance 1 over its pixels, without parameters; statistics are fp32.

  Ulyanov et al.: "Instance Normalization", 2016. An image of one pixel becomes 0.

  Args:
    x: (..., H, W, C).
    eps: added to the (biased) variance.

  Returns:
    (..., H, W, C), dtype of `x`.
  """
  y = x.astype(jnp.float32)
  y = y - y.mean((-3, -2), keepdims=True)
  return (y * jax.lax.rsqrt((y * y).mean((-3, -2), keepdims=True) + eps)).astype(x.dtype)


class UnitDeviation(nn.Module):
  """Divides by the standard deviation of the batch, or by a stored one in evaluation; the mean stays.

  One number for all channels, `batch_stats/var`, so that their relation stays as well.

  Attributes:
    momentum: share of the stored variance that is kept per step.
  """

  momentum: float = 0.9

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(...) -> the same shape, fp32."""
    var = self.variable("batch_stats", "var", jnp.ones, (), jnp.float32)
    x = x.astype(jnp.float32)
    now = jnp.var(x) if train else var.value
    if train and not self.is_initializing():
      var.value = self.momentum * var.value + (1 - self.momentum) * now
    return x * jax.lax.rsqrt(now + 1e-12)


class ConvNormAct(nn.Module):
  """Convolution, batch normalisation, activation: submodules `conv` and `norm`.

  Where a mask is given, frames that are not live leave as zeros, so that a later
  temporal kernel meets what lies behind the end of a shorter clip: nothing.

  Attributes:
    features: output channels.
    kernel: (kh, kw), or (kt, kh, kw).
    strides: per axis of the kernel.
    groups: of the convolution.
    dilation: per axis of the kernel, or one number.
    act: activation, None for none.
    use_bias: of the convolution.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
    padding: of the convolution; None keeps the size at stride 1.
  """

  features: int
  kernel: tuple[int, ...]
  strides: int | tuple[int, ...] = 1
  groups: int = 1
  dilation: int | tuple[int, ...] = 1
  act: Callable | None = nn.relu
  use_bias: bool = False
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None
  padding: int | tuple[int, ...] | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """Args: x (B, T, H, W, C); mask (B, T') of the frames after the convolution."""
    x = Conv(self.features, self.kernel, self.strides, self.padding, groups=self.groups, dilation=self.dilation,
             use_bias=self.use_bias, dtype=self.dtype, name="conv")(x)
    with frames_among_channels(frames_behind(self.kernel, self.strides)):
      x = BatchNorm(**dict(self.norm), dtype=self.dtype, name="norm")(x, train, mask)
    if self.act is not None:
      x = self.act(x)
    return pool.live_frames(x, mask)


class NormAct(nn.Module):
  """Batch normalisation and ReLU; frames that are not live leave as zeros."""

  norm: tuple[tuple[str, object], ...]
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, train=False, mask=None):
    x = nn.relu(BatchNorm(**dict(self.norm), dtype=self.dtype, name="norm")(x, train, mask))
    return pool.live_frames(x, mask)
