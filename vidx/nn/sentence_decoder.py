"""Sentences from a sequence of features: an attending LSTM of one or two layers, and ways to let it speak.

Wang et al.: "Controllable Video Captioning with POS Sequence Guidance Based on Gated Fusion Network", 2019, with the
attention of Bahdanau et al., 2015. Words are followed as given, with some of the decoder's own in between (Bengio et
al.: "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015), or spoken freely.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import recurrent
from vidx.nn.recurrent import Affine, product

FAR = -1e30
Step = Callable[[Mapping[str, jax.Array], Any, jax.Array, Any], tuple[Any, jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Decoding:
  """A decoder with what it looks at.

  Attributes:
    seen: what a step reads, arrays (B, ...).
    state: before the first step, arrays (B, H).
    step: (seen, state, words (B,), dropout of the step or None) -> (state, fp32 logits (B, V), gates (B,), how far
      on average each word opens the gate of the guide; 0 without one).
  """

  seen: Mapping[str, jax.Array]
  state: Any
  step: Step

  def wide(self, width: int) -> "Decoding":
    """Each example `width` times, one behind the other."""
    wide = lambda tree: jax.tree.map(lambda x: jnp.repeat(x, width, 0), tree)
    return Decoding(wide(self.seen), wide(self.state), self.step)


class SentenceDecoder(nn.Module):
  """Weights of a decoder of V words.

  Attributes:
    words: V.
    layers: 1, or 2, of which the second attends; the query is the states of both.
    hidden: H of states.
    embedding: channels of a word.
    attention: channels in which keys and query meet.
    dropout: of words, gates and what the logits are read from.
    dtype: compute dtype of products; states, softmax and logits are fp32.
  """

  words: int
  layers: int = 2
  hidden: int = 512
  embedding: int = 468
  attention: int = 1536
  dropout: float = 0.5
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, memory: jax.Array, live: jax.Array, guide: jax.Array | None = None) -> Decoding:
    """Looks at a sequence.

    Args:
      memory: fp32 (B, K, E), zero where it is not live.
      live: bool (B, K).
      guide: (B, G), which each word gates and the first layer is given; None: there is none.
    """
    times = lambda x, w: product(x, w, self.dtype)
    affine = lambda size, features, name, bias=True: Affine(features, bias, dtype=self.dtype, name=name).weights(size)
    width, guided = memory.shape[-1], 0 if guide is None else guide.shape[-1]
    table = self.param("words_table", nn.initializers.normal(1.0), (self.words, self.embedding))
    read = self.param("attend", nn.initializers.normal(self.attention ** -0.5), (self.attention,))
    key_w, key_b = affine(width, self.attention, "keys")
    query_w, _ = affine(self.layers * self.hidden, self.attention, "query", False)
    logits_w, logits_b = affine(self.hidden, self.words, "logits")
    if guided:
      gate_w, gate_b = affine(self.embedding, guided, "gate")
    sizes = ([self.embedding + guided, self.hidden + width] if self.layers == 2 else
             [self.embedding + guided + width])
    cells = [recurrent.Gates(self.hidden, name=f"lstm_{i}")(size) for i, size in enumerate(sizes)]
    mean = memory.sum(1) / jnp.maximum(live.sum(1, keepdims=True), 1)
    first = [Affine(self.hidden, dtype=self.dtype, name=f"first_{i}")(mean) for i in range(2 * self.layers)]
    seen = {"memory": memory, "live": live, "keys": times(memory, key_w) + key_b}
    if guided:
      seen["guide"] = guide

    def attended(seen, states):
      query = times(jnp.concatenate(states, -1), query_w)
      scores = jnp.where(seen["live"], jnp.tanh(seen["keys"] + query[:, None]) @ read, FAR)
      return jnp.einsum("bk,bke->be", jax.nn.softmax(scores), seen["memory"])

    def cell(i, x, h, c):
      w, u, bias = cells[i]
      return recurrent.lstm_step(times(x, w) + times(h, u) + bias, c)

    def step(seen, state, word, kept):
      x = table[word] if kept is None else table[word] * kept["word"]
      gates = jnp.zeros(len(word))
      if guided:
        gate = nn.relu(times(x, gate_w) + gate_b)
        gates = gate.mean(-1)
        gate = gate if kept is None else gate * kept["gate"]
        x = jnp.concatenate([x, gate * seen["guide"] + seen["guide"]], -1)
      if self.layers == 2:
        (h, c), (top, cell_top) = state
        h, c = cell(0, x, h, c)
        top, cell_top = cell(1, jnp.concatenate([h, attended(seen, [h, top])], -1), top, cell_top)
        state = ((h, c), (top, cell_top))
      else:
        (top, c), = state
        top, c = cell(0, jnp.concatenate([x, attended(seen, [top])], -1), top, c)
        state = ((top, c),)
      read_from = top if kept is None else top * kept["top"]
      return state, times(read_from, logits_w) + logits_b, gates

    return Decoding(seen, tuple(zip(first[::2], first[1::2])), step)

  @nn.nowrap
  def kept(self, key: jax.Array, steps: int, batch: int, guided: int) -> dict[str, jax.Array]:
    """Dropout of so many steps, drawn at once: factors (S, B, ...)."""
    sizes = {"word": self.embedding, "gate": guided, "top": self.hidden}
    keys = dict(zip(sizes, jax.random.split(key, 3)))
    share = 1 - self.dropout
    return {k: jax.random.bernoulli(keys[k], share, (steps, batch, n)) / share for k, n in sizes.items()}


def follow(decoding: Decoding, words: jax.Array, kept: Any = None, key: jax.Array | None = None,
           own: jax.Array | float = 0.0) -> tuple[jax.Array, jax.Array]:
  """What is said next after each of the given words.

  Args:
    decoding: the decoder.
    words: int (B, S).
    kept: dropout, arrays (S, B, ...); None: none.
    key: randomness of the decoder's own words; None: all are given.
    own: share of the words, from the second on, that are drawn from what the decoder itself said before.

  Returns:
    fp32 logits (B, S, V) and gates (B, S).
  """
  steps = words.shape[1]
  keys = None if key is None else jax.random.split(key, steps)

  def step(carry, inputs):
    state, said = carry
    number, word, kept, key = inputs
    if key is not None:
      which, draw = jax.random.split(key)
      word = jnp.where((number > 0) & (jax.random.uniform(which, word.shape) < own), said, word)
    state, logits, gates = decoding.step(decoding.seen, state, word, kept)
    if key is not None:
      said = jax.random.categorical(draw, jax.lax.stop_gradient(logits)).astype(word.dtype)
    return (state, said), (logits, gates)

  _, (logits, gates) = jax.lax.scan(step, (decoding.state, words[:, 0]), (jnp.arange(steps), words.T, kept, keys))
  return jnp.moveaxis(logits, 0, 1), gates.T


def speak(decoding: Decoding, *, start: int, end: int, steps: int, banned: tuple[int, ...] = (), kept: Any = None,
          key: jax.Array | None = None) -> dict[str, Any]:
  """Lets the decoder say what is likeliest, or what it draws.

  Args:
    decoding: the decoder.
    start: word before the first.
    end: word that ends a sentence.
    steps: S, the most words, the end included.
    banned: words that are never said.
    kept: dropout, arrays (S, B, ...); None: none.
    key: randomness of what is drawn; None: the likeliest word of each step.

  Returns:
    {'words': int32 (B, S), `end` from the end on; 'count': int32 (B,), without the end; 'log_prob': fp32 (B, S) of
    the words and the end, 0 behind it; 'gates': (B, S); 'state': that at the end of each sentence}.
  """
  batch = len(jax.tree.leaves(decoding.state)[0])
  keys = None if key is None else jax.random.split(key, steps)

  def step(carry, inputs):
    state, word, over = carry
    kept, key = inputs
    after, logits, gates = decoding.step(decoding.seen, state, word, kept)
    logits = forbidden(logits, banned)
    found = jnp.argmax(logits, -1) if key is None else jax.random.categorical(key, jax.lax.stop_gradient(logits))
    found = jnp.where(over, end, found.astype(jnp.int32))
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), found[:, None], 1)[:, 0]
    state = jax.tree.map(lambda new, old: jnp.where(over[:, None], old, new), after, state)
    return (state, found, over | (found == end)), (found, jnp.where(over, 0, log_prob), gates)

  first = jnp.full((batch,), start, jnp.int32)
  (state, _, _), (words, log_prob, gates) = jax.lax.scan(
      step, (decoding.state, first, jnp.zeros((batch,), bool)), (kept, keys), length=steps)
  return {"words": words.T, "count": (words.T != end).sum(1).astype(jnp.int32), "log_prob": log_prob.T,
          "gates": gates.T, "state": state}


def forbidden(logits: jax.Array, banned: tuple[int, ...]) -> jax.Array:
  """Logits (..., V) of words that are never said put far below."""
  return logits.at[..., list(banned)].set(FAR) if banned else logits


def beam_search(decoding: Decoding, *, start: int, end: int, steps: int, width: int = 3, banned: tuple[int, ...] = (),
                penalty: float = 0.0) -> dict[str, jax.Array]:
  """The likeliest of the sentences that a beam of fixed size holds.

  Args:
    decoding: the decoder.
    start: word before the first.
    end: word that ends a sentence.
    steps: S, the most words, the end included.
    width: sentences that are held.
    banned: words that are never said.
    penalty: log probabilities are divided by this power of the number of words, the end included.

  Returns:
    {'words': int32 (B, S), `end` from the end on; 'count': int32 (B,), without the end; 'score': fp32 (B,); 'gates':
    (B, S)}.
  """
  batch, wide = len(jax.tree.leaves(decoding.state)[0]), decoding.wide(width)
  rows = jnp.arange(batch)[:, None]

  def step(carry, number):
    state, words, gates, scores, over = carry
    before = jnp.where(number == 0, start, words[:, :, number - 1])
    state, logits, opened = decoding.step(wide.seen, state, before.reshape(-1), None)
    vocabulary = logits.shape[-1]
    log_prob = jax.nn.log_softmax(forbidden(logits, banned)).reshape(batch, width, vocabulary)
    still = jnp.where(jnp.arange(vocabulary) == end, 0.0, -jnp.inf)  # a sentence that is over is kept as it is
    total = scores[..., None] + jnp.where(over[..., None], still, log_prob)
    scores, chosen = jax.lax.top_k(total.reshape(batch, -1), width)
    parent, word = chosen // vocabulary, (chosen % vocabulary).astype(jnp.int32)
    flat = (rows * width + parent).reshape(-1)
    state = jax.tree.map(lambda x: x[flat], state)
    words = words[rows, parent].at[:, :, number].set(word)
    gates = gates[rows, parent].at[:, :, number].set(opened.reshape(batch, width)[rows, parent])
    return (state, words, gates, scores, over[rows, parent] | (word == end)), None

  first = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf) * jnp.ones((batch, 1))
  carry = (wide.state, jnp.full((batch, width, steps), end, jnp.int32), jnp.zeros((batch, width, steps)), first,
           jnp.zeros((batch, width), bool))
  (_, words, gates, scores, _), _ = jax.lax.scan(step, carry, jnp.arange(steps))
  count = (words != end).sum(-1)
  best = jnp.argmax(scores / jnp.minimum(count + 1, steps).astype(jnp.float32) ** penalty, -1)
  of_best = lambda x: x[jnp.arange(batch), best]
  return {"words": of_best(words), "count": of_best(count).astype(jnp.int32), "score": of_best(scores),
          "gates": of_best(gates)}
