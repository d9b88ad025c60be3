"""Pooling over clips, exact for clips that are shorter than their array."""

from collections.abc import Sequence
import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices


def max_pool(x: jax.Array, window: Sequence[int], strides: Sequence[int], padding: Sequence[int]) -> jax.Array:
  """Maximum over windows, padded by -inf on both sides of each axis.

  On a CPU it is taken over shifted inputs, axis by axis, whose gradient is many
  times quicker than that of XLA's windows. Where values are equal, the gradient
  is shared there, and goes to the first elsewhere.

  Args:
    x: (B, T, H, W, C).
    window: in time, height, width.
    strides: in time, height, width.
    padding: in time, height, width.

  Returns:
    (B, T', H', W', C), dtype of `x`.
  """
  windows = functools.partial(_max_windows, window=window, strides=strides, padding=padding)
  slices = functools.partial(_max_slices, window=window, strides=strides, padding=padding)
  return lax.platform_dependent(x, cpu=slices, default=windows)


def _max_windows(x, window, strides, padding):
  return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1),
                           [(0, 0), *((p, p) for p in padding), (0, 0)])


def _max_slices(x, window, strides, padding):
  for axis, (k, s, p) in enumerate(zip(window, strides, padding), start=1):
    if k > 1 or s > 1:
      x = functools.reduce(lax.max, _taps(x, axis, k, s, p, -jnp.inf))
  return x


def _taps(x, axis, kernel, stride, padding, fill):
  """The first, second, ... entries of all windows along one axis."""
  length = (x.shape[axis] + 2 * padding - kernel) // stride + 1
  x = jnp.pad(x, [(padding, padding) if i == axis else (0, 0) for i in range(x.ndim)], constant_values=fill)
  return [lax.slice_in_dim(x, i, i + (length - 1) * stride + 1, stride, axis) for i in range(kernel)]


def average_pool(x: jax.Array, window: Sequence[int], strides: Sequence[int], padding: Sequence[int],
                 count_padding: bool = False) -> jax.Array:
  """Mean over windows, of what lies inside the input alone.

  Args:
    x: (B, T, H, W, C).
    window: in time, height, width.
    strides: in time, height, width.
    padding: in time, height, width.
    count_padding: counts what is padded as zeros.

  Returns:
    (B, T', H', W', C), dtype of `x`.
  """
  for axis, (k, s, p) in enumerate(zip(window, strides, padding), start=1):
    if k > 1 or s > 1:
      total = sum(_taps(x, axis, k, s, p, 0))
      start = s * np.arange(total.shape[axis]) - p
      inside = np.minimum(start + k, x.shape[axis]) - np.maximum(start, 0)
      share = 1 / np.where(count_padding, k, inside)
      x = total * jnp.asarray(share, x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
  return x


def windows(x: jax.Array, mask: jax.Array | None, window: Sequence[int]) -> tuple[jax.Array, jax.Array | None]:
  """fp32 means over windows one step apart; a window reaches over no more than there is.

  Args:
    x: (B, T, H, W, C).
    mask: (B, T), live frames in front; None: all live.
    window: in time, height, width.

  Returns:
    (B, T', H', W', C) and its mask; a clip shorter than the window gives one frame.
  """
  window = tuple(min(k, n) for k, n in zip(window, x.shape[1:4]))
  x = x.astype(jnp.float32)
  if mask is None or window[0] == 1:
    return average_pool(x, window, (1, 1, 1), (0, 0, 0)), mask
  y = average_pool(live_frames(x, mask), window, (1, 1, 1), (0, 0, 0))
  fewer = window[0] / jnp.clip(mask.astype(jnp.float32).sum(1), 1, window[0])
  mask = stride_mask(mask, window[0], 1, 0, y.shape[1]).at[:, 0].set(mask[:, 0])
  return y * fewer[:, None, None, None, None], mask


def mean_pool(x: jax.Array, mask: jax.Array | None = None, frames: bool = False) -> jax.Array:
  """fp32 mean over space, and over the live frames unless frames are kept.

  Args:
    x: (B, T, H, W, C).
    mask: (B, T), 1 for live frames; None: all live.
    frames: keeps the time axis; dead frames are then zero.

  Returns:
    (B, C), or (B, T, C) where frames are kept.
  """
  y = jnp.mean(x, (2, 3), dtype=jnp.float32)
  if mask is not None:
    y = y * mask[..., None].astype(y.dtype)
  return y if frames else mean_frames(y, mask)


def mean_frames(x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
  """(B, T, ..., C) -> (B, ..., C): mean over the live frames; dead ones must be zero."""
  if mask is None:
    return x.mean(1)
  return x.sum(1) / jnp.maximum(mask.sum(1), 1).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 2))


def mean_over_live(x: jax.Array, live: jax.Array | None) -> jax.Array:
  """(..., T, D), live (..., T) -> (..., D): fp32 mean over live entries, zero where there are none."""
  x = x.astype(jnp.float32)
  if live is None:
    return x.mean(-2)
  count = jnp.maximum(live.sum(-1, keepdims=True), 1)
  return jnp.where(live[..., None], x, 0).sum(-2) / count


def mean_of_runs(x: jax.Array, length: int, mask: jax.Array | None = None) -> jax.Array:
  """The mean of every run of `length` frames, of its live ones; the last run may be shorter.

  Args:
    x: (B, T, H, W, C).
    length: of a run.
    mask: (B, T), 1 for live frames; None: all live.

  Returns:
    (B, ceil(T / length), H, W, C), dtype of `x`.
  """
  live = jnp.ones((1, x.shape[1]), x.dtype) if mask is None else mask.astype(x.dtype)
  more = -x.shape[1] % length
  runs = lambda z: jnp.pad(z, [(0, 0), (0, more)] + [(0, 0)] * (z.ndim - 2)).reshape(
      z.shape[0], -1, length, *z.shape[2:]).sum(2)
  weight = live[:, :, None, None, None]
  return runs(x * weight) / jnp.maximum(runs(weight), 1)


def pool_candidates(x: jax.Array, mask: jax.Array | None = None, how: str = "mean") -> jax.Array:
  """fp32 mean or max over live candidates, zero where there are none: (B, N, C), mask (B, N) -> (B, C)."""
  choices.check("pool_candidates: how", how, ("mean", "max"))
  x = x.astype(jnp.float32)
  live = jnp.ones(x.shape[:2], bool) if mask is None else mask > 0
  if how == "mean":
    return mean_frames(jnp.where(live[..., None], x, 0), live.astype(jnp.float32))
  return jnp.where(live.any(1)[:, None], jnp.where(live[..., None], x, -jnp.inf).max(1), 0)


def live_frames(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """x (B, T, ...) with zeros in place of the frames that mask (B, T) says are dead; None: all live."""
  return x if mask is None else x * mask.reshape(*mask.shape, *[1] * (x.ndim - 2)).astype(x.dtype)


def stride_mask(mask: jax.Array | None, kernel: int, stride: int, padding: int, length: int) -> jax.Array | None:
  """The mask after an operation that strides time.

  An output frame is live where the operation would yield it for the live frames alone.

  Args:
    mask: (B, T), live frames in front; None: all live.
    kernel: extent in time.
    stride: in time.
    padding: zeros on both sides.
    length: frames after the operation.

  Returns:
    (B, length), or None.
  """
  if mask is None or (stride == 1 and kernel == 2 * padding + 1):
    return mask
  first = max(0, kernel - 2 * padding - 1)
  return mask[:, first::stride][:, :length]
