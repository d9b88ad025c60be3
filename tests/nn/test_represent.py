import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.represent import FrameDifference, MiddleFrame, segments


@pytest.fixture
def clip():
  return jax.random.normal(jax.random.PRNGKey(0), (2, 12, 4, 5, 3))


def test_both_layouts_give_the_same_segments(clip):
  cut = segments(clip, 3)
  assert cut.shape == (2, 4, 3, 4, 5, 3)
  np.testing.assert_array_equal(cut[:, 1, 2], clip[:, 5])
  assert segments(cut, 3) is cut


def test_the_middle_and_the_differences_are_what_they_say(clip):
  cut = segments(clip, 4)
  np.testing.assert_array_equal(MiddleFrame().apply({}, cut), clip[:, 2::4])
  change = FrameDifference().apply({}, cut)
  assert change.shape == (2, 3, 4, 5, 9)
  np.testing.assert_array_equal(change[:, 1, ..., 3:6], clip[:, 6] - clip[:, 5])


def test_frames_that_make_no_segments_are_refused(clip):
  with pytest.raises(ValueError, match="no segments of 5"):
    segments(clip, 5)
  with pytest.raises(ValueError, match="segments of 4 frames where 3"):
    segments(jnp.zeros((1, 2, 4, 8, 8, 3)), 3)
  with pytest.raises(ValueError, match="at least 2"):
    FrameDifference().apply({}, segments(clip, 1))
