import numpy as np
import pytest

from vidx.metrics import tubes

# Overlap in percent of each object of SegTrack-v2: ours, [148] + CSI, [147], [83], [250] of the thesis' table 2.2.
TABLE = {
    "girl": [(86.4, 89.2, 87.7, 31.9, 84.6)], "birdfall": [(72.5, 62.5, 49.0, 57.4, 78.7)],
    "parachute": [(95.9, 93.4, 96.3, 69.1, 94.4)],
    "cheetah": [(61.2, 37.3, 44.5, 18.8, 66.1), (39.4, 40.9, 11.7, 24.4, 35.3)],
    "monkeydog": [(74.0, 71.3, 74.3, 68.3, 82.2), (39.6, 18.9, 4.9, 18.8, 21.1)],
    "penguin": [(53.2, 51.5, 12.6, 72.0, 94.2), (72.9, 76.5, 11.3, 80.7, 91.8), (74.4, 75.2, 11.3, 75.2, 91.9),
                (57.2, 57.8, 7.7, 80.6, 90.3), (63.5, 66.7, 4.2, 62.7, 76.3), (65.7, 50.2, 8.5, 75.5, 88.7)],
    "drift": [(70.7, 74.8, 63.7, 55.2, 67.3), (70.7, 60.6, 30.1, 27.2, 63.7)],
    "hummingbird": [(53.0, 54.4, 46.3, 13.7, 58.3), (70.5, 72.3, 74.0, 25.2, 50.7)],
    "frog": [(80.2, 72.3, 0, 67.1, 56.3)], "worm": [(82.4, 82.8, 84.4, 34.7, 79.3)],
    "soldier": [(76.3, 83.8, 66.6, 66.5, 81.1)], "monkey": [(83.1, 84.8, 79.0, 61.9, 86.0)],
    "bird_of_paradise": [(90.0, 94.0, 92.2, 86.8, 93.0)],
    "bmx": [(86.1, 85.4, 87.4, 39.2, 88.9), (40.3, 24.9, 38.6, 32.5, 5.70)],
}


@pytest.mark.parametrize("row, per_object, per_sequence", [
    (0, 69.13, 73.86), (1, 65.90, 71.16), (2, 45.26, 57.30), (3, 51.89, 50.82), (4, 71.91, 72.28)])
def test_means_per_object_and_per_sequence_are_those_of_the_published_table(row, per_object, per_sequence):
  found = tubes.per_object_and_sequence({name: [o[row] for o in objects] for name, objects in TABLE.items()})
  np.testing.assert_allclose([found["per_object"], found["per_sequence"]], [per_object, per_sequence], atol=0.006)


@pytest.mark.parametrize("row, wanted", [(0, 70.68), (4, 66.26)])
def test_without_penguins(row, wanted):
  kept = {name: [o[row] for o in objects] for name, objects in TABLE.items() if name != "penguin"}
  np.testing.assert_allclose(tubes.per_object_and_sequence(kept)["per_object"], wanted, atol=0.006)


@pytest.mark.parametrize("overlap, auc", [(0.5, 10 / 21), (1.0, 20 / 21), (0.0, 0.0)])
def test_success_counts_what_overlaps_by_more(overlap, auc):
  assert tubes.success_auc(np.full(9, overlap)) == pytest.approx(auc)


def test_frames_that_are_not_annotated_are_left_out_and_attributes_are_means_of_their_sequences():
  assert tubes.success_auc(np.array([1.0, np.nan, 1.0])) == pytest.approx(20 / 21)
  found = tubes.by_attribute({"a": 0.2, "b": 0.4, "c": 0.9}, {"a": ("IV",), "b": ("IV", "OCC"), "c": ()})
  assert found == pytest.approx({"all": 0.5, "IV": 0.3, "OCC": 0.4})


def test_overlaps_frame_by_frame():
  a = np.array([[0, 0, 10, 10], [0, 0, 4, 4.0], [1, 1, 2, 2]])
  b = np.array([[5, 0, 15, 10], [9, 9, 10, 10], [np.nan] * 4])
  np.testing.assert_allclose(tubes.frame_iou(a, b), [1 / 3, 0, np.nan])
  masks = np.zeros((3, 4, 4), bool)
  truth = masks.copy()
  masks[0, :2], truth[0, :, :2], truth[1, 0, 0] = True, True, True
  np.testing.assert_allclose(tubes.mask_overlaps(masks, truth), [4 / 12, 0, np.nan])
  assert tubes.pixel_error(masks, truth) == 3.0


def test_the_best_tube_has_a_rank_from_1_on():
  assert tubes.best_of([0.2, 0.9, 0.9]) == (2, 0.9) and tubes.best_of([0.2, 0.9], 1) == (1, 0.2)
  assert np.isnan([tubes.best_of([]), tubes.best_of([np.nan, np.nan])]).all()


def test_what_is_nowhere_annotated_is_left_out_of_every_mean():
  nan = float("nan")
  found = tubes.by_attribute({"a": 0.2, "b": nan, "c": 0.4}, {"a": ("IV",), "b": ("IV", "OCC"), "c": ()})
  assert found.pop("OCC") != 0 and found == pytest.approx({"all": 0.3, "IV": 0.2})
  found = tubes.per_object_and_sequence({"a": [0.2, nan], "b": [nan], "c": [0.4, 0.6], "d": []})
  assert found == pytest.approx({"per_object": 0.4, "per_sequence": 0.35})
  assert np.isnan(list(tubes.per_object_and_sequence({"a": [nan]}).values())).all()


def test_tubes_that_repeat_a_better_one_are_dropped():
  boxes = np.zeros((3, 5, 4)) + (0, 0, 10, 10)
  boxes[1] += (0, 0, 1, 0)
  boxes[2] += 30
  np.testing.assert_array_equal(tubes.distinct(boxes, 0.6), [0, 2])
  np.testing.assert_array_equal(tubes.distinct(boxes, 1.0), [0, 1, 2])
