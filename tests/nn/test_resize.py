import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.resize import resize, resize_short


@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 10, 14), (2, 3, 4), (8, 13, 7), (1, 1, 1)])
def test_equals_jax_without_antialiasing(shape):
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 5, 7, 3))
  expected = jax.image.resize(x, (2, *shape, 3), "linear", antialias=False)
  np.testing.assert_allclose(resize(x, shape), expected, rtol=1e-4, atol=1e-6)


def test_a_size_that_fits_is_left_alone():
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 5, 7, 3))
  assert resize(x, (4, 5, 7)) is x and resize_short(x, 5) is x and resize_short(x, 0) is x


def test_proportions_stay():
  assert resize_short(jnp.zeros((1, 2, 64, 96, 3)), 40).shape == (1, 2, 40, 60, 3)
