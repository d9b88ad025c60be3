"""What interactive prototypes are for: the noun is read from where the verb happens.

A clip is a bag of 32 positions: some hold the verb and its noun, some other nouns, the
rest the background. Toy A has plenty of clips, toy B 300 in much noise, toy C other
verbs' motion beside the other nouns and random nouns in the background.

vidx claims ipl
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.bench.claims import Claim, accuracy, fit
from vidx.systems.ipl import InteractiveHead

VERBS, NOUNS, WIDTH, BATCH, OTHERS = 12, 20, 64, 128, 3
ACTIVE = {"A": 4, "B": 4, "C": 6}
SIGMA = {"A": 0.5, "B": 1.0, "C": 0.5}
STEPS = {"A": 1500, "B": 500, "C": 800}
POSITIONS, FEW = 32, 300  # per clip; clips of toy B


def bag(key, toy):
  """One clip: ((positions, C), (verb, noun))."""
  fixed = jax.random.split(jax.random.PRNGKey(11), 3)
  verbs, nouns, ground = (jax.random.normal(k, (n, WIDTH)) for k, n in zip(fixed, (VERBS, NOUNS, 1)))
  keys = jax.random.split(key, 6)
  verb = jax.random.randint(keys[0], (), 0, VERBS)
  order = jax.random.permutation(keys[1], NOUNS)
  noun, others = order[0], order[1:1 + OTHERS]
  active, rest = ACTIVE[toy], POSITIONS - ACTIVE[toy] - 4 * OTHERS
  distractors = jnp.repeat(nouns[others], 4, 0)
  background = jnp.broadcast_to(ground, (rest, WIDTH))
  if toy == "C":
    other_verbs = (verb + jax.random.randint(keys[2], (OTHERS,), 1, VERBS)) % VERBS
    distractors = distractors + jnp.repeat(verbs[other_verbs], 4, 0)
    background = background + nouns[jax.random.randint(keys[3], (rest,), 0, NOUNS)]
  x = jnp.concatenate([jnp.broadcast_to(verbs[verb] + nouns[noun], (active, WIDTH)), distractors, background])
  return nn.relu(x + SIGMA[toy] * jax.random.normal(keys[4], x.shape)), jnp.stack([verb, noun])


def clips(key, toy, few=0):
  """((B, 1, 1, 32, C), (B, 2)), of the first `few` clips alone where there are so few."""
  if few:
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.PRNGKey(3), i))(jax.random.randint(key, (BATCH,), 0, few))
  else:
    keys = jax.random.split(key, BATCH)
  x, label = jax.vmap(lambda k: bag(k, toy))(keys)
  return x[:, None, None], label


DATA = {toy: functools.partial(clips, toy=toy) for toy in ACTIVE}
TRAINED = {**DATA, "B": functools.partial(clips, toy="B", few=FEW)}


class Pooled(nn.Module):
  """The mean of all positions and two linear classifiers."""

  @nn.compact
  def __call__(self, x, train=False):
    y = x.mean((1, 2, 3))
    return {"logits": {"verb": nn.Dense(VERBS)(y), "noun": nn.Dense(NOUNS)(y)}}


class Unlabelled(nn.Module):
  """`InteractiveHead` called without labels."""

  head: InteractiveHead

  @nn.compact
  def __call__(self, x, train=False):
    return self.head(x, None, train)


def ipl(**fields):
  return Unlabelled(InteractiveHead(VERBS, NOUNS, learned_scale=False, **{"keep": 3, **fields}))


ARMS = {
    "gap": Pooled(), **{form: ipl(form=form) for form in ("rank", "depthwise", "full")},
    **{f"K={k}": ipl(keep=k) for k in (1, 5, 12)}, "w/o background": ipl(keep=5, background=False),
    "independent": ipl(form="depthwise", prototypes="independent"),
    "independent, rank": ipl(prototypes="independent"),
}


def both(out, label):
  pick = lambda logits, y: -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()
  return pick(out["logits"]["verb"], label[:, 0]) + pick(out["logits"]["noun"], label[:, 1])


def right(out, label, which):
  return out["logits"][which].argmax(-1) == label[:, ("verb", "noun").index(which)]


RIGHT = functools.partial(right, which="noun")


@functools.lru_cache(maxsize=64)
def told(seed, arm, toy):
  """Percent of nouns."""
  variables = fit(ARMS[arm], TRAINED[toy], STEPS[toy], seed, loss=both)
  return accuracy(ARMS[arm], variables, DATA[toy], 16, seed, RIGHT)


def get_claims() -> list[Claim]:
  def against(arm, other, toy, others=()):
    return lambda seed: {"method": told(seed, arm, toy), "baseline": told(seed, other, toy),
                         **{name: told(seed, name, toy) for name in others}}

  claim = functools.partial(Claim, seeds=2)
  floor = lambda seed: {"method": min(told(seed, form, "A") for form in ("rank", "depthwise", "full")),
                        "baseline": 95.0}
  return [
      *(claim(f"plenty_{form}", f"With the weighting '{form}', nouns are read from where the verb happens.",
              against(form, "gap", "A"), 50.0) for form in ("rank", "depthwise", "full")),
      claim("nouns", "Then nearly all nouns are told, by every weighting.", floor),
      claim("few", "From few clips, groups of the best verbs tell more than those of all independent centres.",
            against("depthwise", "independent", "B", ("rank", "independent, rank", "gap")), 20.0),
      *(claim(f"poor_verbs_{arm}", "Where verbs are told poorly, nouns are still told better than from the mean.",
              against(arm, "gap", "C", others), 6.0)
        for arm, others in (("rank", ("K=1", "w/o background")), ("K=5", ("K=12",)))),
  ]
