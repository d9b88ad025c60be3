import functools
import re

from flax import traverse_util
import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.systems import stmn

TINY = dict(num_classes=3, trunk="resnet_50", stages=(1, 1, 1, 2), width=4, inner=6, features=8)
TINY_VGG = dict(num_classes=3, widths=((4,), (4,), (4,), (6,), (6, 8)), hidden=(10, 12), frozen="conv2.0")
VIDEO = np.random.default_rng(0).normal(size=(2, 3, 64, 80, 3)).astype("f")
POINTS = np.random.default_rng(1).uniform(-10, 90, (2, 3, 5, 2, 2))
ROIS = np.concatenate([POINTS.min(-2), POINTS.max(-2)], -1).astype("f")


def tiny(name):
  return {**(TINY_VGG if "vgg" in name else TINY)}


@functools.cache
def made(name, **fields):
  model = vidx.create_model(name, **tiny(name), **fields)
  return model, promises.some_variables(model, jnp.asarray(VIDEO), jnp.asarray(ROIS))


def parameters(name, *parts, **fields):
  model = vidx.create_model(name, **fields)
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 1, 64, 64, 3), (1, 1, 2, 4))]
  params = jax.eval_shape(model.init, jax.random.PRNGKey(0), *shapes)["params"]
  return sum(p.size for part in parts or params for p in jax.tree.leaves(params[part]))


@pytest.mark.parametrize("name, total, behind, swap", [
    ("rfcn", 63_305_971, 20_805_811, 9_438_208), ("stmn", 96_338_163, 53_838_003, 42_470_400)])
def test_the_parameters_are_those_of_the_thesis(name, total, behind, swap):
  assert parameters(name) == total
  assert parameters(name, "neck", "swap", "heads") == behind
  assert parameters(name, "swap") == swap
  assert parameters(name, "trunk") == 42_500_160


def test_fast_rcnn_is_vgg_with_two_dense_layers_and_two_outputs():
  vgg = vidx.create_model("vgg16", num_classes=0)
  shapes = jax.eval_shape(vgg.init, jax.random.PRNGKey(0), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
  own = sum(p.size for p in jax.tree.leaves(shapes))
  assert parameters("fast_rcnn_vgg16") == own + 4096 * 31 + 31 + 4096 * 4 + 4
  assert parameters("stmn_vgg16", "heads") == parameters("fast_rcnn_vgg16", "heads")


def test_only_later_blocks_of_conv5_are_dilated_and_the_map_has_the_published_size():
  model = vidx.create_model("rfcn")
  assert model.trunk.dilations == (1, 1, 1, (1, 2, 2)) and model.trunk.strides == (1, 2, 2, 1)
  video, rois = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 1, 337, 600, 3), (1, 1, 2, 4)))
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), video, rois)
  found = jax.eval_shape(lambda v, x: model.apply(v, x, method="features"), shapes, video)
  assert found.shape == (1, 1, 22, 38, 1024)


@pytest.mark.parametrize("frames, memory", [("rfcn", "stmn"), ("fast_rcnn_vgg16", "stmn_vgg16")])
def test_split_kernels_with_an_open_gate_and_no_past_give_the_logits_of_the_detector_of_frames(frames, memory):
  model, variables = made(frames)
  with_memory, own = made(memory, gate_override=1.0)
  own = stmn.from_frames(own, variables)
  for way in ("forward", "backward"):
    own["params"]["swap"][way] = {**own["params"]["swap"][way],
                                  **{k: 0 * own["params"]["swap"][way][k] for k in ("gates", "candidate")}}
  expected = promises.jitted(model)(variables, VIDEO, ROIS)
  found = promises.jitted(with_memory)(own, VIDEO, ROIS)
  for name in ("logits", "deltas"):
    np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
  assert found["logits"].shape == (2, 3, 5, 4) and found["deltas"].shape == (2, 3, 5, 4)
  assert jnp.abs(expected["logits"]).max() > 0.01


def test_gates_may_keep_their_own_kernels_and_heads_too():
  _, variables = made("rfcn")
  _, own = made("stmn")
  kernel = variables["params"]["swap"]["conv"]["kernel"]
  mine = own["params"]["swap"]["backward"]["input"]["kernel"]
  found = stmn.from_frames(own, variables, "candidate", fresh=("heads",))["params"]
  np.testing.assert_array_equal(found["swap"]["backward"]["input"]["kernel"],
                                jnp.concatenate([mine[..., :8], kernel[..., 4:]], -1))
  np.testing.assert_array_equal(found["heads"]["cls"]["kernel"], own["params"]["heads"]["cls"]["kernel"])
  np.testing.assert_array_equal(found["neck"]["expand"]["conv"]["kernel"],
                                variables["params"]["neck"]["expand"]["conv"]["kernel"])
  with pytest.raises(ValueError, match="two directions of 8 need 16"):
    stmn.split_swap(variables["params"]["swap"], made("stmn", memory=8)[1]["params"]["swap"])


def test_frames_know_of_each_other_through_the_memory_alone():
  changed = VIDEO.copy()
  changed[:, 2] = 1 - 2 * changed[:, 2]
  for name, same in (("rfcn", True), ("stmn", False)):
    model, variables = made(name)
    a, b = (promises.jitted(model)(variables, x, ROIS)["logits"] for x in (VIDEO, changed))
    assert (jnp.abs(a - b)[:, :2].max() < 1e-6) == same


def test_dead_frames_and_other_examples_change_nothing():
  model, variables = made("stmn")
  run = promises.jitted(model)
  alone = run(variables, VIDEO[:1, :2], ROIS[:1, :2])["logits"]
  found = run(variables, VIDEO, ROIS, mask=np.array([[1, 1, 0], [1, 1, 1]], "f"))["logits"]
  np.testing.assert_allclose(found[:1, :2], alone, atol=1e-5)


def test_the_extent_of_an_image_masks_what_lies_behind_it():
  model, _ = made("stmn")
  found = model.place_mask((2, 3, 64, 80, 3), np.array([[1, 1, 0], [1, 1, 1]]), np.array([[64, 80], [33, 48]]))
  assert found.shape == (2, 3, 4, 5)
  assert found[0, 0].all() and not found[0, 2].any()
  np.testing.assert_array_equal(found[1, 0], [[1, 1, 1, 0, 0]] * 3 + [[0] * 5])
  assert model.place_mask((2, 3, 64, 80, 3), None, None) is None


@pytest.mark.parametrize("name", ["rfcn", "stmn", "fast_rcnn_vgg16"])
def test_only_what_lies_behind_the_frozen_step_learns(name):
  model, variables = made(name)

  def loss(params):
    out = model.apply({**variables, "params": params}, VIDEO, ROIS, train=True,
                      rngs={"dropout": jax.random.PRNGKey(0)})
    return jnp.square(out["logits"]).sum() + jnp.square(out["deltas"]).sum()

  found = jax.jit(jax.grad(loss))(variables["params"])
  still = ("stem", "res2_0") if name != "fast_rcnn_vgg16" else ("conv1_0", "conv2_0")
  moved = "res3_0" if name != "fast_rcnn_vgg16" else "conv3_0"
  norm = lambda tree: sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(tree))
  assert norm([found["trunk"][step] for step in still]) == 0 < norm(found["trunk"][moved])
  assert all(norm(found[part]) > 0 for part in found if part != "trunk")
  paths = traverse_util.flatten_dict(found, sep="/")
  held = {path for path in paths if any(re.search(pattern, path) for pattern in model.held)}
  assert {path for path, x in paths.items() if path.endswith("kernel") and not norm(x)} <= held
  assert held and not any(norm(paths[path]) for path in held)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def test_ablations_and_half_precision_score_boxes():
  for fields in (dict(cell="gru"), dict(align=False), dict(affinity="dot", stats="all"), dict(dtype=jnp.bfloat16)):
    model, variables = made("stmn", **fields)
    out = promises.jitted(model)(variables, VIDEO, ROIS)
    assert out["logits"].dtype == jnp.float32 and np.isfinite(out["logits"]).all()
  assert not made("stmn", cell="gru")[0].swap.forward.align


def test_in_pieces_it_is_the_whole():
  model, variables = made("stmn")
  x = model.apply(variables, VIDEO, method="features")
  memory, _ = model.apply(variables, x, method="remember")
  found = model.apply(variables, memory, ROIS, method="detect")
  np.testing.assert_allclose(found["logits"], promises.jitted(model)(variables, VIDEO, ROIS)["logits"], atol=1e-5)


@pytest.mark.parametrize("call, words", [
    (dict(name="stmn", base="yolo"), "base = 'yolo' is not one of rfcn, fast_rcnn_vgg16"),
    (dict(name="stmn", cell="grue"), "cell = 'grue' is not one of stmm, gru"),
    (dict(name="rfcn", trunk="vgg16"), "trunk 'vgg16' is no residual network of frames"),
    (dict(name="rfcn", frozen="res9"), "frozen = 'res9'"),
    (dict(name="rfcn", strides=(1, 2, 2, 2)), "32 pixels per entry"),
    (dict(name="fast_rcnn_vgg16", widths=((4,), (4,))), "five stages"),
    (dict(name="stmn_vgg16", width=4), "width is a field of a residual network"),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model(**call)
  assert words in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["stmn", "fast_rcnn_vgg16"])
def test_it_lowers_for_accelerators(name):
  model, variables = made(name)
  shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), (variables, VIDEO, ROIS))
  assert export.export(jax.jit(model.apply), platforms=["tpu", "cuda"])(*shapes)
