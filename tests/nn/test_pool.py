import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import pool


def max_by_loops(x, window, strides, padding):
  x = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)], constant_values=-np.inf)
  out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:4], window, strides)]
  y = np.zeros((len(x), *out, x.shape[-1]), x.dtype)
  for at in itertools.product(*map(range, out)):
    view = x[(slice(None), *(slice(a * s, a * s + k) for a, s, k in zip(at, strides, window)))]
    y[(slice(None), *at)] = view.max((1, 2, 3))
  return y


CASES = [((1, 3, 3), (1, 2, 2), (0, 1, 1)), ((3, 3, 3), (2, 2, 2), (1, 1, 1)), ((2, 1, 1), (2, 1, 1), (0, 0, 0)),
         ((3, 3, 3), (1, 1, 1), (1, 1, 1))]


@pytest.mark.parametrize("window, strides, padding", CASES)
def test_max_pool_equals_the_loop_on_every_platform(window, strides, padding):
  x = np.random.default_rng(0).normal(size=(2, 5, 7, 8, 3)).astype("f")
  expected = max_by_loops(x, window, strides, padding)
  np.testing.assert_array_equal(jax.jit(lambda x: pool.max_pool(x, window, strides, padding))(x), expected)
  np.testing.assert_array_equal(pool._max_windows(x, window, strides, padding), expected)


@pytest.mark.parametrize("window, strides, padding", CASES)
def test_the_gradient_of_max_pool_is_the_same_on_every_platform(window, strides, padding):
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 5, 7, 8, 3))
  loss = lambda f: jax.jit(jax.grad(lambda x: jnp.sin(f(x, window, strides, padding)).sum()))(x)
  np.testing.assert_allclose(loss(pool.max_pool), loss(pool._max_windows), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("window, strides, padding", [
    *CASES, ((1, 3, 3), (1, 1, 1), (0, 1, 1)), ((2, 2, 2), (2, 2, 2), (0,) * 3)])
def test_average_pool_counts_no_padding(window, strides, padding):
  x = np.random.default_rng(0).normal(size=(2, 5, 7, 8, 3)).astype("f")
  out = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[1:4], window, strides, padding)]
  y = jax.jit(lambda x: pool.average_pool(x, window, strides, padding))(x)
  assert y.shape == (2, *out, 3)
  for at in itertools.product(*map(range, out)):
    view = x[(slice(None), *(slice(max(a * s - p, 0), a * s - p + k)
                             for a, s, p, k in zip(at, strides, padding, window)))]
    np.testing.assert_allclose(y[(slice(None), *at)], view.mean((1, 2, 3)), rtol=1e-5, atol=1e-6)


def test_mean_pool_counts_live_frames_only():
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 3, 3, 5))
  mask = jnp.asarray([[1, 1, 1, 0], [1, 0, 0, 0]])
  y = pool.mean_pool(x, mask)
  np.testing.assert_allclose(y[0], x[0, :3].mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(y[1], x[1, 0].mean((0, 1)), rtol=1e-5, atol=1e-6)
  assert pool.mean_pool(x.astype(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("kernel, stride, padding", [(3, 2, 1), (1, 2, 0), (7, 1, 3), (2, 2, 0), (5, 4, 2), (3, 1, 1)])
def test_a_strided_mask_has_as_many_live_frames_as_the_shorter_clip_would_give(kernel, stride, padding):
  length = lambda n: (n + 2 * padding - kernel) // stride + 1
  for live in range(2, 9):
    mask = jnp.asarray([[i < live for i in range(8)]], jnp.float32)
    out = pool.stride_mask(mask, kernel, stride, padding, length(8))
    assert out.shape == (1, length(8))
    assert out.sum() == length(live), live


@pytest.mark.parametrize("length", [2, 3])
def test_means_of_runs_are_those_of_their_live_frames(length):
  x = np.random.default_rng(0).normal(size=(3, 5, 2, 2, 3)).astype("f")
  lengths = [5, 4, 1]
  mask = jnp.asarray([[t < n for t in range(5)] for n in lengths])
  y = np.asarray(jax.jit(lambda x, m: pool.mean_of_runs(x, length, m))(x, mask))
  assert y.shape == (3, -(-5 // length), 2, 2, 3)
  for clip, n, found in zip(x, lengths, y):
    for run, mean in enumerate(found):
      live = clip[run * length:min((run + 1) * length, n)]
      np.testing.assert_allclose(mean, live.mean(0) if len(live) else 0 * mean, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(jax.jit(lambda x: pool.mean_of_runs(x, length))(x)[0], y[0], rtol=1e-5)


def test_candidates_are_pooled_where_they_live_and_to_zero_where_none_does():
  x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("f")
  mask = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
  wild = np.where(mask[..., None], x, np.nan)
  for how, by in (("mean", np.mean), ("max", np.max)):
    want = np.stack([by(x[0], 0), by(x[1, [1, 3]], 0), np.zeros(2)])
    np.testing.assert_allclose(pool.pool_candidates(wild, mask, how), want, rtol=1e-6)
    np.testing.assert_allclose(pool.pool_candidates(x, how=how), by(x, 1), rtol=1e-6)
  with pytest.raises(ValueError, match="'sum' is not one of mean, max"):
    pool.pool_candidates(x, mask, "sum")
