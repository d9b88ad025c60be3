import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import synchronization as sync

RNG = np.random.default_rng(0)
SOUND = jnp.asarray(RNG.normal(size=(8, 6, 4, 1)), jnp.float32)
OTHER = jnp.asarray(RNG.normal(size=(8, 6, 4, 1)), jnp.float32)


def test_constant_features_lose_half_the_squared_margin_and_the_worst_is_bounded():
  assert sync.contrastive(jnp.zeros(()), jnp.zeros(())) == pytest.approx(0.49005)
  assert sync.contrastive(jnp.zeros(()), jnp.ones(())) == 0
  x = sync.half_unit(jnp.asarray([[3.0, 4.0]]))
  assert sync.distance(x, -x)[0] == pytest.approx(1.0, abs=1e-6)
  assert sync.contrastive(sync.distance(x, -x), sync.distance(x, x))[0] == pytest.approx(0.5 * (1 + 0.9801))


def test_gradients_are_finite_where_distances_or_features_are_zero():
  value = lambda x: sync.contrastive(sync.distance(sync.half_unit(x), sync.half_unit(x[::-1])),
                                     sync.distance(sync.half_unit(x), sync.half_unit(0 * x))).sum()
  for x in (jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.asarray([[1.0, 2, 3], [0, 0, 0]])):
    assert np.isfinite(jax.grad(value)(x)).all()


def test_loss_is_that_of_a_loop():
  r, p, n = (np.asarray(sync.half_unit(RNG.normal(size=(5, 7)))) for _ in range(3))
  expected = []
  for a, b, c in zip(r, p, n):
    expected.append((np.linalg.norm(a - b) ** 2 + max(0, 0.99 - np.linalg.norm(a - c)) ** 2) / 2)
  np.testing.assert_allclose(sync.contrastive(sync.distance(r, p), sync.distance(r, n)), expected, rtol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(r, axis=-1), 0.5, rtol=1e-6)


def test_silent_and_equal_sounds_tell_nothing():
  sound, other = SOUND, OTHER.at[1].set(SOUND[1])
  sound = sound.at[0].set(3.0)
  np.testing.assert_array_equal(sync.tells(sound, other), [False, False] + [True] * 6)


@pytest.mark.parametrize("progress, hard", [(0.0, 0), (0.49, 0), (0.5, 2), (1.0, 2)])
def test_hard_negatives_come_in_the_second_half_and_are_a_quarter(progress, hard):
  valid = jnp.ones(8)
  other, both = sync.negatives(SOUND, OTHER, valid, jnp.full(8, progress), 0.25, 0.5)
  np.testing.assert_array_equal(other[:8 - hard], jnp.roll(SOUND, 1, 0)[:8 - hard])
  np.testing.assert_array_equal(other[8 - hard:], OTHER[8 - hard:])
  assert both.all()


def test_a_pair_needs_both_sounds():
  valid = jnp.ones(8).at[2].set(0.0).at[7].set(-1.0)
  _, both = sync.negatives(SOUND, OTHER, valid, jnp.ones(8), 0.25, 0.5)
  np.testing.assert_array_equal(both, [False, True, False, False, True, True, True, False])
