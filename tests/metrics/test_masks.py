import numpy as np
import pytest

from vidx.metrics.masks import mask_iou, region_similarity


def square(start, stop, side=10):
  mask = np.zeros((side, side), np.uint8)
  mask[start:stop, start:stop] = 255
  return mask


def test_overlap_counts_pixels():
  assert mask_iou(square(0, 4), square(2, 6)) == 4 / 28
  assert mask_iou(square(0, 4), square(0, 4) > 0) == 1
  assert mask_iou(square(0, 2), square(5, 7)) == 0
  assert mask_iou(square(0, 0), square(0, 0)) == 1


def test_a_sequence_is_the_mean_of_its_frames_with_or_without_its_ends():
  truth = [square(0, 4)] * 4
  found = [square(0, 4), square(2, 6), square(0, 4), square(5, 7)]
  np.testing.assert_allclose(region_similarity(found, truth), 100 * (2 + 4 / 28) / 4)
  np.testing.assert_allclose(region_similarity(found, truth, ends=1), 100 * (1 + 4 / 28) / 2)
  assert np.isnan(region_similarity([], []))


def test_sizes_and_numbers_that_differ_are_named():
  with pytest.raises(ValueError, match=r"masks of \(10, 10\) and \(9, 9\)"):
    mask_iou(square(0, 1), square(0, 1, 9))
  with pytest.raises(ValueError):
    region_similarity([square(0, 1)], [])
