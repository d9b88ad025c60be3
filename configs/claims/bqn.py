"""What the motion band-pass is for, and what the quiet pathway adds to the busy one.

vidx claims bqn

Clips have 9 frames of 20 x 20 pixels, in three segments, and are new at every step. In
`two_cues` they have a smooth scene, which does not move, under a still, fine texture,
and the label names the scene and the motion; in `either`, whether just one of them is of
its upper half, which no sum of what the scene says and what the motion says tells. Under
noise of each pixel kernels differ that are equal without it. The quiet pathway sees the mean of three
frames: their complement is dominated by the band-pass, whose gain is several hundred.

`training` takes a kernel of unit gain, of which training leaves nothing as it was; the published one, with entries of
several hundred, changes by 0.6 % of its norm. In `soft` edges are as wide as a lens makes them: of sharp ones nearly a
point is the better kernel (72.5 against 69.4 in `noisy`), of ones that are blurred by a whole pixel the widest.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import vidx
from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import FrameDifference, MotionBandPass, TemporalShift
from vidx.nn.represent import MiddleFrame
from vidx.nn.resize import resize
from vidx.systems.represented import Represented

SEGMENTS, FRAMES, SIZE, BATCH = 3, 3, 20, 16
WAYS = jnp.asarray([[0, 1], [0, -1], [1, 0], [-1, 0]])
SCENES, QUIET_SIZE = 4, 10


def moving(key, batch=BATCH):
  """A square that moves a pixel per frame: (where it is (B, T, H, W, 1), direction (B,))."""
  keys = jax.random.split(key)
  label = jax.random.randint(keys[0], (batch,), 0, len(WAYS))
  start = jax.random.randint(keys[1], (batch, 2), 0, SIZE)
  time = jnp.arange(SEGMENTS * FRAMES)[:, None]
  place = (start[:, None] + time * WAYS[label][:, None]) % SIZE
  near = (jnp.arange(SIZE) - place[..., None]) % SIZE < 5
  return (near[:, :, 0, :, None] & near[:, :, 1, None])[..., None], label


def textures(key, grain, count=BATCH):
  """(B, H, W, 3), each with so many random colours along a side."""
  return jax.image.resize(jax.random.uniform(key, (count, grain, grain, 3)), (count, SIZE, SIZE, 3), "bilinear")


def clips(key, clutter=1.0, noise=0.0):
  """Segments (B, N, 3, H, W, 3) of a square on a texture of that contrast, noisy, and its direction (B,)."""
  keys = jax.random.split(key, 4)
  square, label = moving(keys[0])
  ground = 0.5 + clutter * (textures(keys[1], SIZE // 2) - 0.5)
  x = jnp.where(square, jax.random.uniform(keys[2], (BATCH, 1, 1, 1, 3)), ground[:, None]) - 0.5
  x += noise * jax.random.normal(keys[3], x.shape)
  return x.reshape(BATCH, SEGMENTS, FRAMES, SIZE, SIZE, 3), label


plain = functools.partial(clips, clutter=0.2)
noisy = functools.partial(clips, noise=0.05)


def soft(key):
  """`clips` whose edges are as soft as a lens makes them, by a Gaussian of 0.6 pixels, with noise of 0.03."""
  x, label = clips(key)
  taps = np.exp(-np.arange(-2, 3)**2 / (2 * 0.6**2))
  for axis in (3, 4):  # the square leaves on one side and enters on the other, too
    x = sum(w * jnp.roll(x, i - 2, axis) for i, w in enumerate(taps / taps.sum()))
  return x + 0.03 * jax.random.normal(jax.random.fold_in(key, 1), x.shape), label


STEPS = {noisy: 600, soft: 900}  # 300 for others


def two_cues(key):
  """Segments of a faint square on one of the scenes, and both: scene x direction (B,)."""
  keys = jax.random.split(key, 4)
  square, label = moving(keys[0])
  scene = jax.random.randint(keys[1], (BATCH,), 0, SCENES)
  ground = textures(jax.random.PRNGKey(7), 3, SCENES)[scene] + textures(keys[2], SIZE) - 1
  x = ground[:, None] + 0.4 * square
  return x.reshape(BATCH, SEGMENTS, FRAMES, SIZE, SIZE, 3), label + len(WAYS) * scene


def either(key):
  """Segments of `two_cues`, and whether just one of scene and direction is of its upper half (B,)."""
  x, label = two_cues(key)
  way, scene = label % len(WAYS), label // len(WAYS)
  return x, ((way >= len(WAYS) // 2) ^ (scene >= SCENES // 2)).astype(jnp.int32)


class Shifted(nn.Module):
  """A small network with temporal shifts on one image per segment."""

  image: nn.Module

  @nn.compact
  def __call__(self, x, train=False):
    x = self.image(x)
    x = x / (x.std((1, 2, 3, 4), keepdims=True) + 1e-3)
    for width in (16, 32, 48):
      x = TemporalShift()(x)
      b, n = x.shape[:2]
      x = nn.relu(nn.GroupNorm(4)(nn.Conv(width, (3, 3), 2)(x.reshape(b * n, *x.shape[2:]))))
      x = x.reshape(b, n, *x.shape[1:])
    return {"logits": nn.Dense(len(WAYS))(x.mean((1, 2, 3)))}


@functools.lru_cache
def told(seed, image, batches):
  """Accuracy behind a representation."""
  model = Shifted(image)
  return accuracy(model, fit(model, batches, STEPS.get(batches, 300), seed), batches, 16, seed)


BAND_PASS, UNTRAINED, MIDDLE = MotionBandPass(), MotionBandPass(trainable=False), MiddleFrame()
UNIT, UNIT_UNTRAINED = MotionBandPass(normalisation="l1"), MotionBandPass(normalisation="l1", trainable=False)
DIFFERENCE = FrameDifference()


def motion(seed):
  return {"method": told(seed, BAND_PASS, clips), "baseline": told(seed, MIDDLE, clips),
          "untrained band-pass": told(seed, UNTRAINED, clips), "differences": told(seed, DIFFERENCE, clips)}


def clutter(seed):
  """By how much the band-pass is better, with much clutter and with little."""
  gap = lambda batches: told(seed, BAND_PASS, batches) - told(seed, MIDDLE, batches)
  return {"method": gap(clips), "baseline": gap(plain)}


def untrained(seed):
  return {"method": told(seed, UNTRAINED, clips), "baseline": told(seed, MIDDLE, clips)}


def training(seed):
  return {"method": told(seed, UNIT, noisy), "baseline": told(seed, UNIT_UNTRAINED, noisy),
          "as published": told(seed, BAND_PASS, noisy), "as published, untrained": told(seed, UNTRAINED, noisy)}


def sweep(seed):
  """Accuracies behind fixed kernels of 9 x 9; the better of the degenerate ones is the baseline."""
  sigmas = {sigma: told(seed, MotionBandPass(sigma=sigma, trainable=False), soft) for sigma in (0.5, 1.1, 2.5)}
  return {"method": sigmas[1.1], "baseline": max(sigmas[0.5], sigmas[2.5]), "sigma 0.5": sigmas[0.5],
          "sigma 2.5": sigmas[2.5]}


class Quiet(nn.Module):
  """What the quiet pathway sees."""

  @nn.compact
  def __call__(self, x, train=False):
    return resize(x.mean(2), (SEGMENTS, QUIET_SIZE, QUIET_SIZE))


def network(arm, classes):
  """Both pathways with their connections or without, or one of them; their input's band-pass is not trained."""
  trunk = dict(num_classes=classes, block="basic", stages=(1, 1), width=12, stem="small", dropout=0.0)
  if arm in ("busy", "quiet"):
    image = UNTRAINED if arm == "busy" else Quiet()
    return Represented(image, vidx.create_model("tsm_r50", **trunk), FRAMES)
  return vidx.create_model("bqn", trunk="tsm_r50", trainable=False, quiet_input="mean", quiet_size=QUIET_SIZE,
                           lateral_size=3, places=("*",) if arm == "connected" else (), **trunk)


@functools.lru_cache
def both_told(seed, arm, batches=two_cues):
  """Accuracy for scene and motion together."""
  model = network(arm, SCENES * len(WAYS) if batches is two_cues else 2)
  return accuracy(model, fit(model, batches, 1000, seed), batches, 16, seed)


def get_claims() -> list[Claim]:
  limit = lambda arm: lambda seed: {"method": both_told(seed, arm), "baseline": 60.0}
  claim = functools.partial(Claim, seeds=2)
  return [
      claim("motion", "Directions over clutter are told better behind the band-pass than on frames.", motion, 5.0),
      claim("clutter", "The more clutter, the more the band-pass is better.", clutter),
      claim("untrained", "Already a band-pass that is not trained is better than frames.", untrained),
      claim("training", "In noise, a band-pass of unit gain is better when it is trained.", training, 5.0, seeds=5),
      claim("sweep", "Of soft edges in noise, neither nearly a point nor what blurs is better than a middle kernel.",
            sweep, seeds=5),
      claim("busy_alone", "Scene and motion together are not told from motion alone.", limit("busy"), better="less"),
      claim("quiet_alone", "Nor from the scene alone.", limit("quiet"), better="less"),
      claim("fused", "Both pathways tell them.", lambda seed: {"method": both_told(seed, "fused"), "baseline": 85.0}),
      claim("connected", "Connected, they tell what no sum of their logits does.",
            lambda seed: {"method": both_told(seed, "connected", either), "baseline": both_told(seed, "fused", either)},
            15.0),
  ]
