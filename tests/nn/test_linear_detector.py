import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.linear_detector import lda, logistic_regression, scores, squared_hinge_svm


def examples(seed=0, positives=12, negatives=150, size=20, apart=0.8):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(positives + negatives, size)).astype("f")
  x[:positives] += apart * rng.normal(size=size)
  x /= np.linalg.norm(x, axis=1, keepdims=True)
  return x, np.repeat([1, -1], [positives, negatives])


@pytest.mark.parametrize("regularisation", [1e-1, 1e-2, 1e-3])
def test_many_svms_at_once_equal_those_of_scikit_learn(regularisation):
  svm = pytest.importorskip("sklearn.svm", reason="the reference is scikit-learn, in the extra 'tests'")
  sets = [examples(seed) for seed in range(3)]
  fit = jax.jit(jax.vmap(lambda x, y: squared_hinge_svm(x, y, regularisation, 15)))
  found = np.asarray(fit(np.stack([x for x, _ in sets]), np.stack([y for _, y in sets])))
  for w, (x, y) in zip(found, sets):
    weight = np.where(y > 0, 0.5 / (y > 0).sum(), 0.5 / (y < 0).sum()) / regularisation
    peer = svm.LinearSVC(loss="squared_hinge", dual=False, C=1.0, tol=1e-10, max_iter=20000).fit(x, y, weight)
    wanted = np.append(peer.coef_[0], peer.intercept_)
    np.testing.assert_allclose(w, wanted, atol=1e-3 * np.abs(wanted).max())


def test_logistic_regression_equals_that_of_scikit_learn():
  linear = pytest.importorskip("sklearn.linear_model", reason="the reference is scikit-learn, in the extra 'tests'")
  x, y = examples(1)
  w = np.asarray(logistic_regression(x, y, 1e-2, 15))
  weight = np.where(y > 0, 0.5 / (y > 0).sum(), 0.5 / (y < 0).sum()) / 1e-2
  peer = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=5000, fit_intercept=False).fit(
      np.pad(x, ((0, 0), (0, 1)), constant_values=1), y, weight)
  np.testing.assert_allclose(w, peer.coef_[0], atol=1e-3 * np.abs(w).max())


def test_rows_that_are_no_examples_do_not_matter_nor_does_the_start():
  x, y = examples(2)
  alone = squared_hinge_svm(x, y)
  padded = squared_hinge_svm(np.pad(x, ((0, 30), (0, 0)), constant_values=3), np.pad(y, (0, 30)))
  np.testing.assert_allclose(alone, padded, atol=1e-4)
  np.testing.assert_allclose(alone, squared_hinge_svm(x, y, begin=jnp.ones(x.shape[1] + 1)), atol=1e-3)
  assert not np.asarray(squared_hinge_svm(x, 0 * y)).any()


def test_lda_is_the_closed_form():
  rng = np.random.default_rng(0)
  everything = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
  mean, covariance = everything.mean(0), np.cov(everything.T, bias=True)
  positives, weight = everything[:5] + 1, np.array([1, 1, 1, 0, 1])
  own = positives[weight > 0].mean(0)
  ridge = 1e-2 * np.trace(covariance) / 6
  wanted = np.linalg.inv(covariance + ridge * np.eye(6)) @ (own - mean)
  found = np.asarray(lda(*(jnp.asarray(v, jnp.float32) for v in (positives, weight, mean, covariance))))
  np.testing.assert_allclose(found[:-1], wanted, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(found[:-1] @ ((own + mean) / 2) + found[-1], 0, atol=1e-3)


def test_scores_are_products_and_the_bias():
  rng = np.random.default_rng(0)
  x, w = rng.normal(size=(2, 7, 4)).astype("f"), rng.normal(size=(3, 5)).astype("f")
  np.testing.assert_allclose(scores(jnp.asarray(x), w), x @ w[:, :4].T + w[:, 4], rtol=1e-4, atol=1e-5)


def test_it_lowers_for_accelerators():
  shapes = jax.ShapeDtypeStruct((2, 50, 16), jnp.float32), jax.ShapeDtypeStruct((2, 50), jnp.int8)
  assert export.export(jax.jit(jax.vmap(squared_hinge_svm)), platforms=["tpu", "cuda"])(*shapes)
