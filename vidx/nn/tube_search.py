"""The best path through a video's boxes, one a frame: detector's scores, and overlap with where the flow moves a box.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural Language",
2020, eq. 2.1, maximised exactly by a scan.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vidx.nn import boxes as boxes_lib


class Tube(NamedTuple):
  """int32 (N,) boxes, one a frame, and fp32 () the sum that they reach, -inf where a frame has no box."""

  path: jax.Array
  value: jax.Array


def best_tube(scores: jax.Array, boxes: jax.Array, moved: jax.Array, length: jax.Array | int | None = None) -> Tube:
  """The path of the highest sum of scores and of overlaps of each box with the moved one before it.

  Made for `jax.vmap` over objects; overlaps of two frames at a time are held.

  Args:
    scores: (N, P), -inf for what is no box.
    boxes: (N, P, 4).
    moved: (N, P, 4), each box where the flow moves it in the next frame; the last is not looked at.
    length: frames of the video, at most N (all of them); the others are padding, whose path is 0.
  """
  frames = scores.shape[0]
  length = jnp.int32(frames if length is None else length)
  scores = scores.astype(jnp.float32)

  def forward(before, inputs):
    index, own, here, there = inputs
    table = before[:, None] + boxes_lib.iou(there, here)
    back = table.argmax(0).astype(jnp.int32)
    return jnp.where(index < length, table.max(0) + own, before), back

  inputs = jnp.arange(1, frames), scores[1:], boxes[1:], moved[:-1]
  last, back = jax.lax.scan(forward, scores[0], inputs)
  end = jnp.argmax(last).astype(jnp.int32)

  def backward(at, inputs):
    index, pointers = inputs
    before = jnp.where(index < length, pointers[at], at)
    return before, jnp.where(index < length, at, 0)

  first, rest = jax.lax.scan(backward, end, (jnp.arange(1, frames), back), reverse=True)
  return Tube(jnp.concatenate([first[None], rest]), last[end])


def moved_by(boxes: jax.Array, shift: jax.Array) -> jax.Array:
  """Boxes (..., 4) moved by (dx, dy), (..., 2), in pixels."""
  return boxes + jnp.concatenate([shift, shift], -1).astype(boxes.dtype)
