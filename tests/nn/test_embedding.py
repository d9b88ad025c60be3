import jax
import jax.numpy as jnp
import numpy as np

from tests.backbones import promises
from vidx.nn.embedding import GatedEmbedding, TokenEncoder, unit_rows

X = np.random.default_rng(0).normal(size=(4, 6)).astype("f")


def test_rows_are_of_unit_length_and_zero_stays_zero_with_a_finite_gradient():
  np.testing.assert_allclose(jnp.linalg.norm(unit_rows(X), axis=-1), 1, rtol=1e-6)
  assert not np.any(unit_rows(jnp.zeros((2, 3))))
  assert np.isfinite(jax.grad(lambda x: unit_rows(x).sum())(jnp.zeros(3))).all()
  assert np.isfinite(unit_rows(jnp.full((3,), 1e-22))).all()


def test_the_gate_equals_its_equations():
  model = GatedEmbedding(5)
  variables = promises.some_variables(model, jnp.asarray(X))
  p, s = variables["params"], variables["batch_stats"]["norm"]
  h = X @ p["project"]["dense"]["kernel"] + p["project"]["dense"]["bias"]
  g = (h @ p["gate"]["dense"]["kernel"] + p["gate"]["dense"]["bias"] - s["mean"]) / np.sqrt(s["var"] + 1e-5)
  y = h / (1 + np.exp(-(g * p["norm"]["scale"] + p["norm"]["bias"])))
  np.testing.assert_allclose(promises.jitted(model)(variables, X), y / np.linalg.norm(y, axis=-1, keepdims=True),
                             atol=1e-5)


def test_a_missing_expert_takes_no_part_in_the_statistics():
  model = GatedEmbedding(5)
  variables = promises.some_variables(model, jnp.asarray(X))
  run = lambda x, live: model.apply(variables, x, live, True, mutable=["batch_stats"])
  a, stats = run(X[:3], None)
  b, others = run(np.concatenate([X[:3], 100 * X[:1]]), np.array([1.0, 1, 1, 0]))
  np.testing.assert_allclose(b[:3], a, atol=1e-6)
  assert not np.any(b[3])
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), stats, others)


def test_the_encoder_does_not_know_order_nor_padding():
  model = TokenEncoder(2)
  x = promises.some_input((2, 5, 8))
  variables = promises.some_variables(model, x)
  out = promises.jitted(model)(variables, x)
  order = np.array([3, 0, 4, 1, 2])
  np.testing.assert_allclose(promises.jitted(model)(variables, x[:, order]), out[:, order], atol=1e-5)
  padded = jnp.concatenate([x, 9 + x[:, :2]], 1)
  mask = np.arange(7)[None] < np.full((2, 1), 5)
  np.testing.assert_allclose(promises.jitted(model)(variables, padded, mask)[:, :5], out, atol=1e-5)


def test_a_layer_of_768_channels_has_the_published_parameters():
  count = lambda model, *x: sum(p.size for p in jax.tree.leaves(jax.eval_shape(model.init, jax.random.PRNGKey(0),
                                                                               *x)["params"]))
  z = jnp.zeros((1, 3, 768))
  assert count(TokenEncoder(4), z) == 3_548_160 and count(TokenEncoder(4, 3072), z) == 7_089_408
