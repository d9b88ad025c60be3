"""Convolution pyramid attention and channel gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones.promises import some_input, some_variables
from tests.nn.test_non_local import map_of, run
from vidx.nn import ChannelGate, ConvolutionPyramidAttention

SHAPE = (2, 3, 4, 5, 32)
ADDITIVE = [dict(form="se"), dict(form="gc")]
GATES = ADDITIVE + [dict(form="se", multiply=True), dict(form="gc", multiply=True), dict(form="cbam", kernel=(3, 3, 3))]


def attention_by_loops(x, kernels):
  mean = x.mean(-1)
  scores = np.zeros(mean.shape)
  for w in kernels:
    k = w.shape[:3]
    padded = np.pad(mean, [(0, 0), *((n // 2, n // 2) for n in k)])
    for t, i, j in np.ndindex(*k):
      scores += w[t, i, j, 0, 0] * padded[:, t:t + mean.shape[1], i:i + mean.shape[2], j:j + mean.shape[3]]
  e = np.exp(scores - scores.max((1, 2, 3), keepdims=True))
  return e / e.sum((1, 2, 3), keepdims=True)


@pytest.mark.parametrize("mode", ["rescale", "literal", "residual"])
def test_pyramid_attention_equals_the_loop(mode):
  block = ConvolutionPyramidAttention(mode=mode)
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  p = jax.tree.map(np.asarray, variables["params"])
  a = attention_by_loops(np.asarray(x), [w for k, w in p.items() if k != "gamma"])
  y = {"literal": a[..., None] * x, "rescale": 60 * a[..., None] * x,
       "residual": x + p.get("gamma", 0) * 60 * a[..., None] * x}[mode]
  np.testing.assert_allclose(run(block, variables, x), y, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(map_of(block, variables, x), a, rtol=1e-4, atol=1e-7)


def test_pyramid_attention_starts_as_the_identity_and_has_418_parameters():
  x = some_input(SHAPE)
  for mode, count in (("rescale", 418), ("residual", 419), ("literal", 418)):
    block = ConvolutionPyramidAttention(mode=mode)
    variables = block.init(jax.random.PRNGKey(0), x)
    assert sum(v.size for v in jax.tree.leaves(variables)) == count
    if mode == "rescale":
      np.testing.assert_allclose(run(block, variables, x), x, rtol=1e-6)
    if mode == "residual":
      np.testing.assert_array_equal(run(block, variables, x), x)


def test_pyramid_attention_sums_to_one_and_treats_channels_alike():
  block = ConvolutionPyramidAttention()
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  np.testing.assert_allclose(map_of(block, variables, x).sum((1, 2, 3)), 1, rtol=1e-5)
  order = np.random.default_rng(0).permutation(32)
  np.testing.assert_allclose(run(block, variables, x[..., order]), run(block, variables, x)[..., order], atol=1e-4)


def test_a_pyramid_of_single_positions_does_not_know_places():
  block = ConvolutionPyramidAttention(pyramid=((1, 1, 1),))
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  order = np.random.default_rng(0).permutation(60)
  shuffle = lambda x: x.reshape(2, 60, 32)[:, order].reshape(SHAPE)
  np.testing.assert_allclose(run(block, variables, shuffle(x)), shuffle(run(block, variables, x)), rtol=1e-5, atol=1e-6)


BLOCKS = [lambda f=f: ChannelGate(**f) for f in GATES] + [ConvolutionPyramidAttention]


@pytest.mark.parametrize("make", BLOCKS)
def test_dead_frames_are_as_frames_that_are_not_there(make):
  block = make()
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  mask = jnp.array([[1, 1, 0], [1, 1, 1]], jnp.float32)
  y = run(block, variables, x * mask[:, :, None, None, None], mask=mask)
  np.testing.assert_allclose(y[:1, :2], run(block, variables, x[:1, :2]), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(y[1:], run(block, variables, x[1:]), rtol=1e-4, atol=1e-5)
  assert not np.any(y[0, 2])


@pytest.mark.parametrize("fields", ADDITIVE)
def test_additive_gates_start_as_the_identity(fields):
  block, x = ChannelGate(**fields), some_input(SHAPE)
  np.testing.assert_array_equal(run(block, block.init(jax.random.PRNGKey(0), x), x), x)


def test_se_adds_or_multiplies_one_vector_per_clip():
  x = some_input(SHAPE)
  add, multiply = ChannelGate(), ChannelGate(multiply=True)
  variables = some_variables(add, x)
  p, stats = (variables[k] for k in ("params", "batch_stats"))
  h = x.mean((1, 2, 3)) @ p["squeeze"]["kernel"] + p["squeeze"]["bias"]
  h = (h - stats["norm"]["mean"]) / jnp.sqrt(stats["norm"]["var"] + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
  s = (jnp.maximum(h, 0) @ p["excite"]["kernel"] + p["excite"]["bias"])[:, None, None, None]
  np.testing.assert_allclose(run(add, variables, x), x + s, atol=1e-5)
  np.testing.assert_allclose(run(multiply, variables, x), x / (1 + jnp.exp(-s)), atol=1e-5)


def test_gc_with_equal_scores_is_se():
  x = some_input(SHAPE)
  gc = some_variables(ChannelGate(form="gc"), x)
  gc["params"]["score"]["conv"] = None
  params = {k: v for k, v in gc["params"].items() if k != "score"}
  score = jax.tree.map(jnp.zeros_like, some_variables(ChannelGate(form="gc"), x)["params"]["score"])
  y = run(ChannelGate(form="gc"), {**gc, "params": {**params, "score": score}}, x)
  np.testing.assert_allclose(y, run(ChannelGate(), {**gc, "params": params}, x), atol=1e-5)


def test_cbam_gates_channels_then_places():
  x = some_input(SHAPE)
  block = ChannelGate(form="cbam", kernel=(1, 1, 1))
  variables = some_variables(block, x)
  p, stats = variables["params"], variables["batch_stats"]["where"]["norm"]
  dense = lambda name, v: v @ p[name]["kernel"] + p[name]["bias"]
  mlp = lambda v: dense("excite", jnp.maximum(dense("squeeze", v), 0))
  y = x * jax.nn.sigmoid(mlp(x.mean((1, 2, 3))) + mlp(x.max((1, 2, 3))))[:, None, None, None]
  s = jnp.stack([y.mean(-1), y.max(-1)], -1) @ p["where"]["conv"]["kernel"][0, 0, 0]
  s = (s - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5) * p["where"]["norm"]["scale"] + p["where"]["norm"]["bias"]
  np.testing.assert_allclose(run(block, variables, x), y * jax.nn.sigmoid(s), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(map_of(block, variables, x), jax.nn.sigmoid(s)[..., 0], rtol=1e-4)


@pytest.mark.parametrize("make, words", [
    (lambda: ChannelGate(form="SE"), ["'SE'", "se, gc, cbam"]),
    (lambda: ConvolutionPyramidAttention(mode="scale"), ["'scale'", "rescale, literal, residual"]),
    (lambda: ConvolutionPyramidAttention(pyramid=((2, 3, 3),)), ["odd", "(2, 3, 3)"]),
])
def test_an_unknown_choice_is_named(make, words):
  with pytest.raises(ValueError) as e:
    make()
  assert all(w in str(e.value) for w in words)
