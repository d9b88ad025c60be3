import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import consensus, sentence_decoder
from vidx.nn.gated_streams import GatedStreams
from vidx.nn.sentence_decoder import SentenceDecoder

V, B, K = 6, 3, 4  # 0 pad, 1 unknown, 2 start, 3 end
SPEAK = dict(start=2, end=3, steps=4, banned=(0, 1, 2))


@pytest.fixture(scope="module")
def looked():
  """A decoding with random weights; `follow` scores sentences by it."""
  model = SentenceDecoder(V, 2, hidden=5, embedding=4, attention=6)
  memory, live = promises.some_input((B, K, 5)), jnp.arange(K) < jnp.array([[4], [2], [3]])
  memory, guide = memory * live[..., None], promises.some_input((B, 3), 1)
  # A `Decoding` holds a function, so parameters are made from the shapes that its call asks for.
  init = lambda key: model.init_with_output(key, memory, live, guide)[1]
  shapes = jax.eval_shape(init, jax.random.PRNGKey(0))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda s: jnp.asarray(2 * rng.normal(size=s.shape), jnp.float32), shapes)
  return model.apply(variables, memory, live, guide)


def log_probs(decoding, words):
  given = jnp.concatenate([jnp.full((B, 1), 2), words[:, :-1]], 1)
  logits = sentence_decoder.forbidden(sentence_decoder.follow(decoding, given)[0], SPEAK["banned"])
  return jnp.take_along_axis(jax.nn.log_softmax(logits), words[..., None], -1)[..., 0]


def test_a_wide_beam_finds_the_best_of_all_sentences(looked):
  found = jax.jit(lambda: sentence_decoder.beam_search(looked, width=81, **SPEAK))()
  best, said = np.full(B, -np.inf), [None] * B
  for words in itertools.product((3, 4, 5), repeat=4):
    over = np.maximum.accumulate(np.array(words) == 3)
    if any(o and w != 3 for o, w in zip(over, words)):
      continue
    live = np.concatenate([[True], ~over[:-1]])
    scores = (np.asarray(log_probs(looked, jnp.tile(jnp.array(words), (B, 1)))) * live).sum(1)
    for i in np.flatnonzero(scores > best):
      best[i], said[i] = scores[i], words
  np.testing.assert_allclose(found["score"], best, rtol=1e-5)
  np.testing.assert_array_equal(found["words"], said)
  np.testing.assert_array_equal(found["count"], (np.array(said) != 3).sum(1))


def test_a_beam_of_one_says_what_is_likeliest_at_each_step(looked):
  one = sentence_decoder.beam_search(looked, width=1, **SPEAK)
  greedy = sentence_decoder.speak(looked, **SPEAK)
  np.testing.assert_array_equal(one["words"], greedy["words"])
  np.testing.assert_allclose(one["score"], greedy["log_prob"].sum(1), rtol=1e-5)
  live = np.arange(4) < np.asarray(greedy["count"])[:, None]
  np.testing.assert_allclose(np.where(live, one["gates"], 0), np.where(live, greedy["gates"], 0), rtol=1e-5)


def test_what_is_drawn_has_the_probability_that_following_it_gives(looked):
  drawn = sentence_decoder.speak(looked, **SPEAK, key=jax.random.PRNGKey(3))
  live = np.arange(4) <= np.asarray(drawn["count"])[:, None]
  np.testing.assert_allclose(drawn["log_prob"], log_probs(looked, drawn["words"]) * live, atol=1e-5)


def test_own_words_stand_where_they_are_asked_for(looked):
  words = jnp.tile(jnp.array([[2, 4, 5, 4]]), (B, 1))
  follow = lambda own: sentence_decoder.follow(looked, words, key=jax.random.PRNGKey(0), own=own)[0]
  plain = sentence_decoder.follow(looked, words)[0]
  np.testing.assert_array_equal(follow(0.0), plain)
  np.testing.assert_array_equal(follow(1.0)[:, 0], plain[:, 0])
  assert jnp.abs(follow(1.0) - plain).max() > 1e-3


def test_streams_do_not_know_padding_or_their_batch():
  model = GatedStreams(6)
  xs = [promises.some_input((B, K, 3)), promises.some_input((B, 3, 2), 1)]
  masks = [jnp.arange(K) < jnp.array([[4], [2], [1]]) * 1.0, jnp.arange(3) < jnp.array([[3], [3], [0]]) * 1.0]
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), xs, masks)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda s: jnp.asarray(np.abs(rng.normal(size=s.shape)), jnp.float32), shapes)
  out, live = model.apply(variables, xs, masks)
  np.testing.assert_array_equal(live.sum(1), [4, 3, 1])
  spoilt = [jnp.where(m[..., None] > 0, x, 7) for x, m in zip(xs, masks)]
  np.testing.assert_array_equal(model.apply(variables, spoilt, masks)[0], out)
  alone = model.apply(variables, [x[1:2] for x in xs], [m[1:2] for m in masks])[0]
  np.testing.assert_allclose(alone, out[1:2], atol=1e-5)
  assert not out[2, 1:].any()


def cider(own, references, idf):
  """The public code's rule, by dictionaries."""
  def vector(s):
    grams = [tuple(s[i:i + n]) for n in range(1, 5) for i in range(len(s) - n + 1)]
    return [{g: grams.count(g) * idf(g) for g in grams if len(g) == n} for n in range(1, 5)]
  total = 0.0
  a = vector(own)
  for reference in references:
    for x, y in zip(a, vector(reference)):
      norm = np.sqrt(sum(v * v for v in x.values()) * sum(v * v for v in y.values()))
      value = sum(min(v, y.get(g, 0)) * y.get(g, 0) for g, v in x.items())
      total += (value / norm if norm else 0) * np.exp(-(len(own) - len(reference)) ** 2 / 72) / 4
  return 10 * total / len(references)


@pytest.mark.parametrize("weighed", [False, True])
def test_consensus_is_that_of_dictionaries(weighed):
  rng = np.random.default_rng(0)
  videos = [[rng.integers(4, 8, rng.integers(1, 9)) for _ in range(3)] for _ in range(5)]
  own = [rng.integers(4, 8, n) for n in (6, 1, 0, 5, 8)]
  runs = lambda s: {tuple(s[i:i + n]) for n in range(1, 5) for i in range(len(s) - n + 1)}
  seen = [set().union(*map(runs, v)) for v in videos]
  idf = (lambda g: np.log(5) - np.log(max(1, sum(g in s for s in seen)))) if weighed else (lambda g: 1.0)
  padded = lambda s, n: np.pad(np.asarray(s, np.int32), (0, n - len(s)))
  found = jax.jit(lambda *x: consensus.consensus(*x, consensus.rarity(videos) if weighed else None))(
      np.stack([padded(s, 8) for s in own]), np.array([len(s) for s in own]),
      np.stack([[padded(s, 10) for s in v] for v in videos]), np.array([[len(s) for s in v] for v in videos]))
  expected = [cider(list(s), [list(r) for r in v], idf) for s, v in zip(own, videos)]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
