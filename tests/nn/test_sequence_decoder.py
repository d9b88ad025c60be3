import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn.sequence_decoder import AttentionDecoder

N, STEPS = 4, 6
ENCODED, STATE, CELL = (promises.some_input(shape, i) for i, shape in enumerate(((2, 5, 6), (2, 8), (2, 8))))
MASK = np.arange(5) < np.array([[5], [3]])
TRANSCRIPT = np.array([[2, 0, 1, 3, 2], [1, 1, -1, -1, -1]])


def model(length_in="h"):
  return AttentionDecoder(N, hidden=8, embedding=8, length_in=length_in)


@functools.cache
def variables():
  shapes = jax.eval_shape(functools.partial(model().init, steps=2), jax.random.PRNGKey(0), ENCODED, STATE, CELL)
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda s: (rng.normal(size=s.shape) / 2).astype("f"), shapes)


@functools.partial(jax.jit, static_argnames="length_in")
def forced(transcript, encoded=ENCODED, mask=MASK, length_in="h"):
  return model(length_in).apply(variables(), encoded, STATE, CELL, mask, steps=STEPS, transcript=transcript)


@functools.partial(jax.jit, static_argnames="stop")
def free(transcript=None, force=False, stop=True):
  return model().apply(variables(), ENCODED, STATE, CELL, MASK, steps=STEPS, transcript=transcript, force=force,
                       stop=stop)


def decoded_by_loops(p, encoded, h, c, labels, length_in):
  """Logits and lengths of one sequence, all of it live, step by step, given the labels fed."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), p)
  dense = lambda name, x: x @ p[name]["kernel"] + p[name]["bias"]
  relu, sigmoid = lambda x: np.maximum(x, 0), lambda x: 1 / (1 + np.exp(-x))
  logits, lengths = [], []
  for label in labels:
    scores = np.tanh(encoded @ p["keys"] + dense("query", h)) @ p["attention"]
    share = np.exp(scores) / np.exp(scores).sum()
    x = relu(dense("combine", np.concatenate([relu(p["embedding"][label]), share @ encoded])))
    i, f, g, o = np.split(x @ p["lstm"]["input"] + h @ p["lstm"]["state"] + p["lstm"]["bias"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    logits.append(dense("label2", relu(dense("label1", h))))
    source = relu(np.concatenate([h if length_in == "h" else x, logits[-1]]))
    lengths.append(dense("length2", relu(dense("length1", source)))[0])
  return np.array(logits), np.array(lengths)


@pytest.mark.parametrize("length_in", ["h", "x"])
def test_forced_steps_equal_the_loop_over_live_entries(length_in):
  out = forced(TRANSCRIPT, length_in=length_in)
  for i, n in enumerate((5, 3)):
    fed = [N + 1, *np.maximum(TRANSCRIPT[i], 0)]
    logits, lengths = decoded_by_loops(variables()["params"], np.asarray(ENCODED[i, :n]), STATE[i], CELL[i], fed,
                                       length_in)
    np.testing.assert_allclose(out["logits"][i], logits, atol=1e-4)
    np.testing.assert_allclose(out["lengths"][i], lengths, atol=1e-4)


def test_no_step_knows_the_labels_to_come():
  before = forced(TRANSCRIPT)
  for m in range(5):
    changed = TRANSCRIPT.copy()
    changed[:, m:] = (changed[:, m:] + 2) % N
    after = forced(changed)
    for key in ("logits", "lengths"):
      np.testing.assert_array_equal(after[key][:, :m + 1], before[key][:, :m + 1])
    assert m == 4 or (after["logits"][:, m + 1] != before["logits"][:, m + 1]).any()


def test_running_freely_is_being_forced_by_one_s_own_labels():
  found = free(stop=False)
  again = forced(jnp.where(found["labels"] == N, N, found["labels"])[:, :-1])
  for key in ("logits", "lengths"):
    np.testing.assert_allclose(again[key], found[key], atol=1e-4)
  np.testing.assert_array_equal(again["labels"][:, 0], found["labels"][:, 0])


def test_a_traced_switch_gives_either():
  either = lambda force: free(TRANSCRIPT, jnp.array(force), stop=False)
  np.testing.assert_allclose(either(True)["logits"], forced(TRANSCRIPT)["logits"], atol=1e-4)
  np.testing.assert_allclose(either(False)["logits"], free(stop=False)["logits"], atol=1e-4)


def test_a_list_that_has_ended_stays_so_and_none_is_empty():
  params = variables()["params"]
  eager = {"params": {**params, "label2": {**params["label2"], "bias": 1e3 * np.eye(N + 1)[N]}}}
  run = jax.jit(functools.partial(model().apply, steps=STEPS))
  labels = run(eager, ENCODED, STATE, CELL)["labels"]
  assert (labels[:, 0] < N).all() and (labels[:, 1:] == N).all()


def test_a_wrong_source_of_lengths_is_named():
  with pytest.raises(ValueError, match="length_in = 'c' is not one of h, x"):
    model("c").init(jax.random.PRNGKey(0), ENCODED, STATE, CELL, steps=1)
