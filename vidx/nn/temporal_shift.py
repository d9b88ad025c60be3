"""Temporal shift: channels move one frame along time, at no cost in parameters.

Lin, Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding", 2019.
"""

import functools

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
  return jax.lax.platform_dependent(x, cpu=functools.partial(_joined, fold=fold),
                                    default=functools.partial(_selected, fold=fold))


def _joined(x: jax.Array, fold: int) -> jax.Array:
  """Moves the channels that are moved, and no others."""
  ahead = jnp.pad(x[:, 1:, ..., :fold], [(0, 0), (0, 1)] + [(0, 0)] * 3)
  behind = jnp.pad(x[:, :-1, ..., fold:2 * fold], [(0, 0), (1, 0)] + [(0, 0)] * 3)
  return jnp.concatenate([ahead, behind, x[..., 2 * fold:]], axis=-1)


def _selected(x: jax.Array, fold: int) -> jax.Array:
  """Takes each channel from the frame before, behind or at its own: of slices of one padded clip.

  XLA's compiler for TPUs puts this into the convolution that follows; slices that are padded it writes out.
  """
  frames = x.shape[1]
  padded = jnp.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * 3)
  channel = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
  behind = jnp.where(channel < 2 * fold, padded[:, :frames], x)
  return jnp.where(channel < fold, padded[:, 2:], behind)


class TemporalShift(nn.Module):
  """`temporal_shift` as a block for a trunk's sites."""

  fraction: float = 1 / 8

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    del train  # same in training and evaluation
    return temporal_shift(x, self.fraction)
