import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn.frame_selection import best_frames, excess, fuse, uniform_frames

B, N, M, K = 3, 9, 4, 5


@pytest.fixture
def case():
  return promises.some_input((B, N)), promises.some_input((B, N, K), 1)


def test_the_best_frames_are_those_of_a_sort(case):
  scores, _ = case
  found = np.asarray(best_frames(scores, M))
  for row, chosen in zip(np.asarray(scores), found):
    assert chosen.tolist() == sorted(range(N), key=lambda i: -row[i])[:M]
  assert best_frames(jnp.zeros((1, 5)), 3).tolist() == [[0, 1, 2]]


def test_choosing_then_fusing_equals_the_loop(case):
  """Sort, gather, classify: frames that are not chosen count for nothing."""
  scores, logits = case
  q, chosen = jax.nn.sigmoid(scores), best_frames(scores, M)
  found = fuse(jnp.take_along_axis(logits, chosen[..., None], 1), jnp.take_along_axis(q, chosen, 1))
  for b in range(B):
    order = np.argsort(-np.asarray(scores[b]))[:M]
    expected = sum(np.asarray(q[b, i]) * np.asarray(logits[b, i]) for i in order)
    np.testing.assert_allclose(found[b], expected, rtol=1e-5)


def test_frames_are_spread_evenly():
  assert uniform_frames(25, 10).tolist() == [1, 3, 6, 8, 11, 13, 16, 18, 21, 23]
  assert uniform_frames(4, 4).tolist() == [0, 1, 2, 3]


def test_a_constant_weight_is_the_plain_mean_of_frames(case):
  _, logits = case
  same = jnp.full((B, N), 0.3)
  np.testing.assert_allclose(fuse(logits, same) / (0.3 * N), logits.mean(1), rtol=1e-4, atol=1e-6)
  by_probability = jax.nn.softmax(fuse(logits, same, fusion="probabilities"))
  np.testing.assert_allclose(by_probability, jax.nn.softmax(logits).mean(1), rtol=1e-4)


def test_the_gradient_of_a_weight_is_the_error_times_the_frame_s_logits(case):
  """dL/dq_i = (softmax(z) - y) . l_i, for the cross entropy of one video."""
  scores, logits = case
  q, y = jax.nn.sigmoid(scores), jax.nn.one_hot(jnp.asarray([0, 3, 1]), K)
  loss = lambda q: -(y * jax.nn.log_softmax(fuse(logits, q))).sum()
  expected = jnp.einsum("bk,bnk->bn", jax.nn.softmax(fuse(logits, q)) - y, logits)
  np.testing.assert_allclose(jax.grad(loss)(q), expected, rtol=1e-4, atol=1e-5)


def test_sparsity_is_a_hinge_per_video():
  q = jnp.asarray([[0.9, 0.9, 0.9], [0.1, 0.2, 0.3], [1.0, 1.0, 0.0]])
  np.testing.assert_allclose(excess(q, 2), [0.7, 0, 0], atol=1e-6)
  slope = jax.grad(lambda q: excess(q, 2).mean())(q)
  np.testing.assert_allclose(slope, [[1 / 3] * 3, [0] * 3, [0] * 3], rtol=1e-6)
