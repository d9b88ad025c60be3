"""The 'SAME' padding of TensorFlow, which depends on the size of the input; exact for clips shorter than their array.

It gives ceil(size / stride) windows; where the padding is odd, the last entry of
it lies behind. A shorter clip may thus begin at another place of its first window
than the array would: with a mask every clip is padded by its own length.
"""

from collections.abc import Sequence

import jax
from jax import lax
import jax.numpy as jnp


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
  """What one axis gets in front and behind."""
  total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2


def pad_same(x: jax.Array, kernel: Sequence[int], strides: Sequence[int], mask: jax.Array | None = None,
             fill: float = 0.0) -> tuple[jax.Array, jax.Array | None]:
  """Pads clips for a convolution or pooling that itself pads nothing.

  Args:
    x: (B, T, H, W, C), dead frames holding `fill`.
    kernel: in time, height, width.
    strides: in time, height, width.
    mask: (B, T), live frames in front; None: all live.
    fill: 0 for convolutions, -inf for maxima.

  Returns:
    The padded clips, and the mask after the operation, (B, ceil(T / stride)) or None.
  """
  pads = [same_padding(n, k, s) for n, k, s in zip(x.shape[1:4], kernel, strides)]
  if mask is None or strides[0] == 1:
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill), mask
  k, s = kernel[0], strides[0]
  length = sum(pads[0]) + x.shape[1]
  fronts = jnp.asarray([same_padding(n, k, s)[0] for n in range(x.shape[1] + 1)])
  most = max(k - 1, 0) // 2
  x = jnp.pad(x, [(0, 0), (most, max(length - x.shape[1], 0)), *pads[1:], (0, 0)], constant_values=fill)
  start = most - fronts[(mask > 0).sum(1)]
  x = jax.vmap(lambda clip, i: lax.dynamic_slice_in_dim(clip, i, length))(x, start)
  return x, mask[:, ::s]
