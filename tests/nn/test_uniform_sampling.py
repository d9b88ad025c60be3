import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.uniform_sampling import UniformSampling

CLIP = jnp.broadcast_to(jnp.arange(8.0)[:, None, None, None], (3, 8, 1, 1, 1))


@pytest.mark.parametrize("keep, frames", [(1, [4]), (2, [2, 6]), (3, [1, 4, 6]), (4, [1, 3, 5, 7]), (8, range(8)),
                                          (20, range(8))])
def test_the_middles_of_equal_parts_are_kept(keep, frames):
  y, mask = UniformSampling(keep).apply({}, CLIP)
  assert mask is None
  np.testing.assert_array_equal(y.reshape(3, -1)[0], list(frames))


def test_of_shorter_clips_the_live_frames_are_sampled():
  live = jnp.arange(8) < jnp.asarray([[8], [4], [2]])
  y, mask = UniformSampling(3).apply({}, CLIP + 1, mask=live)
  np.testing.assert_array_equal(y.reshape(3, -1), [[2, 5, 7], [1, 3, 4], [1, 2, 0]])
  np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 1, 1], [1, 1, 0]])


def test_nothing_cannot_be_kept():
  with pytest.raises(ValueError, match="keep = 0"):
    UniformSampling(0)
