import functools

import jax
from jax import export
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from vidx.nn import boxes as boxes_lib, nms


def some_boxes(*shape, seed=0, side=100):
  points = np.random.default_rng(seed).uniform(0, side, (*shape, 2, 2))
  return np.concatenate([points.min(-2), points.max(-2)], -1).astype("f")


def overlap(a, b):
  wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
  shared = max(wide, 0) * max(high, 0)
  area = lambda x: max(x[2] - x[0], 0) * max(x[3] - x[1], 0)
  union = area(a) + area(b) - shared
  return shared / union if union else 0.0


def test_overlap_equals_the_loop_also_of_nothing_and_swapped_corners():
  a, b = some_boxes(6), some_boxes(9, seed=1)
  a[0] = [5, 5, 5, 5]
  b[0] = [5, 5, 5, 5]
  b[1] = [40, 40, 10, 10]
  b[2] = a[3]
  found = jax.jit(boxes_lib.iou)(a, b)
  np.testing.assert_allclose(found, [[overlap(x, y) for y in b] for x in a], atol=1e-6)
  assert found[0, 0] == 0 and found[3, 2] == 1


def test_the_code_is_undone():
  grown = np.array([-3, -3, 3, 3], "f")  # sides differ by less than LARGEST
  boxes, targets = some_boxes(40) + grown, some_boxes(40, seed=3) + grown
  deltas = boxes_lib.encode(boxes, targets)
  np.testing.assert_allclose(boxes_lib.decode(boxes, deltas), targets, atol=1e-3)
  np.testing.assert_array_equal(boxes_lib.encode(boxes, boxes), 0)
  half_right_twice_as_high = boxes_lib.encode(jnp.array([0., 0, 10, 10]), jnp.array([5., -5, 15, 15]))
  np.testing.assert_allclose(half_right_twice_as_high, [0.5, 0, 0, np.log(2)], atol=1e-6)


def test_a_box_of_no_area_and_a_wild_size_stay_finite():
  flat, far = jnp.array([3., 3, 3, 3]), jnp.array([0., 0, 10, 10])
  assert np.isfinite(boxes_lib.encode(flat, far)).all()
  assert np.isfinite(boxes_lib.decode(far, jnp.array([0., 0, 900, -900]))).all()


def test_clipping_takes_a_frame_or_a_frame_per_box():
  boxes = jnp.array([[-5., -5, 30, 30], [2, 3, 4, 5]])
  np.testing.assert_array_equal(boxes_lib.clip(boxes, 10, 20), [[0, 0, 20, 10], [2, 3, 4, 5]])
  np.testing.assert_array_equal(boxes_lib.clip(boxes, jnp.array([10, 4]), jnp.array([20, 3])),
                                [[0, 0, 20, 10], [2, 3, 3, 4]])


def test_anchors_lie_around_the_middle_of_their_entry():
  found = boxes_lib.anchors(2, 3, 16, (32, 64), (0.5, 1, 2))
  assert found.shape == (2 * 3 * 6, 4)
  np.testing.assert_allclose((found[:, :2] + found[:, 2:]).reshape(2, 3, 6, 2)[1, 2] / 2, [[40, 24]] * 6)
  sides = found[:6, 2:] - found[:6, :2]
  np.testing.assert_allclose(sides.prod(-1), [32**2, 64**2] * 3, rtol=1e-5)
  np.testing.assert_allclose(sides[:, 1] / sides[:, 0], [0.5, 0.5, 1, 1, 2, 2], rtol=1e-5)


def test_gradients_of_the_code_equal_finite_differences():
  boxes, targets = some_boxes(3), some_boxes(3, seed=2)
  check_grads(boxes_lib.encode, (boxes / 10, targets / 10), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)
  check_grads(boxes_lib.decode, (boxes / 10, np.full((3, 4), 0.1, "f")), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def kept_by_loops(boxes, scores, iou, size):
  left, kept = list(np.argsort(-scores, kind="stable")), []
  while left and len(kept) < size:
    best = left.pop(0)
    kept.append(best)
    left = [i for i in left if overlap(boxes[best], boxes[i]) <= iou]
  return kept


suppress = functools.partial(jax.jit, static_argnums=(2, 3))(nms)


@pytest.mark.parametrize("iou, size", [(0.3, 20), (0.7, 10), (0.0, 50), (1.0, 60)])
def test_suppression_equals_the_loop(iou, size):
  boxes, scores = some_boxes(50), np.random.default_rng(1).integers(0, 20, 50).astype("f")
  found = suppress(boxes, scores, iou, size)
  expected = kept_by_loops(boxes, scores, iou, size)
  assert np.asarray(found.index)[np.asarray(found.valid)].tolist() == expected
  assert found.index.shape == found.valid.shape == (size,) and found.index.dtype == jnp.int32
  assert found.valid.tolist() == [True] * len(expected) + [False] * (size - len(expected))


def test_padding_and_other_examples_change_nothing():
  boxes, scores = some_boxes(2, 12), np.random.default_rng(1).normal(size=(2, 12)).astype("f")
  both = suppress(boxes, scores, 0.4, 8)
  alone = suppress(boxes[1], scores[1], 0.4, 8)
  np.testing.assert_array_equal(both.index[1], alone.index)
  padded = suppress(np.concatenate([boxes[1], np.zeros((4, 4), "f")]),
                    np.concatenate([scores[1], np.array([-np.inf, np.nan] * 2, "f")]), 0.4, 8)
  np.testing.assert_array_equal(padded.index, alone.index)
  np.testing.assert_array_equal(padded.valid, alone.valid)


def test_nothing_to_keep_and_half_precision():
  found = suppress(some_boxes(3), np.full(3, np.nan, "f"), 0.5, 2)
  assert not found.valid.any() and not found.index.any()
  boxes, scores = jnp.asarray(np.round(some_boxes(9)), jnp.bfloat16), jnp.arange(9, dtype=jnp.bfloat16)
  np.testing.assert_array_equal(suppress(boxes, scores, 0.5, 5).index,
                                suppress(boxes.astype(jnp.float32), scores.astype(jnp.float32), 0.5, 5).index)


def test_they_lower_for_accelerators():
  shapes = jax.ShapeDtypeStruct((2, 100, 4), jnp.float32), jax.ShapeDtypeStruct((2, 100), jnp.float32)
  assert export.export(jax.jit(lambda b, s: nms(b, s, 0.5, 20)), platforms=["tpu", "cuda"])(*shapes)
