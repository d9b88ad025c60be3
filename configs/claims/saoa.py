"""What symbiotic attention is for: each of two streams finds its object or motion among distractors by the other.

Of five objects on a grid of 4 x 4 one is acted on. Its noun can go with the verb, those
of the distractors cannot; the motion in the cell of a distractor is that of a verb which
its own noun cannot go with. The maps of both networks are given, with a trace of the
verb (`trace`) everywhere in that of motion.

vidx claims saoa
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.bench.claims import Claim, accuracy, fit
from vidx.nn import pool
from vidx.nn.roi_align import roi_max
from vidx.systems.saoa import Stream

VERBS, NOUNS, WIDTH, GRID, OBJECTS, BATCH = 8, 24, 32, 4, 5, 128
NOISE, ALSO = 0.3, 0.05  # of features; of the active object's in the whole map of objects
RATE = 2e-3


def embeddings():
  verb, noun = jax.random.split(jax.random.PRNGKey(7))
  return jax.random.normal(verb, (VERBS, WIDTH)), jax.random.normal(noun, (NOUNS, WIDTH))


def clips(key, trace):
  """((map of motion, map of objects (B, G, G, C), features (B, 5, C), boxes (B, 5, 4)), (verb, noun) (B, 2))."""
  verbs, nouns = embeddings()
  keys = jax.random.split(key, 9)
  verb = jax.random.randint(keys[0], (BATCH,), 0, VERBS)
  fits = lambda noun, verb: (noun + verb) % 4 == 0
  draw = lambda key, allowed: jax.random.categorical(key, jnp.where(allowed, 0.0, -1e9))
  every = jnp.arange(NOUNS)
  noun = draw(keys[1], fits(every, verb[:, None]))
  others = jnp.stack([draw(k, ~fits(every, verb[:, None])) for k in jax.random.split(keys[2], OBJECTS - 1)], 1)
  moves = jnp.stack([draw(k, ~fits(others[:, i, None], jnp.arange(VERBS)))
                     for i, k in enumerate(jax.random.split(keys[3], OBJECTS - 1))], 1)
  objects, motions = jnp.concatenate([noun[:, None], others], 1), jnp.concatenate([verb[:, None], moves], 1)
  cells = jax.vmap(lambda k: jax.random.permutation(k, GRID * GRID)[:OBJECTS])(jax.random.split(keys[4], BATCH))
  at = jax.nn.one_hot(cells, GRID * GRID)
  scene = lambda what, everywhere: jnp.einsum("bop,boc->bpc", at, what) + everywhere[:, None]
  noisy = lambda x, k: x + NOISE * jax.random.normal(k, x.shape)
  shape = (BATCH, GRID, GRID, WIDTH)
  motion = nn.relu(noisy(scene(verbs[motions], trace * verbs[verb]), keys[5])).reshape(shape)
  thing = nn.relu(noisy(scene(nouns[objects], ALSO * nouns[noun]), keys[6])).reshape(shape)
  features = noisy(nouns[objects], keys[7])
  y, x = jnp.divmod(cells, GRID)
  boxes = jnp.stack([x, y, x + 1, y + 1], -1).astype(jnp.float32)
  order = jax.vmap(lambda k: jax.random.permutation(k, OBJECTS))(jax.random.split(keys[8], BATCH))
  take = lambda x: jnp.take_along_axis(x, order[..., None], 1)
  return (motion, thing, take(features), take(boxes)), jnp.stack([verb, noun], -1)


@functools.lru_cache
def batches(trace):
  return functools.partial(clips, trace=trace)


class Streams(nn.Module):
  """The classifiers of SAOA on given maps."""

  verb: str = "local"
  noun: str = "global"
  gate: bool = True
  cross_stream: bool = True
  arm: bool = True

  @nn.compact
  def __call__(self, motion, thing, features, boxes, train=False):
    means = [pool.mean_pool(x[:, None]) for x in (motion, thing)]
    inside = roi_max(motion, boxes, 1) if self.verb == "local" else None
    fields = (self.gate, self.cross_stream, self.arm, "mean", True, "none", 4, True, False, 0.0, None)
    verb, _, _ = Stream(VERBS, self.verb, *fields, name="verb")(*means, features, None, inside, train)
    noun, _, _ = Stream(NOUNS, self.noun, *fields, name="noun")(*means[::-1], features, None, None, train)
    return {"verb": verb, "noun": noun}


ARMS = {
    "saoa": Streams(), "sap": Streams("global"), "baseline": Streams("none", "none"),
    "concat": Streams("fusion", "concat"), "w/o CSG": Streams(gate=False, cross_stream=False),
    "w/o gating": Streams(gate=False), "w/o cross-stream": Streams(cross_stream=False), "w/o ARM": Streams(arm=False),
}


def both(out, label):
  pick = lambda logits, y: -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()
  return pick(out["verb"], label[:, 0]) + pick(out["noun"], label[:, 1])


def right(out, label, which):
  return out[which].argmax(-1) == label[:, ("verb", "noun").index(which)]


RIGHT = {which: functools.partial(right, which=which) for which in ("verb", "noun")}


@functools.lru_cache(maxsize=64)
def told(seed, arm, trace):
  """(percent of verbs, percent of nouns)."""
  model, data = ARMS[arm], batches(trace)
  variables = fit(model, data, 1200 if trace < 0.1 else 2500, seed, RATE, both)
  return tuple(accuracy(model, variables, data, 16, seed, RIGHT[which]) for which in ("verb", "noun"))


def get_claims() -> list[Claim]:
  def against(other, which, trace, others=()):
    i = ("verb", "noun").index(which)
    return lambda seed: {"method": told(seed, "saoa", trace)[i], "baseline": told(seed, other, trace)[i],
                         **{arm: told(seed, arm, trace)[i] for arm in others}}

  without = ("w/o ARM", "w/o CSG", "w/o gating")
  claim = functools.partial(Claim, seeds=2)
  floor = lambda seed: {"method": told(seed, "saoa", 0.5)[1], "baseline": 97.0}
  return [
      claim("local", "Motion inside the boxes tells the verb where the clip as a whole hardly does (SAP).",
            against("sap", "verb", 0.02, ("baseline", "concat", *without, "w/o cross-stream")), 25.0),
      claim("cross_stream", "The verb's stream finds the object that is acted on; the noun's own does not.",
            against("w/o cross-stream", "noun", 0.02, ("sap", "baseline", "concat", *without)), 8.0),
      claim("symbiosis",
            "Where the verb is plain, nouns are told by it, and not without cross-stream gates and queries.",
            against("w/o CSG", "noun", 0.5, ("sap", "baseline", "concat")), 20.0),
      claim("nouns", "Then nearly all nouns are told.", floor),
  ]
