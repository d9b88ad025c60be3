"""What the motion band-pass is for, and what the quiet pathway adds to the busy one.

vidx claims bqn
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

import vidx
from vidx.measure.claims import Claim, accuracy, fit
from vidx.nn import MotionBandPass, TemporalShift
from vidx.nn.represent import MiddleFrame

SEGMENTS, FRAMES, SIZE, BATCH = 4, 3, 24, 16
WAYS = jnp.asarray([[0, 1], [0, -1], [1, 0], [-1, 0]])
SCENES = 3


def clips(key, cluttered=True, scenes=0):
  """Segments (B, N, d, H, W, 3) of a square that moves over a texture, and its direction (B,).

  With `scenes`, the texture is one of so many and the label names both: (direction, scene).
  """
  keys = jax.random.split(key, 5)
  label = jax.random.randint(keys[0], (BATCH,), 0, len(WAYS))
  if scenes:
    scene = jax.random.randint(keys[1], (BATCH,), 0, scenes)
    grain = jax.random.uniform(jax.random.PRNGKey(7), (scenes, 6, 6, 3))[scene]
  else:
    scene, grain = 0, jax.random.uniform(keys[1], (BATCH, 12, 12, 3)) * (1.0 if cluttered else 0.2)
  ground = jax.image.resize(grain, (BATCH, SIZE, SIZE, 3), "bilinear")
  start = jax.random.randint(keys[2], (BATCH, 2), 0, SIZE)
  time = jnp.arange(SEGMENTS * FRAMES)[:, None]
  place = (start[:, None] + time * WAYS[label][:, None]) % SIZE
  near = (jnp.arange(SIZE) - place[..., None]) % SIZE < 5
  square = (near[:, :, 0, :, None] & near[:, :, 1, None])[..., None]
  colour = jax.random.uniform(keys[3], (BATCH, 1, 1, 1, 3))
  x = jnp.where(square, colour, ground[:, None]) - 0.5
  return x.reshape(BATCH, SEGMENTS, FRAMES, SIZE, SIZE, 3), label + len(WAYS) * scene


class Shifted(nn.Module):
  """A small network with temporal shifts on one image per segment."""

  band_pass: bool

  @nn.compact
  def __call__(self, x, train=False):
    x = MotionBandPass()(x) if self.band_pass else MiddleFrame()(x)
    for width in (16, 32, 48):
      x = TemporalShift()(x)
      b, n = x.shape[:2]
      x = nn.relu(nn.GroupNorm(4)(nn.Conv(width, (3, 3), 2)(x.reshape(b * n, *x.shape[2:]))))
      x = x.reshape(b, n, *x.shape[1:])
    return {"logits": nn.Dense(len(WAYS))(x.mean((1, 2, 3)))}


def motion(seed):
  """Accuracies behind the band-pass and on frames."""
  arm = lambda band_pass: accuracy(Shifted(band_pass), fit(Shifted(band_pass), clips, 400, seed), clips, seed=seed)
  return {"method": arm(True), "baseline": arm(False)}


def two_cues(seed):
  """Accuracies of both pathways with their connections, and of each alone."""
  batches = lambda key: clips(key, scenes=SCENES)
  trunk = dict(trunk="tsm_r50", block="basic", stages=(1, 1), width=12, stem="small", dropout=0.0,
               num_classes=SCENES * len(WAYS))
  arms = {
      "method": vidx.create_model("bqn", quiet_size=16, lateral_size=3, **trunk),
      "baseline": vidx.create_model("represented", representation="band_pass", consecutive=FRAMES, **trunk),
      "quiet alone": vidx.create_model("represented", representation="rgb", consecutive=FRAMES, **trunk),
  }
  return {arm: accuracy(model, fit(model, batches, 300, seed), batches, seed=seed) for arm, model in arms.items()}


def get_claims() -> list[Claim]:
  return [
      Claim("motion", "Directions over clutter are told better behind the band-pass than on frames.", motion, 5.0, seeds=2),
      Claim("two_cues", "Scene and motion together need the quiet pathway beside the busy one.", two_cues, 10.0, seeds=2),
  ]
