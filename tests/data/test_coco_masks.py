import numpy as np
import pytest

from vidx.data import coco_masks


def test_a_rectangle_covers_its_pixels_column_by_column():
  mask = coco_masks.mask_of([[1, 2, 4, 2, 4, 5, 1, 5]], 6, 7)
  expected = np.zeros((6, 7), bool)
  expected[2:5, 1:4] = True
  np.testing.assert_array_equal(mask, expected)
  assert coco_masks.to_counts(mask) == [8, 3, 3, 3, 3, 3, 19]


@pytest.mark.parametrize("mask", [np.zeros((3, 2)), np.ones((3, 2)), np.eye(4)[:, :3], np.arange(12).reshape(3, 4) % 3])
def test_run_lengths_go_there_and_back(mask):
  np.testing.assert_array_equal(coco_masks.from_counts(coco_masks.to_counts(mask), *mask.shape), mask > 0)


def test_text_holds_five_bits_a_letter_and_differences():
  assert coco_masks.counts_of_text("32234") == [3, 2, 2, 5, 6]
  assert coco_masks.counts_of_text("P1") == [32] and coco_masks.counts_of_text("") == []
  assert coco_masks.counts_of_text("123O") == [1, 2, 3, 1]


def test_polygons_of_one_thing_are_joined():
  one, other = [[0, 0, 2, 0, 2, 2, 0, 2]], [[4, 4, 6, 4, 6, 6, 4, 6]]
  both = coco_masks.mask_of(one + other, 6, 6)
  np.testing.assert_array_equal(both, coco_masks.mask_of(one, 6, 6) | coco_masks.mask_of(other, 6, 6))
  assert both.sum() == 8 and not coco_masks.mask_of([], 6, 6).any()


@pytest.mark.parametrize("wrong, words", [
    ({"counts": [3], "size": [2, 2]}, "of 3 pixels"), ({"counts": [4], "size": [1, 4]}, "of 4x1 pixels"),
    ({"counts": "\x01", "size": [2, 2]}, "none of COCO's"), ({"counts": "o", "size": [2, 2]}, "ends too early"),
    ({"size": [2, 2]}, "need 'counts'"), ({"counts": [-1, 5], "size": [2, 2]}, "run lengths"),
    ({"counts": ["a"], "size": [2, 2]}, "no numbers"), ([[1, 2, 3, 4]], "three corners"),
    ([[1, 2, 3, 4, 5, 6, 7]], "x and y"), ([[1, 2, 3, 4, 5, float("nan")]], "none"), ("polygon", "neither"),
    (7, "neither"), ([{}], "neither")])
def test_what_is_no_mask_says_why(wrong, words):
  with pytest.raises(ValueError, match=words):
    coco_masks.mask_of(wrong, 2, 2)
