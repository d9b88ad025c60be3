"""Convolution pyramid attention and channel gates."""

import jax
import numpy as np
import pytest

from tests.backbones import promises
from tests.nn.test_non_local import map_of, run, takes_dead_frames_as_absent
from vidx.nn import ChannelGate, ConvolutionPyramidAttention

SHAPE = (2, 3, 4, 5, 32)
X = np.asarray(promises.some_input(SHAPE))
ADDITIVE = [dict(form="se"), dict(form="gc")]
GATES = ADDITIVE + [dict(form="se", multiply=True), dict(form="gc", multiply=True), dict(form="cbam", kernel=(3, 3, 3))]


def filled(block):
  return jax.device_get(promises.some_variables(block, X))


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
  variables = filled(block)
  p = variables["params"]
  a = attention_by_loops(X, [w for k, w in p.items() if k != "gamma"])
  y = {"literal": a[..., None] * X, "rescale": 60 * a[..., None] * X,
       "residual": X + p.get("gamma", 0) * 60 * a[..., None] * X}[mode]
  np.testing.assert_allclose(run(block, variables, X), y, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(map_of(block, variables, X), a, rtol=1e-4, atol=1e-7)


def test_pyramid_attention_starts_as_the_identity_and_has_418_parameters():
  for mode, count in (("rescale", 418), ("residual", 419), ("literal", 418)):
    block = ConvolutionPyramidAttention(mode=mode)
    variables = jax.jit(block.init)(jax.random.PRNGKey(0), X)
    assert sum(v.size for v in jax.tree.leaves(variables)) == count
    if mode == "rescale":
      np.testing.assert_allclose(run(block, variables, X), X, rtol=1e-6)
    if mode == "residual":
      np.testing.assert_array_equal(run(block, variables, X), X)


def test_pyramid_attention_sums_to_one_and_treats_channels_alike():
  block = ConvolutionPyramidAttention()
  variables = filled(block)
  np.testing.assert_allclose(map_of(block, variables, X).sum((1, 2, 3)), 1, rtol=1e-5)
  order = np.random.default_rng(0).permutation(32)
  np.testing.assert_allclose(run(block, variables, X[..., order]), np.asarray(run(block, variables, X))[..., order],
                             atol=1e-4)


def test_a_pyramid_of_single_positions_does_not_know_places():
  block = ConvolutionPyramidAttention(pyramid=((1, 1, 1),))
  variables = filled(block)
  order = np.random.default_rng(0).permutation(60)
  shuffle = lambda x: np.reshape(x, (2, 60, 32))[:, order].reshape(SHAPE)
  np.testing.assert_allclose(run(block, variables, shuffle(X)), shuffle(run(block, variables, X)), rtol=1e-5, atol=1e-6)


BLOCKS = [lambda f=f: ChannelGate(**f) for f in GATES] + [ConvolutionPyramidAttention]


@pytest.mark.parametrize("make", BLOCKS)
def test_dead_frames_are_as_frames_that_are_not_there(make):
  block = make()
  takes_dead_frames_as_absent(block, filled(block), X, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", ADDITIVE)
def test_additive_gates_start_as_the_identity(fields):
  block = ChannelGate(**fields)
  np.testing.assert_array_equal(run(block, jax.jit(block.init)(jax.random.PRNGKey(0), X), X), X)


def test_se_adds_or_multiplies_one_vector_per_clip():
  add, multiply = ChannelGate(), ChannelGate(multiply=True)
  variables = filled(add)
  p, stats = (variables[k] for k in ("params", "batch_stats"))
  h = X.mean((1, 2, 3)) @ p["squeeze"]["kernel"] + p["squeeze"]["bias"]
  h = (h - stats["norm"]["mean"]) / np.sqrt(stats["norm"]["var"] + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
  s = (np.maximum(h, 0) @ p["excite"]["kernel"] + p["excite"]["bias"])[:, None, None, None]
  np.testing.assert_allclose(run(add, variables, X), X + s, atol=1e-5)
  np.testing.assert_allclose(run(multiply, variables, X), X / (1 + np.exp(-s)), atol=1e-5)


def test_gc_with_equal_scores_is_se():
  gc = filled(ChannelGate(form="gc"))
  params = {k: v for k, v in gc["params"].items() if k != "score"}
  score = jax.tree.map(np.zeros_like, gc["params"]["score"])
  y = run(ChannelGate(form="gc"), {**gc, "params": {**params, "score": score}}, X)
  np.testing.assert_allclose(y, run(ChannelGate(), {**gc, "params": params}, X), atol=1e-5)


def test_cbam_gates_channels_then_places():
  block = ChannelGate(form="cbam", kernel=(1, 1, 1))
  variables = filled(block)
  p, stats = variables["params"], variables["batch_stats"]["where"]["norm"]
  dense = lambda name, v: v @ p[name]["kernel"] + p[name]["bias"]
  sigmoid = lambda v: 1 / (1 + np.exp(-v))
  mlp = lambda v: dense("excite", np.maximum(dense("squeeze", v), 0))
  y = X * sigmoid(mlp(X.mean((1, 2, 3))) + mlp(X.max((1, 2, 3))))[:, None, None, None]
  s = np.stack([y.mean(-1), y.max(-1)], -1) @ p["where"]["conv"]["kernel"][0, 0, 0]
  s = (s - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * p["where"]["norm"]["scale"] + p["where"]["norm"]["bias"]
  np.testing.assert_allclose(run(block, variables, X), y * sigmoid(s), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(map_of(block, variables, X), sigmoid(s)[..., 0], rtol=1e-4)


@pytest.mark.parametrize("make, words", [
    (lambda: ChannelGate(form="SE"), ["'SE'", "se, gc, cbam"]),
    (lambda: ConvolutionPyramidAttention(mode="scale"), ["'scale'", "rescale, literal, residual"]),
    (lambda: ConvolutionPyramidAttention(pyramid=((2, 3, 3),)), ["odd", "(2, 3, 3)"]),
])
def test_an_unknown_choice_is_named(make, words):
  with pytest.raises(ValueError) as e:
    make()
  assert all(w in str(e.value) for w in words)
