"""What region-based non-local blocks are for: similarity that noise does not break, and what lies far apart.

vidx claims rnl

`noise` looks at the attention of untrained blocks; the features are two prototypes of
32 channels, one of them on an object of 8 x 8 positions of 16 x 16, plus noise. In the
other claims a network of four layers that sees 7 x 7 pixels tells whether two patches,
about half a clip of 2 frames of 32 x 32 pixels apart, have the same colour. Patches have
4 x 4 pixels, one position of the block; in `noisy` 12 x 12, so that a region is more
than a position, under noise of 1.5 times the colours' contrast.

Under that noise networks begin to learn late, after 600 to 3,000 steps, so that those of `noisy` take 4,000 in place of
600: after 600 most had hardly begun (57.9 against 54.4 over five seeds), after 2,000 one of five had not (79.4, 68.0).
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import ConvNormAct, NonLocal, RegionNonLocal

SIGMA, SPREAD = 2.0, 0.5  # of the noise of features, of the values of the prototypes
SCALE = 0.5  # of the products: at 1 a position in noise leaves others than itself less than fp32 can tell from 0
SHAKE = 1.5  # of the noise of pixels
FRAMES, SIZE, BATCH = 2, 32, 32
COLOURS = jnp.eye(3)


def mass(seed: int, averaged: bool, sigma: float = SIGMA) -> float:
  """Attention on the object, in percent, of a position on it, other than itself."""
  channels, shape = 32, (32, 4, 16, 16)
  keys = jax.random.split(jax.random.PRNGKey(seed), 2)
  prototypes = SPREAD * jax.random.normal(keys[0], (2, channels))
  inside = jnp.zeros(shape[1:]).at[:, 4:12, 4:12].set(1)[None, ..., None]
  x = inside * prototypes[0] + (1 - inside) * prototypes[1] + sigma * jax.random.normal(keys[1], (*shape, channels))
  x = jnp.concatenate([x, jnp.zeros_like(x)], -1)  # the block projects to half of its channels
  block = RegionNonLocal(descriptor="avgpool" if averaged else "identity", scale=SCALE, chunk=0)
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), x)
  kernel = jnp.eye(2 * channels, channels)[None, None, None]
  params = {**variables["params"], "g": {"kernel": kernel, "bias": jnp.zeros(channels)}}
  see = jax.jit(lambda v, x: block.apply(v, x, mutable=["maps"])[1]["maps"]["attention"][0])
  attention = see({**variables, "params": params}, x).at[:, 2, 8, 8].set(0)
  on = (attention * inside[..., 0]).sum((1, 2, 3)) / attention.sum((1, 2, 3))
  return 100 * float(on.mean())


def noise(seed: int) -> dict[str, float]:
  """Percentages of attention on the object."""
  alone = mass(seed, False)
  return {"method": mass(seed, True), "baseline": 1.5 * alone, "compared alone": alone}


def pairs(key, sigma=0.0, side=4):
  """(clips (B, T, H, W, 3) with two patches of side x side pixels, whether their colours differ (B,))."""
  keys = jax.random.split(key, 6)
  label = jax.random.randint(keys[0], (BATCH,), 0, 2)
  first = jax.random.randint(keys[1], (BATCH,), 0, 3)
  second = (first + label * jax.random.randint(keys[2], (BATCH,), 1, 3)) % 3
  place = jax.random.randint(keys[3], (BATCH, 3), 0, jnp.asarray([FRAMES, SIZE, SIZE]))
  apart = jnp.asarray([0, SIZE // 2, SIZE // 2]) + jax.random.randint(keys[4], (BATCH, 3), -4, 5)
  x = jnp.zeros((BATCH, FRAMES, SIZE, SIZE, 3))
  for at, colour in ((place, first), ((place + apart) % jnp.asarray([FRAMES, SIZE, SIZE]), second)):
    time = (jnp.arange(FRAMES) == at[:, :1])[:, :, None, None]
    rows, columns = ((jnp.arange(SIZE) - at[:, i:i + 1]) % SIZE < side for i in (1, 2))
    patch = time & rows[:, None, :, None] & columns[:, None, None, :]
    x = jnp.where(patch[..., None], COLOURS[colour][:, None, None, None], x)
  return x + sigma * jax.random.normal(keys[5], x.shape), label


noisy = functools.partial(pairs, sigma=SHAKE, side=12)


class Small(nn.Module):
  """Four layers that see 7 x 7 pixels, with a block in their middle."""

  block: nn.Module | None

  @nn.compact
  def __call__(self, x, train=False):
    x = ConvNormAct(16, (3, 3), 2)(x, train)
    x = ConvNormAct(32, (3, 3), 2)(x, train)
    if self.block is not None:
      x = self.block(x, train)
    for _ in range(2):
      x = ConvNormAct(32, (1, 1))(x, train)
    return {"logits": nn.Dense(2)(x.mean((1, 2, 3)))}


ARMS = {"regions": RegionNonLocal(kernel=(3, 3, 3), chunk=0), "positions": NonLocal(chunk=0), "none": None,
        "alone": RegionNonLocal(kernel=(3, 3, 3), descriptor="identity", chunk=0)}


@functools.lru_cache
def told(seed, arm, batches=pairs):
  model = Small(ARMS[arm])
  return accuracy(model, fit(model, batches, 4000 if batches is noisy else 600, seed), batches, 16, seed)


def get_claims() -> list[Claim]:
  def against(other, batches=pairs):
    return lambda seed: {"method": told(seed, "regions", batches), "baseline": told(seed, other, batches)}

  claim = functools.partial(Claim, seeds=2)
  return [
      Claim("noise", "Compared by regions, a position in noise attends at least 1.5 times as much to its own object.",
            noise),
      claim("far", "With a region-based block, a network compares what its layers do not see at once.",
            against("none"), 20.0),
      claim("far_positions", "It compares it no worse than with a block that compares single positions.",
            against("positions")),
      claim("noisy", "In noise it compares it better than the same block whose positions are compared alone.",
            against("alone", noisy), 5.0, seeds=5),
      claim("noisy_positions", "Nor is it worse there than a block that compares single positions.",
            against("positions", noisy), seeds=5),
  ]
