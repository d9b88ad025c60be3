"""What the parallel sampling network is for: to find the few frames that tell, among many that mislead.

Of 25 frames, 5 to 8 in one run show the class to a frozen classifier; 7 or 8 that are
no neighbours show another class just as clearly. A frame's features say only that it
shows something: what surrounds it says what it is worth.

vidx claims psn
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.bench.claims import Claim, accuracy, cross_entropy, fit
from vidx.nn import compaction
from vidx.nn.frame_context import FrameScores
from vidx.nn.frame_selection import best_frames, excess, fuse, uniform_frames

FRAMES, KEEP, CLASSES, BATCH, STEPS = 25, 10, 10, 128, 1500
DISTRACTORS = 7, 9  # from, below


def videos(key):
  """({'features' (B, N, 16), 'logits' (B, N, K)}, label (B,)): what the sampler sees, and what the classifier says."""
  keys = jax.random.split(key, 10)
  draw = lambda i, *args: jax.random.randint(keys[i], (BATCH, 1), *args)
  time = jnp.arange(FRAMES)
  length = draw(0, 5, 9)
  start = jax.random.randint(keys[1], (BATCH, 1), 0, FRAMES + 1 - length)
  action = (time >= start) & (time < start + length)
  free = (time < start - 1) | (time > start + length)
  order = jnp.where(free & (time % 2 == draw(2, 0, 2)), jax.random.uniform(keys[3], (BATCH, FRAMES)), -1)
  rank = (-order).argsort(-1).argsort(-1)
  distractor = (rank < draw(9, *DISTRACTORS)) & (order >= 0)
  label = draw(4, 0, CLASSES)[:, 0]
  other = (label + draw(5, 1, CLASSES)[:, 0]) % CLASSES
  shown = action[..., None] * jax.nn.one_hot(label, CLASSES)[:, None]
  shown = shown + distractor[..., None] * jax.nn.one_hot(other, CLASSES)[:, None]
  logits = 4 * shown + 0.7 * jax.random.normal(keys[6], shown.shape)
  seen = jnp.concatenate([(action | distractor)[..., None], jax.random.normal(keys[7], (BATCH, FRAMES, 2))], -1)
  features = seen @ jax.random.normal(jax.random.PRNGKey(7), (3, 16))
  return {"features": features + 0.5 * jax.random.normal(keys[8], features.shape), "logits": logits}, label


class Sampler(nn.Module):
  """Equations 5.1 to 5.7 on given features and logits; `mean`: of the weighted logits, not their sum."""

  context: str = "ed_tcn"
  sparsity: float = 0.1
  mean: bool = False

  @nn.compact
  def __call__(self, x, train=False):
    fields = (("width", 32),) if "tcn" in self.context else ()
    scores, logits = FrameScores(self.context, fields)(x["features"], train=train), x["logits"]
    q = jax.nn.sigmoid(scores)
    if train:
      self.sow("losses", "sparsity", self.sparsity * excess(q, KEEP).mean())
    else:
      chosen = best_frames(scores, KEEP)
      logits, q = (compaction.take(v, chosen) for v in (logits, q))
    total = jax.nn.sigmoid(scores).sum(-1)
    return {"logits": fuse(logits, q / q.shape[1] if self.mean else q), "total": total}


class Plain(nn.Module):
  """The mean of the logits of `keep` frames, evenly spread, or the same at random for all videos."""

  keep: int
  seed: int | None = None

  @nn.compact
  def __call__(self, x):
    chosen = uniform_frames(FRAMES, self.keep)
    if self.seed is not None:
      chosen = jax.random.permutation(jax.random.PRNGKey(self.seed), FRAMES)[:self.keep]
    return {"logits": x["logits"][:, chosen].mean(1)}


class Salient(nn.Module):
  """SCSampler: frames of which a light classifier, trained on each by itself, is the surest."""

  @nn.compact
  def __call__(self, x, train=False):
    light = nn.Dense(CLASSES)(nn.relu(nn.Dense(32)(x["features"])))
    if train:
      return {"logits": light}
    return {"logits": compaction.take(x["logits"], best_frames(jax.nn.softmax(light).max(-1), KEEP)).mean(1)}


def each_frame(out, label):
  """Cross entropy of every frame for the class of its video."""
  return cross_entropy({"logits": out["logits"].reshape(-1, CLASSES)}, jnp.repeat(label, FRAMES))


@functools.lru_cache(maxsize=None)
def trained(seed, **fields):
  return fit(Sampler(**fields), videos, STEPS, seed, 1e-3)


@functools.lru_cache(maxsize=None)
def percent(context, seed, mean=False):
  fields = dict(context=context, mean=mean)
  return accuracy(Sampler(**fields), trained(seed, **fields), videos, count=16, seed=seed)


def context(seed):
  """Accuracies with each context module, and of frames chosen evenly."""
  plain = lambda keep: accuracy(Plain(keep), {}, videos, count=16, seed=seed)
  return {"method": percent("ed_tcn", seed), "baseline": percent("none", seed), "tcn": percent("tcn", seed),
          "nonlocal": percent("nonlocal", seed), "uniform 10": plain(10), "all 25": plain(25)}


def few_frames(seed):
  """10 frames of 25, chosen by the sampler, against as many by other rules, and all of them."""
  of = lambda model, variables=None: accuracy(model, variables or {}, videos, count=16, seed=seed)
  salient = fit(Salient(), videos, STEPS, seed, 1e-3, each_frame)
  return {"method": percent("ed_tcn", seed), "baseline": of(Plain(KEEP)), "random 10": of(Plain(KEEP, seed)),
          "SCSampler 10": of(Salient(), salient), "all 25": of(Plain(FRAMES))}


def order(seed):
  """How far a non-local block, which does not know the order of frames, is from no context at all.

  Weighted predictions are averaged. Summed they are so sure that without context weights of frames that show anything
  fall below those of others, and what is chosen shows nothing (10.6 against 31.4 with a non-local block).
  """
  other, none = (percent(context, seed, mean=True) for context in ("nonlocal", "none"))
  return {"method": abs(other - none), "baseline": 3.0, "nonlocal": other, "none": none}


def sparsity(seed):
  """Mean sum of the weights of a video, where weighted predictions are averaged."""

  def total(weight):
    fields = dict(sparsity=weight, mean=True)
    x, _ = videos(jax.random.PRNGKey(10_000 + seed))
    return float(Sampler(**fields).apply(trained(seed, **fields), x)["total"].mean())

  return {"method": total(0.1), "baseline": total(0.0), "frames to keep": KEEP}


def get_claims() -> list[Claim]:
  return [
      Claim("context", "Temporal convolutions tell a run of frames from single ones; frames by themselves do not.",
            context, 40.0, seeds=2),
      Claim("few_frames", "10 chosen frames of 25 say more than 10 that are evenly spread.", few_frames, 40.0, seeds=2),
      Claim("order", "Without the order of frames, context is worth nothing here: within 3 points.", order, 0.0,
            better="less", seeds=2),
      Claim("sparsity", "The sparsity loss keeps the sum of weights below that of a sampler without it.", sparsity, 2.0,
            better="less", seeds=2, unit="frames"),
  ]
