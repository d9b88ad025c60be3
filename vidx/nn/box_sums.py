"""Sums of maps inside boxes, by integral images: any number of boxes at the price of their corners.

Viola and Jones: "Rapid Object Detection using a Boosted Cascade of Simple Features", 2001.
"""

import jax
import jax.numpy as jnp

from vidx.nn import boxes as boxes_lib


def integral(x: jax.Array) -> jax.Array:
  """fp32 (H + 1, W + 1, C) of maps (H, W, C): entry (i, j) is the sum of what is above row i and left of column j."""
  return jnp.pad(jnp.cumsum(jnp.cumsum(x.astype(jnp.float32), 0), 1), ((1, 0), (1, 0), (0, 0)))


def lattice_sums(table: jax.Array, boxes: jax.Array, rows: int = 1, columns: int = 1) -> jax.Array:
  """Sums in the cells of each box, weighted by the area of each pixel that lies inside.

  What is outside of the map counts 0.

  Args:
    table: (H + 1, W + 1, C) of `integral`.
    boxes: (P, 4) as x0, y0, x1, y1 in pixels; pixel j reaches from j to j + 1.
    rows: cells of a box from top to bottom.
    columns: cells from left to right.

  Returns:
    fp32 (P, rows, columns, C).
  """
  x0, y0, x1, y1 = jnp.moveaxis(boxes.astype(jnp.float32), -1, 0)
  at = lambda start, stop, parts: start[:, None] + (stop - start)[:, None] * jnp.linspace(0, 1, parts + 1)
  corners = _corners(table, at(y0, y1, rows), at(x0, x1, columns))
  return jnp.diff(jnp.diff(corners, axis=1), axis=2)


def box_sums(table: jax.Array, boxes: jax.Array) -> jax.Array:
  """`lattice_sums` of whole boxes: fp32 (P, C)."""
  return lattice_sums(table, boxes)[:, 0, 0]


def box_means(table: jax.Array, boxes: jax.Array) -> jax.Array:
  """fp32 (P, C): means over what of each box is inside the map; 0 where nothing is."""
  height, width = table.shape[0] - 1, table.shape[1] - 1
  area = boxes_lib.area(boxes_lib.clip(boxes.astype(jnp.float32), height, width))[:, None]
  return jnp.where(area > 0, box_sums(table, boxes) / jnp.where(area > 0, area, 1), 0)


def _corners(table, y, x):
  """The table (H + 1, W + 1, C) at (P, R) x (P, Q), between its entries linearly: (P, R, Q, C)."""
  def taps(at, last):
    at = jnp.clip(at, 0, last)
    low = jnp.minimum(jnp.floor(at).astype(jnp.int32), last - 1)
    return low, at - low

  (low_y, share_y), (low_x, share_x) = taps(y, table.shape[0] - 1), taps(x, table.shape[1] - 1)
  of = lambda i, j: table[i[:, :, None], j[:, None, :]]
  share_x, share_y = share_x[:, None, :, None], share_y[:, :, None, None]
  above = of(low_y, low_x) * (1 - share_x) + of(low_y, low_x + 1) * share_x
  below = of(low_y + 1, low_x) * (1 - share_x) + of(low_y + 1, low_x + 1) * share_x
  return above * (1 - share_y) + below * share_y
