"""Uniform sampling of features over time: the same number of frames from every clip, whatever it shows."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import compaction


class UniformSampling(nn.Module):
  """(B, T, H, W, C) -> the middles of K equal parts of each clip, (B, K, H, W, C), with a mask where one was given.

  A clip of no more than `keep` live frames keeps them all.

  Attributes:
    keep: frames left, K = min(keep, T).
  """

  keep: int = 8

  def __post_init__(self):
    if self.keep < 1:
      raise ValueError(f"keep = {self.keep}: uniform sampling keeps at least one frame")
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None
               ) -> tuple[jax.Array, jax.Array | None]:
    """Args: x (B, T, H, W, C); mask (B, T), live frames in front; None: all live."""
    del train  # same in training and evaluation
    frames = x.shape[1]
    place = jnp.arange(min(self.keep, frames))
    if mask is None:
      return x[:, (2 * place + 1) * frames // (2 * len(place))], None
    length = mask.sum(1, dtype=jnp.int32)[:, None]
    left = jnp.minimum(length, len(place))
    rows = (2 * place + 1) * length // jnp.maximum(2 * left, 1)
    live = place < left
    y = compaction.take(x, jnp.minimum(rows, frames - 1))
    return jnp.where(live[:, :, None, None, None], y, 0), live
