"""What similarity guided sampling is for: one frame that matters among equal ones, fast clips beside slow ones.

Frames differ by faint noise of their own beside what they show; at three times of it slow clips fill seven bins.
In `speed_accuracy` both networks start from one that was trained with all frames: from scratch, in as many steps as
that, a network that samples does not hold it (97.8 against 100.0 over five seeds); it learns more slowly, and may come
to keep two frames of any clip.

vidx claims atfr
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import ConvNormAct, SimilarityGuidedSampling, UniformSampling
from vidx.nn.pool import mean_pool

FRAMES, SIZE, BATCH, STEPS, TEST = 32, 16, 16, 700, 32
NOISE = 0.01
COLOURS = jnp.asarray([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
BEFORE, AFTER = 25 * 3 * 16 * (SIZE // 4)**2, 27 * 16 * 24 * (SIZE // 8)**2  # products per frame


def clips(key, scenes):
  """Clips (B, T, H, W, 3) of grey scenes, as many as `scenes` (B,) says; and the colour of the square in one."""
  keys = jax.random.split(key, 6)
  label = jax.random.randint(keys[0], (BATCH,), 0, len(COLOURS))
  grain = jax.random.uniform(keys[1], (BATCH, FRAMES, 4, 4, 1))
  number = jnp.arange(FRAMES) * scenes[:, None] // FRAMES  # the scene of a frame
  scene = jax.image.resize(grain, (BATCH, FRAMES, SIZE, SIZE, 1), "bilinear")
  x = jnp.take_along_axis(scene, number[:, :, None, None, None], 1) * jnp.ones(3)
  chosen = (jax.random.uniform(keys[2], (BATCH,)) * scenes).astype(jnp.int32)
  square = squares(jax.random.randint(keys[3], (BATCH, 1, 2), 0, SIZE - 6))
  x = jnp.where(square & (number == chosen[:, None])[..., None, None, None], COLOURS[label][:, None, None, None], x)
  return x - 0.5 + NOISE * jax.random.normal(keys[4], x.shape), label


def squares(corner, width=6):
  """(B, T, H, W, 1) bool for upper left corners (B, T, 2)."""
  near = (jnp.arange(SIZE) >= corner[..., None]) & (jnp.arange(SIZE) < corner[..., None] + width)
  return (near[:, :, 0, :, None] & near[:, :, 1, None])[..., None]


def needles(key):
  """A scene that stays, without noise; the square is there for a single frame."""
  keys = jax.random.split(key, 4)
  label = jax.random.randint(keys[0], (BATCH,), 0, len(COLOURS))
  scene = jax.image.resize(jax.random.uniform(keys[1], (BATCH, 1, 4, 4, 1)), (BATCH, 1, SIZE, SIZE, 1), "bilinear")
  at = jnp.arange(FRAMES) == jax.random.randint(keys[2], (BATCH, 1), 0, FRAMES)
  square = squares(jax.random.randint(keys[3], (BATCH, 1, 2), 0, SIZE - 6))
  return jnp.where(square & at[..., None, None, None], COLOURS[label][:, None, None, None], scene) - 0.5, label


def speeds(key):
  """Half of the clips show two scenes, half a new one in every frame."""
  first, second = jax.random.split(key)
  return clips(first, jnp.where(jax.random.bernoulli(second, shape=(BATCH,)), FRAMES, 2))


def vertical(key):
  """A square that goes up or down, slowly, over a scene."""
  keys = jax.random.split(key, 4)
  label = jax.random.randint(keys[0], (BATCH,), 0, 2)
  start = jax.random.randint(keys[1], (BATCH, 1), 0, SIZE)
  row = (start + (2 * label - 1)[:, None] * (jnp.arange(FRAMES) // 4)) % (SIZE - 5)
  corner = jnp.stack([row, jnp.broadcast_to(jax.random.randint(keys[2], (BATCH, 1), 0, SIZE - 6), row.shape)], -1)
  ground = jax.image.resize(jax.random.uniform(keys[3], (BATCH, 1, 4, 4, 1)), (BATCH, 1, SIZE, SIZE, 1), "bilinear")
  return jnp.where(squares(corner), COLOURS[0], ground) - 0.5, label


class Net(nn.Module):
  """Frames one by one, the sampler, a layer over space and time, the mean."""

  sampler: nn.Module | None = None

  @nn.compact
  def __call__(self, x, train=False):
    x, mask = ConvNormAct(16, (5, 5), 4)(x, train), None
    if self.sampler is not None:
      x, mask = self.sampler(x, train=train)
    x = ConvNormAct(24, (3, 3, 3), (1, 2, 2))(x, train, mask)
    left = jnp.full(len(x), x.shape[1]) if mask is None else mask.sum(1)
    return {"logits": nn.Dense(len(COLOURS))(mean_pool(x, mask)), "left": left}


@functools.lru_cache(maxsize=None)
def trained(sampler, batches, seed):
  """A network and its variables after training."""
  return Net(sampler), fit(Net(sampler), batches, STEPS, seed)


def score(sampler, batches, seed):
  return accuracy(*trained(sampler, batches, seed), batches, TEST, seed)


def frames_left(sampler, batches, seed, shown=None):
  """Mean number of frames that a sampler leaves, trained on `batches`, of those or of what is `shown`."""
  model, variables = trained(sampler, batches, seed)
  left = jax.jit(lambda key: model.apply(variables, (shown or batches)(key)[0])["left"].mean())
  return float(np.mean([left(key) for key in jax.random.split(jax.random.PRNGKey(20_000 + seed), TEST)]))


def uniform(batches, seed):
  """Accuracy with as many frames of every clip as similarity leaves on average, rounded up."""
  return score(UniformSampling(int(np.ceil(frames_left(SGS, batches, seed)))), batches, seed)


SGS = SimilarityGuidedSampling()
RANDOM = SimilarityGuidedSampling(control="random")


def needle_uniform(seed):
  return {"method": score(SGS, needles, seed), "baseline": uniform(needles, seed),
          "frames left": frames_left(SGS, needles, seed)}


def needle_random(seed):
  return {"method": score(SGS, needles, seed), "baseline": score(RANDOM, needles, seed),
          "frames left": frames_left(RANDOM, needles, seed)}


def speed_counts(seed):
  of = lambda scenes: frames_left(SGS, speeds, seed, lambda key: clips(key, jnp.full(BATCH, scenes)))
  return {"method": of(FRAMES), "baseline": of(2)}


def speed_accuracy(seed):
  """Accuracy of networks that go on from one trained with all frames, with the sampler and without."""
  def further(sampler):
    variables = fit(Net(sampler), speeds, STEPS, 1000 + seed, begin=trained(None, speeds, seed)[1])
    return accuracy(Net(sampler), variables, speeds, TEST, seed)

  return {"method": further(SGS), "baseline": further(None), "from scratch": score(SGS, speeds, seed)}


def speed_cost(seed):
  """Percent of the products that are saved, and what is wanted."""
  left = frames_left(SGS, speeds, seed)
  return {"method": 100 * AFTER * (1 - left / FRAMES) / (BEFORE + AFTER), "baseline": 35.0, "frames left": left}


def speed_uniform(seed):
  return {"method": score(SGS, speeds, seed), "baseline": uniform(speeds, seed)}


def order(seed):
  arms = {"method": SimilarityGuidedSampling(order="time"), "baseline": SGS}
  return {arm: score(sampler, vertical, seed) for arm, sampler in arms.items()}


def get_claims():
  claim = functools.partial(Claim, seeds=2)
  return [
      claim("needle_uniform", "One frame that matters is found more often than by as many frames at a constant rate.",
            needle_uniform, 10.0),
      claim("needle_random", "It is found more often than among as many bins of frames drawn by lot.",
            needle_random, 3.0),
      claim("speed_counts", "Of fast clips more frames are left than of slow ones.", speed_counts, 3.0, unit="frames"),
      claim("speed_accuracy", "A trained network that goes on with the sampler is within a point of one without.",
            speed_accuracy, -1.0, seeds=5),
      claim("speed_cost", "At least 35 % of the multiply-accumulates are saved.", speed_cost),
      claim("speed_uniform", "As many frames at a constant rate do worse.", speed_uniform, 0.0),
      claim("order", "Kept frames in the order of time tell up from down better than in the order of similarity.",
            order),
  ]
