import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure import count
from vidx.nn import sites
from vidx.nn.conv import convolve

TINY = dict(num_classes=3, trunk="resnet3d_18", stages=(1, 1), width=16, frames=4, reduction=2)
CLIP = (2, 4, 16, 16, 3)


def clip_of(frames):
  return jax.ShapeDtypeStruct((1, frames, 112, 112, 3), jnp.float32)


@pytest.mark.parametrize("name, fields, params, gmacs", [
    ("stc", {}, 97_341_008, 13.89),
    ("stc_resnext101", {}, 59_617_104, 9.57),
    ("stc_resnext101", dict(frames=32), 63_778_640, 19.13),
    ("stc_resnext101", dict(frames=64), 72_101_712, 38.27),
    ("stc", dict(trunk="resnet3d_18", preset="text"), 33_409_104 + 348_160 + 770_048, 8.31),
    ("stc", dict(trunk="resnet3d_18", preset="text", branches="tcb"), 33_409_104 + 348_160, 8.31),
    ("stc", dict(trunk="resnet3d_50", preset="text", branches="scb"), 47_018_576 + 24_510_464, 10.07),
    ("stc", dict(preset="text", frames=32), 86_064_720 + 18_972_672 + 171_704_320, 27.78),
    ("stc", dict(trunk="r3d_18"), 33_371_472 + 253_440, 40.7),
])
def test_a_net_has_the_parameters_of_its_parts_and_about_the_products_of_its_trunk(name, fields, params, gmacs):
  found = count(vidx.create_model(name, **fields), clip_of(fields.get("frames", 16)))
  assert found.params == params
  assert found.macs / 1e9 == pytest.approx(gmacs, rel=0.008)


@pytest.mark.parametrize("depth, params, gmacs", [(18, 33_409_104, 8.31), (34, 63_718_736, 12.70),
                                                  (50, 47_018_576, 10.07), (101, 86_064_720, 13.89)])
def test_a_gate_that_is_overridden_leaves_the_published_trunk(depth, params, gmacs):
  found = count(vidx.create_model("stc", trunk=f"resnet3d_{depth}", gate_override=1.0), clip_of(16))
  assert found.params == params and found.macs / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize("stem", ["hara", "table"])
@pytest.mark.parametrize("frames", [16, 32, 64])
def test_stages_have_the_sizes_of_table_4_1(stem, frames):
  model = vidx.create_model("stc", trunk="resnet3d_18", stages=(1, 1, 1, 1), frames=frames, stem=stem)
  shapes = {}

  def note(site, x):
    shapes[site.site] = x.shape
    return x

  with sites.leaving(note):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), clip_of(frames))
  first = frames // 2
  assert [shapes[f"res{i + 2}"][1:4] for i in range(4)] == [
      (first, 28, 28), (first // 2, 14, 14), (first // 4, 7, 7), (first // 8, 4, 4)]
  assert shapes["stem"][1:4] == ((first, 56, 56) if stem == "table" else (first, 28, 28))


def test_gates_of_one_are_the_trunk_bit_for_bit():
  x = promises.some_input(CLIP)
  fields = {k: v for k, v in TINY.items() if k not in ("trunk", "frames", "reduction")}
  trunk = vidx.create_model("resnet3d_18", **fields, zero_init=False)
  variables = promises.some_variables(trunk, x)
  model = vidx.create_model("stc", **TINY, gate_override=1.0)
  y = promises.jitted(model)({k: {"trunk": v} for k, v in variables.items()}, x)["logits"]
  np.testing.assert_array_equal(y, promises.jitted(trunk)(variables, x)["logits"])


def test_residual_branches_do_not_start_as_nothing():
  model = vidx.create_model("stc", **TINY)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), promises.some_input(CLIP))
  scales = [v for path, v in jax.tree_util.tree_leaves_with_path(variables["params"]) if path[-1].key == "scale"]
  assert scales and all(np.all(s == 1) for s in scales)


def test_blocks_stand_behind_every_residual_branch_of_the_chosen_stages():
  assert len([s for s in vidx.create_model("stc").sites if s.endswith(".residual")]) == 33
  some = vidx.create_model("stc", trunk="resnet3d_18", gated_stages=(2, 4))
  assert list(some.sites) == [f"res{i}.{j}.residual" for i in (3, 5) for j in (0, 1)]
  after = vidx.create_model("stc", trunk="resnet3d_18", placement="after", gated_stages=(1,))
  assert list(after.sites) == ["res2.0.out", "res2.1.out"]
  assert list(vidx.create_model("stc_densenet121").sites) == [f"block{i}" for i in range(1, 5)]


@pytest.mark.parametrize("fields", [{}, dict(preset="text"), dict(branches="scb", placement="after"),
                                    dict(order="pre"), dict(branches="tcb", gate="linear"),
                                    dict(placement="concat", gated_stages=(2,))])
def test_a_net_keeps_the_promises(fields):
  x = promises.some_input(CLIP)
  model = vidx.create_model("stc", **TINY, **fields)
  promises.keeps_examples_apart(model, x)
  promises.visits_every_site(model, x)
  promises.lowers_for_accelerators(model, x)
  assert all(alive for _, alive in promises.has_finite_gradients(model, x))


def test_a_net_of_the_other_order_normalises_in_front_of_its_convolutions():
  x = promises.some_input(CLIP)
  model = vidx.create_model("stc", **TINY, order="pre", gate_override=1.0)
  variables = promises.some_variables(model, x)
  block = {k: v["trunk"]["res2_0"] for k, v in variables.items()}
  seen = promises.jitted(model)
  inside = {name: sites.features(model, variables, x, site=f"res2.0.{name}") for name in ("in", "residual", "out")}

  def act(name, y):
    p, s = (block[k][name]["norm"] for k in ("params", "batch_stats"))
    return np.maximum((y - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"], 0)

  y = np.asarray(inside["in"])
  for i in (1, 2):
    y = convolve(act(f"act{i}", y), block["params"][f"conv{i}"]["kernel"], (1, 1, 1), (1, 1, 1))
  np.testing.assert_allclose(inside["residual"], y, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(inside["out"], inside["in"] + inside["residual"], rtol=1e-5, atol=1e-6)
  assert np.min(inside["out"]) < 0 and np.min(sites.features(model, variables, x, site="last")) >= 0
  assert np.isfinite(seen(variables, x)["logits"]).all()


def test_a_dense_net_keeps_the_promises():
  x = promises.some_input((2, 8, 32, 32, 3))
  model = vidx.create_model("stc_densenet121", num_classes=3, layers=(1, 1), width=8, growth=8, frames=8,
                            reduction=2)
  promises.keeps_examples_apart(model, x)
  assert all(alive for _, alive in promises.has_finite_gradients(model, x))


def test_a_net_computes_in_half_precision_where_asked():
  model = vidx.create_model("stc", **TINY, dtype=jnp.bfloat16)
  y = jax.eval_shape(lambda x: model.init_with_output(jax.random.PRNGKey(0), x)[0], promises.some_input(CLIP))
  assert y["logits"].dtype == jnp.float32


@pytest.mark.parametrize("call, words", [
    (dict(preset="tabel"), ["'tabel'", "table, text"]),
    (dict(placement="before"), ["'before'", "residual, after, concat"]),
    (dict(gated_stages=(5,)), ["gated_stages names 5", "1, 2, 3, 4"]),
    (dict(trunk="densenet3d_121"), ["densenet3d_121", "placement = 'after'"]),
    (dict(frames=0), ["frames = 0"]),
    (dict(brances="both"), ["no field 'brances'", "branches"]),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("stc", **call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


def test_clips_of_another_length_are_one_clear_line():
  model = vidx.create_model("stc", **TINY)
  with pytest.raises(errors.ConfigError, match="4 frames and is given 8.*data.frames"):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), jnp.zeros((1, 8, 16, 16, 3)))
