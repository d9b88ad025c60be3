import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import resize as module
from vidx.nn.resize import resize, resize_short


def along_each(form):
  return lambda x, shape: functools.reduce(lambda y, axis: form(y, axis, shape[axis - 1]), (1, 2, 3), x)


@pytest.mark.parametrize("form", [resize, along_each(module._by_taps), along_each(module._by_product)])
@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 10, 14), (2, 3, 4), (8, 13, 7), (1, 1, 1)])
def test_equals_jax_without_antialiasing(shape, form):
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 5, 7, 3))
  expected = jax.image.resize(x, (2, *shape, 3), "linear", antialias=False)
  np.testing.assert_allclose(form(x, shape), expected, rtol=1e-4, atol=1e-6)
  assert form(x.astype(jnp.bfloat16), shape).dtype == jnp.bfloat16


@pytest.mark.parametrize("platform, gathers", [("tpu", False), ("cuda", True), ("cpu", True)])
def test_a_tpu_takes_products_in_place_of_gathers(platform, gathers):
  x = jax.ShapeDtypeStruct((2, 4, 5, 7, 3), jnp.float32)
  text = jax.jit(lambda x: resize(x, (4, 9, 7))).trace(x).lower(lowering_platforms=(platform,)).as_text()
  assert ("stablehlo.gather" in text) == gathers and ("stablehlo.dot_general" in text) != gathers


def test_a_size_that_fits_is_left_alone():
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 5, 7, 3))
  assert resize(x, (4, 5, 7)) is x and resize_short(x, 5) is x and resize_short(x, 0) is x


def test_proportions_stay():
  assert resize_short(jnp.zeros((1, 2, 64, 96, 3)), 40).shape == (1, 2, 40, 60, 3)
