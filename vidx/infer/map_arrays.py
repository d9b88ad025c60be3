"""What blocks leave behind, as arrays that can be drawn."""

from collections.abc import Sequence
import math

import jax
import jax.numpy as jnp
import numpy as np


def middle(x: np.ndarray, count: int) -> np.ndarray:
  """The `count` in the middle of (N, ...)."""
  first = (len(x) - count) // 2
  return x[first:first + count]


def of_cls(attention: jax.Array, places: tuple[int, int, int]) -> jax.Array:
  """The CLS's attention (B, ..., heads, 1 + N) as the heads' mean over the patches, (B, T, H', W')."""
  return attention.mean(-2)[..., 1:].reshape(len(attention), *places)


def kept_places(stages: Sequence[tuple[jax.Array, jax.Array]], places: tuple[int, int, int]) -> list[jax.Array]:
  """What samplers of tokens kept, one behind the other, as maps of the patches (B, T, H', W').

  Args:
    stages: of each sampler, `kept` (B, G, N) of the tokens that it was given, the CLS
      first, and `rows` (B, G, M), which of them each place behind it holds, -1 for none.
    places: (T, H', W') of the patches, which the first sampler was given in order.
  """
  kept = stages[0][0]
  at = jnp.broadcast_to(jnp.arange(kept.shape[-1]) - 1, kept.shape)  # the patch of each token
  maps = []
  for kept, rows in stages:
    patch = jnp.arange(stages[0][0].shape[-1] - 1)
    maps.append(jnp.where(at[..., None] == patch, kept[..., None], 0).sum(-2).reshape(len(kept), *places))
    at = jnp.where(rows >= 0, jnp.take_along_axis(at, jnp.maximum(rows, 0), -1), -1)
  return maps


def upright(x: np.ndarray) -> np.ndarray:
  """What lies on spectrograms, (B, N, T, F, ...), as (B, N, F, T, ...): time to the right, low bands below."""
  return x.swapaxes(2, 3)[:, :, ::-1]


def as_colours(flow: np.ndarray, zero: float) -> np.ndarray:
  """Flow (..., 2), or what is made of it: to the right as red, down as green, and blue that is always zero."""
  return np.concatenate([flow, np.full_like(flow[..., :1], zero)], -1)


def tiled(gates: jax.Array) -> jax.Array:
  """Factors of channels (B, C) as a picture (B, 1, H, W, 1), line by line: how far each is from their mean."""
  batch, channels = gates.shape
  height = max(h for h in range(1, math.isqrt(channels) + 1) if channels % h == 0)
  return (gates - gates.mean(1, keepdims=True)).reshape(batch, 1, height, channels // height, 1)
