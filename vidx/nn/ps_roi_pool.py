"""Position-sensitive pooling of boxes: every bin looks at channels of its own.

Dai et al.: "R-FCN: Object Detection via Region-based Fully Convolutional Networks", 2016.
Sums over rectangles are four entries of the integral image, whatever the box's size.
"""

import jax
import jax.numpy as jnp

from vidx.nn import shapes


def bin_edges(boxes: jax.Array, bins: int, scale: float, height: int, width: int
              ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Entries of a map of (height, width) that the bins of boxes (..., 4) reach over.

  A box ends at its last pixel's far side, (x1 + 1) * scale, and is at least 0.1 entries
  wide and high; a bin takes every entry that it touches, cut at the map's edges.

  Returns:
    int32 (..., bins) first row, row behind the last, first column, column behind the last.
  """
  boxes = boxes.astype(jnp.float32)

  def along(start, stop, length):
    start = start * scale
    step = jnp.maximum((stop + 1) * scale - start, 0.1) / bins
    place = jnp.arange(bins, dtype=jnp.float32)
    first = jnp.floor(start[..., None] + place * step[..., None])
    behind = jnp.ceil(start[..., None] + (place + 1) * step[..., None])
    return [jnp.clip(x, 0, length).astype(jnp.int32) for x in (first, behind)]

  return (*along(boxes[..., 1], boxes[..., 3], height), *along(boxes[..., 0], boxes[..., 2], width))


def integral(x: jax.Array) -> jax.Array:
  """fp32 (..., H + 1, W + 1, C): sums of x (..., H, W, C) over all that lies above and left of a corner."""
  x = jnp.cumsum(jnp.cumsum(x.astype(jnp.float32), axis=-3), axis=-2)
  return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 0), (1, 0), (0, 0)])


def ps_roi_pool(features: jax.Array, boxes: jax.Array, bins: int = 7, *, scale: float = 1 / 16) -> jax.Array:
  """Means over the bins of boxes, in each of the channels that belong to the bin.

  Channel c * bins**2 + p * bins + q of the map is output c of the bin in row p and column
  q. A bin outside of the map is 0. Boxes get no gradient.

  Args:
    features: (B, H, W, C * bins**2).
    boxes: (B, N, 4), in the frame's pixels.
    bins: per axis.
    scale: entries of the map per pixel.

  Returns:
    (B, N, bins, bins, C), dtype of `features`; sums are fp32.

  Raises:
    ValueError: features and boxes that do not fit, features that are whole numbers, or channels that are no multiple.
  """
  shapes.check("ps_roi_pool", features=(features, "B H W D"), boxes=(boxes, "B N 4"))
  shapes.check_floats("ps_roi_pool", features=features)
  shapes.check_numbers("ps_roi_pool", bins=bins)
  batch, height, width, channels = features.shape
  count = boxes.shape[1]
  if channels % bins**2:
    raise ValueError(f"{channels} channels are no multiple of {bins} x {bins} bins")
  sums = integral(features).reshape(batch, (height + 1) * (width + 1), -1, bins, bins)
  sums = jnp.moveaxis(sums, (3, 4), (1, 2))  # (B, bins, bins, places, C)
  top, bottom, left, right = bin_edges(boxes, bins, scale, height, width)
  rows = lambda y: jnp.moveaxis(y, 2, 1)[:, :, None]  # (B, p, 1, N)
  columns = lambda x: jnp.moveaxis(x, 2, 1)[:, None]  # (B, 1, q, N)

  def corner(y, x):
    place = jnp.broadcast_to(rows(y) * (width + 1) + columns(x), (batch, bins, bins, count))
    return jnp.take_along_axis(sums, place[..., None], axis=3)

  total = corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)
  size = jnp.maximum(rows(bottom - top) * columns(right - left), 0)[..., None]
  mean = jnp.where(size > 0, total / jnp.maximum(size, 1), 0)
  return jnp.moveaxis(mean, 3, 1).astype(features.dtype)
