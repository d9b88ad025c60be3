import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import norm
from vidx.train import precise_bn


def test_statistics_of_equal_batches_are_those_of_all_examples():
  x = np.random.default_rng(0).normal(2.0, 3.0, (4, 8, 5)).astype("f")
  block = norm.BatchNorm(momentum=0.9)
  variables = block.init(jax.random.PRNGKey(0), x[0])

  @jax.jit
  def of(batch):
    with norm.exact_statistics():
      return block.apply(variables, batch, True, mutable=["batch_stats"])[1]["batch_stats"]

  found = precise_bn.averaged({"block": of(jnp.asarray(b))} for b in x)["block"]
  np.testing.assert_allclose(found["mean"], x.reshape(-1, 5).mean(0), rtol=1e-5)
  np.testing.assert_allclose(found["var"], x.reshape(-1, 5).var(0), rtol=1e-4)
  running = block.apply(variables, x[0], True, mutable=["batch_stats"])[1]["batch_stats"]["mean"]
  np.testing.assert_allclose(running, 0.1 * x[0].mean(0), rtol=1e-5)


@pytest.mark.parametrize("mean, var", [(20.0, 0.05), (-300.0, 1e-3), (0.0, 1.0)])
def test_statistics_that_stay_the_same_do_not_drift(mean, var):
  one = {"block": {"mean": jnp.full(3, mean), "var": jnp.full(3, var)}, "count": jnp.full(3, 2.0)}
  found = one
  for _ in range(5):  # evaluations
    found = precise_bn.averaged([found] * 200)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, one)
  apart = [{"mean": jnp.full(1, mean + d), "var": jnp.full(1, var)} for d in (-0.5, 0.5, 0.5, -0.5)]
  np.testing.assert_allclose(precise_bn.averaged(apart)["var"], var + 0.25, rtol=1e-4)


def test_frozen_statistics_and_others_than_means_stay_what_they_are():
  block = norm.BatchNorm(frozen=True)
  x = jnp.ones((4, 3))
  variables = {"params": block.init(jax.random.PRNGKey(0), x)["params"],
               "batch_stats": {"mean": jnp.full(3, 7.0), "var": jnp.full(3, 2.0)}}
  with norm.exact_statistics():
    new = block.apply(variables, x, True, mutable=["batch_stats"])[1].get("batch_stats", variables["batch_stats"])
  np.testing.assert_array_equal(new["mean"], 7.0)
  found = precise_bn.averaged([{"a": {"mean": jnp.ones(2)}}, {"a": {"mean": jnp.full(2, 3.0)}}])
  np.testing.assert_array_equal(found["a"]["mean"], 2.0)
