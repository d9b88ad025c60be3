import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn.recurrent import Affine, BiLSTM, Gates, StackedLSTM

X = np.random.default_rng(0).normal(size=(3, 7, 5)).astype("f")
LENGTHS = (7, 4, 1)


def lstm_by_loops(params, x):
  """States of one sequence (T, D), and the last cell."""
  sigmoid = lambda z: 1 / (1 + np.exp(-z))
  p = {k: np.asarray(v, np.float64) for k, v in params.items()}
  h, c, states = np.zeros(4), np.zeros(4), []
  for row in x:
    i, f, g, o = np.split(row @ p["input"] + h @ p["state"] + p["bias"] + p.get("state_bias", 0), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    states.append(h)
  return np.array(states), c


@pytest.fixture(scope="module")
def encoded():
  model = BiLSTM(4, two_biases=True)
  variables = promises.some_variables(model, X)
  mask = np.arange(7) < np.array(LENGTHS)[:, None]
  run = jax.jit(model.apply)
  return variables["params"], run(variables, X, mask), run(variables, np.where(mask[..., None], X, 9), mask)


def test_every_sequence_is_encoded_from_both_its_ends(encoded):
  params, found, _ = encoded
  for i, n in enumerate(LENGTHS):
    onward, c = lstm_by_loops(params["forward"], X[i, :n])
    back, c_back = lstm_by_loops(params["backward"], X[i, :n][::-1])
    np.testing.assert_allclose(found[0][i, :n], np.concatenate([onward, back[::-1]], 1), atol=1e-5)
    np.testing.assert_allclose(found[1][i], np.concatenate([onward[-1], back[-1]]), atol=1e-5)
    np.testing.assert_allclose(found[2][i], np.concatenate([c, c_back]), atol=1e-5)
    assert not found[0][i, n:].any()


def test_what_padding_holds_does_not_matter(encoded):
  for a, b in zip(encoded[1], encoded[2]):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("two_biases, expected", [(False, 263_168), (True, 264_192)])
def test_parameters_are_those_of_the_paper(two_biases, expected):
  shapes = jax.eval_shape(BiLSTM(128, two_biases).init, jax.random.PRNGKey(0), jnp.zeros((1, 2, 128)))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == expected


def test_weights_start_as_they_are_called():
  init = lambda name: Affine(300, initial=name).init(jax.random.PRNGKey(0), jnp.zeros((1, 64)))["params"]
  assert np.abs(init("uniform")["kernel"]).max() <= 1 / 8 and 0 < np.abs(init("uniform")["bias"]).max() <= 1 / 8
  assert init("gaussian")["kernel"].std() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
  assert not init("gaussian")["bias"].any()
  with pytest.raises(ValueError, match="'normal' is not one of gaussian, uniform"):
    init("normal")


def test_layers_read_what_the_layer_below_gives_and_padding_behind_changes_nothing():
  model = StackedLSTM(4, 2)
  variables = promises.some_variables(model, X)
  run = jax.jit(model.apply)
  found, p = run(variables, X), variables["params"]
  for i, n in enumerate(LENGTHS):
    below, _ = lstm_by_loops(p["layer1"], X[i, :n])
    np.testing.assert_allclose(found[i, :n], lstm_by_loops(p["layer2"], below)[0], atol=1e-5)
  other = np.where((np.arange(7) < np.array(LENGTHS)[:, None])[..., None], X, 9)
  np.testing.assert_array_equal(run(variables, other)[1, :4], found[1, :4])


def test_dropout_lies_between_layers_and_acts_in_training_alone():
  run = lambda layers, seed, train: StackedLSTM(4, layers, 0.5).apply(
      promises.some_variables(StackedLSTM(4, layers), X), X, train, rngs={"dropout": jax.random.PRNGKey(seed)})
  assert (run(2, 0, True) != run(2, 1, True)).any()
  np.testing.assert_array_equal(run(1, 0, True), run(1, 0, False))


def test_two_layers_have_the_parameters_of_the_published_language_encoder():
  shapes = jax.eval_shape(StackedLSTM(1024).init, jax.random.PRNGKey(0), jnp.zeros((1, 2, 512)))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 14_688_256


def test_a_forget_gate_may_start_open():
  params = lambda forget: Gates(3, initial="gaussian", forget=forget).init(jax.random.PRNGKey(0), 2)["params"]["bias"]
  assert params(1.0).tolist() == [0] * 3 + [1] * 3 + [0] * 6 and not params(0.0).any()
