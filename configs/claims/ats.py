"""What adaptive token sampling is for: fewer tokens without a new training, and fewer where an image is plain.

vidx claims ats
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import vidx
from vidx.measure.claims import Claim, accuracy, fit
from vidx.measure.live import live_counts

SIZE, PATCH, BATCH, CLASSES = 32, 4, 32, 8
SIDE = SIZE // PATCH
STEPS, DEPTH = 700, 6
TEST = 8  # batches
TRUNK = dict(image=SIZE, patch=PATCH, dim=48, depth=DEPTH, heads=3, num_classes=CLASSES)
LATER = tuple(range(2, DEPTH))


def patterns(key):
  """CLASSES + 4 patches of PATCH x PATCH pixels, +1 and -1 in fixed places."""
  return jnp.sign(jax.random.normal(key, (CLASSES + 4, PATCH, PATCH, 3)))


def images(key, clutter=None):
  """Images (B, H, W, 3) with a group of equal patches that is their class (B,), among stronger patches of none.

  The group has 2 x 3 patches, all with the class's pattern; up to 30 other patches, or
  `clutter` of them, show one of four patterns of no class at more contrast; the rest
  is faint noise.
  """
  keys = jax.random.split(key, 6)
  label = jax.random.randint(keys[0], (BATCH,), 0, CLASSES)
  many = jax.random.randint(keys[1], (BATCH,), 0, 31) if clutter is None else clutter
  order = jax.random.uniform(keys[2], (BATCH, SIDE * SIDE)).argsort(-1).argsort(-1).reshape(BATCH, SIDE, SIDE)
  corner = jax.random.randint(keys[3], (BATCH, 2), 0, jnp.array([SIDE - 1, SIDE - 2]))
  y, x = jnp.meshgrid(jnp.arange(SIDE), jnp.arange(SIDE), indexing="ij")
  group = ((y >= corner[:, :1, None]) & (y < corner[:, :1, None] + 2)
           & (x >= corner[:, 1:, None]) & (x < corner[:, 1:, None] + 3))
  kind = jnp.where(group, label[:, None, None], CLASSES + jax.random.randint(keys[4], group.shape, 0, 4))
  contrast = jnp.where(group, 0.6, jnp.where(order < jnp.reshape(many, (-1, 1, 1)), 0.9, 0.0))
  patches = patterns(jax.random.PRNGKey(11))[kind] * contrast[..., None, None, None]
  image = patches.swapaxes(2, 3).reshape(BATCH, SIZE, SIZE, 3)
  return image + 0.3 * jax.random.normal(keys[5], image.shape), label


def model(**fields):
  return vidx.create_model("ats_deit_ti", **TRUNK, **{"stages": LATER, "least": 1, **fields})


@functools.lru_cache(maxsize=None)
def trained(seed, sampling=False):
  """Variables of the plain transformer, or of one that sampled in training."""
  return fit(model() if sampling else vidx.create_model("deit_ti", **TRUNK), images, STEPS, seed, 1e-3)


def tokens(net, variables, seed, clutter=None):
  """How many tokens each of TEST batches' images has behind the last sampler, (N,)."""
  run = jax.jit(lambda v, key, many: live_counts(net, v, images(key, many)[0])[1])
  many = (None,) * TEST if clutter is None else clutter
  found = []
  for i in range(TEST):
    counts = run(variables, jax.random.fold_in(jax.random.PRNGKey(99 + seed), i), many[i])
    found.append(np.stack([counts[f"block{s}.heads"] for s in LATER if f"block{s}.heads" in counts], -1))
  return np.concatenate(found)


def score(seed, sampling=False, **fields):
  return accuracy(model(**fields), trained(seed, sampling), images, TEST, seed)


@functools.lru_cache(maxsize=None)
def without_training(seed):
  """One sampler at half the tokens, in a network that never had one: adaptive, and fixed ways to as many tokens."""
  stage = dict(stages=(2,))
  kept = tokens(model(**stage, keep=SIDE * SIDE // 2), trained(seed), seed)[:, 0].mean() - 1
  fixed = dict(stage, keep=int(np.ceil(kept)))
  return {"method": score(seed, **stage, keep=SIDE * SIDE // 2),
          "baseline": accuracy(vidx.create_model("deit_ti", **TRUNK), trained(seed), images, TEST, seed),
          "top-k": score(seed, **fixed, rule="topk"),
          "random": score(seed, **fixed, rule="topk", score="random"),
          "evenly spread": score(seed, **fixed, score="uniform"),
          "tokens": float(kept)}


def against(arm):
  """`without_training` with another arm as the baseline."""
  def run(seed):
    found = without_training(seed)
    return {"method": found["method"], "baseline": found[arm]}
  return run


def adaptivity(seed):
  """Rank correlation, in percent, of the tokens behind all samplers with the clutter; a fixed share has none."""
  rng = np.random.default_rng(seed)
  clutter = [jnp.asarray(rng.integers(0, 31, BATCH)) for _ in range(TEST)]
  counts = tokens(model(), trained(seed), seed, clutter)[:, -1]
  return {"method": 100 * stats.spearmanr(counts, np.concatenate(clutter))[0], "baseline": 0.0, "tokens": counts.mean()}


def stages(seed):
  """One sampler in block 2 or in block 0, with as many products in all."""
  late = SIDE * SIDE // 4
  early = (2 * SIDE * SIDE + (DEPTH - 2) * late) // DEPTH
  return {"method": score(seed, stages=(2,), keep=late), "baseline": score(seed, stages=(0,), keep=early)}


def training(seed):
  """Samplers in four blocks with few tokens: in a network that was trained with them, and in one that was not."""
  few = dict(keep=0.5)
  return {"method": score(seed, True, **few), "baseline": score(seed, **few)}


def get_claims() -> list[Claim]:
  return [
      Claim("without_training", "At half the tokens or fewer, a trained network loses at most 2 points.",
            without_training, -2.0, seeds=2),
      Claim("beats_topk", "Inverse sampling keeps more than as many tokens of the highest scores.",
            against("top-k"), 0.0, seeds=2),
      Claim("beats_random", "Inverse sampling keeps more than as many random tokens.", against("random"), 5.0, seeds=2),
      Claim("adaptivity", "Cluttered images keep more tokens than plain ones.", adaptivity, 50.0, seeds=2),
      Claim("stages", "Sampling later is better than sampling at once, at equal products.", stages, 0.0, seeds=2),
      Claim("training", "Training with samplers that keep all improves what fewer tokens give.", training, 0.0,
            seeds=2),
  ]
