import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises

SMALL = dict(width=8, groups=4, dilations=(1, 2, 4, 8), pools=(0, 2), tap=1, num_classes=3)
small = functools.partial(vidx.create_model, "tcn", **SMALL)
X = promises.some_input((2, 22, 5))


def embedded_by_loops(params, x, dilations, pools, tap, groups):
  """One sequence (T, C), frame by frame."""
  dense = lambda p, z: z @ np.asarray(p["kernel"])[0] + p["bias"]
  relu = lambda z: np.maximum(z, 0)
  x = relu(dense(params["stem"], x))
  for i, d in enumerate(dilations):
    p, y = params[f"block{i}"], np.zeros_like(x)
    for t in range(len(x)):
      for k, s in enumerate((t - d, t, t + d)):
        if 0 <= s < len(x):
          y[t] += x[s] @ np.asarray(p["conv3"]["kernel"])[k]
    x = x + dense(p["conv1"], relu(y + p["conv3"]["bias"]))
    if i in pools:
      x = np.stack([np.maximum(x[2 * t], x[2 * t + 1]) for t in range(len(x) // 2)])
    early = x if i == tap else (early if i > tap else None)
  x = dense(params["last"], relu(x)).reshape(len(x), groups, -1)
  x = (x - x.mean((0, 2), keepdims=True)) / np.sqrt(x.var((0, 2), keepdims=True) + 1e-5)
  return early, x.reshape(len(x), -1) * params["norm"]["scale"] + params["norm"]["bias"]


def test_equals_the_loop_and_masked_sequences_are_the_shorter_ones():
  model = small()
  variables = promises.some_variables(model, X)
  lengths = np.array([22, 13])
  out = promises.jitted(model)(variables, X, mask=jnp.arange(22) < lengths[:, None])
  for i, n in enumerate(lengths):
    early, regions = embedded_by_loops(variables["params"], np.asarray(X[i, :n]), (1, 2, 4, 8), (0, 2), 1, 4)
    assert out["early_mask"][i].sum() == n // 2 and out["regions_mask"][i].sum() == n // 4
    np.testing.assert_allclose(out["early"][i, :n // 2], early, atol=1e-5)
    np.testing.assert_allclose(out["regions"][i, :n // 4], regions, atol=2e-5)
    np.testing.assert_allclose(out["features"][i], regions.mean(0), atol=2e-5)


def test_the_published_network_has_a_stride_of_32():
  model = vidx.create_model("tcn")
  x = jax.ShapeDtypeStruct((1, 2000, 64), jnp.float32)
  shapes = jax.eval_shape(lambda x: model.init_with_output(jax.random.PRNGKey(0), x)[0], x)
  assert shapes["early"].shape == (1, 250, 128) and shapes["regions"].shape == (1, 62, 128)


def test_examples_do_not_meet():
  promises.keeps_examples_apart(small(), X)


def test_identities_at_every_site_change_nothing():
  promises.identities_change_nothing(small, X)


def test_sites_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


def test_gradients_are_finite_and_reach_every_parameter():
  dead = [p for p, alive in promises.has_finite_gradients(small(dtype=jnp.bfloat16), X) if not alive]
  assert not dead


def test_it_lowers_for_tpu_and_cuda():
  promises.lowers_for_accelerators(small(dtype=jnp.bfloat16), X)


def test_a_sequence_shorter_than_a_region_is_named():
  with pytest.raises(ValueError, match="3 frames is shorter than one region, 4"):
    jax.eval_shape(small().init, jax.random.PRNGKey(0), X[:, :3])
