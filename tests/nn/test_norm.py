import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import conv
from vidx.nn.norm import BatchNorm, ConvNormAct


def run(module, x, train=True, **kwargs):
  variables = module.init(jax.random.PRNGKey(0), x)
  return module.apply(variables, x, train, mutable=["batch_stats"], **kwargs)


@pytest.fixture
def x():
  return 3 + 2 * jax.random.normal(jax.random.PRNGKey(1), (4, 3, 5, 5, 6))


def test_training_normalises_by_the_batch_and_moves_the_stored_statistics(x):
  y, new = run(BatchNorm(momentum=0.9), x)
  a = np.asarray(x, np.float64)
  mean, var = a.mean((0, 1, 2, 3)), a.var((0, 1, 2, 3))
  np.testing.assert_allclose(y, (a - mean) / np.sqrt(var + 1e-5), atol=1e-4)
  np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * mean, rtol=1e-4)
  np.testing.assert_allclose(new["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-4)


def test_evaluation_uses_stored_statistics_and_leaves_them(x):
  y, new = run(BatchNorm(), x, train=False)
  np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-5), rtol=1e-6)
  np.testing.assert_array_equal(new["batch_stats"]["mean"], 0)


def test_groups_are_normalised_apart(x):
  y, _ = run(BatchNorm(groups=2), x)
  for part in (slice(0, 2), slice(2, 4)):
    alone, _ = run(BatchNorm(), x[part])
    np.testing.assert_allclose(y[part], alone, atol=1e-5)


def test_groups_that_do_not_divide_the_batch_are_refused(x):
  with pytest.raises(ValueError, match="bn_groups = 3"):
    run(BatchNorm(groups=3), x)


def test_dead_frames_take_no_part(x):
  mask = jnp.asarray([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]])
  y, new = run(BatchNorm(), x, mask=mask)
  live = np.asarray(x, np.float64)[np.asarray(mask, bool)]
  np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * live.mean((0, 1, 2)), rtol=1e-4)
  expected = (live - live.mean((0, 1, 2))) / np.sqrt(live.var((0, 1, 2)) + 1e-5)
  np.testing.assert_allclose(y[np.asarray(mask, bool)], expected, atol=1e-4)
  other, _ = run(BatchNorm(), jnp.where(mask[..., None, None, None] == 1, x, 1e3), mask=mask)
  np.testing.assert_allclose(other[np.asarray(mask, bool)], y[np.asarray(mask, bool)], atol=1e-4)


def test_a_frozen_norm_neither_learns_nor_follows_the_batch(x):
  module = BatchNorm(frozen=True)
  variables = module.init(jax.random.PRNGKey(0), x)

  def loss(params):
    y, new = module.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
    return (y**2).sum(), new

  grads, new = jax.grad(loss, has_aux=True)(variables["params"])
  assert all((g == 0).all() for g in jax.tree.leaves(grads))
  np.testing.assert_array_equal(new["batch_stats"]["var"], 1)


def test_the_gradient_equals_that_of_the_formula(x):
  module = BatchNorm()
  variables = module.init(jax.random.PRNGKey(0), x)
  weight = jax.random.normal(jax.random.PRNGKey(2), x.shape)

  def ours(x):
    return (module.apply(variables, x, True, mutable=["batch_stats"])[0] * weight).sum()

  def formula(x):
    m = x.mean((0, 1, 2, 3))
    return ((x - m) / jnp.sqrt(((x - m)**2).mean((0, 1, 2, 3)) + 1e-5) * weight).sum()

  np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(formula)(x), atol=1e-4)


def test_statistics_of_bf16_input_are_fp32(x):
  y, new = run(BatchNorm(dtype=jnp.bfloat16), x.astype(jnp.bfloat16))
  assert y.dtype == jnp.bfloat16 and new["batch_stats"]["mean"].dtype == jnp.float32
  np.testing.assert_allclose(new["batch_stats"]["mean"], 0.1 * np.asarray(x).mean((0, 1, 2, 3)), rtol=1e-2)


def test_dead_frames_leave_the_unit_as_zeros(x):
  mask = jnp.asarray([[1, 1, 0]] * 4)
  y, _ = run(ConvNormAct(4, (3, 3, 3)), x, mask=mask)
  assert (y[:, 2] == 0).all() and (y[:, :2] != 0).any()


@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_beside_is_normalised_by_the_statistics_of_the_others_and_changes_none(groups):
  rng = np.random.default_rng(0)
  x, beside = rng.normal(3, 2, (4, 5)).astype("f"), rng.normal(size=(4, 2, 3, 5)).astype("f")
  model = BatchNorm(groups=groups)
  variables = model.init(jax.random.PRNGKey(0), x)
  (y, z), after = model.apply(variables, x, True, beside=beside, mutable=["batch_stats"])
  alone, stats = model.apply(variables, x, True, mutable=["batch_stats"])
  np.testing.assert_array_equal(y, alone)
  jax.tree.map(np.testing.assert_array_equal, after, stats)
  for part in range(groups):
    rows = slice(part * 4 // groups, (part + 1) * 4 // groups)
    expected = (beside[rows] - x[rows].mean(0)) / np.sqrt(x[rows].var(0) + 1e-5)
    np.testing.assert_allclose(z[rows], expected, rtol=1e-3, atol=1e-4)
  y, z = model.apply(after | {"params": variables["params"]}, x, beside=beside)
  np.testing.assert_allclose(z, model.apply(after | {"params": variables["params"]}, beside), rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_frames_among_the_channels_share_their_statistics(groups):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3, 3, 6)) * 2 + 1, jnp.float32)
  norm = BatchNorm(groups=groups)
  variables = norm.init(jax.random.PRNGKey(0), x)
  for train in (False, True):
    y, state = norm.apply(variables, x, train, mutable=["batch_stats"])
    with conv.frames_among_channels(5):
      z, moved = norm.apply(variables, conv.to_channels(x), train, mutable=["batch_stats"])
    np.testing.assert_allclose(conv.from_channels(z, 5), y, atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state, moved)


@pytest.mark.parametrize("kernel, strides", [
    ((3, 1, 1), (2, 1, 1)), ((3, 3, 3), 2), ((1, 3, 3), (1, 2, 2)), ((3, 3), 2)])
def test_a_layer_that_strides_in_time_normalises_the_frames_that_are_left_among_the_channels(kernel, strides):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 6, 3)), jnp.float32)
  layer = ConvNormAct(4, kernel, strides)
  variables = layer.init(jax.random.PRNGKey(0), x)
  for train in (False, True):
    y, state = layer.apply(variables, x, train, mutable=["batch_stats"])
    with conv.frames_among_channels(5):
      z, moved = layer.apply(variables, conv.to_channels(x), train, mutable=["batch_stats"])
    np.testing.assert_allclose(conv.from_channels(z, y.shape[1]), y, atol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state, moved)
