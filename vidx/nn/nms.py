"""Non-maximum suppression with outputs of a fixed size, inside of a compiled program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vidx.nn import boxes as boxes_lib, shapes


class Kept(NamedTuple):
  """What `nms` keeps.

  Attributes:
    index: int32 (..., size) into the boxes, best first; 0 where there is none.
    valid: bool (..., size), whether there is one.
  """

  index: jax.Array
  valid: jax.Array


def nms(boxes: jax.Array, scores: jax.Array, iou: float, size: int) -> Kept:
  """Takes the best box, drops what overlaps it by more than `iou`, and goes on, up to `size` boxes.

  Of equal scores the first box is taken. The whole table of overlaps is never held.

  Args:
    boxes: (..., P, 4).
    scores: (..., P); -inf or nan for what is no box.
    iou: overlap above which the worse box is dropped; 1 drops none.
    size: boxes to keep at most; may be above P.

  Raises:
    ValueError: boxes and scores that do not fit, an overlap outside of 0 to 1, or a size that is none.
  """
  shapes.check("nms", scores=(scores, "... P"), boxes=(boxes, "... P 4"))
  shapes.check_numbers("nms", 0, size=size)
  shapes.check_share("nms", iou=iou)
  lead = scores.shape[:-1]
  if not scores.shape[-1]:
    return Kept(jnp.zeros((*lead, size), jnp.int32), jnp.zeros((*lead, size), bool))
  flat = boxes.reshape(-1, *boxes.shape[-2:]), scores.reshape(-1, scores.shape[-1])
  kept = jax.vmap(lambda b, s: _nms(b, s, iou, size))(*flat)
  return Kept(*(x.reshape(*lead, size) for x in kept))


def _nms(boxes, scores, iou, size):
  boxes = boxes.astype(jnp.float32)
  scores = scores.astype(jnp.float32)
  left = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  places = jnp.arange(len(scores))

  def take(left, _):
    best = jnp.argmax(left)
    valid = left[best] > -jnp.inf
    drop = (boxes_lib.iou(boxes[best][None], boxes)[0] > iou) | (places == best)
    return jnp.where(drop, -jnp.inf, left), (jnp.where(valid, best, 0).astype(jnp.int32), valid)

  _, kept = jax.lax.scan(take, left, length=size)
  return kept
