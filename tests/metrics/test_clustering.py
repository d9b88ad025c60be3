import itertools

import numpy as np
import pytest

from vidx.metrics.clustering import clustering_accuracy, k_means, normalised


@pytest.mark.parametrize("classes", [2, 4, 6])
def test_equals_the_best_of_all_permutations(classes):
  rng = np.random.default_rng(classes)
  for _ in range(3):
    cluster, label = rng.integers(classes, size=(2, 40))
    best = max(np.mean(np.array(p)[cluster] == label) for p in itertools.permutations(range(classes)))
    assert clustering_accuracy(cluster, label) == pytest.approx(100 * best)


def test_names_of_clusters_do_not_matter_nor_do_unequal_numbers():
  rng = np.random.default_rng(0)
  cluster, label = rng.integers(5, size=(2, 60))
  names = rng.permutation(5)
  assert clustering_accuracy(names[cluster], label) == clustering_accuracy(cluster, label)
  assert clustering_accuracy(np.zeros(4, int), np.arange(4)) == clustering_accuracy(np.arange(4), np.zeros(4)) == 25
  assert np.isnan(clustering_accuracy(np.zeros(0), np.zeros(0)))


def test_gaussians_far_from_each_other_are_told_apart():
  rng = np.random.default_rng(0)
  label = rng.integers(4, size=80)
  features = 20 * np.eye(6)[label] + rng.normal(size=(80, 6))
  found = k_means(features, 4, restarts=5)
  assert clustering_accuracy(found, label) == 100
  np.testing.assert_array_equal(found, k_means(features, 4, restarts=5))


def test_no_row_is_nearer_to_another_cluster():
  features = normalised(np.random.default_rng(1).normal(size=(60, 3)))
  found = k_means(features, 5, restarts=3)
  centres = np.stack([features[found == c].mean(0) for c in range(5)])
  np.testing.assert_array_equal(((features[:, None] - centres)**2).sum(-1).argmin(1), found)
  np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1)


def test_fewer_examples_than_clusters_are_one_clear_line():
  with pytest.raises(ValueError, match="3 examples cannot make 4 clusters"):
    k_means(np.zeros((3, 2)), 4)
