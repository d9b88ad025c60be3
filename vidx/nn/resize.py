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
  for axis, length in enumerate(shape, start=1):
    if x.shape[axis] != length:
      form = lambda along: functools.partial(along, axis=axis, length=length)
      x = jax.lax.platform_dependent(x, tpu=form(_by_product), default=form(_by_taps))
  return x


def _taps(size: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """For each of `length` pixels, the two of `size` that it lies between, and the share of the second."""
  centre = np.clip((np.arange(length) + 0.5) * size / length - 0.5, 0, size - 1)
  low = np.floor(centre).astype(np.int32)
  return low, np.minimum(low + 1, size - 1), centre - low


def _by_taps(x, axis, length):
  low, high, share = _taps(x.shape[axis], length)
  share = jnp.asarray(share, x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
  return jnp.take(x, low, axis) * (1 - share) + jnp.take(x, high, axis) * share


def _by_product(x, axis, length):
  low, high, share = _taps(x.shape[axis], length)
  pixels = np.eye(x.shape[axis])
  weights = pixels[low] * (1 - share[:, None]) + pixels[high] * share[:, None]
  spec = ("bnhwc,on->bohwc", "btnwc,on->btowc", "bthnc,on->bthoc")[axis - 1]
  return jnp.einsum(spec, x, jnp.asarray(weights, x.dtype), precision="highest")


def resize_short(x: jax.Array, size: int) -> jax.Array:
  """(B, T, H, W, C) with its shorter side of `size` pixels and the same proportions; 0: as it is."""
  height, width = x.shape[2:4]
  short = min(height, width)
  if not size or size == short:
    return x
  return resize(x, (x.shape[1], round(height * size / short), round(width * size / short)))
