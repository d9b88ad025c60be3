import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import attention, tracing
from vidx.nn.attention import Attention, attend


def attended_by_loops(q, k, v, mask, scale):
  out = np.zeros(q.shape[:-1] + v.shape[-1:])
  for b in range(q.shape[0]):
    for h in range(q.shape[2]):
      for n in range(q.shape[1]):
        live = np.flatnonzero(mask[b])
        scores = np.array([scale * q[b, n, h] @ k[b, m, h] for m in live])
        weights = np.exp(scores - scores.max())
        out[b, n, h] = (weights / weights.sum()) @ v[b, live, h]
  return out


def some_heads(seed=0, batch=2, queries=5, keys=7, heads=3, width=4):
  rng = np.random.default_rng(seed)
  q = rng.normal(size=(batch, queries, heads, width)).astype("f")
  k, v = rng.normal(size=(2, batch, keys, heads, width)).astype("f")
  mask = rng.random((batch, keys)) < 0.6
  mask[:, 0] = True
  return q, k, v, mask


@functools.cache
def jitted(**fields):
  return jax.jit(functools.partial(attend, **fields))


@functools.cache
def gradients(chunk):
  """Of the squares of (q, k, v, mask), for q, k and v."""
  return jax.jit(jax.grad(lambda *a: (attend(*a, chunk=chunk) ** 2).sum(), (0, 1, 2)))


@pytest.mark.parametrize("chunk", [0, 2, 3, 7])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_equals_the_loop(chunk, scale):
  q, k, v, mask = some_heads()
  out = jitted(scale=scale, chunk=chunk)(q, k, v, mask)
  np.testing.assert_allclose(out, attended_by_loops(q, k, v, mask, scale or 0.5), atol=2e-6)
  out = jitted(scale=scale, chunk=chunk)(q, k, v)
  np.testing.assert_allclose(out, attended_by_loops(q, k, v, mask | True, scale or 0.5), atol=2e-6)


def test_chunks_give_the_gradients_of_the_whole():
  q, k, v, mask = some_heads()
  whole = gradients(0)(q, k, v, mask)
  for a, b in zip(whole, gradients(2)(q, k, v, mask)):
    np.testing.assert_allclose(a, b, atol=1e-5)
  by_softmax = lambda q, k, v: (jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(
      mask[:, None, None], jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2, -jnp.inf)), v) ** 2).sum()
  for a, b in zip(whole, jax.jit(jax.grad(by_softmax, (0, 1, 2)))(q, k, v)):
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("chunk", [0, 2])
def test_dead_keys_reach_neither_output_nor_gradient(chunk):
  q, k, v, mask = some_heads()
  wild_k, wild_v = (np.where(mask[..., None, None], x, np.inf) for x in (k, v))
  run = jitted(chunk=chunk)
  np.testing.assert_array_equal(run(q, k, v, mask), run(q, wild_k, wild_v, mask))
  for a, b in zip(gradients(chunk)(q, k, v, mask), gradients(chunk)(q, wild_k, wild_v, mask)):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("chunk", [0, 2])
def test_a_query_without_live_keys_gets_zeros_and_finite_gradients(chunk):
  q, k, v, mask = some_heads()
  mask[1] = False
  assert not np.any(np.asarray(jitted(chunk=chunk)(q, k, v, mask))[1])
  grads = jax.jit(jax.grad(lambda *a: attend(*a, mask, chunk=chunk).sum(), (0, 1, 2)))(q, k, v)
  assert all(np.isfinite(g).all() for g in grads)


def test_large_scores_stay_finite_in_half_precision():
  q, k, v, mask = some_heads()
  q, k, v = (x.astype(jnp.bfloat16) for x in (q * 100, k * 100, v))
  for chunk in (0, 3):
    out = jitted(chunk=chunk)(q, k, v, mask)
    assert out.dtype == jnp.bfloat16 and np.isfinite(np.asarray(out, "f")).all()


def test_many_scores_are_worked_on_in_chunks():
  shape = jax.ShapeDtypeStruct((4, 16384, 16, 8), jnp.float32)
  text = str(jax.make_jaxpr(attend)(shape, shape, shape))
  assert "scan" in text and "16384,16384" not in text


SEQUENCES = [  # of 12 heads of 64 in bf16: examples, tokens, over how many devices, chunk on a TPU
    (4, 1569, 1, 222), (16, 1569, 4, 222), (2, 1569, 1, 445), (16, 1569, 1, 891), (64, 197, 1, 0), (8, 577, 1, 0),
    (1, 1100, 1, 0), (8, 2049, 8, 682)]


@pytest.mark.parametrize("examples, tokens, devices, chunk", SEQUENCES)
def test_on_a_tpu_scores_stay_beside_its_units_where_keys_and_values_do(examples, tokens, devices, chunk):
  x = jax.ShapeDtypeStruct((examples, 12, tokens, 64), jnp.bfloat16)
  with tracing.traced_for("tpu"), tracing.spread_over(devices):
    assert attention._chunk(x, x, x) == chunk
  with tracing.traced_for("cuda"), tracing.spread_over(devices):
    assert attention._chunk(x, x, x) in (0, chunk and max(128, devices * 2**28 // (examples * 12 * tokens)))


def test_chunks_of_a_tpu_give_the_whole(monkeypatch):
  monkeypatch.setattr(attention, "_MANY", 100)
  monkeypatch.setattr(attention, "_NEAR_SCORES", 2**12)
  q, k, v = (jax.random.normal(jax.random.key(i), (1, 150, 2, 4)) for i in range(3))
  whole = attend(q, k, v)
  with tracing.traced_for("tpu"):
    assert "scan" in str(jax.make_jaxpr(attend)(q, k, v))
    np.testing.assert_allclose(attend(q, k, v), whole, atol=1e-6)


def test_an_unknown_lowering_is_named():
  q, k, v, _ = some_heads()
  with pytest.raises(ValueError, match="'fast' is not known"):
    attend(q, k, v, lowering="fast")


def test_the_module_leaves_the_map_of_the_first_token_only_when_asked():
  x = np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype("f")
  model = Attention(heads=3)
  variables = jax.jit(model.init)(jax.random.PRNGKey(1), x)
  assert set(variables) == {"params"}
  mask = np.arange(5) < np.array([5, 3, 1])[:, None]
  mask = np.broadcast_to(mask, (2, 3, 5))
  ((y, _), state), (plain, _) = jax.jit(lambda v: (
      model.apply(v, x, mask, mutable="maps"), model.apply(v, x, mask)))(variables)
  (row,) = state["maps"]["first"]
  assert row.shape == (2, 3, 3, 5)
  np.testing.assert_allclose(np.sum(row, -1), 1, rtol=1e-6)
  assert not np.any(np.where(mask[:, :, None], 0, row))
  np.testing.assert_array_equal(y, plain)


def test_a_transform_between_projection_and_product_may_drop_queries():
  x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("f")
  model = Attention(heads=3)
  rows = np.array([[0, 3], [0, 1]])
  keep = lambda h: h.replace(q=jnp.take_along_axis(h.q, rows[..., None, None], 1), rows=rows)

  @jax.jit
  def found(key):
    variables = model.init(key, x)
    return model.apply(variables, x, None, keep), model.apply(variables, x)

  (y, heads), (whole, _) = found(jax.random.PRNGKey(1))
  np.testing.assert_allclose(y, np.take_along_axis(np.asarray(whole), rows[..., None], 1), atol=1e-6)
  np.testing.assert_array_equal(heads.rows, rows)


@pytest.mark.parametrize("masked", [False, True])
def test_the_softmax_of_accelerators_is_that_of_cpus(masked):
  q, k, v = (jax.random.normal(jax.random.key(i), (2, 3, 5, 4)) for i in range(3))
  mask = jnp.array([[True, False, True, True, False], [False] * 5]) if masked else None
  forms = (attention._normalised_late, attention._normalised_early)
  np.testing.assert_allclose(*(form(q, k, v, mask) for form in forms), atol=1e-6)
  grads = [jax.grad(lambda *x, f=form: (f(*x, mask) ** 2).sum(), argnums=(0, 1, 2))(q, k, v) for form in forms]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *grads)
  if masked:
    assert not attention._normalised_early(q, k, v, mask)[1].any() and not grads[1][2][1].any()


@pytest.mark.parametrize("bias", [False, True])
def test_projections_stored_side_by_side_are_dense_layers(bias):
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  layer = attention.Projections(3, bias)
  variables = layer.init(jax.random.key(1), x)
  flat = nn.Dense(24, use_bias=bias)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, flat.init(jax.random.key(1), x))
  variables = jax.tree.map(lambda a: jax.random.normal(jax.random.key(2), a.shape), variables)
  want = jnp.split(flat.apply(variables, x), 3, axis=-1)
  weights = [variables["params"][n] for n in (("kernel", "bias") if bias else ("kernel",))]
  for form in (layer._joined, layer._apart):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), form(x, *weights), tuple(want))
  half = attention.Projections(3, bias, jnp.bfloat16).apply(variables, x)
  assert {y.dtype for y in half} == {jnp.dtype(jnp.bfloat16)}
