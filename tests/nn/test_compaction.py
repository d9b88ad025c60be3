import jax.numpy as jnp
import numpy as np

from vidx.nn import compaction


def test_live_entries_come_first_in_their_order():
  live = jnp.asarray([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
  x = jnp.broadcast_to(jnp.arange(5.0)[None, :, None, None], (3, 5, 2, 4))
  rows, mask = compaction.live_first(live)
  y = compaction.take(x, rows)
  assert y.shape == x.shape and rows.dtype == jnp.int32
  np.testing.assert_array_equal(y[0, :3, 0, 0], [1, 3, 4])
  np.testing.assert_array_equal(mask, [[1, 1, 1, 0, 0], [0] * 5, [1] * 5])
  np.testing.assert_array_equal(compaction.take(x, rows[:, :2])[0, :, 1, 3], [1, 3])


def test_tokens_of_frames_are_taken_frame_by_frame():
  x = jnp.arange(24.0).reshape(2, 3, 4, 1)
  rows, _ = compaction.live_first(jnp.asarray([[[0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]] * 2, bool))
  np.testing.assert_array_equal(compaction.take(x, rows, axis=2)[1, 1, :2, 0], [16, 19])


def test_the_length_is_that_of_the_room_that_live_entries_need():
  live = jnp.asarray([[[1, 1, 0, 0], [1, 0, 1, 0]], [[0, 0, 0, 0], [1, 1, 1, 1]]], bool)
  np.testing.assert_array_equal(compaction.length(live), [[2, 3], [0, 4]])
