"""What dynamic appearance is for: motion that has to be told although the scene is the better guess in training.

vidx claims dan

Clips have few frames of 24 x 24 pixels and are new at every step. Scenes: ten, of
which the direction of a square chooses its own in 90 % of the clips of training and in
none of those of the test. All networks are the same behind their representation of
two segments of three frames. The projection follows the shortest combination of the
gradients of its energy and of the cross entropy. `gradients` compares that, by momentum
SGD, with shares that are constant or scheduled, and with two trainings, one after the
other, of the projection and of the rest.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import FrameDifference, PixelwiseTemporalProjection
from vidx.nn.represent import MiddleFrame, segments
from vidx.tasks.joint import Joint

SIZE, BATCH, SCENES = 24, 16, 10
STEPS, RATE, SGD_RATE = 700, 3e-3, 0.03
WAYS = jnp.asarray([[0, 1], [0, -1], [1, 0], [-1, 0]])


def clips(key, share=0.9, frames=6, jitter=0):
  """(clips (B, T, H, W, 3), direction of the square (B,)).

  Args:
    key: of the batch.
    share: of the clips in which the direction chooses the scene.
    frames: T.
    jitter: by how many pixels whole frames are shaken.
  """
  keys = jax.random.split(key, 6)
  scenes = jax.image.resize(jax.random.uniform(jax.random.PRNGKey(7), (SCENES, 6, 6, 3)), (SCENES, SIZE, SIZE, 3),
                            "bilinear")
  label = jax.random.randint(keys[0], (BATCH,), 0, len(WAYS))
  any_scene = jax.random.randint(keys[1], (BATCH,), 0, SCENES)
  own = label + len(WAYS) * (any_scene % 2)
  scene = scenes[jnp.where(jax.random.uniform(keys[2], (BATCH,)) < share, own, any_scene)]
  start = jax.random.randint(keys[3], (BATCH, 2), 0, SIZE)
  colour = jax.random.uniform(keys[4], (BATCH, 1, 1, 1, 3))
  place = (start[:, None] + 2 * jnp.arange(frames)[:, None] * WAYS[label][:, None]) % SIZE
  near = (jnp.arange(SIZE) - place[..., None]) % SIZE < 6
  square = (near[:, :, 0, :, None] & near[:, :, 1, None])[..., None]
  x = jnp.where(square, colour, scene[:, None]) - 0.5
  if jitter:
    by = jax.random.randint(keys[5], (BATCH, frames, 2), -jitter, jitter + 1)
    x = jax.vmap(jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1))))(x, by)
  return x, label


unbiased = functools.partial(clips, share=0.0)
shaken = functools.partial(clips, jitter=1)
shaken_unbiased = functools.partial(clips, share=0.0, jitter=1)
long = functools.partial(clips, frames=8)


class Net(nn.Module):
  """A small network on the representations of two segments side by side."""

  representation: str

  def setup(self):
    appearance = functools.partial(PixelwiseTemporalProjection, stride=4, kernel=5, features=12)
    blocks = {"appearance": appearance, "rgb": MiddleFrame, "rgb_difference": FrameDifference}
    self.projection = blocks[self.representation]()
    self.convolutions = [nn.Conv(width, (3, 3), 2) for width in (24, 32, 48)]
    self.norms = [nn.GroupNorm(4) for _ in range(3)]
    self.head = nn.Dense(len(WAYS))

  def __call__(self, x, train=False):
    x, losses = segments(x, 3), {}
    if self.representation == "appearance":
      x, losses = self.projection.with_losses(x, train)
    else:
      x = self.projection(x, train)
    x = x / (x.std((1, 2, 3, 4), keepdims=True) + 1e-3)  # the scales of representations differ by far
    x = jnp.moveaxis(x, 1, -2).reshape(*x.shape[:1], *x.shape[2:4], -1)
    for convolution, norm in zip(self.convolutions, self.norms):
      x = nn.relu(norm(convolution(x)))
    return {"logits": self.head(x.mean((1, 2))), "losses": losses}


def entropy(outputs, label):
  """Cross entropy of the logits."""
  return optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], label).mean()


@functools.lru_cache
def programs(batches, mode, alpha, rate=0.0):
  """The start and a step of training the network on dynamic appearance by both gradients, else as `fit` does.

  With a `rate` by momentum SGD. In mode 'separate' the first half of the steps trains the projection, the second the
  rest.
  """
  model, task = Net("appearance"), Joint(mode=mode, alpha=alpha)
  tx = (optax.sgd(optax.cosine_decay_schedule(rate, STEPS), 0.9) if rate
        else optax.adamw(optax.cosine_decay_schedule(RATE, STEPS), weight_decay=1e-4))

  @jax.jit
  def start(key):
    variables = model.init(key, batches(key)[0])
    params, stats = variables.pop("params"), variables
    return params, stats, tx.init(params)

  @jax.jit
  def gradient(params, stats, key, weights):
    """Of a weighted sum of energy and cross entropy, and the new statistics."""
    x, label = batches(key)

    def loss(params):
      out, new = model.apply({"params": params, **stats}, x, train=True, mutable=list(stats))
      return weights[0] * jnp.mean(out["losses"]["enopr"]) + weights[1] * entropy(out, label), new

    return jax.grad(loss, has_aux=True)(params)

  @jax.jit
  def update(params, state, first, second, i):
    grads, _ = task.combine([first, second], i, STEPS)
    if mode == "separate":
      grads = {k: jax.tree.map(lambda g, own=(k == "projection"): g * (own == (i < STEPS // 2)), v)
               for k, v in grads.items()}
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  def step(carry, key, i):
    params, stats, state = carry
    (first, _), (second, stats) = (gradient(params, stats, key, jnp.asarray(w)) for w in ((1.0, 0.0), (0.0, 1.0)))
    params, state = update(params, state, first, second, i)
    return params, stats, state

  return start, step


@functools.lru_cache
def joint(seed, batches=clips, mode="mgda", alpha=0.9, rate=0.0):
  """Variables of the network on dynamic appearance."""
  start, step = programs(batches, mode, alpha, rate)
  key = jax.random.PRNGKey(seed)
  carry = start(key)
  for i in range(STEPS):
    carry = step(carry, jax.random.fold_in(key, i), jnp.asarray(i))
  return {"params": carry[0], **carry[1]}


def told(representation, seed, training=clips, test=unbiased):
  """Accuracy where the scene tells nothing."""
  model = Net(representation)
  if representation == "appearance":
    variables = joint(seed, training)
  else:
    variables = fit(model, training, STEPS, seed, RATE)
  return accuracy(model, variables, test, 16, seed)


def scenes(seed):
  return {"method": told("appearance", seed), "baseline": told("rgb", seed)}


def shaking(seed):
  of = lambda representation: told(representation, seed, shaken, shaken_unbiased)
  return {"method": of("appearance"), "baseline": of("rgb_difference")}


class Projection(nn.Module):
  """The projection alone; the energy that it leaves is all that is trained."""

  size: int
  kernel: int = 5

  @nn.compact
  def __call__(self, x, train=False):
    PixelwiseTemporalProjection(size=self.size, stride=4, kernel=self.kernel, features=12, weight=1.0)(x, train)
    return {}


def nothing_else(outputs, label):
  """No loss beside that of the block."""
  del outputs, label
  return jnp.zeros(())


def unseen(seed, count=8):
  """Clips that were not trained on."""
  return [long(key)[0] for key in jax.random.split(jax.random.PRNGKey(10_000 + seed), count)]


@functools.lru_cache
def energy(seed, size, kernel=5):
  """What a projection leaves of clips."""
  model = Projection(size, kernel)
  variables = fit(model, long, STEPS, seed, RATE, nothing_else)
  left = jax.jit(lambda x: model.apply(variables, x, mutable=["losses"])[1]["losses"])
  return float(np.mean([jax.tree.leaves(left(x))[0] for x in unseen(seed)]))


def more_columns(seed):
  return {"method": energy(seed, 3), "baseline": energy(seed, 1)}


def above_bound(seed):
  """The least energy that one column per pixel can leave: three colours over time have three singular values."""
  bound = []
  for x in unseen(seed):
    values = jnp.linalg.svd(jnp.moveaxis(x, 1, -1), compute_uv=False)
    bound.append(jnp.mean(jnp.sum(values[..., 1:]**2, -1)) / 3)
  return {"method": energy(seed, 1), "baseline": float(np.mean(bound))}


def larger_kernel(seed):
  return {"method": energy(seed, 1, 9), "baseline": energy(seed, 1)}


ARMS = {"0": ("constant", 0.0), "1 : 1": ("constant", 0.5), "9 : 1": ("constant", 0.9),
        "scheduled": ("scheduler", 0.0), "one after the other": ("separate", 0.0)}


def gradients(seed):
  """Accuracies where the scene tells nothing; the best constant share is the baseline."""
  model = Net("appearance")
  of = lambda *arm: accuracy(model, joint(seed, clips, *arm, rate=SGD_RATE), unbiased, 32, seed)
  others = {name: of(*arm) for name, arm in ARMS.items()}
  return {"method": of("mgda", 0.0), "baseline": max(others[k] for k in ("0", "1 : 1", "9 : 1")), **others}


def get_claims():
  claim = lambda *args, seeds=2, **fields: Claim(*args, seeds=seeds, **fields)
  less = functools.partial(claim, better="less", unit="")
  return [
      claim("scenes", "Dynamic appearance tells motion where frames learn scenes instead.", scenes, 15.0),
      claim("shaking", "On shaken frames, too, it tells motion better than differences of frames.", shaking),
      less("more_columns", "A projection onto three columns leaves less energy than onto one.", more_columns),
      claim("above_bound", "One column leaves no less than each pixel's principal component.", above_bound, unit=""),
      less("larger_kernel", "Local features of 9 x 9 pixels leave no more than those of 5 x 5.", larger_kernel),
      claim("gradients", "The shortest combination of gradients tells motion no worse than the best constant share.",
            gradients, seeds=5),
  ]
