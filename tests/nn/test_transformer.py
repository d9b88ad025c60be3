import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from vidx.nn import transformer


@pytest.fixture
def x():
  return np.concatenate([np.linspace(-9, 9, 3601), [-1e4, -40.0, 40.0, 1e4]]).astype(np.float32)


def test_gelu_of_accelerators_is_off_by_less_than_bfloat16_can_say(x):
  want = 0.5 * x * (1 + special.erf(x.astype(np.float64) / np.sqrt(2)))
  np.testing.assert_allclose(transformer._tanh_gelu(x), want, atol=3e-5, rtol=1e-6)
  slopes = [jax.vmap(jax.grad(f))(x) for f in (transformer._tanh_gelu, transformer._exact_gelu)]
  np.testing.assert_allclose(*slopes, atol=1.2e-4)
  half = jnp.asarray(x, jnp.bfloat16)
  a, b = (f(half).astype(jnp.float32) for f in (transformer._tanh_gelu, transformer._exact_gelu))
  np.testing.assert_allclose(a, b, atol=1e-3, rtol=2.0 ** -7)


def test_gelu_is_exact_in_float32_on_every_platform(x):
  text = jax.jit(transformer.gelu).trace(x).lower(lowering_platforms=("tpu",)).as_text()
  assert "erf" in text and "tanh" not in text
  half = jax.ShapeDtypeStruct(x.shape, jnp.bfloat16)
  assert "tanh" in jax.jit(transformer.gelu).trace(half).lower(lowering_platforms=("tpu",)).as_text()
  assert "erf" in jax.jit(transformer.gelu).trace(half).lower(lowering_platforms=("cpu",)).as_text()
