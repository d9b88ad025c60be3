"""Temporal shift: channels move one frame along time, at no cost in parameters.

Lin, Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding", 2019.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp


def temporal_shift(x: jax.Array, fraction: float = 1 / 8) -> jax.Array:
  """Moves a share of the channels one frame back and an equal share one frame on.

  Frames that would come from outside the clip are zero, so a clip of one frame
  loses its shifted channels.

  Args:
    x: (B, T, H, W, C) features.
    fraction: share of C that moves in each direction, at most 1/2; the number
      of channels is rounded down.

  Returns:
    (B, T, H, W, C), dtype of `x`.
  """
  fold = int(x.shape[-1] * fraction)
  if fold == 0:
    return x
  ahead = jnp.pad(x[:, 1:, ..., :fold], [(0, 0), (0, 1)] + [(0, 0)] * 3)
  behind = jnp.pad(x[:, :-1, ..., fold:2 * fold], [(0, 0), (1, 0)] + [(0, 0)] * 3)
  return jnp.concatenate([ahead, behind, x[..., 2 * fold:]], axis=-1)


class TemporalShift(nn.Module):
  """`temporal_shift` as a block for a trunk's sites."""

  fraction: float = 1 / 8

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    del train  # same in training and evaluation
    return temporal_shift(x, self.fraction)
