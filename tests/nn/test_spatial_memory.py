import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.measure.count import products
from vidx.nn import SpatialMemory, match_transform
from vidx.nn.spatial_memory import BothWays, bn_star

SHAPE = (2, 4, 6, 7, 3)
X = np.maximum(np.random.default_rng(0).normal(size=SHAPE), 0).astype("f")
FORMS = {"stmm": {}, "dot": dict(affinity="dot"), "no match": dict(align=False), "all, batch": dict(
    stats="all", stats_over="batch"), "gru": dict(cell="gru", align=False), "gain": dict(input_gain=20.0)}


@functools.cache
def made(form="stmm", **fields):
  model = SpatialMemory(5, **FORMS[form], **fields)
  return model, promises.some_variables(model, jnp.asarray(X))


@functools.cache
def jitted(form="stmm", **fields):
  model, variables = made(form, **fields)
  return jax.jit(lambda x, mask=None, state=None: model.apply(variables, x, mask, state))


def conv_by_loops(x, w):
  height, width = x.shape[:2]
  x = np.pad(x.astype(float), [(1, 1), (1, 1), (0, 0)])
  return sum(x[i:i + height, j:j + width] @ w[i, j] for i in range(3) for j in range(3))


def bounded_by_loops(x, positive):
  """BN* of one example."""
  values = x[x > 0] if positive else x.reshape(-1)
  bound = values.mean() + 3 * values.std(ddof=1)
  return np.minimum(x, bound) / bound


def remembered_by_loops(x, params, fields):
  kernel, bias = params["input"]["kernel"], params["input"]["bias"]
  gain, gru = fields.get("input_gain", 1), fields.get("cell") == "gru"
  relu = lambda a: np.maximum(a, 0)
  memory, before, out = np.zeros((*x.shape[1:3], 5)), x[0], []
  for frame in x:
    if fields.get("align", True):
      memory = np.asarray(match_transform(memory.astype("f"), frame, before, affinity=fields.get("affinity", "cosine")))
    z, r, c = np.split(gain * (conv_by_loops(frame, kernel) + bias), 3, -1)
    uz, ur = np.split(conv_by_loops(memory, params["gates"]), 2, -1)
    gate = (lambda a: 1 / (1 + np.exp(-a))) if gru else lambda a: bounded_by_loops(relu(a), True)
    z, r = gate(z + uz), gate(r + ur)
    c = (np.tanh if gru else relu)(c + conv_by_loops(memory * r, params["candidate"]))
    memory, before = (1 - z) * memory + z * c, frame
    out.append(memory)
  return np.stack(out)


@pytest.mark.parametrize("form", [f for f in FORMS if f != "all, batch"])
def test_equals_the_loop(form):
  _, variables = made(form)
  params = jax.tree.map(np.asarray, variables["params"])
  expected = [remembered_by_loops(x, params, FORMS[form]) for x in X]
  np.testing.assert_allclose(jitted(form)(X)[0], expected, rtol=1e-3, atol=1e-4)


def test_the_parameters_are_those_of_the_equations():
  model = SpatialMemory(512)
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), jax.ShapeDtypeStruct((1, 1, 22, 38, 1024), jnp.float32))
  assert sum(p.size for p in jax.tree.leaves(shapes)) == 21_235_200


def test_the_products_are_those_of_the_equations():
  x = jax.ShapeDtypeStruct((1, 1, 22, 38, 1024), jnp.float32)
  counts = []
  for align in (False, True):
    model = SpatialMemory(512, align=align)
    shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), x)
    jaxpr = jax.make_jaxpr(lambda v, x: model.apply(v, x)[0])(shapes, x)
    counts.append(sum(products(jaxpr.jaxpr, len(jax.tree.leaves(shapes))).values()))
  assert counts[0] == 836 * 9 * (1024 * 1536 + 512 * 1536)  # 17.75 G
  assert counts[0] / 1e9 == pytest.approx(17.75, abs=0.01)
  assert 836 * 25 * (1024 + 512) / 1e6 == pytest.approx(32.1, abs=0.01)


def test_bn_star_is_within_0_and_1_and_knows_no_scale():
  x = np.maximum(np.random.default_rng(0).normal(size=(2, 6, 7, 3)), 0).astype("f")
  x[0, 0, 0] = 9
  for stats in ("positive", "all"):
    found = bn_star(x, stats=stats)
    assert found.min() == 0 and found.max() == 1
    np.testing.assert_allclose(found, [bounded_by_loops(a, stats == "positive") for a in x], atol=1e-6)
    np.testing.assert_allclose(bn_star(100 * x, stats=stats), found, atol=1e-6)
  whole = bounded_by_loops(x, True)
  np.testing.assert_allclose(bn_star(x, stats_over="batch"), whole, atol=1e-6)


@pytest.mark.parametrize("stats, bound", [("positive", 2.606), ("all", 2.150)])
def test_the_bound_of_half_normal_input(stats, bound):
  x = np.maximum(np.random.default_rng(0).normal(size=(1, 300, 300, 3)), 0).astype("f")
  below = (x > 0) & (x < 2)
  np.testing.assert_allclose((x[below] / np.asarray(bn_star(x, stats=stats))[below]).mean(), bound, atol=0.01)


def test_bn_star_of_nothing_is_nothing_and_its_gradient_ends_at_the_bound():
  gradient = jax.grad(lambda x: bn_star(x).sum())
  nothing = jnp.zeros((1, 3, 3, 2))
  np.testing.assert_array_equal(bn_star(nothing), 0)
  assert np.isfinite(gradient(nothing)).all()
  x = jnp.asarray(np.maximum(np.random.default_rng(0).normal(size=(1, 9, 9, 2)), 0), jnp.float32).at[0, 4, 4, 0].set(50)
  found = gradient(x)
  assert found[0, 4, 4, 0] == 0
  np.testing.assert_allclose(found[(x > 0) & (x < 2)], found[0][x[0] > 0][0], rtol=1e-5)


def test_places_outside_of_the_mask_take_no_part_in_statistics():
  x = np.maximum(np.random.default_rng(0).normal(size=(1, 6, 7, 3)), 0).astype("f")
  wide = np.pad(x, [(0, 0), (0, 2), (0, 3), (0, 0)], constant_values=30)
  mask = np.pad(np.ones(x.shape[:3]), [(0, 0), (0, 2), (0, 3)])
  for stats in ("positive", "all"):
    np.testing.assert_allclose(bn_star(wide, mask, stats=stats)[:, :6, :7], bn_star(x, stats=stats), atol=1e-6)


def test_without_a_past_and_with_an_open_gate_it_is_the_convolution():
  model, variables = made(gate_override=1.0)
  params = {**variables["params"], "gates": jnp.zeros((3, 3, 5, 10)), "candidate": jnp.zeros((3, 3, 5, 5))}
  kernel, bias = np.asarray(params["input"]["kernel"])[..., 10:], np.asarray(params["input"]["bias"])[10:]
  expected = [[np.maximum(conv_by_loops(frame, kernel) + bias, 0) for frame in x] for x in X]
  np.testing.assert_allclose(model.apply({"params": params}, X)[0], expected, atol=1e-5)


def test_of_one_frame_it_is_the_gated_candidate_with_or_without_matching():
  one = X[:, :1]
  np.testing.assert_array_equal(jitted()(one)[0], jitted("no match")(one)[0])
  assert jnp.abs(jitted()(X)[0] - jitted("no match")(X)[0]).max() > 1e-3


@pytest.mark.parametrize("form", ["stmm", "gru"])
def test_a_state_goes_on_where_another_call_stopped(form):
  whole, last = jitted(form)(X)
  first, state = jitted(form)(X[:, :3])
  rest, end = jitted(form)(X[:, 3:], None, state)
  np.testing.assert_allclose(np.concatenate([first, rest], 1), whole, atol=1e-5)
  np.testing.assert_allclose(end[0], last[0], atol=1e-5)


def test_padding_in_space_and_time_and_other_examples_change_nothing():
  model = BothWays(SpatialMemory(5), SpatialMemory(5))
  variables = promises.some_variables(model, jnp.asarray(X))
  run = jax.jit(lambda x, mask: model.apply(variables, x, mask)[0])
  alone = run(X[:1], np.ones(X.shape[:4])[:1])
  np.testing.assert_allclose(run(X, np.ones(X.shape[:4]))[:1], alone, atol=1e-5)
  around = [(0, 0), (0, 2), (0, 2), (0, 1)]
  wide, mask = np.pad(X, [*around, (0, 0)], constant_values=9), np.pad(np.ones(X.shape[:4]), around)
  found = run(wide, mask)
  np.testing.assert_allclose(found[:1, :4, :6, :7], alone, atol=1e-5)
  np.testing.assert_array_equal(np.where(mask[..., None] > 0, 0, found), 0)


def test_with_shared_parameters_the_way_back_is_the_way_ahead_of_the_reversed_frames():
  model = BothWays(SpatialMemory(5), SpatialMemory(5))
  own = made()[1]["params"]
  run = jax.jit(lambda x: model.apply({"params": {"forward": own, "backward": own}}, x)[0])
  found, turned = run(X), run(X[:, ::-1])[:, ::-1]
  np.testing.assert_allclose(found[..., 5:], turned[..., :5], atol=1e-6)
  np.testing.assert_allclose(found[..., :5], jitted()(X)[0], atol=1e-6)


def test_every_parameter_learns_and_nothing_is_nan():
  for form in FORMS:
    model, variables = made(form)
    gradient = jax.jit(jax.grad(lambda v: jnp.square(model.apply(v, X)[0]).sum()))(variables)
    assert all(np.isfinite(g).all() and jnp.abs(g).sum() > 0 for g in jax.tree.leaves(gradient)), form


def test_half_precision_is_near_single():
  model, variables = made()
  half = jax.jit(SpatialMemory(5, dtype=jnp.bfloat16).apply)(variables, X)[0]
  assert half.dtype == jnp.float32
  np.testing.assert_allclose(half, jitted()(X)[0], atol=0.1)


def test_a_wrong_field_is_named():
  with pytest.raises(ValueError, match="cell = 'lstm' is not one of stmm, gru"):
    SpatialMemory(cell="lstm")
  with pytest.raises(ValueError, match="stats = 'most'"):
    SpatialMemory(stats="most")


def test_it_lowers_for_accelerators():
  model, variables = made()
  assert export.export(jax.jit(model.apply), platforms=["tpu", "cuda"])(
      jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), variables),
      jax.ShapeDtypeStruct(SHAPE, jnp.float32))
