from flax import linen as nn
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


@pytest.mark.parametrize("inside, dtype", [(jnp.float32, None), (jnp.bfloat16, jnp.bfloat16), (jnp.bfloat16, None)])
@pytest.mark.parametrize("train", [False, True])
def test_the_norm_of_a_sum_is_layer_norm(inside, dtype, train):
  x = (3 * jax.random.normal(jax.random.key(0), (4, 7, 33)) + 1).astype(inside)
  plain, own = nn.LayerNorm(epsilon=1e-6, dtype=dtype), transformer.SumNorm(1e-6, dtype)
  shapes = jax.tree.map(jnp.shape, plain.init(jax.random.key(0), x))
  assert jax.tree.map(jnp.shape, own.init(jax.random.key(0), x)) == shapes
  params = {"params": {"scale": jax.random.normal(jax.random.key(1), (33,)),
                       "bias": jax.random.normal(jax.random.key(2), (33,))}}
  kept, y = own.apply(params, x, train)
  want = plain.apply(params, x)
  assert y.dtype == want.dtype and kept.dtype == x.dtype
  np.testing.assert_array_equal(kept, x)
  np.testing.assert_array_equal(y, want)
  grads = [jax.grad(lambda p, x: (f(p, x).astype(jnp.float32) ** 2).sum(), (0, 1))(params, x)
           for f in (plain.apply, lambda p, x: own.apply(p, x, train)[1])]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *grads)


@pytest.mark.parametrize("platform, train, kept", [("tpu", False, True), ("tpu", True, False), ("cuda", False, False),
                                                   ("cpu", False, False)])
def test_sums_are_kept_on_tpus_in_evaluation(platform, train, kept):
  norm, x = transformer.SumNorm(), jnp.ones((2, 3, 8))
  variables = norm.init(jax.random.key(0), x)
  lowered = jax.jit(lambda x: norm.apply(variables, x, train)).trace(x).lower(lowering_platforms=(platform,))
  assert ("optimization_barrier" in lowered.as_text()) == kept
