"""RoIAlign: the features inside boxes, on a small grid of bilinear samples.

He et al.: "Mask R-CNN", 2017. Bilinear sampling is separable and the mean of the samples
of a bin is linear, so a box is two small matrices, one per axis, and no gather.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from vidx.nn import shapes


def axis_weights(start: jax.Array, stop: jax.Array, length: int, bins: int, samples: int) -> jax.Array:
  """Shares of `length` entries of an axis in each bin between `start` and `stop`.

  Args:
    start: (...) fp32, positions where entry i reaches from i to i + 1.
    stop: (...) as `start`.
    length: entries of the axis.
    bins: equal parts of the span.
    samples: points per bin, whose mean is taken.

  Returns:
    fp32 (..., bins, length). A point more than one entry outside counts 0, one nearer takes the value at the edge.
  """
  share = (jnp.arange(bins * samples, dtype=jnp.float32) + 0.5) / (bins * samples)
  points = start[..., None] - 0.5 + (stop - start)[..., None] * share  # of entries' centres
  inside = (points >= -1) & (points <= length)
  points = jnp.clip(points, 0, length - 1)
  near = jnp.maximum(1 - jnp.abs(points[..., None] - jnp.arange(length, dtype=jnp.float32)), 0)
  near = jnp.where(inside[..., None], near, 0)
  return near.reshape(*near.shape[:-2], bins, samples, length).mean(-2)


def roi_align(features: jax.Array, boxes: jax.Array, size: int | Sequence[int] = 7, *,
              scale: float | tuple[float, float] = 1.0, samples: int = 2) -> jax.Array:
  """Features inside boxes, the mean of `samples` x `samples` bilinear samples per bin.

  Equals torchvision's `roi_align(..., sampling_ratio=samples, aligned=True)`. A box of
  no area gives the value at its point; of a box that leaves the map, what lies more
  than an entry outside is zero.

  Args:
    features: (B, H, W, C).
    boxes: (B, N, 4) as x0, y0, x1, y1, where entry (i, j) of the map, times 1 / scale,
      reaches from (j, i) to (j + 1, i + 1).
    size: bins, or (in height, in width).
    scale: entries of the map per unit of the boxes, or (in height, in width): H over
      the height of the frame where boxes are in its pixels; of each example as (B, 1).
    samples: points per bin and axis.

  Returns:
    (B, N, bins, bins, C), dtype of `features`; sums are fp32.

  Raises:
    ValueError: features and boxes that do not fit, or features that are whole numbers.
  """
  shapes.check("roi_align", features=(features, "B H W C"), boxes=(boxes, "B N 4"))
  shapes.check_floats("roi_align", features=features)
  rows, columns = (size, size) if isinstance(size, int) else size
  down, across = (scale, scale) if isinstance(scale, (int, float)) else scale
  x0, y0, x1, y1 = jnp.moveaxis(boxes.astype(jnp.float32), -1, 0)
  vertical = axis_weights(y0 * down, y1 * down, features.shape[1], rows, samples)
  horizontal = axis_weights(x0 * across, x1 * across, features.shape[2], columns, samples)
  dtype = features.dtype
  y = jnp.einsum("bnph,bhwc->bnpwc", vertical.astype(dtype), features, preferred_element_type=jnp.float32)
  return jnp.einsum("bnqw,bnpwc->bnpqc", horizontal.astype(dtype), y.astype(dtype),
                    preferred_element_type=jnp.float32).astype(dtype)


def roi_max(features: jax.Array, boxes: jax.Array, size: int | Sequence[int] = 7, *,
            scale: float | tuple[float, float] = 1.0, samples: int = 2) -> jax.Array:
  """The largest value of each channel over the bins of `roi_align`: (B, N, C)."""
  return roi_align(features, boxes, size, scale=scale, samples=samples).max((2, 3))
