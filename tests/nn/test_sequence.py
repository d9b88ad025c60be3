import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.sequence import cut, mean_live, smoothing, stretch

stretched = jax.jit(stretch, static_argnums=(3, 4))
RNG = np.random.default_rng(0)


def test_nearest_entries_are_those_of_the_floor():
  x = np.array([[10, 11, 12, 0], [20, 21, 0, 0]])
  found = stretched(jnp.asarray(x), jnp.array([3, 2]), jnp.array([7, 6]), 8)
  assert found[0, :7].tolist() == [x[0, t * 3 // 7] for t in range(7)]
  assert found[1, :6].tolist() == [20, 20, 20, 21, 21, 21]


def test_linear_interpolation_is_between_the_middles_of_entries():
  x = RNG.normal(size=(1, 5, 2)).astype("f")
  found = stretched(jnp.asarray(x), jnp.array([3]), jnp.array([12]), 13, "linear")
  for t in range(12):
    expected = [np.interp((t + 0.5) / 4, [0.5, 1.5, 2.5], x[0, :3, c]) for c in range(2)]
    np.testing.assert_allclose(found[0, t], expected, atol=1e-6)
  with pytest.raises(ValueError, match="'cubic' is not one of nearest, linear"):
    stretch(jnp.asarray(x), jnp.array([3]), jnp.array([12]), 13, "cubic")


def smoothness_by_loops(log_probs, limit, public):
  frames, classes = log_probs.shape
  squares = [abs(log_probs[t, n] - log_probs[t - 1, n]) for t in range(1, frames) for n in range(classes)]
  if public:
    return min(sum(d**2 for d in squares) / max(len(squares), 1), limit**2)
  return sum(min(d, limit) ** 2 for d in squares) / (frames * classes)


@pytest.mark.parametrize("public", [False, True])
def test_smoothness_equals_the_loop_and_ignores_padding(public):
  log_probs = (4 * RNG.normal(size=(3, 6, 4))).astype("f")
  lengths = (6, 4, 1)
  mask = jnp.arange(6) < jnp.array(lengths)[:, None]
  found = jax.jit(smoothing, static_argnames="public")(log_probs, mask, public=public)
  for i, n in enumerate(lengths):
    assert float(found[i]) == pytest.approx(smoothness_by_loops(log_probs[i, :n], 4, public), rel=1e-5)


def test_the_frame_before_is_held_fixed():
  log_probs = jnp.array([[[0.0, 0], [1, 2], [1, 2]]])
  gradient = jax.jit(jax.grad(lambda x: smoothing(x, jnp.ones((1, 3), bool)).sum()))(log_probs)
  assert not gradient[0, 0].any() and not gradient[0, 2].any()
  np.testing.assert_allclose(gradient[0, 1], [2 / 6, 4 / 6], rtol=1e-6)


def test_features_are_cut_and_means_are_of_what_is_live():
  x, length, mask = jax.jit(cut)(jnp.ones((3, 4, 2)), jnp.array([4, 2, 0]))
  assert length.tolist() == [4, 2, 1] and mask.sum(1).tolist() == [4, 2, 1]
  assert x.sum((1, 2)).tolist() == [8, 4, 2]
  assert jax.jit(cut)(jnp.ones((1, 4, 2)))[1].tolist() == [4]
  values, live = jnp.array([[1.0, 2], [3, 4]]), jnp.array([[True, False], [False, False]])
  assert jax.jit(mean_live)(values, live).tolist() == [1, 0]
