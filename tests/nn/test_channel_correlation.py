import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import ChannelCorrelation

SHAPE = (2, 3, 4, 5, 32)
X = np.asarray(promises.some_input(SHAPE))
FORMS = [dict(preset=p, branches=b) for p in ("table", "text") for b in ("both", "tcb", "scb")] + [
    dict(gate="linear"), dict(use_bias=True), dict(gate_scale=2.0), dict(placement="after"), dict(placement="concat"),
    dict(reduction=8)]


def filled(block, x=X):
  return jax.device_get(promises.some_variables(block, x))


def run(block, variables, x, **kwargs):
  return np.asarray(promises.jitted(block)(variables, x, **kwargs))


def gates(block, variables, x):
  _, state = jax.jit(functools.partial(block.apply, mutable=["maps"]))(variables, x)
  return {k: np.asarray(v[0]) for k, v in state["maps"].items()}


def bottleneck(p, z, gate):
  add = lambda layer: p[layer].get("bias", 0)
  hidden = z @ p["squeeze"]["kernel"] + add("squeeze")
  if gate == "linear":
    return hidden @ p["excite"]["kernel"] + add("excite")
  return 1 / (1 + np.exp(-(np.maximum(hidden, 0) @ p["excite"]["kernel"] + add("excite"))))


def correlated_by_loops(block, params, x):
  """Equations 4.1 to 4.7, one position at a time."""
  out = []
  for clip in x.astype(np.float64):
    frames, height, width, channels = clip.shape
    z_tcb, z_scb = np.zeros(channels), np.zeros((frames, channels))
    for t, i, j in np.ndindex(frames, height, width):
      z_tcb += clip[t, i, j] / (frames * height * width)
      z_scb[t] += clip[t, i, j] / (height * width)
    parts = []
    if block.branches != "scb":
      parts.append(bottleneck(params["tcb"], z_tcb, block.gate))
    if block.branches != "tcb":
      parts.append(bottleneck(params["scb"], z_scb.reshape(-1), block.gate))
    y = np.zeros_like(clip)
    for t, i, j in np.ndindex(frames, height, width):
      y[t, i, j] = block.gate_scale * np.mean([s * clip[t, i, j] for s in parts], axis=0)
    out.append({"residual": y, "after": clip + y, "concat": np.concatenate([clip, y], -1)}[block.placement])
  return np.stack(out)


@pytest.mark.parametrize("fields", FORMS)
def test_equals_the_loop(fields):
  block = ChannelCorrelation(**fields)
  variables = filled(block)
  want = correlated_by_loops(block, variables["params"], X)
  np.testing.assert_allclose(run(block, variables, X), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset, channels, frames", [("table", 256, 8), ("text", 32, 4), ("table", 2048, 1)])
def test_a_block_has_the_parameters_of_its_layers(preset, channels, frames):
  count = lambda **f: sum(v.size for v in jax.tree.leaves(jax.eval_shape(
      ChannelCorrelation(preset=preset, **f).init, jax.random.PRNGKey(0), jnp.zeros((1, frames, 1, 1, channels)))))
  c = channels
  if preset == "table":
    assert count() == c * c // 16 * (2 + frames + 1)
  else:
    tc = frames * c
    assert (count(branches="tcb"), count(branches="scb")) == (2 * c * c // 4, tc * tc // 4 + tc * c // 4)
  assert count(branches="tcb") + count(branches="scb") == count()


def test_gates_of_zero_weights_halve_the_input():
  zeros = jax.tree.map(np.zeros_like, filled(ChannelCorrelation()))
  np.testing.assert_array_equal(run(ChannelCorrelation(), zeros, X), X / 2)
  np.testing.assert_array_equal(run(ChannelCorrelation(gate_scale=2.0), zeros, X), X)
  np.testing.assert_array_equal(run(ChannelCorrelation(branches="tcb"), zeros, X), X / 2)


def test_both_branches_are_the_mean_of_the_two_alone():
  both = filled(ChannelCorrelation())
  one = lambda b: run(ChannelCorrelation(branches=b), {"params": {b: both["params"][b]}}, X)
  np.testing.assert_allclose(run(ChannelCorrelation(), both, X), (one("tcb") + one("scb")) / 2, atol=1e-6)


def test_a_gate_that_is_overridden_has_no_parameters_and_changes_nothing_at_1():
  block = ChannelCorrelation(gate_override=1.0)
  assert not filled(block)
  np.testing.assert_array_equal(run(block, {}, X), X)


def test_the_temporal_branch_knows_no_order_and_the_spatial_one_that_of_frames():
  rng = np.random.default_rng(0)
  anywhere = X.reshape(2, 60, 32)[:, rng.permutation(60)].reshape(SHAPE)
  within = X.reshape(2, 3, 20, 32)[:, :, rng.permutation(20)].reshape(SHAPE)
  frames = X[:, [2, 0, 1]]
  block = {b: ChannelCorrelation(branches=b) for b in ("tcb", "scb")}
  variables = {b: filled(block[b]) for b in block}
  s = lambda b, x: gates(block[b], variables[b], x)["gates"]
  for moved in (anywhere, within, frames):
    np.testing.assert_allclose(s("tcb", moved), s("tcb", X), atol=1e-6)
  np.testing.assert_allclose(s("scb", within), s("scb", X), atol=1e-6)
  assert np.abs(s("scb", frames) - s("scb", X)).max() > 1e-3
  kernel = variables["scb"]["params"]["scb"]["squeeze"]["kernel"]
  variables["scb"]["params"]["scb"]["squeeze"]["kernel"] = np.tile(kernel[:32], (3, 1))
  np.testing.assert_allclose(s("scb", frames), s("scb", X), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 3])
def test_of_a_still_clip_tiled_weights_are_a_temporal_branch_with_their_sum(frames):
  x = np.repeat(X[:, :1], frames, 1)
  tcb, scb = ChannelCorrelation(branches="tcb"), ChannelCorrelation(branches="scb")
  p = filled(tcb, x)["params"]["tcb"]
  tiled = {"squeeze": {"kernel": np.tile(p["squeeze"]["kernel"] / frames, (frames, 1))}, "excite": p["excite"]}
  np.testing.assert_allclose(run(scb, {"params": {"scb": tiled}}, x), run(tcb, {"params": {"tcb": p}}, x), atol=1e-6)


def test_gradients_equal_finite_differences():
  block = ChannelCorrelation(preset="text")
  x, variables = X[:1, :2, :2, :2, :8], filled(block, X[:1, :2, :2, :2, :8])
  weigh = np.random.default_rng(1).normal(size=x.shape).astype("f")
  f = jax.jit(lambda v, x: (block.apply(v, x) * weigh).sum())
  check_grads(f, (variables, x), order=1, modes=["rev"], eps=1e-2, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("fields", [dict(reduction=2), dict(preset="text"),
                                    dict(branches="scb", placement="concat", reduction=2)])
def test_every_parameter_has_a_finite_gradient(fields):
  block = ChannelCorrelation(**fields)
  grads = jax.jit(jax.grad(lambda v: (block.apply(v, X) ** 2).sum()))(filled(block))
  for path, g in traverse_util.flatten_dict(grads).items():
    assert np.isfinite(g).all() and np.any(g), path


def test_half_precision_keeps_means_and_gates_in_single():
  block = ChannelCorrelation()
  x = jnp.asarray(np.random.default_rng(0).normal(1, 0.05, (1, 8, 28, 28, 32)), jnp.bfloat16)
  variables = filled(block, x)
  y = promises.jitted(block)(variables, x)
  assert y.dtype == jnp.bfloat16
  made = gates(block, variables, x)["gates"]
  assert made.dtype == np.float32
  np.testing.assert_allclose(made, gates(block, variables, np.asarray(x, np.float32))["gates"], atol=1e-5)


@pytest.mark.parametrize("fields", [{}, dict(preset="text", branches="scb"), dict(placement="concat")])
def test_a_block_lowers_and_keeps_examples_apart(fields):
  block = ChannelCorrelation(**fields)
  promises.lowers_for_accelerators(block, jnp.asarray(X))
  variables = filled(block)
  changed = np.concatenate([X[:1], 3 * X[1:] + 1])
  np.testing.assert_array_equal(run(block, variables, changed)[0], run(block, variables, X)[0])


def test_dead_frames_count_nothing_in_the_means_of_the_temporal_branch():
  block = ChannelCorrelation(branches="tcb")
  variables, mask = filled(block), np.array([[1, 1, 0], [1, 1, 1]], "f")
  y = run(block, variables, X * mask[:, :, None, None, None], mask=mask)
  np.testing.assert_allclose(y[:1, :2], run(block, variables, X[:1, :2]), atol=1e-6)
  assert not np.any(y[0, 2])


def test_shares_of_frames_sum_to_one_and_are_those_of_frames_that_are_not_zero():
  block = ChannelCorrelation()
  x = X.copy()
  x[:, 1] = 0
  shares = gates(block, filled(block), x)["frame_share"]
  np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
  assert (shares[:, 1] == 0).all() and (shares[:, 0] > 0).all()


def test_clips_of_another_length_are_refused_by_a_clear_word_unless_time_is_pooled():
  both, tcb = ChannelCorrelation(), ChannelCorrelation(branches="tcb")
  with pytest.raises(ValueError, match="are for 3 frames of 32 channels, and 2 are given"):
    both.apply(filled(both), X[:, :2])
  assert tcb.apply(filled(tcb), X[:, :2]).shape == (2, 2, 4, 5, 32)


@pytest.mark.parametrize("fields, words", [
    (dict(preset="tables"), ["'tables'", "table, text"]), (dict(branches="stc"), ["'stc'", "both, tcb, scb"]),
    (dict(gate="sigmoid"), ["'sigmoid'", "sigmoid_relu, linear"]),
    (dict(placement="before"), ["'before'", "residual, after, concat"])])
def test_an_unknown_choice_is_named(fields, words):
  with pytest.raises(ValueError) as e:
    ChannelCorrelation(**fields)
  assert all(w in str(e.value) for w in words)
