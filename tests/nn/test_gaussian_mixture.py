import jax
from jax import export
import jax.numpy as jnp
import numpy as np
from scipy import stats

from vidx.nn.gaussian_mixture import Mixture, fit_mixture, log_likelihood


def test_likelihoods_are_those_of_scipy():
  rng = np.random.default_rng(0)
  root = rng.normal(size=(2, 3, 3))
  covariance, mean = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(3), rng.normal(size=(2, 3))
  weight = np.array([0.3, 0.7])
  x = rng.normal(size=(4, 5, 3))
  wanted = sum(w * stats.multivariate_normal(m, c).pdf(x) for w, m, c in zip(weight, mean, covariance))
  found = log_likelihood(Mixture(*map(jnp.float32, (np.log(weight), mean, covariance))), jnp.asarray(x, jnp.float32))
  np.testing.assert_allclose(found, np.log(wanted), rtol=1e-3, atol=1e-3)


def test_clouds_are_found():
  rng = np.random.default_rng(0)
  x = np.concatenate([rng.normal(m, 0.05, (n, 3)) for m, n in ((0.2, 300), (0.8, 100))]).astype("f")
  mixture = fit_mixture(x, np.ones(400), jax.random.PRNGKey(0), components=2, floor=1e-5)
  order = np.argsort(mixture.mean[:, 0])
  np.testing.assert_allclose(np.asarray(mixture.mean)[order], [[0.2] * 3, [0.8] * 3], atol=0.02)
  np.testing.assert_allclose(np.exp(mixture.log_weight)[order], [0.75, 0.25], atol=0.02)


def test_points_without_weight_do_not_matter_and_equal_points_do_not_collapse():
  x = np.full((50, 3), 0.4, "f")
  x[25:] = np.nan
  mixture = fit_mixture(np.nan_to_num(x, nan=9.0), np.arange(50) < 25, jax.random.PRNGKey(1))
  assert np.isfinite(np.asarray(log_likelihood(mixture, jnp.full((2, 3), 0.4)))).all()
  heaviest = int(np.argmax(mixture.log_weight))
  np.testing.assert_allclose(mixture.mean[heaviest], 0.4, atol=1e-5)
  nothing = fit_mixture(np.full((25, 3), 0.4), np.zeros(25), jax.random.PRNGKey(1))
  assert np.isfinite(np.asarray(log_likelihood(nothing, jnp.zeros((2, 3))))).all()


def test_it_lowers_for_accelerators():
  shapes = (jax.ShapeDtypeStruct((2, 60, 3), jnp.float32), jax.ShapeDtypeStruct((2, 60), jnp.float32),
            jax.ShapeDtypeStruct((2, 2), jnp.uint32))
  assert export.export(jax.jit(jax.vmap(fit_mixture)), platforms=["tpu", "cuda"])(*shapes)


def test_no_routine_of_a_library_waits_for_other_threads():
  x, weight = jnp.zeros((50, 3)), jnp.ones(50)
  both = lambda key: [log_likelihood(fit_mixture(x, weight, k), x)
                      for k in jax.random.split(key)]
  assert "lapack" not in jax.jit(both).lower(jax.random.PRNGKey(0)).as_text()
