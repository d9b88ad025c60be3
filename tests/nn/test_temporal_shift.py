import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import temporal_shift as module
from vidx.nn.temporal_shift import temporal_shift


def shifted_by_loops(x, fold):
  y = np.zeros_like(x)
  for t in range(x.shape[1]):
    if t + 1 < x.shape[1]:
      y[:, t, ..., :fold] = x[:, t + 1, ..., :fold]
    if t > 0:
      y[:, t, ..., fold:2 * fold] = x[:, t - 1, ..., fold:2 * fold]
    y[:, t, ..., 2 * fold:] = x[:, t, ..., 2 * fold:]
  return y


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_equals_the_loop(frames):
  x = np.random.default_rng(0).normal(size=(2, frames, 3, 3, 16)).astype("f")
  np.testing.assert_array_equal(jax.jit(temporal_shift)(x), shifted_by_loops(x, 2))


def test_a_constant_clip_changes_only_at_its_ends():
  x = jnp.ones((1, 5, 2, 2, 16))
  y = temporal_shift(x)
  np.testing.assert_array_equal(y[:, 1:-1], x[:, 1:-1])
  assert y[:, -1, ..., :2].sum() == 0 and y[:, 0, ..., 2:4].sum() == 0


def test_gradient_is_the_reverse_shift():
  x = jax.random.normal(jax.random.PRNGKey(0), (1, 4, 2, 2, 8))
  g = jax.grad(lambda a: (temporal_shift(a) * x).sum())(x)
  np.testing.assert_allclose(g[:, 1:, ..., :1], x[:, :-1, ..., :1])


def test_a_share_of_nothing_and_too_few_channels_change_nothing():
  x = jax.random.normal(jax.random.PRNGKey(0), (1, 4, 2, 2, 7))
  np.testing.assert_array_equal(temporal_shift(x, 0.0), x)
  np.testing.assert_array_equal(temporal_shift(x, 1 / 8), x)


@pytest.mark.parametrize("frames, channels, fold", [(1, 8, 1), (2, 8, 4), (5, 16, 2)])
def test_the_form_of_accelerators_is_that_of_cpus(frames, channels, fold):
  x = jax.random.normal(jax.random.key(0), (2, frames, 3, 3, channels))
  forms = (module._joined, module._selected)
  np.testing.assert_array_equal(*(form(x, fold) for form in forms))
  np.testing.assert_array_equal(*(jax.grad(lambda x, f=form: (f(x, fold) ** 2).sum())(x) for form in forms))


def test_it_is_differentiated_forwards_too():
  x, moved = jax.random.normal(jax.random.key(0), (2, 1, 4, 2, 2, 8))
  np.testing.assert_array_equal(jax.jvp(temporal_shift, (x,), (moved,))[1], temporal_shift(moved))
