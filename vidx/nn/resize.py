"""Linear resizing of clips in time and space, without smoothing where they shrink."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def resize(x: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
  """Linear interpolation between pixel centres, two taps per axis.

  Equals `jax.image.resize(..., "linear", antialias=False)`, and PyTorch's bilinear
  `interpolate` without aligned corners, but gathers the two taps in place of a
  product with a matrix of the size of the image.

  Args:
    x: (B, T, H, W, C).
    shape: (T', H', W').

  Returns:
    (B, T', H', W', C), dtype of `x`.
  """
  if x.shape[1:4] == tuple(shape):
    return x
  return jax.lax.platform_dependent(x, tpu=functools.partial(_by_products, shape=shape),
                                    default=functools.partial(_by_taps, shape=shape))


def _taps(size: int, length: int):
  """For each of `length` pixels, the two of `size` that it lies between, and the share of the second; None: equal."""
  if size == length:
    return None
  centre = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
  low = np.floor(centre).astype(np.int32)
  return low, np.minimum(low + 1, size - 1), centre - low


def _by_taps(x, shape):
  for axis, length in enumerate(shape, start=1):
    if found := _taps(x.shape[axis], length):
      low, high, share = found
      share = jnp.asarray(share, x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
      x = jnp.take(x, low, axis) * (1 - share) + jnp.take(x, high, axis) * share
  return x


def _by_products(x, shape):
  for axis, length in enumerate(shape, start=1):
    size = x.shape[axis]
    if found := _taps(size, length):
      low, high, share = found
      weights = np.eye(size)[low] * (1 - share[:, None]) + np.eye(size)[high] * share[:, None]
      spec = ("bnhwc,on->bohwc", "btnwc,on->btowc", "bthnc,on->bthoc")[axis - 1]
      x = jnp.einsum(spec, x, jnp.asarray(weights, x.dtype), precision="highest")
  return x


def resize_short(x: jax.Array, size: int) -> jax.Array:
  """(B, T, H, W, C) with its shorter side of `size` pixels and the same proportions; 0: as it is."""
  height, width = x.shape[2:4]
  short = min(height, width)
  if not size or size == short:
    return x
  return resize(x, (x.shape[1], round(height * size / short), round(width * size / short)))
