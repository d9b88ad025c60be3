import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.pixel_verification import pixel_verification, shrunk, verification_loss


def some(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def by_loops(of, others, image, tau):
  """The module as it is written down, pixel by pixel."""
  out = np.zeros((*of.shape[:3], image.shape[-1]))
  unit = lambda v: v / np.linalg.norm(v)
  for b in range(of.shape[0]):
    keys = np.asarray([unit(v) for v in np.asarray(others[b], np.float64).reshape(-1, others.shape[-1])])
    for y in range(of.shape[1]):
      for x in range(of.shape[2]):
        scores = keys @ unit(np.asarray(of[b, y, x], np.float64)) / tau
        weights = np.exp(scores - scores.max())
        assert np.isclose((weights / weights.sum()).sum(), 1)
        out[b, y, x] = weights / weights.sum() @ np.asarray(image[b], np.float64).reshape(-1, image.shape[-1])
  return out


def test_equals_the_loop():
  of, others, image = some(2, 4, 5, 6), some(2, 4, 5, 6, seed=1), some(2, 4, 5, 3, seed=2)
  np.testing.assert_allclose(pixel_verification(of, others, image, chunk=0), by_loops(of, others, image, 0.05),
                             rtol=1e-4, atol=1e-5)


def test_chunks_equal_the_whole_and_so_do_their_gradients():
  given = some(1, 32, 32, 8), some(1, 32, 32, 8, seed=1), some(1, 32, 32, 3, seed=2), some(1, 32, 32, 3, seed=3)

  def run(chunk):
    f = jax.jit(jax.value_and_grad(lambda *x: verification_loss(*x, chunk=chunk).sum(), argnums=(0, 1, 2, 3)))
    return f(*given)

  for a, b in zip(*(jax.tree.leaves(run(chunk)) for chunk in (0, 100))):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_an_image_is_verified_by_itself():
  features, image = some(1, 8, 8, 16), some(1, 8, 8, 3, seed=1)
  np.testing.assert_allclose(pixel_verification(features, features, image, tau=1e-4), image, atol=1e-5)
  assert verification_loss(features, features, image, image, tau=1e-4) < 1e-5


def test_equal_features_give_the_mean_colour():
  image = some(2, 6, 6, 3)
  out = pixel_verification(jnp.ones((2, 6, 6, 4)), jnp.ones((2, 6, 6, 4)), image, chunk=7)
  np.testing.assert_allclose(out, jnp.broadcast_to(image.mean((1, 2), keepdims=True), out.shape), atol=1e-5)


def test_features_without_length_have_a_finite_gradient():
  zeros = jnp.zeros((1, 4, 4, 4))
  grad = jax.grad(lambda x: verification_loss(x, x, some(1, 4, 4, 3), some(1, 4, 4, 3, seed=1)).sum())(zeros)
  assert np.isfinite(grad).all()


def test_strides_average_features_and_images_first():
  of, others, image = some(1, 8, 8, 6), some(1, 8, 8, 6, seed=1), some(1, 8, 8, 3, seed=2)
  whole = pixel_verification(*(shrunk(x, 2) for x in (of, others, image)))
  np.testing.assert_allclose(pixel_verification(of, others, image, stride=2), whole, rtol=1e-6)


def test_the_gradient_moves_colours_to_those_of_the_image():
  features, image = some(1, 6, 6, 8), jnp.full((1, 6, 6, 3), 0.5)
  generated = jnp.full((1, 6, 6, 3), -0.5)
  grad = jax.grad(lambda g: verification_loss(features, features, image, g).sum())(generated)
  assert (grad < 0).all()


def test_raw_products_are_an_option_and_others_are_refused():
  of = some(1, 4, 4, 6)
  image = some(1, 4, 4, 3, seed=2)
  raw = pixel_verification(of, of, image, norm="none")
  scores = jax.nn.softmax(of.reshape(16, 6) @ of.reshape(16, 6).T, -1)
  np.testing.assert_allclose(raw.reshape(16, 3), scores @ image.reshape(16, 3), rtol=1e-4, atol=1e-5)
  with pytest.raises(ValueError, match="norm"):
    pixel_verification(of, of, image, norm="other")


def test_half_precision_keeps_sums_in_full_and_lowers_for_accelerators():
  half = lambda x: x.astype(jnp.bfloat16)
  of, others, image = half(some(1, 16, 16, 8)), half(some(1, 16, 16, 8, seed=1)), some(1, 16, 16, 3, seed=2)
  f = jax.jit(lambda *x: pixel_verification(*x, chunk=64))
  assert f(of, others, image).dtype == jnp.float32
  assert export.export(f, platforms=["tpu", "cuda"])(of, others, image).mlir_module_serialized
