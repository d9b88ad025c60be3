import jax
from jax import export
import jax.numpy as jnp
import numpy as np

from vidx.nn.box_sums import box_means, box_sums, integral, lattice_sums
from vidx.nn.oriented_gradients import SIZE, describe, orientation_maps


def by_loops(x, box):
  height, width = x.shape[:2]
  rows = np.clip(np.minimum(np.arange(1, height + 1), box[3]) - np.maximum(np.arange(height), box[1]), 0, 1)
  columns = np.clip(np.minimum(np.arange(1, width + 1), box[2]) - np.maximum(np.arange(width), box[0]), 0, 1)
  return np.einsum("h,hwc,w->c", rows, x, columns)


def test_sums_and_means_are_those_of_the_pixels_inside():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(20, 30, 2)).astype("f")
  corner = rng.uniform(-5, 25, (40, 2))
  boxes = np.concatenate([corner, corner + rng.uniform(0.5, 15, (40, 2))], 1).astype("f")
  wanted = np.stack([by_loops(x, b) for b in boxes])
  np.testing.assert_allclose(box_sums(integral(x), boxes), wanted, atol=2e-4)
  area = np.stack([by_loops(np.ones((20, 30, 1)), b) for b in boxes])
  np.testing.assert_allclose(box_means(integral(x), boxes), np.where(area > 1e-6, wanted / np.maximum(area, 1e-6), 0),
                             atol=2e-3)


def test_cells_sum_to_their_box():
  x = np.random.default_rng(0).normal(size=(20, 30, 3)).astype("f")
  boxes = np.array([[2.5, 3, 20, 17], [0, 0, 30, 20]], "f")
  cells = lattice_sums(integral(x), boxes, 4, 5)
  assert cells.shape == (2, 4, 5, 3)
  np.testing.assert_allclose(cells.sum((1, 2)), box_sums(integral(x), boxes), atol=1e-3)


def test_descriptors_are_of_length_1_and_tell_directions_and_colours():
  frame = np.zeros((40, 90, 3), "f") + 0.5
  frame[:, 0:30:4] = 1.0  # upright stripes
  frame[::4, 30:60] = 1.0  # level stripes
  frame[:, 60:90:4] = 1.0
  frame[:, 60:90, 1] *= 0.3
  boxes = np.array([[2, 4, 26, 36], [33, 4, 57, 36], [62, 4, 86, 36], [4, 4, 28, 36]], "f")
  found = np.asarray(describe(jnp.asarray(frame), boxes))
  assert found.shape == (4, SIZE)
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-4)
  alike = found @ found.T
  assert alike[0, 3] > alike[0, 2] > alike[0, 1]
  votes = np.asarray(orientation_maps(jnp.asarray(frame[:, :30])))[5:-5, 5:-5].sum((0, 1))
  assert votes[0] > 0.9 * votes.sum()


def test_it_lowers_for_accelerators():
  shapes = jax.ShapeDtypeStruct((32, 48, 3), jnp.float32), jax.ShapeDtypeStruct((10, 4), jnp.float32)
  assert export.export(jax.jit(describe), platforms=["tpu", "cuda"])(*shapes)
