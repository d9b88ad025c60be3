import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve

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
  found = ranking.average_precisions(scores, positive)
  assert ranking.mean_known(found) == 75
  assert ranking.mean_known(found[[0, 1]]) == 100
  assert np.isnan(ranking.mean_known(found[[1]]))


def test_mean_equals_scikit_learns_macro_average():
  rng = np.random.default_rng(1)
  scores, positive = rng.normal(size=(64, 9)), rng.random((64, 9)) < 0.3
  assert ranking.mean_known(ranking.average_precisions(scores, positive)) == pytest.approx(
      100 * average_precision_score(positive, scores, average="macro"))


def by_pairs(scores, positive, rule):
  """Precision and recall at every threshold by counting, O(N^2)."""
  total, area, before = sum(positive), 0.0, None
  recall = 0.0
  for threshold in sorted(set(scores), reverse=True):
    taken = [p for s, p in zip(scores, positive) if s >= threshold]
    precision, now = sum(taken) / len(taken), sum(taken) / total
    height = precision if rule == "step" or before is None else (precision + before) / 2
    area, recall, before = area + (now - recall) * height, now, precision
  return 100 * area


@pytest.mark.parametrize("rule", ranking.RULES)
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_equals_counting_at_every_threshold(rule, decimals):
  rng = np.random.default_rng(decimals)
  for _ in range(10):
    scores, positive = np.round(rng.normal(size=31), decimals), rng.random(31) < 0.3
    positive[0] = True
    assert ranking.average_precision(scores, positive, rule) == pytest.approx(by_pairs(scores, positive, rule))


def test_trapezoids_are_those_of_scikit_learn_but_for_its_first_point():
  """Its curve begins at precision 1; where the highest score is right, so does this one."""
  rng = np.random.default_rng(0)
  scores, positive = rng.normal(size=50), rng.random(50) < 0.4
  positive[scores.argmax()] = True
  precision, recall, _ = precision_recall_curve(positive, scores)
  assert ranking.average_precision(scores, positive, "trapezoid") == pytest.approx(100 * auc(recall, precision))


@pytest.mark.parametrize("rule", ranking.RULES)
def test_tied_scores_give_prevalence_and_monotone_changes_of_scores_nothing(rule):
  rng = np.random.default_rng(0)
  positive, scores = rng.random(40) < 0.3, rng.normal(size=40)
  assert ranking.average_precision(np.zeros(40), positive, rule) == pytest.approx(100 * positive.mean())
  assert ranking.average_precision(scores, positive, rule) == ranking.average_precision(
      np.exp(3 * scores), positive, rule)
  assert np.isnan(ranking.average_precision(scores, positive & False, rule))
  with pytest.raises(ValueError, match="rule 'area' is not one of step, trapezoid"):
    ranking.average_precision(scores, positive, "area")


HVU = {  # scene, object, action, event, attribute, concept: overall (tables 5.4 to 5.6)
    (46.3, 22.4, 43.8, 31.4, 25.3, 20.1): 31.6, (50.1, 27.9, 46.7, 35.7, 29.2, 23.2): 35.4,
    (50.6, 28.6, 48.2, 35.9, 29.0, 22.5): 35.8, (51.9, 30.1, 50.3, 35.8, 29.9, 22.7): 36.7,
    (55.8, 34.2, 51.8, 38.5, 33.6, 26.1): 40.0, (51.7, 29.6, 48.9, 36.6, 31.1, 24.1): 37.0,
    (57.2, 35.1, 53.5, 39.8, 34.9, 27.3): 41.3,
}
LABELS = (248, 1678, 739, 69, 117, 291)


@pytest.mark.parametrize("row", HVU)
def test_the_overall_map_of_hvu_is_the_mean_of_its_categories(row):
  """The mean over all labels is another figure: 34.6 where 35.8 is printed."""
  values, ends = np.repeat(row, LABELS), np.cumsum(LABELS)
  categories = {str(i): range(end - n, end) for i, (n, end) in enumerate(zip(LABELS, ends))}
  overall, means = ranking.mean_by_category(values, categories)
  assert overall == pytest.approx(HVU[row], abs=0.1)
  assert list(means.values()) == pytest.approx(row)
  assert abs(values.mean() - HVU[row]) > 0.1 and len(values) == 3142


def test_categories_without_a_known_class_are_left_out():
  overall, means = ranking.mean_by_category(np.array([10.0, np.nan, 30.0, np.nan]), {"a": (0, 1), "b": (2,), "c": (3,)})
  assert overall == 20 and means["a"] == 10 and np.isnan(means["c"])
