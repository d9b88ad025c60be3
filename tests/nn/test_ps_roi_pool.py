import functools
import math

import jax
from jax import export
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from vidx.nn import ps_roi_pool

HEIGHT, WIDTH = 6, 9
BOXES = np.array([
    [0, 0, 143, 95],  # the whole map
    [17.3, 20.9, 101.2, 64.4],
    [30, 30, 30, 30],  # one pixel
    [33, 33, 35, 36],  # within an entry
    [50, 20, 40, 10],  # corners in the wrong order
    [-60, -40, 20, 30],  # partly outside
    [100, 60, 400, 300],
    [-300, -200, -100, -50],  # outside
    [500, 500, 600, 600],
], "f")


def some_features(bins, batch=2, channels=3, seed=0):
  return np.random.default_rng(seed).normal(size=(batch, HEIGHT, WIDTH, channels * bins**2)).astype("f")


def pooled_by_loops(features, boxes, bins, scale=np.float32(1 / 16)):
  batch, height, width, channels = features.shape
  out = np.zeros((batch, boxes.shape[1], bins, bins, channels // bins**2))
  f = np.float32
  for b, n, p, q, c in np.ndindex(out.shape):
    x0, y0, x1, y1 = boxes[b, n].astype(f)
    left, top = x0 * scale, y0 * scale
    wide = max((x1 + f(1)) * scale - left, f(0.1)) / f(bins)
    high = max((y1 + f(1)) * scale - top, f(0.1)) / f(bins)
    rows = [min(max(x, 0), height) for x in (math.floor(top + f(p) * high), math.ceil(top + f(p + 1) * high))]
    columns = [min(max(x, 0), width) for x in (math.floor(left + f(q) * wide), math.ceil(left + f(q + 1) * wide))]
    values = features[b, rows[0]:rows[1], columns[0]:columns[1], c * bins**2 + p * bins + q]
    out[b, n, p, q, c] = values.mean() if values.size else 0
  return out


@functools.cache
def jitted(bins):
  return jax.jit(functools.partial(ps_roi_pool, bins=bins))


@pytest.mark.parametrize("bins", [1, 3, 7])
def test_equals_the_loop_also_outside_and_below_an_entry(bins):
  features, boxes = some_features(bins), np.stack([BOXES, BOXES[::-1]])
  np.testing.assert_allclose(jitted(bins)(features, boxes), pooled_by_loops(features, boxes, bins), atol=2e-5)


def test_random_boxes_equal_the_loop():
  boxes = np.random.default_rng(1).integers(-80, 240, (1, 40, 4)).astype("f") / 2
  features = some_features(3, batch=1)
  np.testing.assert_allclose(jitted(3)(features, boxes), pooled_by_loops(features, boxes, 3), atol=2e-5)


def test_a_bin_looks_at_its_own_channel():
  features = np.broadcast_to(np.arange(18, dtype="f"), (1, HEIGHT, WIDTH, 18))
  np.testing.assert_allclose(jitted(3)(features, BOXES[None, :1])[0, 0],
                             np.moveaxis(np.arange(18).reshape(2, 3, 3), 0, -1), atol=1e-5)


def test_boxes_do_not_know_of_each_other_and_of_other_examples():
  features, boxes = some_features(3), np.stack([BOXES, BOXES])
  np.testing.assert_allclose(jitted(3)(features, boxes)[:1, 1:2], jitted(3)(features[:1], boxes[:1, 1:2]), atol=1e-6)


def test_gradients_equal_finite_differences():
  features = some_features(3, batch=1, channels=1)
  weigh = np.random.default_rng(2).normal(size=(1, len(BOXES), 3, 3, 1)).astype("f")
  check_grads(jax.jit(lambda x: (ps_roi_pool(x, BOXES[None], 3) * weigh).sum()), (features,), order=1, modes=["rev"],
              eps=1e-2, atol=2e-2, rtol=2e-2)


def test_sums_of_half_precision_are_single():
  features = jnp.full((1, 40, 60, 9), 1.0078125, jnp.bfloat16)  # sums reach 2,400 times that
  found = ps_roi_pool(features, np.array([[[0, 0, 959, 639]]], "f"), 3)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_array_equal(found.astype(jnp.float32), 1.0078125)


def test_channels_that_are_no_multiple_of_the_bins_are_named():
  with pytest.raises(ValueError, match="10 channels are no multiple of 3 x 3 bins"):
    ps_roi_pool(jnp.zeros((1, 4, 4, 10)), jnp.zeros((1, 2, 4)), 3)


def test_it_lowers_for_accelerators():
  shapes = jax.ShapeDtypeStruct((1, 22, 38, 31 * 49), jnp.bfloat16), jax.ShapeDtypeStruct((1, 300, 4), jnp.float32)
  lowered = export.export(jax.jit(ps_roi_pool), platforms=["tpu", "cuda"])(*shapes)
  assert lowered.out_avals[0].shape == (1, 300, 7, 7, 31)
