"""What adaptive token sampling is for: fewer tokens without a new training, and fewer where an image is plain.

vidx claims ats

`stages` does not hold, 96.3 against 97.7 over five seeds: here two thirds of the tokens are enough even in front of
the first block; where a quarter is left, with half of all products, against half from the start on, 93.1 against 96.3;
where an eighth is left, against 27 of 64, it is behind by 3.9. `training` tunes a network that is trained, with
samplers or without for as many steps; trained with them from scratch it ended below one that never had any (93.9
against 94.7).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import vidx
from vidx.bench.claims import Claim, accuracy, fit
from vidx.measure.live import live_counts

SIZE, PATCH, BATCH, CLASSES = 32, 4, 32, 8
SIDE = SIZE // PATCH
STEPS, DEPTH = 1000, 6
TUNING, GENTLE = 300, 3e-4  # steps, rate
TEST = 8  # batches
HALF, FEW = SIDE * SIDE // 2, 8  # tokens
TRUNK = dict(image=SIZE, patch=PATCH, dim=48, depth=DEPTH, heads=3, num_classes=CLASSES)
LATER = tuple(range(2, DEPTH))


def patterns(key):
  """CLASSES patches of PATCH x PATCH pixels, +1 and -1 in fixed places."""
  return jnp.sign(jax.random.normal(key, (CLASSES, PATCH, PATCH, 3)))


def images(key, clutter=None):
  """Images (B, H, W, 3) with a group of equal patches that is their class (B,), among stronger single ones of any.

  The group has 2 x 3 patches, all with the class's pattern; up to 30 other patches, or
  `clutter` of them, show the pattern of any class at more contrast; the rest is faint
  noise. So a patch alone does not tell what it is worth.
  """
  keys = jax.random.split(key, 6)
  label = jax.random.randint(keys[0], (BATCH,), 0, CLASSES)
  many = jax.random.randint(keys[1], (BATCH,), 0, 31) if clutter is None else clutter
  order = jax.random.uniform(keys[2], (BATCH, SIDE * SIDE)).argsort(-1).argsort(-1).reshape(BATCH, SIDE, SIDE)
  corner = jax.random.randint(keys[3], (BATCH, 2), 0, jnp.array([SIDE - 1, SIDE - 2]))
  y, x = jnp.meshgrid(jnp.arange(SIDE), jnp.arange(SIDE), indexing="ij")
  group = ((y >= corner[:, :1, None]) & (y < corner[:, :1, None] + 2)
           & (x >= corner[:, 1:, None]) & (x < corner[:, 1:, None] + 3))
  kind = jnp.where(group, label[:, None, None], jax.random.randint(keys[4], group.shape, 0, CLASSES))
  contrast = jnp.where(group, 0.6, jnp.where(order < jnp.reshape(many, (-1, 1, 1)), 0.9, 0.0))
  patches = patterns(jax.random.PRNGKey(11))[kind] * contrast[..., None, None, None]
  image = patches.swapaxes(2, 3).reshape(BATCH, SIZE, SIZE, 3)
  return image + 0.3 * jax.random.normal(keys[5], image.shape), label


def model(**fields):
  return vidx.create_model("ats_deit_ti", **TRUNK, **{"stages": LATER, "least": 1, **fields})


def plain():
  return vidx.create_model("deit_ti", **TRUNK)


@functools.lru_cache(maxsize=None)
def trained(seed):
  """Variables of the plain transformer."""
  return fit(plain(), images, STEPS, seed, 1e-3)


@functools.lru_cache(maxsize=None)
def tuned(seed, sampling):
  """Variables that `trained` found after some steps more, of the plain transformer or with samplers that keep all."""
  return fit(model() if sampling else plain(), images, TUNING, 1000 + seed, GENTLE, begin=trained(seed))


def tokens(net, variables, seed, clutter=None):
  """How many tokens each of TEST batches' images has behind the last sampler, (N,)."""
  run = jax.jit(lambda v, key, many: live_counts(net, v, images(key, many)[0])[1])
  many = (None,) * TEST if clutter is None else clutter
  found = []
  for i in range(TEST):
    counts = run(variables, jax.random.fold_in(jax.random.PRNGKey(99 + seed), i), many[i])
    found.append(np.stack([counts[f"block{s}.heads"] for s in range(DEPTH) if f"block{s}.heads" in counts], -1))
  return np.concatenate(found)


def score(seed, variables=None, **fields):
  return accuracy(model(**fields), variables or trained(seed), images, TEST, seed)


@functools.lru_cache(maxsize=None)
def cap(stage, wanted, seed):
  """K with which a sampler in that block leaves `wanted` tokens on average, or just more; it never leaves over K."""
  left = lambda keep: tokens(model(stages=(stage,), keep=keep), trained(seed), seed)[:, 0].mean() - 1
  return next((keep for keep in range(wanted, SIDE * SIDE, 4) if left(keep) >= wanted), SIDE * SIDE)


def without_training(seed):
  """One sampler that leaves half the tokens, in a network that never had one, and that network itself."""
  keep = cap(2, HALF, seed)
  return {"method": score(seed, stages=(2,), keep=keep),
          "baseline": accuracy(plain(), trained(seed), images, TEST, seed), "K": keep}


@functools.lru_cache(maxsize=None)
def few_tokens(seed):
  """Few tokens of many, chosen by inverse sampling and in fixed ways; what is chosen adaptively is never more."""
  stage = dict(stages=(2,), keep=FEW)
  return {"method": score(seed, **stage),
          "top-k": score(seed, **stage, rule="topk"),
          "random": score(seed, **stage, rule="topk", score="random"),
          "evenly spread": score(seed, **stage, score="uniform")}


def against(arm):
  """`few_tokens` with one of the fixed ways as the baseline."""
  def run(seed):
    found = few_tokens(seed)
    return {"method": found["method"], "baseline": found[arm]}
  return run


def adaptivity(seed):
  """Rank correlation, in percent, of the tokens behind all samplers with the clutter; a fixed share has none."""
  rng = np.random.default_rng(seed)
  clutter = [jnp.asarray(rng.integers(0, 31, BATCH)) for _ in range(TEST)]
  counts = tokens(model(), trained(seed), seed, clutter)[:, -1]
  return {"method": 100 * stats.spearmanr(counts, np.concatenate(clutter))[0], "baseline": 0.0, "tokens": counts.mean()}


def stages(seed):
  """One sampler in block 2 or in block 0, with as many products in all: two thirds, as in table 7.2."""
  early = round((2 * SIDE * SIDE + (DEPTH - 2) * HALF) / DEPTH)
  sampled = lambda stage, left: score(seed, stages=(stage,), keep=cap(stage, left, seed))
  return {"method": sampled(2, HALF), "baseline": sampled(0, early)}


def training(seed):
  """Samplers in four blocks with few tokens: in a network that was tuned with them, and in one that was without."""
  few = dict(keep=0.5)
  return {"method": score(seed, tuned(seed, True), **few), "baseline": score(seed, tuned(seed, False), **few),
          "not tuned": score(seed, **few)}


def get_claims() -> list[Claim]:
  claim = functools.partial(Claim, seeds=2)
  return [
      claim("without_training", "With half of its tokens a trained network loses at most 2 points.",
            without_training, -2.0),
      claim("beats_topk",
            f"{FEW} tokens of {SIDE * SIDE} by inverse sampling tell more than those of the highest scores.",
            against("top-k"), 5.0),
      claim("beats_random", "They tell more than random ones.", against("random"), 5.0),
      claim("beats_spread", "They tell more than evenly spread ones.", against("evenly spread"), 5.0),
      claim("adaptivity", "Cluttered images keep more tokens than plain ones.", adaptivity, 50.0),
      claim("stages", "Sampling later is better than sampling at once, at equal products.", stages, 0.0),
      claim("training", "Tuning with samplers that keep all improves what fewer tokens give.", training, 0.0),
  ]
