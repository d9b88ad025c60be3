import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.dynamic_image import DynamicImage, rank_weights
from vidx.nn.squeeze import TemporalSqueezePooling, cosine_basis


def some(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype("f")


@functools.cache
def jitted(block, mutable=False):
  return jax.jit(functools.partial(block.apply, mutable=mutable))


def start(block, x):
  return {"params": jax.jit(block.init)(jax.random.PRNGKey(0), x)["params"]}


def zeros(block, x, bias):
  """Variables that are 0 but for the bias that makes the basis."""
  shapes = jax.eval_shape(block.init, jax.random.PRNGKey(0), x)["params"]
  params = jax.tree.map(lambda p: np.zeros(p.shape, p.dtype), shapes)
  params["excite"]["bias"] = np.ravel(bias)
  return {"params": params}


def squeezed(block, x):
  """(images, projection loss, variables)."""
  variables = start(block, x)
  y, state = jitted(block, ("losses", "maps"))(variables, x)
  return np.asarray(y), state["losses"]["projection"][0], variables


@pytest.mark.parametrize("frames, images, bias, params", [
    (10, 3, False, 400), (10, 3, True, 440), (64, 16, False, 69_632), (64, 16, True, 70_720)])
def test_it_has_the_published_parameters(frames, images, bias, params):
  block = TemporalSqueezePooling(images, use_bias=bias)
  shapes = jax.eval_shape(block.init, jax.random.PRNGKey(0), jnp.zeros((1, frames, 2, 2, 3)))
  assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == params


def test_clips_of_ten_full_frames_become_three_images():
  block = TemporalSqueezePooling()
  x = jax.ShapeDtypeStruct((2, 10, 299, 299, 3), jnp.float32)
  assert jax.eval_shape(lambda x: block.init_with_output(jax.random.PRNGKey(0), x)[0], x).shape == (2, 3, 299, 299, 3)


def test_the_loss_is_ten_times_the_mean_norm_of_the_residual():
  x = some(2, 6, 3, 3, 2)
  block = TemporalSqueezePooling(2, activations=("sigmoid", "tanh"))
  y, state = jitted(block, "losses")(zeros(block, x, cosine_basis(6, 2)), x)
  basis = np.tanh(cosine_basis(6, 2))
  norms = []
  for b in range(2):
    series = x[b].reshape(6, -1)
    want = np.linalg.lstsq(basis, series, rcond=None)[0]
    np.testing.assert_allclose(np.reshape(y[b], (2, -1)), want, atol=1e-4)
    norms.append(np.linalg.norm(series - basis @ want, axis=0))
  np.testing.assert_allclose(state["losses"]["projection"][0], 10 * np.mean(norms), rtol=1e-4)


def test_as_many_images_as_frames_lose_nothing_and_still_clips_lose_nothing():
  _, loss, _ = squeezed(TemporalSqueezePooling(4, activations=("sigmoid", "tanh"), beta=1.0), some(1, 4, 3, 3, 3))
  assert loss < 5e-3
  still = np.broadcast_to(some(1, 1, 3, 3, 3), (1, 6, 3, 3, 3))
  block = TemporalSqueezePooling(2, beta=1.0)
  line = np.stack([np.ones(6, "f"), np.arange(6, dtype="f")], 1)
  _, state = jitted(block, "losses")(zeros(block, still, line), still)
  assert state["losses"]["projection"][0] < 5e-3


@pytest.mark.parametrize("frames, images", [(10, 3), (64, 16)])
def test_a_fresh_basis_is_the_cosines_whatever_the_clip(frames, images):
  block = TemporalSqueezePooling(images)
  for seed, offset in ((0, 0.0), (1, 3.0)):
    slow = offset + np.cumsum(some(2, frames, 6, 6, 3, seed=seed), 1) / frames
    still = np.broadcast_to(slow[:, :1], slow.shape)
    for x, most in ((still, 0.25), (slow, 0.35)):
      _, loss, variables = squeezed(block, x)
      lost = loss / block.beta / np.sqrt(np.square(x).sum(1)).mean()
      assert lost < most  # of a series, its norm
    z = x.mean((2, 3, 4))
    bias = np.asarray(variables["params"]["excite"]["bias"])
    np.testing.assert_array_equal(bias, np.ravel(cosine_basis(frames, images)))
    hidden = jax.nn.sigmoid(z @ variables["params"]["squeeze"]["kernel"])
    assert np.std(hidden @ variables["params"]["excite"]["kernel"]) < 0.5 * np.std(bias)


def test_an_orthonormal_basis_loses_as_much():
  x = some(2, 6, 3, 3, 2)
  identity, qr = (squeezed(TemporalSqueezePooling(3, phi=phi), x) for phi in ("identity", "qr"))
  np.testing.assert_allclose(identity[1], qr[1], rtol=1e-4)
  assert np.abs(identity[0] - qr[0]).max() > 1e-2


@pytest.mark.parametrize("first, second", [("sigmoid", "tanh"), ("tanh", "sigmoid"), ("sigmoid", "sigmoid"),
                                           ("relu", "relu"), ("leaky_relu", "sigmoid"), ("sigmoid", "leaky_relu")])
def test_every_pair_of_activations_has_finite_gradients(first, second):
  x = some(2, 5, 2, 2, 3)
  block = TemporalSqueezePooling(2, activations=(first, second))

  def loss(params):
    y, state = block.apply({"params": params}, x, mutable=["losses"])
    return jnp.sum(y**2) + state["losses"]["projection"][0]

  grads = jax.jit(lambda key: jax.grad(loss)(block.init(key, x)["params"]))(jax.random.PRNGKey(0))
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
  assert np.any(grads["squeeze"]["kernel"]) or second == "relu"


@pytest.mark.parametrize("basis_init", ["dct", "orthogonal", "normal"])
def test_dead_frames_change_nothing(basis_init):
  x = some(2, 6, 3, 3, 2)
  block = TemporalSqueezePooling(2, basis_init=basis_init)
  variables = start(block, x)
  mask = np.asarray([[1] * 6, [1, 1, 1, 1, 0, 0]])
  a, live = jitted(block)(variables, x, mask=mask)
  changed = x.copy()
  changed[1, 4:] = 7
  b, _ = jitted(block)(variables, changed, mask=mask)
  np.testing.assert_array_equal(a, b)
  assert live is None and a.shape == (2, 2, 3, 3, 2)
  np.testing.assert_allclose(a[0], jitted(block)(variables, x)[0], atol=1e-5)


def test_segments_are_squeezed_one_by_one():
  x = some(2, 2, 5, 3, 3, 3)
  block = TemporalSqueezePooling(2)
  y, _, variables = squeezed(block, x)
  assert y.shape == (2, 4, 3, 3, 3)
  np.testing.assert_allclose(y[:, 2:], jitted(block)(variables, x[:, 1]), atol=1e-5)


def test_figures_are_those_of_the_residual_of_pixels():
  pixels = np.random.default_rng(0).uniform(size=(2, 6, 3, 3, 2)).astype("f")
  block = TemporalSqueezePooling(2, figures=True, pixels=(0.5, 0.25), activations=("sigmoid", "tanh"))
  x = (pixels - 0.5) / 0.25
  variables = zeros(block, x, cosine_basis(6, 2))
  y, state = jitted(block, ("losses", "figures"))(variables, x)
  figures = {k: float(v[0]) for k, v in state["figures"].items()}
  basis = np.tanh(cosine_basis(6, 2))
  residual = [series - basis @ np.linalg.lstsq(basis, series, rcond=None)[0]
              for series in (p.reshape(6, -1) for p in pixels)]
  assert figures == pytest.approx(dict(
      projection=np.mean([np.linalg.norm(r, axis=0) for r in residual]), mae=np.abs(residual).mean(),
      condition=np.linalg.cond(basis), gain=np.linalg.norm(y) / np.linalg.norm(x)), rel=1e-3)
  plain, state = jitted(block.clone(figures=False), ("losses", "figures"))(variables, x)
  assert "figures" not in state
  unit = jitted(block.clone(normalize=True))(variables, x)
  np.testing.assert_allclose(unit, plain / np.std(plain, (2, 3, 4), keepdims=True), rtol=1e-4)


def test_squeezed_images_are_shown_when_asked_for():
  x = some(1, 5, 4, 4, 3)
  block = TemporalSqueezePooling(dtype=jnp.bfloat16)
  variables = start(block, x)
  y, state = jitted(block, "maps")(variables, x)
  assert y.dtype == jnp.bfloat16 and state["maps"]["squeezed"][0].shape == (1, 3, 4, 4, 3)
  assert jax.tree.leaves(variables)[0].dtype == jnp.float32


@pytest.mark.parametrize("fields, words", [
    (dict(activations=("sigmoid", "gelu")), "gelu"), (dict(basis_init="zeros"), "basis_init"),
    (dict(phi="svd"), "phi")])
def test_a_wrong_choice_is_named(fields, words):
  with pytest.raises(ValueError, match=words):
    TemporalSqueezePooling(**fields)


def test_a_clip_of_another_length_is_refused():
  for block in (TemporalSqueezePooling(3, frames=10), TemporalSqueezePooling(7)):
    with pytest.raises(ValueError, match="6"):
      jax.eval_shape(block.init, jax.random.PRNGKey(0), jnp.zeros((1, 6, 2, 2, 3)))


def test_dynamic_images_have_the_published_weights():
  np.testing.assert_allclose(rank_weights(6), [-5.15, -0.15, 1.35, 1.6833, 1.4333, 0.8333], atol=1e-4)
  np.testing.assert_allclose(rank_weights(9).sum(), 0, atol=1e-9)
  x = some(2, 12, 3, 3, 3)
  y = np.asarray(jitted(DynamicImage(6))({}, x))
  np.testing.assert_allclose(y[1, 1], np.tensordot(rank_weights(6), x[1, 6:], 1), atol=1e-5)
  np.testing.assert_allclose(jitted(DynamicImage())({}, x[:, :6]), y[:, :1], atol=1e-5)
  np.testing.assert_array_equal(jitted(DynamicImage())({}, x.reshape(2, 2, 6, 3, 3, 3)), y)
  with pytest.raises(ValueError, match="segments"):
    jitted(DynamicImage(5))({}, x)
