"""Double attention beside loops over positions and vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from tests.nn.test_non_local import run, takes_dead_frames_as_absent
from vidx.nn import DoubleAttention

X = np.asarray(promises.some_input((2, 3, 4, 5, 8)))


def filled(block):
  return jax.device_get(promises.some_variables(block, X))


def by_loops(x, params, stats):
  """One clip: a softmax over its positions per vector, one over the vectors per position, and the sums of both."""
  linear = lambda name: x.reshape(-1, x.shape[-1]) @ params[name]["kernel"][0, 0, 0] + params[name]["bias"]
  a, b, v = linear("given"), np.exp(linear("gather")), np.exp(linear("deal"))
  y = np.zeros_like(a)
  for i in range(len(y)):
    for n in range(b.shape[1]):
      vector = sum(b[j, n] * a[j] for j in range(len(a))) / b[:, n].sum()
      y[i] += v[i, n] / v[i].sum() * vector
  conv, norm, seen = params["out"]["conv"], params["out"]["norm"], stats["out"]["norm"]
  z = (y @ conv["kernel"][0, 0, 0] + conv["bias"] - seen["mean"]) / np.sqrt(seen["var"] + 1e-5)
  return x + (z * norm["scale"] + norm["bias"]).reshape(x.shape)


def test_equals_the_loop():
  block = DoubleAttention(reduction=2)
  variables = filled(block)
  y = [by_loops(x, variables["params"], variables["batch_stats"]) for x in X]
  np.testing.assert_allclose(run(block, variables, X), y, rtol=1e-4, atol=1e-5)


def test_starts_as_the_identity_in_each_dtype():
  block = DoubleAttention()
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), X)
  for dtype in (jnp.float32, jnp.bfloat16):
    y = run(block, variables, X.astype(dtype))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, X.astype(dtype))


def test_dead_frames_are_as_frames_that_are_not_there():
  block = DoubleAttention()
  takes_dead_frames_as_absent(block, filled(block), X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["given", "gather", "deal", "out"])
def test_every_part_is_trained(name):
  block = DoubleAttention()
  variables = filled(block)
  loss = lambda params: jnp.sum(run(block, {**variables, "params": params}, X) ** 2)
  grad = jax.grad(loss)(variables["params"])[name]
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grad))
  assert max(np.abs(g).max() for g in jax.tree.leaves(grad)) > 1e-4
