import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import measure
from vidx.nn import pixel_projection
from vidx.nn.pixel_projection import PixelwiseTemporalProjection, relations, start_of_basis


def some(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype("f")


def init(block, x):
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), x)
  return {k: v for k, v in variables.items() if k in ("params", "batch_stats")}


def counts(frames, image=224, segments=1, **fields):
  """Parameters, and the MACs of the convolution and the perceptron: what was published leaves the rest out."""
  found = measure.count(PixelwiseTemporalProjection(frames, **fields),
                        jax.ShapeDtypeStruct((1, segments * frames, image, image, 3), jnp.float32))
  layers = ("local", "first", "down", "up", "last")
  return found.params, sum(macs for name, (_, macs) in found.by_module.items()
                           if name.split("/")[-1].startswith(layers))


@pytest.mark.parametrize("frames, columns, params", [
    (4, 1, 6_103), (6, 1, 7_039), (8, 1, 9_686), (8, 3, 10_598), (16, 1, 68_332)])
def test_parameters_by_frames_and_columns(frames, columns, params):
  assert counts(frames, 32, size=columns)[0] == params


@pytest.mark.parametrize("bottleneck, blocks, ratio, params, mmacs", [
    (1 / 4, 1, 4, 16_644, 45.3), (1 / 4, 1, 1, 7_383, 38.0), (1 / 4, 2, 1, 7_866, 38.3), (1 / 4, 2, 4, 23_280, 50.2),
    (1, 1, 4, 35_544, 59.8), (1 / 4, 0, 4, 10_008, 40.0), (1 / 4, 1, 2, 9_686, 39.7)])
def test_the_published_table_of_perceptrons(bottleneck, blocks, ratio, params, mmacs):
  found = counts(8, bottleneck=bottleneck, blocks=blocks, ratio=ratio)
  assert found[0] == params and abs(found[1] / 1e6 - mmacs) < 0.02 * mmacs


@pytest.mark.parametrize("frames, segments, image, gmacs", [(6, 8, 224, 0.23), (8, 16, 256, 0.823), (4, 8, 256, 0.193)])
def test_the_published_cost_per_view(frames, segments, image, gmacs):
  np.testing.assert_allclose(counts(frames, image, segments)[1] / 1e9, gmacs, rtol=0.02)


def test_a_basis_is_enlarged_by_two_taps_and_not_by_products():
  found = measure.count(PixelwiseTemporalProjection(8), jax.ShapeDtypeStruct((1, 8, 224, 224, 3), jnp.float32))
  solved = 224 * 224 * 8 * (3 + 3 + 1)  # coefficients, residuals and squares of the basis
  assert found.macs - counts(8)[1] < solved + 28 * 28 * 8 * 8 * 24


def test_relations_are_the_same_in_the_form_that_a_tpu_takes():
  x = some(2, 6, 3, 4, 5)
  np.testing.assert_allclose(pixel_projection._in_planes(x), pixel_projection._in_products(x), atol=1e-6)
  text = jax.export.export(jax.jit(relations), platforms=["tpu"])(x).mlir_module()
  assert "dot_general" not in text


def test_relations_are_the_products_of_pairs_in_order():
  x = some(1, 4, 2, 2, 5)
  find = jax.jit(relations)
  u = np.asarray(find(x))
  pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
  for n, (a, b) in enumerate(pairs):
    np.testing.assert_allclose(u[..., n], (x[:, a] * x[:, b]).mean(-1), atol=1e-5)
  swapped = find(x[:, [1, 0, 2, 3]])
  np.testing.assert_allclose(swapped, u[..., [0, 3, 4, 1, 2, 5]], atol=1e-6)
  still = np.asarray(find(np.repeat(x[:, :1], 4, 1)))
  np.testing.assert_allclose(still, np.broadcast_to(still[..., :1], still.shape), atol=1e-6)


def test_segments_do_not_see_each_other():
  block, x = PixelwiseTemporalProjection(4, size=2), some(2, 12, 16, 16, 3)
  variables = init(block, x)
  call = jax.jit(lambda x: block.apply(variables, x))
  changed = x.copy()
  changed[:, 4:8] *= 3
  y, z = np.asarray(call(x)), np.asarray(call(changed))
  assert y.shape == (2, 3, 16, 16, 3)
  np.testing.assert_array_equal(y[:, ::2], z[:, ::2])
  assert np.abs(y[:, 1] - z[:, 1]).max() > 1e-3


def test_a_shift_by_the_stride_shifts_the_appearance():
  block, x = PixelwiseTemporalProjection(stride=4, kernel=5, features=8), some(1, 4, 40, 40, 3)
  variables = init(block, x)
  variables["params"]["basis"]["last"]["kernel"] = 30 * variables["params"]["basis"]["last"]["kernel"]
  call = jax.jit(lambda x: block.apply(variables, x))
  a, b = np.asarray(call(x)), np.asarray(call(np.roll(x, (4, 8), (2, 3))))
  np.testing.assert_allclose(np.roll(a, (4, 8), (2, 3))[:, :, 16:-8, 16:-8], b[:, :, 16:-8, 16:-8], atol=1e-4)


@pytest.mark.parametrize("fields", [dict(), dict(size=3, norm="layer"), dict(stride=1, kernel=7, features=12),
                                    dict(blocks=2, bottleneck=1.0)])
def test_gradients_are_finite_and_reach_every_parameter(fields):
  block, x = PixelwiseTemporalProjection(4, **fields), some(2, 8, 16, 16, 3)
  variables = init(block, x)

  @jax.jit
  @jax.grad
  def slopes(params):
    (y, losses), _ = block.apply({**variables, "params": params}, x, True, mutable=["batch_stats"],
                                 method="with_losses")
    return jnp.sum(y**2) + losses["enopr"].sum()

  for path, g in jax.tree_util.tree_leaves_with_path(slopes(variables["params"])):
    assert np.isfinite(g).all() and np.any(g), path


def test_the_energy_is_that_of_the_residual_per_example():
  block, x = PixelwiseTemporalProjection(4, stride=8, kernel=9), some(2, 8, 16, 16, 3)
  variables = init(block, x)
  clips = x.reshape(4, 4, 16, 16, 3)
  (mean, losses), basis = jax.tree.map(np.asarray, jax.jit(lambda v: (
      block.apply(v, x, method="with_losses"), block.apply(v, clips, False, method="bases")))(variables))
  y = np.sum(basis * clips, 1) / np.sum(basis**2, 1)
  residual = clips - basis * y[:, None]
  np.testing.assert_allclose(losses["enopr"], (residual**2).sum(1).mean((1, 2, 3)).reshape(2, 2).mean(1), rtol=1e-4)
  np.testing.assert_allclose(mean.reshape(4, 16, 16, 3), residual.mean(1), atol=1e-4)


def test_the_block_at_a_site_adds_its_energy_where_it_has_a_weight():
  x = some(1, 4, 16, 16, 3)
  for weight in (0.0, 0.5):
    block = PixelwiseTemporalProjection(weight=weight)
    variables = init(block, x)
    (y, state), (_, own) = jax.jit(lambda v: (
        block.apply(v, x, mutable=["losses", "maps"]), block.apply(v, x, method="with_losses")))(variables)
    assert y.shape == state["maps"]["appearance"][0].shape == (1, 1, 16, 16, 3)
    if weight:
      np.testing.assert_allclose(state["losses"]["enopr"][0], 0.5 * np.mean(own["enopr"]), rtol=1e-6)
    else:
      assert "losses" not in state


def test_the_basis_starts_near_the_constant_and_apart_from_it():
  basis = np.asarray(jax.jit(start_of_basis, static_argnums=(1, 2))(jax.random.PRNGKey(0), 8, 3))
  np.testing.assert_allclose(np.linalg.norm(basis - 8**-0.5, axis=0), 0.3, rtol=1e-5)


def test_an_appearance_may_have_unit_deviation_and_the_log_shows_its_own():
  x = some(2, 8, 16, 16, 3)
  plain, block = PixelwiseTemporalProjection(4), PixelwiseTemporalProjection(4, da_norm="batch_std")
  variables = init(block, x)
  own = {k: {n: v for n, v in c.items() if n != "deviation"} for k, c in variables.items()}
  wanted, state = jax.jit(lambda v: plain.apply(v, x, mutable=["figures"]))(own)
  np.testing.assert_allclose(state["figures"]["appearance_std"][0], np.std(wanted), rtol=1e-5)
  assert state["figures"]["flat_columns"][0] == 0
  y, state = jax.jit(lambda v: block.apply(v, 0.01 * x, True, mutable=["batch_stats", "figures"]))(variables)
  np.testing.assert_allclose(np.std(y), 1, rtol=1e-4)
  var = state["batch_stats"]["deviation"]["var"]
  np.testing.assert_allclose(var, 0.9 + 0.1 * state["figures"]["appearance_std"][0] ** 2, rtol=1e-6)
  stored = jax.jit(block.apply)(variables, x)  # it starts as 1
  np.testing.assert_allclose(stored, wanted, rtol=1e-5, atol=1e-7)


def test_a_wrong_choice_is_named():
  with pytest.raises(ValueError, match="da_norm = 'layer'"):
    PixelwiseTemporalProjection(da_norm="layer")
  with pytest.raises(ValueError, match="norm = 'group'"):
    PixelwiseTemporalProjection(norm="group")
  with pytest.raises(ValueError, match="segments"):
    jax.eval_shape(PixelwiseTemporalProjection(4).init, jax.random.PRNGKey(0), jnp.zeros((1, 6, 16, 16, 3)))
