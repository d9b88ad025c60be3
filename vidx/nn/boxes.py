"""Boxes on a device: overlap, the code of a regression, clipping, anchors.

Boxes are (..., 4) as x0, y0, x1, y1 in pixels of the frame; a width is x1 - x0. Girshick:
"Fast R-CNN", 2015, has the code; Ren et al.: "Faster R-CNN", 2015, the anchors.
"""

from collections.abc import Sequence
import math

import jax
import jax.numpy as jnp

SMALLEST = 1e-3  # side, in pixels, that a box has at least where something is divided by it
LARGEST = math.log(1000 / 16)  # of a coded size, so that its exponential stays finite


def area(boxes: jax.Array) -> jax.Array:
  """(...) of boxes (..., 4); 0 where a corner is on the wrong side."""
  sides = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
  return sides[..., 0] * sides[..., 1]


def iou(a: jax.Array, b: jax.Array) -> jax.Array:
  """Intersection over union of each pair.

  Args:
    a: (..., N, 4).
    b: (..., M, 4).

  Returns:
    fp32 (..., N, M); 0 where both have no area.
  """
  a, b = a[..., :, None, :].astype(jnp.float32), b[..., None, :, :].astype(jnp.float32)
  shared = area(jnp.concatenate([jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])], -1))
  union = area(a) + area(b) - shared
  return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def clip(boxes: jax.Array, height: jax.Array | float, width: jax.Array | float) -> jax.Array:
  """Boxes (..., 4) cut at the edges of a frame, whose sides are numbers or (...) per box."""
  limit = jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, (width, height, width, height))), -1)
  return jnp.clip(boxes, 0, limit.astype(boxes.dtype))


def encode(boxes: jax.Array, targets: jax.Array) -> jax.Array:
  """What moves `boxes` to `targets`: (dx, dy) in sides of the box, then (log w, log h) of the ratio of sides.

  Args:
    boxes: (..., 4).
    targets: (..., 4).

  Returns:
    fp32 (..., 4). A side below SMALLEST counts as SMALLEST.
  """
  centre, size = _centre_and_size(boxes)
  aim, goal = _centre_and_size(targets)
  return jnp.concatenate([(aim - centre) / size, jnp.log(goal / size)], -1)


def decode(boxes: jax.Array, deltas: jax.Array) -> jax.Array:
  """The inverse of `encode`: fp32 (..., 4). A coded size above LARGEST counts as LARGEST."""
  centre, size = _centre_and_size(boxes)
  deltas = deltas.astype(jnp.float32)
  centre = centre + deltas[..., :2] * size
  half = size * jnp.exp(jnp.minimum(deltas[..., 2:], LARGEST)) / 2
  return jnp.concatenate([centre - half, centre + half], -1)


def _centre_and_size(boxes):
  boxes = boxes.astype(jnp.float32)
  size = jnp.maximum(boxes[..., 2:] - boxes[..., :2], SMALLEST)
  return (boxes[..., :2] + boxes[..., 2:]) / 2, size


def anchors(height: int, width: int, stride: int = 16, sizes: Sequence[float] = (128, 256, 512),
            ratios: Sequence[float] = (0.5, 1, 2)) -> jax.Array:
  """Boxes of each size and shape around the centre of every entry of a map.

  Args:
    height: of the map.
    width: of the map.
    stride: pixels per entry.
    sizes: square roots of the areas, in pixels.
    ratios: heights over widths.

  Returns:
    fp32 (height * width * len(ratios) * len(sizes), 4): rows, then columns, then ratios, then sizes.
  """
  shapes = jnp.array([(size / math.sqrt(ratio), size * math.sqrt(ratio)) for ratio in ratios for size in sizes])
  around = jnp.concatenate([-shapes, shapes], -1) / 2
  x, y = jnp.meshgrid((jnp.arange(width) + 0.5) * stride, (jnp.arange(height) + 0.5) * stride)
  return (jnp.stack([x, y, x, y], -1)[:, :, None] + around).reshape(-1, 4)
