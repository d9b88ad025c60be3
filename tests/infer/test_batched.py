"""Rows through a program that takes so many at once."""

import numpy as np
import pytest

from vidx.infer import batched


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_each_row_has_its_own_result_whatever_fills_the_last_batch(count):
  sizes = []

  def program(x, y):
    sizes.append((len(x), len(y)))
    return 2 * x.sum(1) + y

  x, y = np.arange(3 * count).reshape(count, 3), np.arange(count) + 100
  np.testing.assert_array_equal(batched.mapped(program, 4, x, y), 2 * x.sum(1) + y)
  assert sizes == [(4, 4)] * -(-count // 4)


def test_rows_are_filled_up_with_zeros():
  assert batched.padded(np.ones((1, 2), np.uint8), 3).tolist() == [[1, 1], [0, 0], [0, 0]]
