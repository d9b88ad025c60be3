"""RoI max pooling: the largest value of each channel in whole-entry bins of a box.

Girshick: "Fast R-CNN", 2015. The maximum is taken along one axis and then the other, over
entries that the bin's row or column reaches, so there is no gather.
"""

import jax
import jax.numpy as jnp


def _reach(start, stop, length, bins, scale):
  """bool (..., bins, length): entries of an axis that each bin of a box covers."""
  whole = lambda x: jnp.floor(x.astype(jnp.float32) * scale + 0.5)
  start, stop = whole(start), whole(stop)
  step = jnp.maximum(stop - start + 1, 1) / bins
  place = jnp.arange(bins, dtype=jnp.float32)
  first = jnp.floor(place * step[..., None]) + start[..., None]
  behind = jnp.ceil((place + 1) * step[..., None]) + start[..., None]
  entry = jnp.arange(length, dtype=jnp.float32)
  return (entry >= first[..., None]) & (entry < behind[..., None])


def roi_pool(features: jax.Array, boxes: jax.Array, bins: int = 7, *, scale: float = 1 / 16) -> jax.Array:
  """Maxima over the bins of boxes, whose corners are rounded to entries of the map first.

  Equals torchvision's `roi_pool`. A bin without an entry of the map is 0. Boxes get no
  gradient.

  Args:
    features: (B, H, W, C).
    boxes: (B, N, 4) as x0, y0, x1, y1 in the frame's pixels.
    bins: per axis.
    scale: entries of the map per pixel.

  Returns:
    (B, N, bins, bins, C), dtype of `features`.
  """
  rows = _reach(boxes[..., 1], boxes[..., 3], features.shape[1], bins, scale)
  columns = _reach(boxes[..., 0], boxes[..., 2], features.shape[2], bins, scale)
  lowest = jnp.array(-jnp.inf, features.dtype)

  def of_row(covered):  # (B, N, H)
    tall = jnp.where(covered[..., None, None], features[:, None], lowest).max(2)  # (B, N, W, C)
    of_column = lambda across: jnp.where(across[..., None], tall, lowest).max(2)
    return jax.lax.map(of_column, jnp.moveaxis(columns, 2, 0))  # (q, B, N, C)

  pooled = jax.lax.map(jax.checkpoint(of_row), jnp.moveaxis(rows, 2, 0))  # (p, q, B, N, C)
  return jnp.moveaxis(jnp.where(jnp.isfinite(pooled), pooled, 0), (0, 1), (2, 3))
