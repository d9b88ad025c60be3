"""Masks of polygons and run lengths as COCO's own tools draw them."""

import numpy as np
import pytest

from vidx.data import coco_masks

theirs = pytest.importorskip("pycocotools.mask", reason="COCO's own tools are in the extra 'parity'")


@pytest.mark.parametrize("seed", range(40))
def test_polygons_have_the_same_pixels(seed):
  rng = np.random.default_rng(seed)
  height, width = rng.integers(5, 60, 2).tolist()
  polygons = []
  for _ in range(rng.integers(1, 4)):
    xy = rng.uniform(-3, 3, (rng.integers(3, 12), 2)) + rng.uniform(0, 1, (1, 2)) * (width, height)
    xy = xy + rng.normal(0, rng.choice([1, 8]), xy.shape)
    if seed % 3 == 0:
      xy = np.round(xy)
    if seed % 4 == 0:
      xy = np.repeat(xy, 2, 0)  # a corner twice
    polygons.append(np.maximum(xy, 0 if seed % 2 else -1e9).reshape(-1).tolist())
  expected = theirs.decode(theirs.merge(theirs.frPyObjects(polygons, height, width)))
  np.testing.assert_array_equal(coco_masks.mask_of(polygons, height, width), expected)


@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_are_read_and_written_alike(seed):
  rng = np.random.default_rng(seed)
  mask = (rng.uniform(size=rng.integers(1, 70, 2)) < rng.uniform()).astype(np.uint8)
  encoded = theirs.encode(np.asfortranarray(mask))
  for counts in (encoded["counts"], encoded["counts"].decode()):
    np.testing.assert_array_equal(coco_masks.mask_of({**encoded, "counts": counts}, *mask.shape), mask)
  counts = coco_masks.to_counts(mask)
  again = theirs.frPyObjects({"counts": counts, "size": list(mask.shape)}, *mask.shape)
  assert again["counts"] == encoded["counts"]
  np.testing.assert_array_equal(coco_masks.from_counts(counts, *mask.shape), mask)
