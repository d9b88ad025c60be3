import jax
import numpy as np
import pytest

from vidx.metrics import grounding
from vidx.metrics.ranking import average_precision

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(14, 9), (40, 31), (7, 14), (1, 1)])
def test_masks_are_enlarged_between_the_centres_of_pixels(size):
  masks = RNG.uniform(size=(3, 7, 5)).astype("f")
  expected = jax.image.resize(masks, (3, *size), "linear", antialias=False)
  np.testing.assert_allclose(grounding.upsample(masks, *size), expected, atol=1e-5)


def test_the_point_is_the_first_highest_pixel_and_lies_in_a_box_by_its_centre():
  mask = np.zeros((4, 6))
  mask[2, 3] = mask[3, 1] = 1
  assert grounding.point(mask) == (3, 2)
  assert grounding.in_box((3, 2), (3, 2, 4, 3)) and not grounding.in_box((3, 2), (4, 2, 6, 4))
  assert grounding.in_box((3, 2), (4, 2, 6, 4), tolerance=0.5) and not grounding.in_box((3, 2), (4, 2, 6, 4), 0.4)
  assert grounding.in_mask((3, 2), mask) and not grounding.in_mask((2, 2), mask)
  assert grounding.in_mask((2, 2), mask, 1) and not grounding.in_mask((2, 2), np.zeros((4, 6), bool), 9)


def test_random_points_hit_by_the_share_of_the_image():
  boxes = np.array([[0, 0, 30, 20], [10, 5, 20, 15], [0, 0, 60, 40]], float)
  masks = np.zeros((3, 40, 60), bool)
  for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int)):
    mask[y0:y1, x0:x1] = True
  shares = np.array([0.25, 1 / 24, 1])
  for truth in (boxes, masks):
    found = np.mean([grounding.random_hits(truth, 40, 60, np.random.default_rng(i)) for i in range(100)], 0)
    np.testing.assert_allclose(found, shares, atol=4 * np.sqrt(0.25 / 10_000))


def test_the_region_is_above_the_middle_or_above_the_printed_threshold():
  mask = np.array([[0.4, 0.5], [0.7, 0.8]])
  inside, score = grounding.region(mask)
  assert inside.tolist() == [[False, False], [True, True]] and score == pytest.approx(0.75)
  assert grounding.region(mask, "printed")[0].all()
  low = mask - 0.4
  np.testing.assert_array_equal(grounding.region(low)[0], grounding.region(low, "printed")[0])  # agree where min is 0
  with pytest.raises(ValueError, match="middle, printed"):
    grounding.region(mask, "half")


def test_an_image_without_the_category_is_never_right():
  assert grounding.overlap(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0
  assert grounding.overlap(np.eye(2) > 0, np.ones((2, 2), bool)) == 0.5


def test_precision_is_that_of_ranked_regions_at_each_overlap():
  category = np.array([0, 0, 0, 0, 1, 1])
  score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.9])
  iou = np.array([0.45, 0.2, 0.35, 0.9, 0.31, 0.0])
  present = np.array([1, 1, 1, 1, 1, 0], bool)
  found = grounding.segmentation(category, score, iou, present)
  # at 0.3: hits 1 0 1 1 of four; the other category is found second
  assert found["mAP@0.3"] == pytest.approx(100 * np.mean([(1 + 0.75 + 0.75) / 4, 0.5]))
  assert found["mAP@0.4"] == pytest.approx(100 * np.mean([(1 + 0.5) / 4, 0]))
  assert found["mAP@0.5"] == pytest.approx(100 * np.mean([0.25 / 4, 0]))
  assert found["mAP"] == pytest.approx(np.mean([found[f"mAP@{t}"] for t in (0.3, 0.4, 0.5)]))


def test_the_envelope_lies_above_the_steps_and_equals_them_where_the_best_are_first():
  rng = np.random.default_rng(1)
  score, iou = rng.uniform(size=50), rng.uniform(size=50)
  all_there = np.ones(50, bool)
  found = grounding.segmentation(np.zeros(50, int), score, iou, all_there, (0.4,))["mAP@0.4"]
  right = iou > 0.4
  assert found >= average_precision(score, right) * right.mean() - 1e-9
  assert grounding.segmentation(np.zeros(50, int), iou, iou, all_there, (0.4,))["mAP@0.4"] == pytest.approx(
      100 * right.mean())


def test_published_means_are_those_of_their_rows():
  rows = {"Disc-only": (.302, .199, .110, .203), "PC": (.327, .213, .118, .219), "SIB": (.316, .203, .114, .211),
          "Token": (.334, .240, .138, .238), "Ours": (.347, .246, .159, .251)}
  for *each, mean in rows.values():
    assert abs(np.mean(each) - mean) < 1e-3


def test_names_of_real_videos_point_into_their_masks(real_data):
  import cv2
  root = real_data("davis2016_val")
  folders = sorted(p for p in (root / "Annotations/240p").iterdir() if p.is_dir())
  shares, centre, chance = [], [], []
  for folder in folders:
    truth = np.stack([cv2.imread(str(p), 0) > 127 for p in sorted(folder.glob("*.png"))])
    height, width = truth.shape[1:]
    y, x = np.mgrid[:height, :width]
    middle = np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / (height / 4) ** 2)
    small = grounding.upsample(middle, 14, 14)  # as a model has it, then at the size of the video
    at = grounding.point(grounding.upsample(small, height, width))
    centre += [grounding.in_mask(at, t) for t in truth]
    chance += grounding.random_hits(truth, height, width, np.random.default_rng(0)).tolist()
    shares += truth.mean((1, 2)).tolist()
  assert len(folders) == 12
  assert abs(np.mean(chance) - np.mean(shares)) < 0.02 < np.mean(centre) - np.mean(chance)
