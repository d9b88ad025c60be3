import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones.promises import some_input
from vidx.nn.rotation import quarter_turns


def test_every_clip_is_turned_by_its_own_quarters():
  video = some_input((4, 2, 5, 5, 3))
  got = quarter_turns(video, jnp.asarray([0, 1, 2, 3]))
  for k in range(4):
    np.testing.assert_array_equal(got[k], np.rot90(np.asarray(video[k]), k, (1, 2)))


def test_oblong_clips_are_refused():
  with pytest.raises(ValueError, match="2 x 3 cannot be turned"):
    quarter_turns(jnp.zeros((1, 1, 2, 3, 3)), jnp.zeros(1, jnp.int32))
