"""What dynamic appearance is for: motion that has to be told although the background is a better guess in training.

vidx claims dan
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.measure.claims import Claim, accuracy, fit
from vidx.nn.pixel_projection import PixelwiseTemporalProjection

FRAMES, SIZE, BATCH, SCENES = 6, 24, 16, 8
WAYS = jnp.asarray([[0, 1], [0, -1], [1, 0], [-1, 0]])


def clips(key, share=0.9):
  """(clips (B, T, H, W, 3), direction of the square (B,)): in a `share` of them the direction chooses the scene."""
  keys = jax.random.split(key, 5)
  scenes = jax.image.resize(jax.random.uniform(jax.random.PRNGKey(7), (SCENES, 6, 6, 3)), (SCENES, SIZE, SIZE, 3),
                            "bilinear")
  label = jax.random.randint(keys[0], (BATCH,), 0, len(WAYS))
  any_scene = jax.random.randint(keys[1], (BATCH,), 0, SCENES)
  own = 2 * label + any_scene % 2
  scene = scenes[jnp.where(jax.random.uniform(keys[2], (BATCH,)) < share, own, any_scene)]
  start = jax.random.randint(keys[3], (BATCH, 2), 0, SIZE)
  colour = jax.random.uniform(keys[4], (BATCH, 1, 1, 1, 3))
  place = (start[:, None] + 2 * jnp.arange(FRAMES)[:, None] * WAYS[label][:, None]) % SIZE
  near = (jnp.arange(SIZE) - place[..., None]) % SIZE < 6
  square = (near[:, :, 0, :, None] & near[:, :, 1, None])[..., None]
  return jnp.where(square, colour, scene[:, None]) - 0.5, label


def unbiased(key):
  return clips(key, 0.0)


class Net(nn.Module):
  """A small network on the dynamic appearance of two segments, or on two frames."""

  appearance: bool
  alpha: float = 0.1

  @nn.compact
  def __call__(self, x, train=False):
    if self.appearance:
      x = PixelwiseTemporalProjection(FRAMES // 2, stride=2, kernel=5, features=12, weight=self.alpha)(x, train)
      x = x / (x.std((1, 2, 3, 4), keepdims=True) + 1e-3)
    else:
      x = x[:, FRAMES // 4::FRAMES // 2]
    x = jnp.moveaxis(x, 1, -2).reshape(*x.shape[:1], *x.shape[2:4], -1)
    for width in (24, 32, 48):
      x = nn.relu(nn.GroupNorm(4)(nn.Conv(width, (3, 3), 2)(x)))
    return {"logits": nn.Dense(len(WAYS))(x.mean((1, 2)))}


def scenes(seed):
  arm = lambda appearance: accuracy(Net(appearance), fit(Net(appearance), clips, 700, seed), unbiased, seed=seed)
  return {"method": arm(True), "baseline": arm(False)}


class Projection(nn.Module):
  """The projection alone; the energy that it leaves is all that is trained."""

  size: int

  @nn.compact
  def __call__(self, x, train=False):
    PixelwiseTemporalProjection(size=self.size, stride=2, kernel=5, features=12, weight=1.0)(x, train)
    return {}


def energy(seed):
  def arm(size):
    model = Projection(size)
    variables = fit(model, clips, 300, seed, loss=lambda out, label: jnp.zeros(()))
    x, _ = clips(jax.random.PRNGKey(10_000 + seed))
    return float(jax.tree.leaves(model.apply(variables, x, mutable=["losses"])[1]["losses"])[0])

  return {"method": arm(3), "baseline": arm(1)}


def get_claims():
  return [
      Claim("scenes", "Dynamic appearance tells motion where frames have learnt the scenes instead.", scenes, 15.0, seeds=2),
      Claim("energy", "A projection onto three columns leaves less energy than onto one.", energy, better="less", seeds=2,
            unit=""),
  ]
