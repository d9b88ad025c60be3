import numpy as np
import pytest
from sklearn import metrics as sk

from vidx.metrics import accuracy


@pytest.fixture
def split():
  rng = np.random.default_rng(0)
  return rng.normal(size=(57, 7)), rng.integers(7, size=57)


def top_k_by_loops(scores, label, k):
  right = 0
  for s, y in zip(scores, label):
    better = sum(1 for c, v in enumerate(s) if v > s[y] or (v == s[y] and c < y))
    right += better < k
  return 100 * right / len(label)


@pytest.mark.parametrize("k", [1, 2, 5, 7, 9])
def test_top_k_equals_the_loop_with_and_without_ties(split, k):
  scores, label = split
  assert accuracy.top_k(scores, label, k) == pytest.approx(top_k_by_loops(scores, label, k))
  tied = np.round(scores)
  assert accuracy.top_k(tied, label, k) == pytest.approx(top_k_by_loops(tied, label, k))


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_equals_scikit_learn(split, k):
  scores, label = split
  assert accuracy.top_k(scores, label, k) == pytest.approx(100 * sk.top_k_accuracy_score(label, scores, k=k))


def test_ties_go_to_the_lower_class_id():
  scores = np.ones((2, 3))
  assert accuracy.ranked(scores).tolist() == [[0, 1, 2]] * 2
  assert accuracy.top_k(scores, np.array([0, 1]), 1) == 50


def test_a_score_that_is_not_a_number_is_never_ahead():
  scores = np.array([[np.nan, 0.1, 0.2]])
  assert accuracy.ranked(scores).tolist() == [[2, 1, 0]]


def test_confusion_and_mean_class_accuracy_equal_scikit_learn(split):
  scores, label = split
  predicted = scores.argmax(axis=1)
  confusion = accuracy.confusion_matrix(scores, label)
  np.testing.assert_array_equal(confusion, sk.confusion_matrix(label, predicted, labels=range(7)))
  assert accuracy.mean_class_accuracy(confusion) == pytest.approx(100 * sk.balanced_accuracy_score(label, predicted))


def test_a_class_without_examples_does_not_count():
  confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])
  np.testing.assert_array_equal(accuracy.per_class_accuracy(confusion), [75, np.nan, 100])
  assert accuracy.mean_class_accuracy(confusion) == 87.5


def test_no_examples_give_nan():
  scores, label = np.zeros((0, 4)), np.zeros(0, int)
  confusion = accuracy.confusion_matrix(scores, label)
  assert confusion.shape == (4, 4) and confusion.sum() == 0
  assert np.isnan(accuracy.top_k(scores, label)) and np.isnan(accuracy.mean_class_accuracy(confusion))
