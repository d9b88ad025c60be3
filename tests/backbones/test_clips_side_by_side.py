"""Networks that put clips side by side among the channels of a TPU are the same networks there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx.nn import conv, features, tracing

CLIPS = promises.some_input((4, 4, 16, 16, 3))
SMALL = dict(num_classes=3, dropout=0.0)
TINY = {
    "x3d_s": dict(stages=(2, 1), widths=(8, 16), stem_features=8, features=12, **SMALL),
    "r2plus1d_18": dict(stages=(2, 1), width=8, **SMALL),
    "r3d_18": dict(stages=(1, 1), width=8, **SMALL),
    "i3d_r50": dict(stages=(1, 1), width=8, **SMALL),
}


def taught(model, variables, x, **more):
  """What a training step gives: loss, outputs, statistics, gradients."""
  def loss(params):
    out, state = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"], **more)
    return (out["logits"]**2).mean(), (out, state)

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


def program(model, variables, x, **more):
  return jax.jit(lambda v, x: model.apply(v, x, **more)["logits"]).lower(variables, x).as_text()


@pytest.fixture(scope="module", params=TINY)
def kind(request):
  """(make, variables)"""
  make = lambda **more: vidx.create_model(request.param, **TINY[request.param], **more)
  return make, promises.some_variables(make(), CLIPS)


@pytest.fixture(scope="module")
def x3d():
  """(make, variables)"""
  make = lambda **more: vidx.create_model("x3d_s", **TINY["x3d_s"], **more)
  return make, promises.some_variables(make(), CLIPS)


@pytest.fixture
def on_a_tpu():
  with conv.using("auto"), tracing.traced_for("tpu"), tracing.spread_over(1):
    yield


def test_scores_statistics_and_gradients_are_those_of_clips_apart(kind):
  make, variables = kind
  found = []
  for platform in ("", "tpu"):
    with conv.using("auto"), tracing.traced_for(platform), tracing.spread_over(1):
      scores = jax.jit(lambda v, x: make().apply(v, x)["logits"])(variables, CLIPS)
      found.append((scores, taught(make(bn_groups=2), variables, CLIPS)))
      assert ("x16x16x12x" in program(make(), variables, CLIPS)) == (platform == "tpu")  # four clips of three colours
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), *found)


def test_a_batch_that_is_no_multiple_goes_in_fewer_and_a_single_clip_alone(x3d, on_a_tpu):
  make, variables = x3d
  whole = promises.jitted(make())(variables, CLIPS)["logits"]
  for count in (1, 2, 3):
    some = promises.jitted(make())(variables, CLIPS[:count])["logits"]
    np.testing.assert_allclose(some, whole[:count], rtol=1e-4, atol=1e-5)
  assert "x16x16x6x" in program(make(), variables, CLIPS[:2])
  assert "x16x16x9x" not in program(make(), variables, CLIPS[:3])


def test_clips_with_masks_or_blocks_plugged_in_stay_apart(kind, on_a_tpu):
  make, variables = kind
  assert "x16x16x12x" not in program(make(), variables, CLIPS, mask=jnp.ones((4, 4)))
  seen = []
  plugged = make(sites={"stem": lambda x: seen.append(x.shape[0]) or x})
  assert "x16x16x12x" not in program(plugged, variables, CLIPS)
  shape = features(make(), variables, CLIPS, site="res2.0.out").shape
  assert set(seen) == {4} and shape[0] == 4


def test_clips_of_different_devices_stay_apart(x3d, on_a_tpu):
  make, variables = x3d
  with tracing.spread_over(2):
    assert "x16x16x6x" in program(make(), variables, CLIPS)
  with tracing.spread_over(4):
    assert "x16x16x6x" not in program(make(), variables, CLIPS)


def test_it_lowers_for_accelerators_in_half_precision(x3d, on_a_tpu):
  make, _ = x3d
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), CLIPS)


def test_a_program_for_any_number_of_clips_leaves_them_apart(x3d, on_a_tpu):
  make, variables = x3d
  count, = jax.export.symbolic_shape("b")
  clips = jax.ShapeDtypeStruct((count, *CLIPS.shape[1:]), jnp.float32)
  made = jax.export.export(jax.jit(lambda x: make().apply(variables, x)["logits"]), platforms=["tpu"])(clips)
  assert made.in_avals[0].shape[0] == count
