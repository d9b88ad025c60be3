import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import MergeReduce

OWN, OTHER = promises.some_input((2, 3, 4, 4, 5)), promises.some_input((2, 3, 4, 4, 7), seed=1)
MASK = jnp.asarray([[1, 1, 0], [1, 1, 1]])


def variables_of(block):
  return promises.some_variables(block, OWN, OTHER)


@pytest.mark.parametrize("plain", [False, True])
def test_equals_a_convolution_of_the_channels_side_by_side(plain):
  block = MergeReduce(plain=plain)
  variables = variables_of(block)
  p = jax.tree.map(np.asarray, variables["params"])
  y = np.concatenate([OWN, OTHER], -1).reshape(-1, 12)
  y = np.stack([sum(row[c] * p["kernel"][0, 0, 0, c] for c in range(12)) for row in y]).reshape(*OWN.shape)
  if plain:
    y = y + p["bias"]
  else:
    s = variables["batch_stats"]["norm"]
    y = (y - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
    y = np.maximum(y, 0)
  np.testing.assert_allclose(jax.jit(block.apply)(variables, OWN, OTHER), y, rtol=1e-5, atol=1e-5)


def test_the_example_of_the_thesis_has_its_channels():
  """64 and 64 channels side by side are 128, brought back to 64."""
  x = jax.ShapeDtypeStruct((1, 2, 4, 4, 64), jnp.float32)
  y, variables = jax.eval_shape(lambda x: MergeReduce().init_with_output(jax.random.PRNGKey(0), x, x), x)
  assert y.shape[-1] == 64 and variables["params"]["kernel"].shape == (1, 1, 1, 128, 64)


@pytest.mark.parametrize("plain", [False, True])
def test_selected_it_leaves_its_own_branch_as_it_is(plain):
  x = jax.nn.relu(OWN)
  block = MergeReduce(mr_init="select", plain=plain)
  y, _ = jax.jit(block.init_with_output)(jax.random.PRNGKey(0), x, OTHER)
  np.testing.assert_allclose(y, x, rtol=1e-6)


def test_dead_frames_leave_as_zeros_and_do_not_count():
  block = MergeReduce()
  variables = variables_of(block)
  apply = jax.jit(functools.partial(block.apply, train=True, mutable=["batch_stats"]))
  y, state = apply(variables, OWN, OTHER, mask=MASK)
  changed = lambda x: x.at[0, 2].set(9.0)
  again, same = apply(variables, changed(OWN), changed(OTHER), mask=MASK)
  assert not y[0, 2].any()
  np.testing.assert_array_equal(y, again)
  np.testing.assert_array_equal(state["batch_stats"]["norm"]["var"], same["batch_stats"]["norm"]["var"])


def test_both_branches_and_all_parameters_have_gradients_in_half_precision():
  block = MergeReduce(dtype=jnp.bfloat16)
  variables = variables_of(block)

  @jax.jit
  def loss(params, own, other):
    y, _ = block.apply({**variables, "params": params}, own, other, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    return (y.astype(jnp.float32) ** 2).sum()

  for g in jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(variables["params"], OWN, OTHER)):
    assert np.isfinite(g).all() and np.any(g)


def test_branches_that_are_not_aligned_and_unknown_initialisers_are_one_clear_line():
  with pytest.raises(ValueError, match="cannot be merged: frames and sizes differ"):
    jax.eval_shape(MergeReduce().init, jax.random.PRNGKey(0), OWN, OTHER[:, 1:])
  with pytest.raises(ValueError, match="mr_init = 'own' is not one of he, select"):
    MergeReduce(mr_init="own")
