"""What proposed boxes are to become, and which of them a step learns from.

Girshick: "Fast R-CNN", 2015. Shrivastava et al.: "Training Region-based Object Detectors
with Online Hard Example Mining", 2016.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vidx.nn import boxes as boxes_lib
from vidx.nn import choices
from vidx.nn.nms import nms

RULES = ("random", "balanced", "ohem")


class Targets(NamedTuple):
  """What each box is to become.

  Attributes:
    label: int32 (..., R): 0 for the background, -1 for padding.
    deltas: fp32 (..., R, 4) to the true box of highest overlap; see vidx.nn.boxes.encode. Of objects alone.
  """

  label: jax.Array
  deltas: jax.Array


def roi_targets(rois: jax.Array, roi_valid: jax.Array, boxes: jax.Array, label: jax.Array, box_valid: jax.Array,
                overlap: float = 0.5) -> Targets:
  """A box is of the class of the true box of highest overlap, from `overlap` on, and else background.

  Args:
    rois: (..., R, 4).
    roi_valid: (..., R), 0 for padding.
    boxes: (..., G, 4), the truth, in the same pixels.
    label: (..., G), classes from 1 on.
    box_valid: (..., G), 0 for padding.
    overlap: of an object.
  """
  shared = jnp.where(box_valid[..., None, :] > 0, boxes_lib.iou(rois, boxes), -1)
  best = shared.argmax(-1)
  of_best = lambda x: jnp.take_along_axis(x, best, -1)
  found = jnp.where(shared.max(-1) >= overlap, of_best(label), 0)
  goal = jnp.take_along_axis(boxes, best[..., None], -2)
  deltas = jnp.where((found > 0)[..., None], boxes_lib.encode(rois, goal), 0)
  return Targets(jnp.where(roi_valid > 0, found, -1).astype(jnp.int32), deltas)


def roi_sample(label: jax.Array, hardness: jax.Array, key: jax.Array, size: int = 128, share: float = 0.25,
               rule: str = "balanced", rois: jax.Array | None = None, overlap: float = 0.7) -> jax.Array:
  """The boxes to learn from: bool (..., R), up to `size` true ones.

  'random': up to `share` of them objects, and background, all at random; 'balanced': the
  objects so, and the background of highest `hardness`; 'ohem': the hardest of either, where
  none overlaps a harder one by more than `overlap`.

  Args:
    label: int (..., R) of `roi_targets`.
    hardness: (..., R), such as the loss; it gets no gradient.
    key: of the draws.
    size: boxes.
    share: of objects.
    rule: one of RULES.
    rois: (..., R, 4), of 'ohem' alone.
    overlap: of 'ohem' alone.

  Raises:
    ValueError: another rule, or 'ohem' without boxes.
  """
  choices.check("rule", rule, RULES)
  hardness = jax.lax.stop_gradient(hardness).astype(jnp.float32)
  if rule == "ohem":
    if rois is None:
      raise ValueError("rule 'ohem' needs rois")
    kept = nms(rois, jnp.where(label >= 0, hardness, -jnp.inf), overlap, size)
    return (jax.nn.one_hot(kept.index, label.shape[-1]) * kept.valid[..., None]).sum(-2) > 0
  draw = jax.random.uniform(key, label.shape)
  objects = _highest(draw, label > 0, int(size * share))
  room = size - objects.sum(-1, keepdims=True)
  return objects | _highest(draw if rule == "random" else hardness, label == 0, room)


def _highest(value, among, count):
  """bool (..., R): the `count` (a number, or (..., 1)) highest values `among` some; of equal ones the first."""
  order = jnp.argsort(jnp.where(among, -value, jnp.inf), -1, stable=True)
  rank = jnp.argsort(order, -1)
  return among & (rank < count)


def roi_losses(logits: jax.Array, deltas: jax.Array, targets: Targets, beta: float = 1.0
               ) -> tuple[jax.Array, jax.Array]:
  """Losses of each box, fp32 (..., R): cross-entropy, and of objects the smooth L1 of their deltas' sum.

  Both are 0 for padding.

  Args:
    logits: (..., R, C + 1), class 0 the background.
    deltas: (..., R, 4), of all classes.
    targets: of `roi_targets`, with deltas scaled as those of the network.
    beta: difference at which the loss of deltas becomes linear.
  """
  live = targets.label >= 0
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32), -1)
  own = jnp.take_along_axis(log_p, jnp.maximum(targets.label, 0)[..., None], -1)[..., 0]
  off = jnp.abs(deltas.astype(jnp.float32) - targets.deltas)
  smooth = jnp.where(off < beta, 0.5 * off * off / beta, off - 0.5 * beta).sum(-1)
  return jnp.where(live, -own, 0), jnp.where(targets.label > 0, smooth, 0)
