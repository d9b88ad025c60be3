import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, systems
from vidx.nn.head import Head


def scored_by_loops(x, side, dense, average):
  """Every window of `side` x `side` positions of (B, T, H, W, C), scored alone, and their mean."""
  places = range(x.shape[2] - side + 1)
  each = np.stack([dense(x[:, :, i:i + side, j:j + side].mean((1, 2, 3))) for i in places for j in places])
  if average == "logits":
    return each.mean(0)
  if average == "sigmoids":
    p = (1 / (1 + np.exp(-each))).mean(0)
    return np.log(p / (1 - p))
  p = np.exp(each - each.max(-1, keepdims=True))
  return np.log((p / p.sum(-1, keepdims=True)).mean(0))


@pytest.mark.parametrize("average", ["logits", "probabilities", "sigmoids"])
@pytest.mark.parametrize("name", ["resnet", "x3d", "slowfast"])
def test_larger_clips_than_those_of_training_are_scored_in_windows(name, average):
  fields = dict(num_classes=5, crop=16, average=average)
  if name == "resnet":
    model = vidx.create_model("i3d_r50", stages=(1,), width=8, block="basic", time_pools=(1,), temporal=(1,), **fields)
  elif name == "x3d":
    model = vidx.create_model("x3d_s", stages=(1,), widths=(8,), stem_features=8, features=12, **fields)
  else:
    model = vidx.create_model("slowfast_r50_8x8", stages=(1,), width=16, alpha=2, **fields)
  x = promises.some_input((2, 4, 24, 24, 3))
  variables = promises.some_variables(model, x)
  found, inside, trained = jax.jit(lambda v: (
      model.apply(v, x)["logits"], model.apply(v, x, method="trunk"), model.apply(v, x[:, :, :16, :16])["logits"])
  )(variables)
  plain = model.clone(crop=0)
  params = jax.tree.map(np.asarray, variables["params"])
  fc = lambda y: y @ params["head"]["fc"]["kernel"] + params["head"]["fc"]["bias"]
  dense = fc if name != "x3d" else lambda y: fc(np.maximum(y @ params["hidden"]["kernel"], 0))
  maps = [np.asarray(way[0] if name == "slowfast" else way, np.float64)
          for way in (inside if name == "slowfast" else inside[:1])]
  maps = np.concatenate([y.mean(1, keepdims=True) for y in maps], -1)
  side = -(-16 // model.reduction)
  assert maps.shape[2] == 24 // model.reduction > side
  np.testing.assert_allclose(found, scored_by_loops(maps, side, dense, average), rtol=1e-3, atol=1e-4)
  alike = jax.jit(lambda v: plain.apply(v, x[:, :, :16, :16])["logits"])(variables)
  np.testing.assert_allclose(trained, alike, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("side", [1, 2])
def test_logits_of_one_position_stay_and_dead_frames_count_for_nothing(side, kind):
  x = np.random.default_rng(0).normal(size=(2, 3, side, side, 4)).astype("f")
  mask = jnp.array([[1, 1, 0], [1, 1, 1]])
  variables = Head(3).init(jax.random.PRNGKey(0), jnp.asarray(x))
  run = lambda x, each, *mask: Head(3, each_place=each).apply(variables, jnp.asarray(x), *mask)["logits"]
  np.testing.assert_allclose(run(x, kind, mask)[0], run(x[:1, :2], kind)[0], atol=1e-6)
  if side == 1:
    np.testing.assert_array_equal(run(x, kind), run(x, ""))


def test_a_run_s_crop_is_known_to_heads_that_see_windows_and_to_no_other():
  assert systems.at_crop("x3d_s", {}, 128) == {"crop": 128}
  assert systems.at_crop("dan", {"trunk": "x3d_m"}, 192) == {"trunk": "x3d_m", "crop": 192}
  assert systems.at_crop("atfr_slowfast_r50_8x8", {"crop": 0}, 192) == {"crop": 0}
  assert systems.at_crop("x3d_s", {}, 128, "sigmoid") == {"crop": 128, "average": "sigmoids"}
  assert systems.at_crop("x3d_s", {"average": "logits"}, 128, "sigmoid") == {"crop": 128, "average": "logits"}
  assert systems.at_crop("tsm_r50", {}, 224, "sigmoid") == {}
  assert systems.at_crop("tsm_r50", {}, 224) == systems.at_crop("mucon", {}, 112) == {}
  with pytest.raises(errors.ConfigError, match="average = 'mean' is not one of probabilities, sigmoids, logits"):
    vidx.create_model("x3d_s", average="mean")
