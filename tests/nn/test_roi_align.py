import functools

import jax
from jax import export
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from vidx.nn import roi_align
from vidx.nn.roi_align import roi_max

HEIGHT, WIDTH = 5, 7
BOXES = np.array([
    [0, 0, WIDTH, HEIGHT],  # the whole map
    [1.2, 0.7, 4.9, 3.1],
    [2.5, 2.5, 2.5, 2.5],  # no area
    [3, 1, 3, 4],  # no width
    [-3, -2, 2, 2],  # partly outside
    [6, 3, 12, 9],
    [20, 20, 30, 30],  # outside
    [-9, -9, -4, -4],
    [4, 4, 1, 1],  # corners in the wrong order
], "f")


def some_features(batch=2, channels=3, seed=0):
  return np.random.default_rng(seed).normal(size=(batch, HEIGHT, WIDTH, channels)).astype("f")


def bilinear(features, y, x):
  height, width = features.shape[:2]
  if not (-1 <= y <= height and -1 <= x <= width):
    return np.zeros(features.shape[-1])
  y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
  top, left = int(y), int(x)
  bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
  down, across = y - top, x - left
  return ((1 - down) * ((1 - across) * features[top, left] + across * features[top, right])
          + down * ((1 - across) * features[bottom, left] + across * features[bottom, right]))


def aligned_by_loops(features, boxes, size, scale=1.0, samples=2):
  rows, columns = (size, size) if isinstance(size, int) else size
  out = np.zeros((*boxes.shape[:2], rows, columns, features.shape[-1]))
  for b, n, p, q in np.ndindex(out.shape[:4]):
    x0, y0, x1, y1 = boxes[b, n].astype(float) * scale - 0.5
    points = [((p + (i + 0.5) / samples) * (y1 - y0) / rows + y0, (q + (j + 0.5) / samples) * (x1 - x0) / columns + x0)
              for i in range(samples) for j in range(samples)]
    out[b, n, p, q] = np.mean([bilinear(features[b], *point) for point in points], axis=0)
  return out


@functools.cache
def jitted(size, scale, samples):
  return jax.jit(functools.partial(roi_align, size=size, scale=scale, samples=samples))


@pytest.mark.parametrize("size, scale, samples", [(7, 1.0, 2), ((2, 3), 1.0, 2), (3, 0.5, 1), (1, 1.0, 3)])
def test_equals_the_loop_also_without_area_and_outside(size, scale, samples):
  boxes = np.stack([BOXES, BOXES[::-1]]) / scale
  np.testing.assert_allclose(jitted(size, scale, samples)(some_features(), boxes),
                             aligned_by_loops(some_features(), boxes, size, scale, samples), atol=1e-5)


def test_random_boxes_equal_the_loop():
  boxes = np.random.default_rng(1).uniform(-2, 9, (2, 40, 4)).astype("f")
  np.testing.assert_allclose(jitted(4, 1.0, 2)(some_features(), boxes), aligned_by_loops(some_features(), boxes, 4),
                             atol=1e-5)


def test_the_whole_frame_on_a_constant_map_is_its_value():
  features = np.broadcast_to(np.arange(3, dtype="f"), (1, HEIGHT, WIDTH, 3))
  pooled = roi_max(features, np.array([[[0, 0, 224, 224]]], "f"), scale=(HEIGHT / 224, WIDTH / 224))
  np.testing.assert_allclose(pooled[0, 0], np.arange(3), atol=1e-6)


def test_a_scale_per_axis_is_that_of_the_frame():
  square = BOXES * np.array([32, 48, 32, 48], "f")
  np.testing.assert_allclose(roi_align(some_features(1), square[None], 3, scale=(1 / 48, 1 / 32)),
                             roi_align(some_features(1), BOXES[None], 3), atol=1e-5)


def test_boxes_outside_give_zeros():
  np.testing.assert_array_equal(jitted(3, 1.0, 2)(some_features(1), BOXES[None, 6:8]), 0)


def test_boxes_do_not_know_of_each_other_and_of_other_examples():
  features, boxes = some_features(), np.stack([BOXES, BOXES])
  alone = jitted(3, 1.0, 2)(features[:1], boxes[:1, 1:2])
  np.testing.assert_allclose(jitted(3, 1.0, 2)(features, boxes)[:1, 1:2], alone, atol=1e-6)


def test_gradients_equal_finite_differences():
  features, boxes = some_features(1, 2), BOXES[None, 1:2]
  weigh = np.random.default_rng(2).normal(size=(1, 1, 3, 3, 2)).astype("f")
  f = jax.jit(lambda x, b: (roi_align(x, b, 3) * weigh).sum())
  check_grads(f, (features, boxes), order=1, modes=["rev"], eps=1e-3, atol=2e-2, rtol=2e-2)


def test_half_precision_is_kept_and_near_single():
  features = jnp.asarray(some_features(), jnp.bfloat16)
  boxes = np.stack([BOXES, BOXES])
  found = jitted(7, 1.0, 2)(features, boxes)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(found.astype(jnp.float32),
                             jitted(7, 1.0, 2)(features.astype(jnp.float32), boxes), atol=0.05)


def test_it_lowers_for_accelerators_without_a_gather():
  shapes = jax.ShapeDtypeStruct((1, 8, 8, 16), jnp.float32), jax.ShapeDtypeStruct((1, 40, 4), jnp.float32)
  lowered = export.export(jax.jit(roi_align), platforms=["tpu", "cuda"])(*shapes)
  assert "stablehlo.gather" not in lowered.mlir_module()
