import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx.backbones.psvit import sample, start_points
from vidx.measure import count

SMALL = dict(image=32, points=3, dim=12, depth=3, samplings=2, heads=3, widths=(8, 12), num_classes=5)
small = functools.partial(vidx.create_model, "psvit_b14", **SMALL)
X = promises.some_input((2, 32, 32, 3))


@pytest.mark.parametrize("name, params, gmacs", [
    ("psvit_b14", 21_344_302, 5.380), ("psvit_b16", 21_344_302, 6.911), ("psvit_b18", 21_344_302, 8.741),
    ("psvit_ti14", 4_777_902, 1.565)])
def test_parameters_and_products_are_those_published(name, params, gmacs):
  counts = count(vidx.create_model(name), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
  assert counts.params == params
  assert abs(counts.macs / 1e9 - gmacs) < 1e-3 * gmacs


def sampled_by_loops(x, points):
  b, h, w, d = x.shape
  out = np.zeros((b, points.shape[1], d))
  for i in range(b):
    for p, (y, z) in enumerate(points[i]):
      for r in range(h):
        for c in range(w):
          out[i, p] += max(0, 1 - abs(y - r)) * max(0, 1 - abs(z - c)) * x[i, r, c]
  return out


def test_sampling_equals_the_loop_also_beyond_the_edges():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 4, 5, 3)).astype("f")
  points = rng.uniform(-2, 6, size=(2, 20, 2)).astype("f")
  points[0, :3] = [[0, 0], [3, 4], [-1, 2]]
  np.testing.assert_allclose(jax.jit(sample)(x, points), sampled_by_loops(x, points), atol=1e-5)


def test_gradients_with_respect_to_points_are_the_slopes_of_the_map():
  x = jnp.broadcast_to(2.0 * jnp.arange(6)[:, None, None] - 3.0 * jnp.arange(6)[:, None], (1, 6, 6, 1))
  points = jnp.array([[[1.3, 2.6], [4.2, 0.7]]])
  grad = jax.grad(lambda p: sample(x, p).sum())(points)
  np.testing.assert_allclose(grad, np.broadcast_to([2.0, -3.0], (1, 2, 2)), rtol=1e-5)


def test_start_points_are_the_centres_of_a_grid():
  np.testing.assert_allclose(start_points(2, 8), [[2, 2], [6, 2], [2, 6], [6, 6]])


def test_without_offsets_points_stay_where_they_start():
  model = small()
  variables = promises.some_variables(model, X)
  variables["params"]["offset0"] = jax.tree.map(jnp.zeros_like, variables["params"]["offset0"])
  maps = promises.some_input((2, 1, 8, 8, 12))
  _, _, points = jax.jit(lambda v: model.apply(v, maps, method="sampled"))(variables)
  np.testing.assert_array_equal(points[0, 0], start_points(3, 8))


def test_examples_do_not_meet():
  promises.keeps_examples_apart(small(), X)


def test_identities_at_every_site_change_nothing():
  promises.identities_change_nothing(small, X)


def test_sites_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


def test_gradients_are_finite_and_reach_every_parameter():
  dead = [p for p, alive in promises.has_finite_gradients(small(dtype=jnp.bfloat16, drop_path=0.1), X) if not alive]
  assert not dead


def test_it_lowers_for_tpu_and_cuda():
  promises.lowers_for_accelerators(small(dtype=jnp.bfloat16), X)


def test_dead_points_are_attended_by_none():
  model = small()
  variables = promises.some_variables(model, X)
  live = jnp.array([[1, 1, 1, 1, 0, 1, 0, 1, 0]] * 2, bool)
  poisoned = small(sites={"block0.in": lambda x, mask=None: jnp.where(mask[..., None], x, 100.0)})
  a = promises.jitted(model)(variables, X, mask=live)["logits"]
  np.testing.assert_allclose(a, promises.jitted(poisoned)(variables, X, mask=live)["logits"], atol=1e-5)
  ones = promises.jitted(model)(variables, X, mask=live | True)["logits"]
  np.testing.assert_allclose(ones, promises.jitted(model)(variables, X)["logits"], atol=1e-5)
  assert np.abs(a - ones).max() > 1e-3
