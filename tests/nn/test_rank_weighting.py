import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import RankWeighting
from vidx.nn.rank_weighting import top_classes

X = np.asarray(promises.some_input((4, 3, 6)))


@pytest.mark.parametrize("form, params", [("rank", 5 + 2), ("depthwise", 5_120 + 2_048), ("full", 5_242_880 + 2_048)])
def test_a_form_has_the_parameters_of_its_equation(form, params):
  shapes = jax.eval_shape(RankWeighting(form).init, jax.random.PRNGKey(0), jnp.zeros((2, 5, 1024)))["params"]
  assert sum(p.size for p in jax.tree.leaves(shapes)) == params


def weighted_by_loops(x, kernel, form):
  out = np.zeros((x.shape[0], x.shape[2]))
  for b, c in np.ndindex(out.shape):
    for k in range(x.shape[1]):
      if form == "full":
        out[b, c] += x[b, k] @ kernel[k, :, c]
      else:
        out[b, c] += kernel[k, c if form == "depthwise" else 0] * x[b, k, c]
  return out


@pytest.mark.parametrize("form", ["rank", "depthwise", "full"])
def test_equals_the_loop_in_training_and_evaluation(form):
  model = RankWeighting(form)
  variables = jax.device_get(promises.some_variables(model, jnp.asarray(X)))
  y = weighted_by_loops(X, variables["params"]["kernel"], form)
  scale, bias = (variables["params"]["norm"][k] for k in ("scale", "bias"))
  stats = variables["batch_stats"]["norm"]
  normal = lambda mean, var: np.maximum((y - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)
  np.testing.assert_allclose(model.apply(variables, X), normal(stats["mean"], stats["var"]), atol=1e-5)
  axes = None if form == "rank" else 0
  trained, _ = model.apply(variables, X, train=True, mutable=["batch_stats"])
  np.testing.assert_allclose(trained, normal(y.mean(axes), y.var(axes)), atol=1e-4)


@pytest.mark.parametrize("form", ["rank", "depthwise"])
def test_weights_start_as_the_mean(form):
  model = RankWeighting(form)
  y = model.apply(model.init(jax.random.PRNGKey(0), X), X)
  np.testing.assert_allclose(y, np.maximum(X.mean(1), 0) / np.sqrt(1 + 1e-5), atol=1e-5)


def test_it_lowers_and_every_parameter_has_a_gradient():
  for form in ("rank", "depthwise", "full"):
    model = RankWeighting(form)
    promises.lowers_for_accelerators(model, jnp.asarray(X))
    variables = model.init(jax.random.PRNGKey(0), X)
    loss = lambda p: (model.apply({**variables, "params": p}, X, train=True, mutable=["batch_stats"])[0] ** 3).sum()
    assert all(np.any(g) and np.isfinite(g).all() for g in jax.tree.leaves(jax.grad(loss)(variables["params"])))


def test_the_best_classes_come_sorted_and_of_equals_the_lower_first():
  logits = np.array([[0, 3, 1, 3, 2], [5, 5, 5, 5, 5]], "f")
  np.testing.assert_array_equal(top_classes(logits, 3), [[1, 3, 4], [0, 1, 2]])


def test_a_label_that_is_not_among_the_best_stands_last():
  logits = np.array([[0, 3, 1, 3, 2]] * 3, "f")
  np.testing.assert_array_equal(top_classes(logits, 2, np.array([0, 1, -1])), [[1, 0], [1, 3], [1, 3]])


def test_an_unknown_form_is_named():
  with pytest.raises(ValueError, match="'ranks' is not one of rank, depthwise, full"):
    RankWeighting("ranks")
