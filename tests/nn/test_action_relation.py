import jax
from jax import export
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import ActionRelation

G, H = (np.asarray(promises.some_input(shape, seed)) for seed, shape in enumerate([(2, 8), (2, 5, 8)]))
MASK = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
VARIABLES = jax.device_get(ActionRelation().init(jax.random.PRNGKey(0), G, H))


def run(*args, **fields):
  return jax.tree.map(np.asarray, jax.jit(ActionRelation(**fields).apply)(VARIABLES, *args))


def related_by_loops(g, h, mask, scale=1.0):
  a, b = VARIABLES["params"]["query"], VARIABLES["params"]["key"]
  zs, weights = np.zeros((len(g), h.shape[-1])), np.zeros(h.shape[:2])
  for n in range(len(g)):
    live = np.flatnonzero(mask[n])
    logits = np.array([scale * (g[n] @ a) @ (h[n, i] @ b) for i in live])
    weights[n, live] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    zs[n] = sum(weights[n, i] * h[n, i] for i in live)
  return zs, weights


@pytest.mark.parametrize("fields", [{}, dict(query_side=False), dict(scale_logits=True)])
def test_equals_the_loop(fields):
  want = related_by_loops(G, H, MASK, 2 ** -0.5 if fields.get("scale_logits") else 1.0)
  for found, wanted in zip(run(G, H, MASK, **fields), want):
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_products_on_either_side_are_equal():
  for a, b in zip(run(G, H, MASK), run(G, H, MASK, query_side=False)):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_order_of_candidates_does_not_matter():
  order = np.array([3, 0, 4, 2, 1])
  z, a = run(G, H, MASK)
  moved_z, moved_a = run(G, H[:, order], MASK[:, order])
  np.testing.assert_allclose(moved_z, z, atol=1e-5)
  np.testing.assert_allclose(moved_a, a[:, order], atol=1e-6)
  np.testing.assert_allclose(a.sum(-1), 1, rtol=1e-6)


def test_dead_candidates_change_nothing_whatever_they_hold():
  more = np.concatenate([H, np.full((2, 3, 8), np.inf, "f")], 1)
  z, a = run(G, more, np.pad(MASK, ((0, 0), (0, 3))))
  for found, want in zip((z, a[:, :5]), run(G, H, MASK)):
    np.testing.assert_allclose(found, want, atol=1e-6)
  assert not np.any(a[:, 5:])


def test_a_single_candidate_has_all_the_weight_whatever_is_asked():
  z, a = run(100 * G, H[:, :1], MASK[:, :1])
  np.testing.assert_array_equal(a, 1)
  np.testing.assert_allclose(z, H[:, 0], rtol=1e-6)


def test_a_row_without_live_candidates_stays_finite():
  mask = MASK & np.array([[False], [True]])
  z, a = run(G, H, mask)
  assert np.isfinite(z).all() and np.isfinite(a).all()


def test_the_form_has_the_rank_of_its_width():
  p = VARIABLES["params"]
  assert np.linalg.matrix_rank(p["query"] @ p["key"].T) == 8 // 4


def test_large_products_stay_finite_in_half_precision():
  model = ActionRelation(dtype=jnp.bfloat16)
  z, a = model.apply(VARIABLES, jnp.asarray(100 * G, jnp.bfloat16), jnp.asarray(100 * H, jnp.bfloat16), MASK)
  assert z.dtype == a.dtype == jnp.float32 and np.isfinite(z).all() and np.isfinite(a).all()


def test_gradients_equal_finite_differences_and_it_lowers():
  f = jax.jit(lambda v, g, h: (ActionRelation().apply(v, g, h, MASK)[0] ** 2).sum())
  check_grads(f, (VARIABLES, G, H), order=1, modes=["rev"], eps=1e-2, atol=3e-2, rtol=3e-2)
  assert export.export(f, platforms=["tpu", "cuda"])(
      jax.tree.map(jnp.asarray, VARIABLES), jnp.asarray(G), jnp.asarray(H)).mlir_module_serialized
