"""Audiovisual synchronization: whether sound belongs to the time that a clip shows, as a contrastive loss.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020, section 3.4; Korbar, Tran, Torresani: "Cooperative Learning of Audio
and Video Models from Self-Supervised Synchronization", 2018, equation 1.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

MARGIN = 0.99
LEAST_VARIANCE, ALIKE = 0.01, 0.99999  # of spectrograms that make a pair: not silent, and not the same
_TINY = 1e-12


def half_unit(x: jax.Array) -> jax.Array:
  """x (..., C) at length 1/2, in fp32, so that distances lie in 0..1; zero stays zero, with a finite gradient."""
  x = x.astype(jnp.float32)
  return 0.5 * x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + _TINY)


def distance(x: jax.Array, y: jax.Array) -> jax.Array:
  """Lengths (...) of x - y (..., C); where both are equal the gradient is zero."""
  square = jnp.square(x - y).sum(-1)
  return jnp.where(square > _TINY, jnp.sqrt(jnp.maximum(square, _TINY)), 0.0)


def contrastive(positive: jax.Array, negative: jax.Array, margin: float = MARGIN) -> jax.Array:
  """(d_p^2 + max(0, margin - d_n)^2) / 2 of distances (B,) of the clip to its own and to other sound."""
  return 0.5 * (jnp.square(positive) + jnp.square(jnp.maximum(0.0, margin - negative)))


def tells(audio: jax.Array, other: jax.Array) -> jax.Array:
  """(B,) bool: neither spectrogram (B, T, F, 1) is nearly constant, and both are not nearly the same."""
  x, y = (z.reshape(len(z), -1).astype(jnp.float32) for z in (audio, other))
  loud = (x.var(1) > LEAST_VARIANCE) & (y.var(1) > LEAST_VARIANCE)
  lengths = jnp.sqrt(jnp.maximum(jnp.square(x).sum(1) * jnp.square(y).sum(1), _TINY))
  return loud & ((x * y).sum(1) / lengths < ALIKE)


def negatives(audio: jax.Array, displaced: jax.Array, valid: jax.Array, progress: jax.Array, hard_share: float,
              hard_from: float) -> tuple[jax.Array, jax.Array]:
  """The sound of another clip, the one before in the batch, or from a time of training on for some the displaced one.

  Args:
    audio: (B, T, F, 1).
    displaced: (B, T, F, 1), of the same videos at another time.
    valid: (B,), above 0 where there is sound.
    progress: (B,), share of the training that is done.
    hard_share: share of the batch, its last clips, that gets the displaced sound.
    hard_from: progress from which it does.

  Returns:
    (B, T, F, 1), and (B,) bool, whether both sounds of a pair can be heard.
  """
  size = len(audio)
  hard = (jnp.arange(size) >= size - round(hard_share * size)) & (progress >= hard_from)
  live = valid > 0
  other = jnp.where(hard[:, None, None, None], displaced, jnp.roll(audio, 1, 0))
  return other, live & jnp.where(hard, live, jnp.roll(live, 1, 0))


class Embeddings(nn.Module):
  """Means of what is seen and heard, each through a linear layer to `features` numbers, at length 1/2; fp32."""

  features: int = 64

  @nn.compact
  def __call__(self, seen: jax.Array, *heard: jax.Array) -> tuple[jax.Array, ...]:
    """seen (B, T, H, W, C), each heard (B, T, C') -> (B, features) of each."""
    dense = lambda name: nn.Dense(self.features, dtype=jnp.float32, name=name)
    query = dense("query")
    mean = lambda x: x.astype(jnp.float32).mean(tuple(range(1, x.ndim - 1)))
    return half_unit(dense("reference")(mean(seen))), *(half_unit(query(mean(x))) for x in heard)
