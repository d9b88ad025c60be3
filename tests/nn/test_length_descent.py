import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn.duration_dp import poisson_dp
from vidx.nn.length_descent import descend_lengths


def test_descent_comes_near_the_exact_search():
  ids, truth = np.array([0, 2, 1, 0]), np.array([30, 10, 40, 0])
  labels = np.pad(np.repeat(ids, truth), (0, 16))
  log_probs = jax.nn.log_softmax(4 * jax.nn.one_hot(labels, 3) + np.random.default_rng(0).normal(size=(96, 3)))
  means = jnp.array([25.0, 20, 35, 0])
  exact = jax.jit(poisson_dp)(log_probs, ids, means, length=80, segments=3).lengths
  found = jax.jit(descend_lengths)(log_probs, ids, means, length=80, segments=3)
  assert found.sum() == 80 and found[3] == 0
  assert np.abs(found - exact).max() <= 3 < np.abs(means[:3] - exact[:3]).max()
