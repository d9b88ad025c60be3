"""Descriptors of boxes without the weights of a network: oriented gradients and colours, from one pass over a frame.

Dalal and Triggs: "Histograms of Oriented Gradients for Human Detection", 2005. Gradients are
those of the frame, whatever the size of a box, and are summed in its cells by integral
images, so that a frame of thousands of boxes costs little more than one box.
"""

import jax
import jax.numpy as jnp

from vidx.nn.box_sums import box_sums, integral, lattice_sums

CELLS, BINS, LEVELS = 8, 9, 16  # cells per side of a box, directions of a half turn, levels of each colour channel
SIZE = 4 * (CELLS - 1) ** 2 * BINS + 3 * LEVELS


def orientation_maps(image: jax.Array, bins: int = BINS) -> jax.Array:
  """Votes of each pixel for directions of a half turn: its gradient's length, for the two nearest ones.

  Args:
    image: (H, W, C); the channel with the steepest gradient votes.
    bins: directions.

  Returns:
    fp32 (H, W, bins).
  """
  x = image.astype(jnp.float32)
  down, right = jnp.gradient(x, axis=0), jnp.gradient(x, axis=1)
  steep = jnp.hypot(down, right)
  first = steep.argmax(-1)[..., None]
  down, right, steep = (jnp.take_along_axis(a, first, -1)[..., 0] for a in (down, right, steep))
  at = (jnp.arctan2(down, right) % jnp.pi) * bins / jnp.pi
  return _soft(at, bins, round_about=True) * steep[..., None]


def colour_maps(lab: jax.Array, levels: int = LEVELS) -> jax.Array:
  """The level of each channel, shared by the two nearest: fp32 (H, W, 3 levels) of (H, W, 3) in 0..1."""
  at = jnp.clip(lab.astype(jnp.float32), 0, 1) * levels - 0.5
  return jnp.concatenate([_soft(at[..., c], levels, round_about=False) for c in range(lab.shape[-1])], -1)


def _soft(at, bins, round_about):
  off = jnp.abs(at[..., None] - jnp.arange(bins, dtype=jnp.float32))
  if round_about:
    off = jnp.minimum(off, bins - off)
  else:
    off = jnp.abs(jnp.clip(at, 0, bins - 1)[..., None] - jnp.arange(bins, dtype=jnp.float32))
  return jnp.maximum(1 - off, 0)


def describe(lab: jax.Array, boxes: jax.Array, colour: float = 1.0) -> jax.Array:
  """Oriented gradients in 8 x 8 cells of each box, and its colours, as one vector of length 1.

  2 x 2 cells make a block of length 1, of which no entry counts for more than 0.2. Colours
  are the roots of the shares of pixels with each of 16 levels of each channel.

  Args:
    lab: (H, W, 3) in 0..1.
    boxes: (P, 4) in pixels.
    colour: squared length of the colours, where that of the gradients is 1.

  Returns:
    fp32 (P, SIZE).
  """
  votes = lattice_sums(integral(orientation_maps(lab)), boxes, CELLS, CELLS)
  last = CELLS - 1
  blocks = jnp.concatenate([votes[:, i:i + last, j:j + last] for i in (0, 1) for j in (0, 1)], -1)
  edges = _unit(_unit(jnp.minimum(_unit(blocks), 0.2)).reshape(len(boxes), -1))
  levels = _unit(jnp.sqrt(jnp.maximum(box_sums(integral(colour_maps(lab)), boxes), 0)))
  return _unit(jnp.concatenate([edges, colour ** 0.5 * levels], -1))


def _unit(x):
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
