import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import CosineClassifier
from vidx.nn.cosine_classifier import unit

X = np.asarray(promises.some_input((4, 6)))


def cosine_by_loops(x, prototypes, scale):
  return np.array([[scale * (a @ p) / np.sqrt((a @ a + 1e-6) * (p @ p + 1e-6)) for p in prototypes] for a in x])


def test_equals_the_loop():
  model = CosineClassifier(5)
  params = jax.device_get(model.init(jax.random.PRNGKey(0), X)["params"])
  assert params["scale"] == 10
  np.testing.assert_allclose(jax.jit(model.apply)({"params": params}, X),
                             cosine_by_loops(X, params["prototypes"], 10), atol=1e-5)


def test_lengths_of_features_and_prototypes_do_not_matter():
  model, p = CosineClassifier(learned=False), np.asarray(promises.some_input((3, 6), seed=1))
  assert not model.init(jax.random.PRNGKey(0), X, p)
  np.testing.assert_allclose(model.apply({}, 7 * X, 3 * p), model.apply({}, X, p), atol=1e-4)


def test_a_learned_scale_stays_in_its_bounds():
  model, p = CosineClassifier(3), np.asarray(promises.some_input((3, 6)))
  at = lambda s: np.asarray(model.apply({"params": {"prototypes": p, "scale": jnp.float32(s)}}, X))
  np.testing.assert_allclose(at(0.1), at(1))
  np.testing.assert_allclose(at(1000), at(100))
  np.testing.assert_allclose(at(20), 2 * at(10), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zero_features_give_zeros_in_single_precision_and_finite_gradients(dtype):
  x, model = jnp.zeros((2, 6), dtype), CosineClassifier(3)
  variables = model.init(jax.random.PRNGKey(0), x)
  y = model.apply(variables, x)
  assert y.dtype == jnp.float32 and not np.any(y)
  grad = jax.grad(lambda x: model.apply(variables, x).sum())(x)
  assert np.isfinite(grad.astype(jnp.float32)).all()


def test_unit_rows_have_unit_length():
  np.testing.assert_allclose(np.linalg.norm(unit(X), axis=-1), 1, atol=1e-5)


def test_it_lowers_and_every_parameter_has_a_gradient():
  model = CosineClassifier(3)
  promises.lowers_for_accelerators(model, jnp.asarray(X))
  grads = jax.grad(lambda v: (model.apply(v, X) ** 2).sum())(model.init(jax.random.PRNGKey(0), X))
  assert all(np.any(g) and np.isfinite(g).all() for g in jax.tree.leaves(grads))
