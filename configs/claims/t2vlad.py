"""What shared centres are for: words and features of several experts that mean the same meet at the same centre.

60 concepts u in R^32. A video has six; two experts carry three of them each, as tokens u B
under noise by a fixed random map B of each, among tokens that say nothing. Its text has
three or four of the six as tokens u A, among words that mean nothing. 3,000 pairs to learn
from, 500 to rank; t2v R@1 in percent, of which chance is 0.2.

vidx claims t2vlad
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.bench.claims import Claim, fit
from vidx.metrics import retrieval
from vidx.nn import ranking
from vidx.nn.embedding import GatedEmbedding, Linear, unit_rows
from vidx.nn.pool import pool_candidates
from vidx.nn.soft_assign_vlad import SoftAssignVLAD

CONCEPTS, WIDTH, EXPERTS, HAS = 60, 32, 2, 6
TOKENS, WORDS, STOPS, NOISE = 12, 10, 10, 0.3
TRAIN, TEST, BATCH, STEPS, RATE = 3000, 500, 64, 2500, 1e-3
CHANNELS, CENTRES = 48, 8


@functools.cache
def pairs():
  """(text, its mask, expert 1, 2, their masks) of all videos, those to learn from first."""
  rng = np.random.default_rng(0)
  normal = lambda *shape: rng.normal(size=shape)
  concepts, said, seen = normal(CONCEPTS, WIDTH), normal(WIDTH, WIDTH), normal(EXPERTS, WIDTH, WIDTH)
  stops, scale, count = normal(STOPS, WIDTH), WIDTH ** -0.5, TRAIN + TEST
  text, video = np.zeros((count, WORDS, WIDTH), "f"), np.zeros((EXPERTS, count, TOKENS, WIDTH), "f")
  live, there = np.zeros((count, WORDS), "f"), np.zeros((EXPERTS, count, TOKENS), "f")
  for i in range(count):
    own = rng.permutation(CONCEPTS)[:HAS]
    told = rng.permutation(own)[:rng.integers(3, 5)]
    words = rng.integers(len(told) + 2, WORDS + 1)
    rows = np.concatenate([concepts[told] @ said * scale, stops[rng.integers(STOPS, size=words - len(told))]])
    text[i, :words], live[i, :words] = rng.permutation(rows + NOISE * normal(*rows.shape)), 1
    for e in range(EXPERTS):
      tokens = rng.integers(8, TOKENS + 1)
      rows = concepts[own[e * 3:e * 3 + 3]] @ seen[e] * scale
      rows = np.concatenate([rows + NOISE * normal(*rows.shape), normal(tokens - 3, WIDTH)])
      video[e, i, :tokens], there[e, i, :tokens] = rng.permutation(rows), 1
  return text, live, *video, *there


def batches(key):
  """64 pairs to learn from, and nothing besides."""
  rows = jax.random.permutation(key, TRAIN)[:BATCH]
  return tuple(jnp.asarray(x)[rows] for x in pairs()), jnp.zeros(BATCH)


class Towers(nn.Module):
  """T2VLAD on given tokens: small perceptrons in place of BERT and of the transformer layer."""

  shared: bool = True
  use_global: bool = True
  use_local: bool = True

  @nn.compact
  def __call__(self, text, live, one, two, first, second, train=False):
    mlp = lambda x, name: Linear(CHANNELS, name=f"{name}_2")(nn.relu(Linear(CHANNELS, name=f"{name}_1")(x)))
    vlad = lambda name: SoftAssignVLAD(CENTRES, own_residual=True, norm="bias", name=name)
    words = mlp(text, "words")
    things = jnp.concatenate([mlp(one, "one"), mlp(two, "two")], 1)
    centres = vlad("centres")
    rows = unit_rows(centres(words, live)[0])
    out = {}
    if self.use_local:
      others = centres if self.shared else vlad("others")
      out = {"text/local": rows, "video/local": unit_rows(others(things, jnp.concatenate([first, second], 1))[0])}
    if self.use_global:
      whole = unit_rows(rows.reshape(len(rows), -1))
      gate = lambda x, name: GatedEmbedding(CHANNELS, name=name)(x, None, train)
      out["text/global"] = jnp.stack([gate(whole, f"text_{i}") for i in range(EXPERTS)], 1)
      pooled = (pool_candidates(one, first, "max"), pool_candidates(two, second, "max"))
      out["video/global"] = jnp.stack([gate(x, f"video_{i}") for i, x in enumerate(pooled)], 1)
      out["text/weights"] = jax.nn.softmax(Linear(EXPERTS, name="weights")(whole))
      out["video/available"] = jnp.ones((len(rows), EXPERTS))
    return out


ARMS = {"shared": Towers(), "separate": Towers(shared=False), "global only": Towers(use_local=False),
        "local only": Towers(use_global=False), "local only, separate": Towers(False, False)}


def sides(out):
  return ({k.removeprefix(side): v for k, v in out.items() if k.startswith(side)} for side in ("text/", "video/"))


@functools.cache
def loss(margin, which):
  return lambda out, _: ranking.margin_loss(ranking.scores(*sides(out)), margin, which).mean()


@functools.cache
def found(seed, arm, margin=0.2, which="all", parts=()):
  """t2v R@1 of the 500 pairs."""
  model, data = ARMS[arm], tuple(x[TRAIN:] for x in pairs())
  variables = fit(model, batches, STEPS, seed, RATE, loss(margin, which))
  text, video = (jax.tree.map(np.asarray, side) for side in sides(jax.jit(model.apply)(variables, *data)))
  return retrieval.evaluate(retrieval.similarity(text, video, parts))["t2v/R@1"]


def get_claims() -> list[Claim]:
  whole = lambda seed: {"method": found(seed, "shared"), "baseline": 5 * found(seed, "global only"),
                        "global only": found(seed, "global only"), "local only": found(seed, "local only")}
  centres = lambda seed: {"method": found(seed, "shared"), "baseline": found(seed, "separate")}
  margin = lambda seed: {"method": found(seed, "shared"), "baseline": found(seed, "shared", 0.02)}
  return [
      Claim("local", "Centre by centre, five times as many texts find their video as by wholes alone.", whole, seeds=2),
      Claim("shared", "Centres that texts and videos share are better than centres of their own.", centres, seeds=5),
      Claim("margin", "A margin of 0.02 over all negatives is worse than one of 0.2.", margin, seeds=2),
  ]
