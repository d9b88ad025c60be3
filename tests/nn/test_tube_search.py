import itertools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.metrics.boxes import iou
from vidx.nn.tube_search import best_tube, moved_by


def some(frames, count, seed=0):
  rng = np.random.default_rng(seed)
  corner = rng.uniform(0, 20, (frames, count, 2))
  boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (frames, count, 2))], -1).astype("f")
  return rng.normal(0, 0.5, (frames, count)).astype("f"), boxes, rng.uniform(-5, 5, (frames, count, 2)).astype("f")


def value(path, scores, boxes, moved):
  own = sum(scores[t, p] for t, p in enumerate(path))
  return own + sum(iou(moved[t, path[t]], boxes[t + 1, path[t + 1]])[0, 0] for t in range(len(path) - 1))


@pytest.mark.parametrize("frames, count, seed", [(1, 4, 0), (2, 3, 1), (5, 4, 2), (6, 3, 3), (6, 3, 4)])
def test_the_path_is_the_best_of_all(frames, count, seed):
  scores, boxes, shift = some(frames, count, seed)
  moved = np.asarray(moved_by(jnp.asarray(boxes), jnp.asarray(shift)))
  best = max(itertools.product(range(count), repeat=frames), key=lambda p: value(p, scores, boxes, moved))
  found = jax.jit(best_tube)(scores, boxes, moved)
  assert tuple(np.asarray(found.path)) == best
  np.testing.assert_allclose(found.value, value(best, scores, boxes, moved), rtol=1e-5)


def test_of_one_still_box_the_overlaps_sum_to_the_number_of_steps():
  boxes = np.tile(np.array([3, 4, 10, 20], "f"), (7, 1, 1))
  assert float(best_tube(np.zeros((7, 1), "f"), boxes, boxes).value) == 6


def test_frames_and_boxes_that_are_padding_do_not_matter():
  scores, boxes, shift = some(5, 4)
  moved = boxes + np.concatenate([shift, shift], -1)
  alone = best_tube(scores, boxes, moved)
  pad = lambda x, fill: np.pad(x, [(0, 3), (0, 2)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)
  padded = best_tube(pad(scores, -np.inf), pad(boxes, 0), pad(moved, 0), 5)
  np.testing.assert_array_equal(padded.path[:5], alone.path)
  np.testing.assert_allclose(padded.value, alone.value, rtol=1e-6)


def test_the_order_of_boxes_in_a_frame_does_not_matter():
  scores, boxes, shift = some(6, 5)
  moved = boxes + np.concatenate([shift, shift], -1)
  order = np.stack([np.random.default_rng(t).permutation(5) for t in range(6)])
  mix = lambda x: np.stack([x[t, order[t]] for t in range(6)])
  found, other = best_tube(scores, boxes, moved).path, best_tube(mix(scores), mix(boxes), mix(moved)).path
  np.testing.assert_array_equal(boxes[np.arange(6), found], mix(boxes)[np.arange(6), other])


def test_it_lowers_for_accelerators():
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 9, 8), (2, 9, 8, 4), (2, 9, 8, 4))]
  assert export.export(jax.jit(jax.vmap(best_tube)), platforms=["tpu", "cuda"])(*shapes)
