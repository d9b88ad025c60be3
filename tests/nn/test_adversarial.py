import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import adversarial


def seen(score, classes=None, features=()):
  scale = {"score": jnp.asarray(score, jnp.float32), "features": list(features)}
  return [scale | ({} if classes is None else {"classes": jnp.asarray(classes, jnp.float32)})]


def test_scores_of_zero_cost_log_two_on_every_side():
  zero = seen([[0.0], [0.0]])
  for real in (True, False):
    np.testing.assert_allclose(adversarial.verdict(zero, real), math.log(2), rtol=1e-6)


def test_squares_and_logarithms_are_those_of_the_definition():
  score = seen([[0.3, -2.0]])
  p = 1 / (1 + np.exp(-np.asarray([0.3, -2.0])))
  np.testing.assert_allclose(adversarial.verdict(score, True)[0], -np.log(p).mean(), rtol=1e-5)
  np.testing.assert_allclose(adversarial.verdict(score, False)[0], -np.log(1 - p).mean(), rtol=1e-5)
  np.testing.assert_allclose(adversarial.verdict(score, True, "lsgan")[0], (0.7 ** 2 + 3 ** 2) / 2, rtol=1e-5)
  np.testing.assert_allclose(adversarial.verdict(score, False, "lsgan")[0], (0.3 ** 2 + 2 ** 2) / 2, rtol=1e-5)
  with pytest.raises(ValueError, match="gan"):
    adversarial.verdict(score, True, "other")


def test_scales_are_averaged_and_unknown_clips_cost_nothing():
  two = seen([[1.0]], [[0.0, 2.0]]) + seen([[3.0]], [[0.0, 2.0]])
  np.testing.assert_allclose(adversarial.verdict(two, True, "lsgan"), [2.0])
  np.testing.assert_allclose(adversarial.recognition(two, jnp.asarray([1])), np.log1p(np.exp(-2.0)), rtol=1e-5)
  assert adversarial.recognition(two, jnp.asarray([-1]))[0] == 0


def test_features_are_matched_without_a_gradient_to_the_real_ones():
  x, y = jnp.ones((2, 3, 3, 4)), jnp.zeros((2, 3, 3, 4))
  both = lambda x: seen([[0.0]] * 2, features=[x, x])
  loss = lambda x, y: adversarial.feature_matching(both(x), both(y)).sum()
  assert loss(x, y) == 4
  gx, gy = jax.grad(loss, (0, 1))(x, y)
  assert gx.any() and not gy.any()


def test_batches_behind_each_other_come_apart():
  first, second = adversarial.halves(seen([[1.0], [2.0], [3.0], [4.0]]))
  np.testing.assert_array_equal(first[0]["score"], [[1], [2]])
  np.testing.assert_array_equal(second[0]["score"], [[3], [4]])
