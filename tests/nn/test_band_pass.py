import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.band_pass import (HIGH_PASS, NORMALISATIONS, BandPassLateral, MotionBandPass, filter_time,
                               laplacian_of_gaussian)

PEAK = 779.25  # gain of the default kernel at its strongest frequency


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


@functools.cache
def jitted(**fields):
  block = MotionBandPass(**fields)
  return jax.jit(lambda x, mask: block.apply(block.init(jax.random.PRNGKey(0), x), x, mask=mask))


def band_pass(x, mask=None, **fields):
  return jax.tree.map(np.asarray, jitted(**fields)(x, mask))


def raw(size, sigma):
  """Equation 5.1 by loops."""
  out = np.zeros((size, size))
  for i in range(size):
    for j in range(size):
      r2 = (i - size // 2)**2 + (j - size // 2)**2
      out[i, j] = -1 / (np.pi * sigma**4) * (1 - r2 / (2 * sigma**2)) * np.exp(-r2 / (2 * sigma**2))
  return out


def response(kernel, omega, along=1):
  """Gain for a wave along one axis."""
  taps = kernel.sum(1 - along)
  return float((taps * np.cos(omega * (np.arange(len(taps)) - len(taps) // 2))).sum())


@pytest.mark.parametrize("size, sigma, total, centre", [
    (9, 1.1, -7.80933e-4, 278.398), (7, 0.9, -2.13944e-3, 226.767), (3, 0.9, -0.753328, 0.64401),
    (9, 0.9, -3.09743e-5, 15663), (11, 1.1, -1.20197e-5, 18088)])
def test_kernels_have_the_published_numbers(size, sigma, total, centre):
  kernel = laplacian_of_gaussian(size, sigma)
  np.testing.assert_allclose(raw(size, sigma).sum(), total, rtol=5e-6)
  np.testing.assert_allclose(kernel, raw(size, sigma) / raw(size, sigma).sum(), rtol=1e-9)
  np.testing.assert_allclose(kernel[size // 2, size // 2], centre, rtol=5e-5)
  assert abs(kernel.sum() - 1) < 1e-9


def test_the_default_kernel_is_a_hat_and_a_band_pass():
  kernel = laplacian_of_gaussian(9, 1.1)
  np.testing.assert_allclose([kernel[4, 5], kernel[4, 6], kernel[5, 5]], [108.063, -34.807, 21.144], atol=2e-3)
  gains = [response(kernel, i * np.pi / 8) for i in range(9)]
  np.testing.assert_allclose(gains, [1.0, 180.1, 543.9, 768.2, 710.2, 479.0, 249.3, 108.6, 64.0], atol=0.06)
  assert laplacian_of_gaussian(7, 0.9).min() == pytest.approx(-28.204, abs=1e-3)
  assert laplacian_of_gaussian(3, 0.9).min() == pytest.approx(-0.04395, abs=1e-5)


def test_the_strongest_gain_is_the_published_one():
  for (size, sigma), peak in {(9, 1.1): PEAK, (7, 0.9): 426.52}.items():
    grid = np.zeros((512, 512))
    grid[:size, :size] = laplacian_of_gaussian(size, sigma)
    assert np.abs(np.fft.fft2(grid)).max() == pytest.approx(peak, rel=1e-3)


def test_other_normalisations_are_what_they_say():
  assert abs(laplacian_of_gaussian(9, 1.1, "zero_mean").sum()) < 1e-12
  for name in NORMALISATIONS[1:]:
    assert np.abs(laplacian_of_gaussian(9, 1.1, name)).sum() == pytest.approx(1)


def test_it_has_252_parameters_or_none():
  x = np.zeros((1, 3, 16, 16, 3), "f")
  init = lambda **f: jax.eval_shape(MotionBandPass(**f).init, jax.random.PRNGKey(0), x)
  size = lambda **f: sum(p.size for p in jax.tree.leaves(init(**f)))
  assert size() == 252 and size(trainable=False) == 0
  np.testing.assert_array_equal(band_pass(x + 1), band_pass(x + 1, trainable=False))


def test_three_frames_make_one_image():
  x = some(2, 6, 12, 14, 3)
  y = band_pass(x)
  assert y.shape == (2, 2, 12, 14, 3) and band_pass(x, stride=1).shape == x.shape
  np.testing.assert_array_equal(band_pass(x.reshape(2, 2, 3, 12, 14, 3)), y)
  np.testing.assert_allclose(band_pass(x, stride=1)[:, 1::3], y, rtol=1e-5, atol=1e-3)


def test_equals_loops_in_float64():
  x = np.random.default_rng(0).normal(size=(1, 3, 7, 8, 2))
  kernel = laplacian_of_gaussian(9, 1.1)
  change = np.tensordot(HIGH_PASS, x[0], 1)
  padded = np.pad(change, ((4, 4), (4, 4), (0, 0)), mode="reflect")
  expected = np.zeros((7, 8, 2))
  for i in range(7):
    for j in range(8):
      expected[i, j] = (padded[i:i + 9, j:j + 9] * kernel[..., None]).sum((0, 1))
  np.testing.assert_allclose(band_pass(x.astype("f"))[0, 0], expected, atol=1e-5 * PEAK)


@pytest.mark.parametrize("stride", [1, 3])
def test_the_order_of_the_filters_does_not_matter_and_all_is_linear(stride):
  x, z = some(2, 1, 6, 16, 16, 3)
  y = band_pass(x, stride=stride)
  np.testing.assert_allclose(band_pass(x, stride=stride, temporal_first=False), y, atol=1e-5 * PEAK)
  np.testing.assert_allclose(band_pass(2 * x - 3 * z, stride=stride), 2 * y - 3 * band_pass(z, stride=stride),
                             atol=2e-5 * PEAK)
  np.testing.assert_allclose(band_pass(x[..., ::-1, :], stride=stride), y[..., ::-1, :], atol=1e-5 * PEAK)


def test_what_stays_or_brightens_evenly_is_not_seen():
  image, ones = some(1, 1, 16, 16, 3), np.ones((1, 3, 16, 16, 3), "f")
  for stride in (1, 3):
    assert np.abs(band_pass(np.repeat(image, 6, 1), stride=stride)).max() <= 1e-6 * PEAK
  times = np.arange(3, dtype="f").reshape(1, 3, 1, 1, 1)
  assert np.abs(band_pass(ones * 0.2 * times)).max() <= 1e-6 * PEAK
  np.testing.assert_allclose(band_pass(ones * 0.1 * times**2), -0.2 / 3, atol=1e-4)


def test_a_wave_is_amplified_by_the_response_of_the_kernel():
  for i in (1, 3, 6):
    wave = np.cos(i * np.pi / 8 * np.arange(48, dtype="f")).reshape(1, 1, 1, 48, 1)
    clip = np.concatenate([0 * wave, wave, 0 * wave], 1) * np.ones((1, 1, 16, 1, 1), "f")
    expected = 2 / 3 * response(laplacian_of_gaussian(9, 1.1), i * np.pi / 8)
    np.testing.assert_allclose(band_pass(clip)[0, 0, :, 8:40], expected * clip[0, 1, :, 8:40], atol=1e-5 * PEAK)


def test_all_energy_lies_where_something_moved():
  clip = np.repeat(np.random.default_rng(0).normal(size=(1, 1, 48, 48, 3)).astype("f"), 3, 1)
  for t in range(3):
    clip[:, t, 20:28, 16 + 3 * t:24 + 3 * t] = 2.0
  energy = band_pass(clip).astype(np.float64)**2
  near = np.zeros((48, 48, 1), bool)
  near[20 - 4:28 + 4, 16 - 4:30 + 4] = True
  assert (energy * near).sum() / energy.sum() > 1 - 1e-9


def test_frames_that_are_not_live_change_nothing():
  x = some(2, 6, 12, 12, 3)
  mask = np.asarray([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
  for stride in (1, 3):
    y, live = band_pass(x, mask, stride=stride)
    assert live.sum(1).tolist() == [3 // stride, 6 // stride]
    np.testing.assert_allclose(y[0, :3 // stride], band_pass(x[:1, :3], stride=stride)[0], atol=1e-5 * PEAK)
    assert not y[0, 3 // stride:].any()


def test_half_precision_comes_after_the_filter_only():
  x = some(1, 3, 16, 16, 3).astype(jnp.bfloat16)
  y = band_pass(x, dtype=jnp.bfloat16)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_array_equal(y, band_pass(x.astype("f")).astype(jnp.bfloat16))
  block = MotionBandPass()
  text = str(jax.make_jaxpr(lambda x: block.apply(block.init(jax.random.PRNGKey(0), x), x))(x))
  assert "HIGHEST" in text and "precision=None" not in text


def test_both_kernels_are_trained():
  x = some(1, 6, 12, 12, 3)
  block = MotionBandPass()
  slopes = jax.grad(lambda v: (block.apply(v, x)**2).sum())
  grads = jax.jit(lambda key: slopes(block.init(key, x)))(jax.random.PRNGKey(0))["params"]
  assert all(np.isfinite(g).all() and np.abs(g).min() > 0 for g in grads.values()) and len(grads) == 2


def test_maps_are_there_for_who_asks():
  x = some(1, 6, 12, 12, 3)
  block = MotionBandPass()
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), x)
  assert set(variables) == {"params"}
  y, state = jax.jit(functools.partial(block.apply, mutable=["maps"]))(variables, x)
  np.testing.assert_array_equal(state["maps"]["band_pass"][-1], y)


def test_wrong_fields_are_named():
  with pytest.raises(ValueError, match="size = 8"):
    laplacian_of_gaussian(8, 1.1)
  with pytest.raises(ValueError, match="'sum2' is not one of sum1"):
    laplacian_of_gaussian(9, 1.1, "sum2")
  with pytest.raises(ValueError, match="stride = 2"):
    band_pass(np.zeros((1, 6, 12, 12, 3), "f"), stride=2)
  with pytest.raises(ValueError, match="phi = 'conv' is not one of identity"):
    BandPassLateral(0, phi="conv").init(jax.random.PRNGKey(0), np.zeros((1, 2, 4, 4, 8), "f"))


@pytest.mark.parametrize("fields, names", [
    (dict(), {"band_pass", "norm"}), (dict(size=0), {"norm"}), (dict(size=0, phi="conv1x1"), {"phi", "norm"}),
    (dict(size=0, phi="mlp"), {"phi1", "phi2", "norm"})])
def test_a_lateral_connection_starts_as_nothing_and_learns_by_its_scale(fields, names):
  x = some(2, 3, 8, 8, 8)
  block = BandPassLateral(**fields)

  def loss(params, rest):
    y = block.apply({**rest, "params": params}, x)
    return (y**2 + y).sum()

  @jax.jit
  def found(key):
    variables = block.init(key, x)
    return variables["params"], block.apply(variables, x, (4, 6, 5)), jax.grad(loss)(variables["params"], variables)

  params, y, grads = found(jax.random.PRNGKey(0))
  assert set(params) == names
  assert y.shape == (2, 4, 6, 5, 8) and not np.any(y)
  assert np.abs(grads["norm"]["scale"]).min() > 0


def test_differences_at_the_ends_repeat_the_end():
  x = np.asarray([1, 4, 9], "f").reshape(1, 3, 1, 1, 1)
  y = jax.jit(filter_time, static_argnums=2)(x, np.asarray(HIGH_PASS, "f")[:, None], 1)
  np.testing.assert_allclose(np.ravel(y), [-1, -2 / 3, 5 / 3], rtol=1e-6)
