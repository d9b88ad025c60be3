"""Dynamic images: a weighted sum of frames whose weights rank them in time.

Bilen et al.: "Action Recognition with Dynamic Image Networks", 2017 (approximate rank pooling).
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn.represent import segments


def rank_weights(frames: int) -> np.ndarray:
  """(T,): 2 (T - t + 1) - (T + 1) (H_T - H_{t-1}) for t = 1..T with harmonic numbers H; their sum is 0."""
  harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, frames + 1))])
  t = np.arange(1, frames + 1)
  return 2 * (frames - t + 1) - (frames + 1) * (harmonic[frames] - harmonic[t - 1])


class DynamicImage(nn.Module):
  """(B, S * T, H, W, C), or segments (B, S, T, H, W, C), -> (B, S, H, W, C).

  Attributes:
    consecutive: T, frames per image; 0: the whole clip is one image.
    dtype: of the result; None is fp32.
  """

  consecutive: int = 0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    del train  # same in training and evaluation
    frames = self.consecutive or x.shape[-4]
    weights = jnp.asarray(rank_weights(frames), jnp.float32)
    clips = segments(x, frames).astype(jnp.float32)
    return jnp.einsum("t,bsthwc->bshwc", weights, clips, precision="highest").astype(self.dtype or jnp.float32)
