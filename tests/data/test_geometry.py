import numpy as np
import pytest

from vidx.data import geometry as geometry_lib
from vidx.data.geometry import Geometry

BOXES = np.array([[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0]])


def test_a_whole_frame_scales_boxes_to_its_pixels():
  np.testing.assert_allclose(geometry_lib.to_pixels(BOXES, Geometry.whole(100, 200)),
                             [[20, 20, 100, 90], [0, 0, 200, 100]], rtol=1e-6)


def test_boxes_follow_crop_resize_and_flip():
  made = Geometry.whole(100, 200).crop(20, 10, 80, 60).resize(40, 30)
  np.testing.assert_allclose(geometry_lib.to_pixels(BOXES[0], made), [0, 5, 40, 40], atol=1e-4)
  np.testing.assert_allclose(geometry_lib.to_pixels(BOXES[0], made.flip()), [0, 5, 40, 40], atol=1e-4)
  right = np.array([0.4, 0.2, 0.5, 0.9])  # pixels 80 to 100 of 200: 30 to 40 of the crop
  np.testing.assert_allclose(geometry_lib.to_pixels(right, made.flip())[[0, 2]], [0, 10], atol=1e-4)
  assert made.flip().flipped and not made.flipped and not made.flip().flip().flipped


@pytest.mark.parametrize("seed", range(5))
def test_boxes_go_there_and_back(seed):
  rng = np.random.default_rng(seed)
  made = Geometry.whole(90, 120)
  for _ in range(6):
    kind = rng.integers(3)
    if kind == 0:
      made = made.resize(int(rng.integers(20, 200)), int(rng.integers(20, 200)))
    elif kind == 1:
      made = made.crop(int(rng.integers(5)), int(rng.integers(5)), made.width - 8, made.height - 8)
    else:
      made = made.flip()
  corners = np.sort(rng.random((7, 2, 2)), axis=1).reshape(7, 4)
  pixels = geometry_lib.to_pixels(corners, made)
  assert (pixels[:, :2] <= pixels[:, 2:]).all()
  np.testing.assert_allclose(geometry_lib.to_frame(pixels, made), corners, atol=1e-5)


def test_boxes_are_cut_at_the_edges_and_those_outside_have_no_area():
  made = Geometry.whole(10, 10)
  found = geometry_lib.clip(np.array([[-5, 2, 5, 20], [12, 3, 15, 5]], np.float32), made)
  np.testing.assert_array_equal(found, [[0, 2, 5, 10], [10, 3, 10, 5]])
  assert geometry_lib.area(found).tolist() == [40, 0]
