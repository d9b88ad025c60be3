import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import patches


def test_both_forms_are_the_sum_over_each_square():
  x = jax.random.normal(jax.random.key(0), (2, 3, 8, 12, 3))
  kernel = jax.random.normal(jax.random.key(1), (4, 4, 3, 5))
  want = np.zeros((2, 3, 2, 3, 5))
  for i in range(2):
    for j in range(3):
      want[:, :, i, j] = np.einsum("bthwc,hwcd->btd", x[:, :, 4 * i:4 * i + 4, 4 * j:4 * j + 4], kernel)
  for form in (patches._product, patches._convolution):
    np.testing.assert_allclose(form(x, kernel), want, atol=1e-4)
    np.testing.assert_allclose(form(x[0, 0], kernel), want[0, 0], atol=1e-4)


def test_pixels_beyond_the_last_whole_square_are_left_out():
  layer, x = patches.PatchEmbed(5, 4), jax.random.normal(jax.random.key(0), (1, 9, 11, 3))
  variables = layer.init(jax.random.key(1), x)
  assert layer.apply(variables, x).shape == (1, 2, 2, 5)
  np.testing.assert_array_equal(layer.apply(variables, x), layer.apply(variables, x[:, :8, :8]))
  assert variables["params"]["kernel"].dtype == jnp.float32
