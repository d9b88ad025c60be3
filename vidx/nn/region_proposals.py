"""Region proposals: where objects may be, whatever they are, from boxes of a few sizes and shapes around every place.

Ren et al.: "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks", 2015.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import boxes as boxes_lib
from vidx.nn.conv import Conv
from vidx.nn.nms import nms
from vidx.nn.roi_sampling import Targets


class Proposed(NamedTuple):
  """Boxes, best first: `rois` (..., R, 4), zeros where there is none, and `mask` (..., R), 1 for one."""

  rois: jax.Array
  mask: jax.Array


class RegionProposals(nn.Module):
  """Scores and moves of anchors.

  Attributes:
    features: channels of the 3x3 convolution.
    sizes: of anchors, square roots of their areas, in pixels.
    ratios: heights over widths.
    count: boxes that are proposed, at most.
    before: boxes among which they are sought, the best ones.
    overlap: of two proposed boxes, at most.
    smallest: side of a proposed box, in pixels.
    stride: pixels per entry of the map.
    dtype: compute dtype.
  """

  features: int = 512
  sizes: Sequence[float] = (128, 256, 512)
  ratios: Sequence[float] = (0.5, 1, 2)
  count: int = 300
  before: int = 1000
  overlap: float = 0.7
  smallest: float = 4.0
  stride: int = 16
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, h, w, C) -> logits (B, A) of there being an object and deltas (B, A, 4), fp32, in the order of `anchors`."""
    kinds = len(self.sizes) * len(self.ratios)
    conv = lambda features, kernel, name: Conv(features, (kernel,) * 2, use_bias=True, dtype=self.dtype,
                                               kernel_init=nn.initializers.normal(0.01), name=name)
    x = nn.relu(conv(self.features, 3, "conv")(x))
    logits, deltas = conv(kinds, 1, "cls")(x), conv(4 * kinds, 1, "box")(x)
    flat = lambda y, *last: y.astype(jnp.float32).reshape(len(y), -1, *last)
    return flat(logits), flat(deltas, 4)

  @nn.nowrap
  def anchors(self, height: int, width: int) -> jax.Array:
    """fp32 (A, 4) of a map of that size."""
    return boxes_lib.anchors(height, width, self.stride, self.sizes, self.ratios)

  @nn.nowrap
  def best(self, logits: jax.Array, deltas: jax.Array, anchors: jax.Array, extent: jax.Array) -> Proposed:
    """The boxes that are proposed; no gradient passes.

    Args:
      logits: (B, A).
      deltas: (B, A, 4).
      anchors: (A, 4).
      extent: (B, 2) height and width of the image inside of the padding; anchors with a centre outside are none.
    """
    logits, deltas = jax.lax.stop_gradient((logits, deltas))
    rois = boxes_lib.decode(anchors[None], deltas)
    rois = boxes_lib.clip(rois, extent[:, :1], extent[:, 1:])
    large = (rois[..., 2:] - rois[..., :2] >= self.smallest).all(-1)
    scores = jnp.where(large & inside(anchors, extent), logits, -jnp.inf)
    scores, rows = jax.lax.top_k(scores, min(self.before, scores.shape[-1]))
    rois = jnp.take_along_axis(rois, rows[..., None], 1)
    kept = nms(rois, scores, self.overlap, self.count)
    mask = kept.valid.astype(jnp.float32)
    return Proposed(jnp.take_along_axis(rois, kept.index[..., None], 1) * mask[..., None], mask)


def inside(anchors: jax.Array, extent: jax.Array) -> jax.Array:
  """bool (..., A): whether the centres of anchors (A, 4) lie in images of `extent` (..., 2), height and width."""
  centre = (anchors[:, :2] + anchors[:, 2:]) / 2
  return (centre < extent[..., None, ::-1]).all(-1)


def anchor_targets(anchors: jax.Array, boxes: jax.Array, mask: jax.Array, extent: jax.Array, above: float = 0.7,
                   below: float = 0.3) -> Targets:
  """What each anchor is to become.

  An anchor is one of an object from an overlap of `above` on, or where none overlaps the
  object more; of the background below `below`; else neither, -1, as outside of the image.

  Args:
    anchors: (A, 4).
    boxes: (..., G, 4), the truth.
    mask: (..., G), 0 for padding.
    extent: (..., 2), see `RegionProposals.best`.
    above: see above.
    below: see above.
  """
  live = inside(anchors, extent)
  shared = jnp.where((mask[..., None, :] > 0) & live[..., None], boxes_lib.iou(anchors, boxes), -1)
  most = shared.max(-1)
  best = (shared >= shared.max(-2, keepdims=True)) & (shared > 0)
  label = jnp.where((most >= above) | best.any(-1), 1, jnp.where(most < below, 0, -1))
  goal = jnp.take_along_axis(boxes, shared.argmax(-1)[..., None], -2)
  deltas = jnp.where((label > 0)[..., None], boxes_lib.encode(jnp.broadcast_to(anchors, goal.shape), goal), 0)
  return Targets(jnp.where(live, label, -1).astype(jnp.int32), deltas)
