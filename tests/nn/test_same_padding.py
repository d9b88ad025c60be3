import itertools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.same_padding import pad_same, same_padding


@pytest.mark.parametrize("kernel, stride", [*itertools.product((1, 2, 3, 7), (1, 2, 3))])
def test_there_are_as_many_windows_as_strides_begin_and_the_odd_entry_lies_behind(kernel, stride):
  for size in range(1, 20):
    front, behind = same_padding(size, kernel, stride)
    starts = range(0, front + size + behind - kernel + 1, stride)
    assert len(starts) == -(-size // stride)
    assert behind - front in (0, 1)
    rule = max(kernel - (size % stride or stride), 0)  # as the PyTorch port of I3D has it
    assert front + behind == rule
    assert [(front, behind)] == lax.padtype_to_pads((size,), (kernel,), (stride,), "SAME")


@pytest.mark.parametrize("kernel, strides", [((7, 7, 7), (2, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)),
                                             ((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (1, 1, 1))])
@pytest.mark.parametrize("fill", [0.0, -jnp.inf])
def test_a_masked_clip_is_padded_as_the_shorter_one(kernel, strides, fill):
  x = jax.random.normal(jax.random.PRNGKey(0), (9, 9, 8, 7, 1))
  live = np.arange(1, 10)
  mask = jnp.asarray(np.arange(9)[None] < live[:, None], jnp.float32)
  dead_filled = jnp.where(mask[:, :, None, None, None] > 0, x, fill)
  y, out = jax.jit(lambda x, m: pad_same(x, kernel, strides, m, fill))(dead_filled, mask)
  for i, n in enumerate(live):
    alone, _ = pad_same(x[i:i + 1, :n], kernel, strides, fill=fill)
    frames = -(-n // strides[0])
    assert out[i].sum() == frames
    used = (frames - 1) * strides[0] + kernel[0]
    np.testing.assert_array_equal(y[i, :used], alone[0, :used])
    assert y.shape[1] >= (out.shape[1] - 1) * strides[0] + kernel[0]
