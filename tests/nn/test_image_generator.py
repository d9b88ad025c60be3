import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.measure import count
from vidx.nn import conv
from vidx.nn.image_generator import ImageConv, ImageDecoder, ImageEncoder, reflect_pad, upsample
from vidx.nn.norm import instance_norm


def some(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_instance_norm_equals_the_definition_and_forgets_gain_and_offset_of_channels():
  x = some(2, 5, 6, 3)
  a = np.asarray(x, np.float64)
  expected = (a - a.mean((1, 2), keepdims=True)) / np.sqrt(a.var((1, 2), keepdims=True) + 1e-5)
  np.testing.assert_allclose(instance_norm(x), expected, atol=1e-5)
  gained = x * jnp.asarray([2.0, 0.5, 3.0]) + jnp.asarray([1.0, -4.0, 0.2])
  np.testing.assert_allclose(instance_norm(gained), instance_norm(x), atol=1e-3)
  assert instance_norm(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
  assert np.isfinite(jax.grad(lambda x: (instance_norm(x) ** 2).sum())(jnp.zeros((1, 2, 2, 1)))).all()


def test_only_the_encoder_with_norm_forgets_how_strong_features_are():
  x = some(1, 16, 16, 3)
  for norm in (True, False):
    layer = ImageConv(4, 7, reflect=True, norm=norm)
    variables = layer.init(jax.random.PRNGKey(0), x)
    alike = jnp.allclose(layer.apply(variables, x), layer.apply(variables, 3 * x), atol=2e-2)
    assert bool(alike) == norm


@pytest.mark.parametrize("width, params, gmacs", [(64, 1_558_656, 1.060)])
def test_an_encoder_has_its_parameters_and_products(width, params, gmacs):
  counts = count(Evaluated(ImageEncoder(width)), jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32))
  assert counts.params == params and counts.macs / 1e9 == pytest.approx(gmacs, abs=1e-3)


def Evaluated(module):
  """The module as one that is called with `train`."""
  from flax import linen as nn

  class Both(nn.Module):
    inner: nn.Module

    @nn.compact
    def __call__(self, x, train=False):
      return self.inner(x)

  return Both(module)


def test_borders_are_mirrored_and_pixels_repeated():
  row = jnp.arange(4.0).reshape(1, 1, 4, 1).repeat(4, 1)
  np.testing.assert_array_equal(reflect_pad(row, 2)[0, 0, :, 0], [2, 1, 0, 1, 2, 3, 2, 1])
  np.testing.assert_array_equal(upsample(row)[0, 0, :, 0], [0, 0, 1, 1, 2, 2, 3, 3])


def test_encoder_and_decoder_have_their_sizes_and_remat_changes_nothing():
  x = some(2, 16, 24, 3)
  with conv.using("native"):
    encoder, decoder = ImageEncoder(4, 2, norm=True), ImageDecoder(4, 2, blocks=2)
    code = encoder.apply(encoder.init(jax.random.PRNGKey(0), x), x)
    assert code.shape == (2, 4, 6, 16)
    variables = decoder.init(jax.random.PRNGKey(0), code)
    image, last = decoder.apply(variables, code)
    assert image.shape == (2, 16, 24, 3) and last.shape == (2, 16, 24, 4) and (abs(image) <= 1).all()
    again, _ = ImageDecoder(4, 2, blocks=2, remat=True).apply(variables, code)
    np.testing.assert_array_equal(image, again)
    lean = ImageDecoder(4, 2, blocks=1, dtype=jnp.bfloat16)
    f = jax.jit(lambda v, x: lean.apply(v, x))
    assert jax.eval_shape(f, variables, code)[0].dtype == jnp.float32
    assert export.export(f, platforms=["tpu", "cuda"])(variables, code).mlir_module_serialized
