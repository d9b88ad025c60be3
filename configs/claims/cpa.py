"""What a pyramid of kernels is for: objects whose size is not known.

vidx claims cpa

Before its sigmoid a pyramid is a sum of linear kernels, which is one kernel of the largest size: the control is that
one alone, trained in the same way. Squares are larger than the smallest kernel.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import ConvNormAct, ConvolutionPyramidAttention

SINGLE = ((1, 1, 1),)
KERNELS = ((3, 3, 3), (3, 7, 7), (3, 9, 9))
PYRAMID = (*SINGLE, *KERNELS)
STEPS = 200


def blobs(key: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Clips (B, 2, 24, 24, 3) with a square of 4 to 8 pixels among bright single pixels; label: its quadrant."""
  batch, size = 32, 24
  keys = jax.random.split(key, 6)
  label = jax.random.randint(keys[0], (batch,), 0, 4)
  width = jax.random.randint(keys[1], (batch, 1), 4, 9)
  room = size // 2 - width[:, 0]
  corner = (jax.random.uniform(keys[2], (2, batch)) * (room + 1)).astype(jnp.int32)
  corner += size // 2 * jnp.stack([label // 2, label % 2])
  at = jnp.arange(size)
  rows, columns = ((at >= c[:, None]) & (at < c[:, None] + width) for c in corner)
  square = (rows[:, None, :, None] & columns[:, None, None, :]).astype(jnp.float32)
  specks = jax.random.bernoulli(keys[3], 0.35, (batch, 2, size, size)).astype(jnp.float32)
  x = jnp.maximum(square, specks) + 1.0 * jax.random.normal(keys[4], (batch, 2, size, size))
  return jnp.broadcast_to(x[..., None], (*x.shape, 3)), label


class Small(nn.Module):
  """A pyramid attention, then the mean over each quadrant of one layer that sees single pixels."""

  pyramid: tuple[tuple[int, int, int], ...]

  @nn.compact
  def __call__(self, x, train=False):
    x = ConvNormAct(16, (1, 1))(x, train)
    x = ConvolutionPyramidAttention(self.pyramid)(x, train)
    b, t, h, w, c = x.shape
    x = x.reshape(b, t, 2, h // 2, 2, w // 2, c).mean((1, 3, 5))
    return {"logits": nn.Dense(4)(x.reshape(b, -1))}


@functools.lru_cache
def told(seed: int, pyramid: tuple[tuple[int, int, int], ...]) -> float:
  """Accuracy behind the attention."""
  model = Small(pyramid)
  return accuracy(model, fit(model, blobs, STEPS, seed, rate=1e-2), blobs, 64, seed)


def pyramid(seed: int) -> dict[str, float]:
  """Accuracies with the whole pyramid and with each of its kernels alone, the largest of which is the baseline."""
  alone = {"{}x{}x{}".format(*kernel): told(seed, (kernel,)) for kernel in KERNELS}
  return {"method": told(seed, PYRAMID), "baseline": alone["3x9x9"], **alone}


def kernels(seed: int) -> dict[str, float]:
  """Accuracies with the best single kernel and with single positions."""
  return {"method": max(told(seed, (kernel,)) for kernel in KERNELS), "baseline": told(seed, SINGLE)}


def get_claims() -> list[Claim]:
  return [
      Claim("pyramid", "A pyramid finds a square of unknown size among specks no worse than its largest kernel alone.",
            pyramid, seeds=5),
      Claim("kernels", "The best kernel finds it no worse than attention by single positions.", kernels, seeds=2),
  ]
