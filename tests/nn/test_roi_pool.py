import math

import jax
from jax import export
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np

from tests.nn.test_ps_roi_pool import BOXES, HEIGHT, WIDTH
from vidx.nn.roi_pool import roi_pool

FEATURES = np.random.default_rng(0).normal(size=(2, HEIGHT, WIDTH, 3)).astype("f")


def pooled_by_loops(features, boxes, bins):
  out = np.zeros((*boxes.shape[:2], bins, bins, features.shape[-1]))
  for b, n, p, q in np.ndindex(out.shape[:4]):
    x0, y0, x1, y1 = (math.floor(v / 16 + 0.5) for v in boxes[b, n])
    wide, high = max(x1 - x0 + 1, 1) / bins, max(y1 - y0 + 1, 1) / bins
    rows = [min(max(y0 + r, 0), HEIGHT) for r in (math.floor(p * high), math.ceil((p + 1) * high))]
    columns = [min(max(x0 + c, 0), WIDTH) for c in (math.floor(q * wide), math.ceil((q + 1) * wide))]
    part = features[b, rows[0]:rows[1], columns[0]:columns[1]]
    out[b, n, p, q] = part.max((0, 1)) if part.size else 0
  return out


def test_equals_the_loop_also_outside_and_below_an_entry():
  boxes = np.stack([BOXES, BOXES[::-1]])
  for bins in (2, 4):
    np.testing.assert_allclose(jax.jit(roi_pool, static_argnums=2)(FEATURES, boxes, bins),
                               pooled_by_loops(FEATURES, boxes, bins), atol=1e-6)


def test_gradients_equal_finite_differences():
  weigh = np.random.default_rng(2).normal(size=(1, len(BOXES), 2, 2, 3)).astype("f")
  check_grads(jax.jit(lambda x: (roi_pool(x, BOXES[None], 2) * weigh).sum()), (FEATURES[:1],), order=1, modes=["rev"],
              eps=1e-3, atol=2e-2, rtol=2e-2)


def test_half_precision_is_kept_and_it_lowers_for_accelerators_without_a_gather():
  assert roi_pool(jnp.asarray(FEATURES, jnp.bfloat16), np.stack([BOXES] * 2), 2).dtype == jnp.bfloat16
  shapes = jax.ShapeDtypeStruct((1, 22, 38, 512), jnp.bfloat16), jax.ShapeDtypeStruct((1, 300, 4), jnp.float32)
  assert "stablehlo.gather" not in export.export(jax.jit(roi_pool), platforms=["tpu", "cuda"])(*shapes).mlir_module()
