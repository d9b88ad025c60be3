"""What temporal squeeze pooling is for, on clips of a textured background with one moving square.

vidx claims tesnet
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.measure.claims import Claim, accuracy, fit
from vidx.nn import projector
from vidx.nn.squeeze import TemporalSqueezePooling

FRAMES, SIZE, BATCH = 10, 24, 16
WAYS = jnp.asarray([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]])


def clips(key):
  """A batch of (clips (B, T, H, W, 3) in 0..1, direction of the square (B,))."""
  keys = jax.random.split(key, 4)
  texture = jax.random.uniform(keys[0], (BATCH, SIZE // 4, SIZE // 4, 3))
  background = jax.image.resize(texture, (BATCH, SIZE, SIZE, 3), "bilinear")
  label = jax.random.randint(keys[1], (BATCH,), 0, len(WAYS))
  start = jax.random.randint(keys[2], (BATCH, 2), 0, SIZE)
  colour = jax.random.uniform(keys[3], (BATCH, 1, 1, 1, 3))
  place = (start[:, None] + jnp.arange(FRAMES)[:, None] * WAYS[label][:, None]) % SIZE  # (B, T, 2)
  away = (jnp.arange(SIZE) - place[..., None]) % SIZE < 6  # (B, T, 2, SIZE)
  square = (away[:, :, 0, :, None] & away[:, :, 1, None])[..., None]
  return jnp.where(square, colour, background[:, None]), label


class Squeezed(nn.Module):
  """A small network on the squeezed images, or on one frame of the clip."""

  images: int = 3
  beta: float = 1.0

  @nn.compact
  def __call__(self, x, train=False):
    if self.images:
      x = TemporalSqueezePooling(self.images, beta=self.beta)(x - 0.5, train)
    else:
      x = x[:, FRAMES // 2:FRAMES // 2 + 1]
    x = jnp.moveaxis(x, 1, -2).reshape(*x.shape[:1], *x.shape[2:4], -1)
    for width in (24, 32, 48):
      x = nn.relu(nn.GroupNorm(4)(nn.Conv(width, (3, 3), 2)(x)))
    return {"logits": nn.Dense(len(WAYS))(x.mean((1, 2)))}


class Pooling(nn.Module):
  """Temporal squeeze pooling alone; its projection loss is all that is trained."""

  images: int = 3
  activations: tuple[str, str] = ("sigmoid", "leaky_relu")

  @nn.compact
  def __call__(self, x, train=False):
    TemporalSqueezePooling(self.images, beta=1.0, activations=self.activations)(x, train)
    return {}


def projection_loss(seed, steps=400, **fields):
  """Mean norm of the residual, times 100, on clips that were not trained on."""
  model = Pooling(**fields)
  variables = fit(model, clips, steps, seed, loss=lambda out, label: jnp.zeros(()))
  measured = jax.jit(lambda key: model.apply(variables, clips(key)[0], mutable=["losses"])[1]["losses"])
  keys = jax.random.split(jax.random.PRNGKey(10_000 + seed), 4)
  return 100 * float(np.mean([jax.tree.leaves(measured(key))[0] for key in keys]))


def block_means(seed, images=3):
  """The same for means of equal parts of the clip."""
  x, _ = clips(jax.random.PRNGKey(10_000 + seed))
  part = jnp.arange(FRAMES) * images // FRAMES
  basis = jnp.broadcast_to(jax.nn.one_hot(part, images), (BATCH, FRAMES, images))
  return 100 * float(jnp.sqrt(projector.coefficients(x, basis)[1]).mean())


def more_images(seed):
  return {"method": projection_loss(seed), "baseline": 0.8 * projection_loss(seed, images=1)}


def against_means(seed):
  return {"method": projection_loss(seed), "baseline": block_means(seed)}


def order_of_activations(seed):
  return {"method": projection_loss(seed), "baseline": projection_loss(seed, activations=("relu", "relu"))}


def motion(seed):
  arm = lambda images: accuracy(Squeezed(images), fit(Squeezed(images), clips, 700, seed), clips, seed=seed)
  return {"method": arm(3), "baseline": arm(0)}


def get_claims():
  claim = functools.partial(Claim, better="less", seeds=2, unit="x 0.01")
  return [
      claim("more_images", "Three images lose at least a fifth less of a clip than one.", more_images),
      claim("against_means", "A learnt subspace loses less than means of three equal parts.", against_means),
      claim("activations", "Sigmoid before leaky ReLU loses no more than ReLU twice.", order_of_activations),
      Claim("motion", "Squeezed images tell directions of motion that one frame does not show.", motion, 30.0, seeds=2),
  ]
