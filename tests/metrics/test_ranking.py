import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from vidx.metrics import ranking


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_equals_scikit_learn_with_and_without_ties(decimals, share):
  rng = np.random.default_rng(decimals)
  for _ in range(20):
    positive = rng.random(83) < share
    positive[0] = True
    scores = np.round(rng.normal(size=83), decimals)
    assert ranking.average_precision(scores, positive) == pytest.approx(
        100 * average_precision_score(positive, scores), abs=1e-10)


def test_a_perfect_order_gives_100_and_the_order_of_examples_does_not_matter():
  scores, positive = np.array([3, 2, 1, 0.0]), np.array([1, 1, 0, 0])
  assert ranking.average_precision(scores, positive) == 100
  assert ranking.average_precision(np.ones(4), positive) == ranking.average_precision(np.ones(4), positive[::-1]) == 50


def test_mean_leaves_out_classes_without_positives():
  scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.9]])
  positive = np.array([[1, 0, 1], [0, 0, 0]])
  assert ranking.mean_average_precision(scores, positive) == 75
  assert ranking.mean_average_precision(scores, positive, classes=(0, 1)) == 100
  assert np.isnan(ranking.mean_average_precision(scores, positive, classes=(1,)))


def test_mean_equals_scikit_learns_macro_average():
  rng = np.random.default_rng(1)
  scores, positive = rng.normal(size=(64, 9)), rng.random((64, 9)) < 0.3
  assert ranking.mean_average_precision(scores, positive) == pytest.approx(
      100 * average_precision_score(positive, scores, average="macro"))
