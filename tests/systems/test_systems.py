import re

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx import errors, systems
from vidx.nn import TemporalShift
from vidx.train import config as config_lib, optim

TINY = dict(num_classes=3, trunk="resnet_18", stages=(1, 2), width=16)


@pytest.fixture(scope="module")
def clip():
  return jax.random.normal(jax.random.PRNGKey(0), (2, 4, 16, 16, 3))


@pytest.fixture(scope="module")
def variables(clip):
  return jax.jit(vidx.create_model("tsn", **TINY).init)(jax.random.PRNGKey(1), clip)


def logits(model, variables, clip):
  return jax.jit(lambda v, x: model.apply(v, x)["logits"])(variables, clip)


def test_tsn_does_not_know_the_order_of_frames_and_tsm_does(clip, variables):
  order = jnp.asarray([2, 0, 3, 1])
  tsn, tsm = (vidx.create_model(name, **TINY) for name in ("tsn", "tsm"))
  np.testing.assert_allclose(logits(tsn, variables, clip[:, order]), logits(tsn, variables, clip), rtol=1e-4, atol=1e-6)
  assert jnp.abs(logits(tsm, variables, clip[:, order]) - logits(tsm, variables, clip)).max() > 1e-6


def test_tsm_has_the_parameters_of_tsn_and_equals_it_without_a_shift(clip, variables):
  tsn, tsm, still = (vidx.create_model("tsn", **TINY), vidx.create_model("tsm", **TINY),
                     vidx.create_model("tsm", **TINY, fraction=0.0))
  shapes = lambda m: jax.tree.map(jnp.shape, jax.eval_shape(m.init, jax.random.PRNGKey(0), clip))
  assert shapes(tsm) == shapes(tsn)
  np.testing.assert_array_equal(logits(still, variables, clip), logits(tsn, variables, clip))


def test_tsm_is_tsn_with_the_shift_plugged_in_by_hand(clip, variables):
  by_hand = vidx.create_model("tsn", **TINY, sites={"res*.*.branch": TemporalShift})
  np.testing.assert_array_equal(logits(by_hand, variables, clip),
                                logits(vidx.create_model("tsm", **TINY), variables, clip))


def test_blocks_can_be_named_as_in_a_json_config(clip, variables):
  expected = logits(vidx.create_model("tsm", **TINY), variables, clip)
  for block in ("TemporalShift", {"name": "TemporalShift", "fraction": 0.125}):
    for sites in ({"res*.*.branch": block}, [["res*.*.branch", block]]):
      model = vidx.create_model("tsn", **TINY, sites=sites)
      np.testing.assert_array_equal(logits(model, variables, clip), expected)


def test_a_user_s_block_comes_after_the_shift(clip, variables):
  seen = []

  def spy(x):
    seen.append(x.shape)
    return x

  model = vidx.create_model("tsm", **TINY, sites={"res2.0.branch": spy})
  np.testing.assert_array_equal(model.apply(variables, clip)["logits"].shape, (2, 3))
  assert seen and [len(v) for k, v in model.sites.items() if k == "res2.0.branch"] == [2]


def test_deep_stages_shift_every_second_block():
  shifted = vidx.create_model("tsm_r101").sites
  assert "res4.0.branch" in shifted and "res4.1.branch" not in shifted and "res4.22.branch" in shifted
  assert len(vidx.create_model("tsm_r50").sites) == 16


def test_the_last_layer_starts_small_and_dropout_acts_in_training_only(clip, variables):
  assert 5e-4 < variables["params"]["head"]["fc"]["kernel"].std() < 2e-3
  model = vidx.create_model("tsn", **TINY)
  train = lambda seed: model.apply(variables, clip, train=True, mutable=["batch_stats"],
                                   rngs={"dropout": jax.random.PRNGKey(seed)})[0]["logits"]
  assert (train(0) != train(1)).any()
  np.testing.assert_array_equal(logits(model, variables, clip), logits(model, variables, clip))


def test_lists_of_a_config_file_become_fields():
  model = vidx.create_model("tsm", num_classes=3, trunk="resnet_18", stages=[1, 1], width=8)
  assert model.stages == (1, 1) and isinstance(hash(model), int)


# Makers of images, and a model of language: without a trunk.
WITHOUT_SITES = ("captioner", "pos_generator", "disentangle", "pix2pixhd", "drnet", "fusion_image", "language_model")


def test_every_listed_name_makes_a_model_with_sites():
  for name in vidx.list_models():
    model = vidx.create_model(name)
    assert bool(model.site_names()) != (name in WITHOUT_SITES) and isinstance(hash(model), int)
    assert model.inputs and all(isinstance(i, str) for i in model.inputs)
  assert vidx.list_models("tsm_r*") == ["tsm_r101", "tsm_r50"]


@pytest.mark.parametrize("call, words", [
    (dict(name="tsn2"), ["unknown model 'tsn2'", "nearest: 'tsn'"]),
    (dict(name=None), ["unknown model 'None'"]),
    (dict(name="tsm", trunk="resnet50"), ["tsm: unknown trunk 'resnet50'", "nearest: 'resnet_50'"]),
    (dict(name="tsm", widht=16), ["no field 'widht'", "nearest: 'width'", "num_classes", "fraction", "stages"]),
    (dict(name="r3d_18", sites={"res9*": TemporalShift}), ["res9*", "the sites are stem, res2.0.in"]),
    (dict(name="r3d_18", sites={"res2": "TemporalShfit"}), ["TemporalShfit", "nearest: 'TemporalShift'"]),
    (dict(name="r3d_18", block="basics"), ["block", "basics", "basic, bottleneck"]),
    (dict(name="r3d_18", stem="none"), ["stem", "none", "image"]),
    (dict(name="r3d_18", frozen_bn="some"), ["frozen_bn", "some", "all_but_first"]),
    (dict(name="r3d_18", stages=(2, 2, 2, 2, 2)), ["5 stages", "strides"]),
])
def test_a_wrong_name_or_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    systems.create_model(**call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


@pytest.mark.parametrize("name, fields", [("tsm", {"trunk": "resnet_18"}), ("tsn", {"trunk": "resnet_18"}),
                                          ("r3d_18", {}), ("slowfast_r50_8x8", {}), ("timesformer_b", {}),
                                          ("x3d_s", {})])
def test_a_clip_without_its_batch_is_not_taken_for_images(name, fields):
  model = vidx.create_model(name, **fields)
  for shape in ((8, 64, 64, 3), (64, 64, 3)):
    with pytest.raises(ValueError, match=r"this network takes clips \(B, T, H, W, 3\): give one clip as video\[None\]"):
      jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, "float32"))


def takes(name, *shapes, dtype="float32"):
  """Traces a model on arrays of zeros of these shapes, the first of which has the dtype."""
  model = vidx.create_model(name)
  draw = lambda *x: model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, *x, train=False)
  dtypes = [dtype, *["float32"] * (len(shapes) - 1)]
  jax.eval_shape(draw, *map(jax.ShapeDtypeStruct, map(tuple, shapes), dtypes))


@pytest.mark.parametrize("name", [name for name, row in systems.rows().items()
                                  if len(row.inputs[0]) >= 4 and row.inputs[0][-1] == 3])
def test_no_model_takes_pixels_whose_channels_stand_before_height_and_width(name):
  (*pixels, channels), *others = systems.rows()[name].inputs
  for axis in {1, len(pixels) - 2}:
    turned = [*pixels[:axis], channels, *pixels[axis:]]
    with pytest.raises(ValueError, match=r"its channels in axis (\d), .*: give it jnp.moveaxis\(video, \1, -1\)"):
      takes(name, turned, *others)
  with pytest.raises(ValueError, match="pixels of the dtype uint8, where this network takes floats"):
    takes(name, *systems.rows()[name].inputs, dtype="uint8")


@pytest.mark.parametrize("name, shapes, said", [
    ("stmn", [(1, 2, 64, 64, 3)], "takes rois .B, T, R, 4. beside the video"),
    ("slowfast_ava", [(1, 32, 64, 64, 3)], "1 arrays, where this network takes video, rois"),
    ("t2vlad_lsmdc", [(1, 30), (1, 30)], "2 arrays, where this network takes text, "),
    ("mucon", [(100, 64)], r"features has the shape \(100, 64\), not \(B, T, D\)"),
    ("sct", [(2, 8, 16, 16, 3)], r"features has the shape \(2, 8, 16, 16, 3\), not \(B, T, D\)"),
    ("ms_tcn", [(100, 64)], r"features has the shape \(100, 64\), not \(B, T, D\)"),
])
def test_inputs_that_are_missing_or_of_another_kind_are_named(name, shapes, said):
  with pytest.raises(ValueError, match=said):
    takes(name, *shapes)


def test_channels_that_are_no_colours_are_taken():
  for shape in ((1, 3, 32, 32, 2), (1, 3, 32, 32, 10), (1, 8, 3, 32, 2), (2, 1, 32, 32, 15)):  # flow, and stacks of it
    takes("tsm", shape)


@pytest.mark.parametrize("name", ["gap", "ipl", "saoa", "image_embedding", "transfer", "stc", "stmn", "disentangle"])
def test_no_system_takes_a_clip_without_its_batch_for_images(name):
  pixels, *others = systems.rows()[name].inputs
  with pytest.raises(ValueError, match=r"this network takes clips \(B, T, H, W, 3\): give one clip as video\[None\]"):
    takes(name, pixels[1:], *others)


@pytest.mark.parametrize("name", ["psn", "saoa", "grounding", "transfer", "pix2pixhd", "rfcn", "fast_rcnn_vgg16"])
def test_what_a_system_holds_is_a_part_of_it_and_gets_no_update(name):
  fields = {"distance": "vgg16", "width": 2} if name == "pix2pixhd" else {}
  model = vidx.create_model(name, **fields)
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in systems.rows()[name].inputs]
  draw = lambda *x: model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, *x, train=False)
  params = jax.eval_shape(draw, *inputs)["params"]
  config = config_lib.base().optimizer
  still = {"/".join(p): x for p, x in traverse_util.flatten_dict(optim.frozen(params, config, model)).items()}
  if name not in ("rfcn", "fast_rcnn_vgg16"):  # sites of whose trunks have no parameters of their own
    assert all(any(re.search(pattern, path) for path in still) for pattern in model.held)
  assert all(x == any(re.search(pattern, path) for pattern in model.held) for path, x in still.items())
  assert 0 < sum(still.values()) < len(still)
  for part in getattr(model, "encoders", ()):
    optim.check_frozen(params, config, model, [part], "data.cache", "clips")


def test_networks_of_images_take_images():
  model = vidx.create_model("resnet_18", num_classes=3)
  found = jax.eval_shape(model.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct((2, 64, 64, 3), "float32"))[0]
  assert found["logits"].shape == (2, 3)
  with pytest.raises(ValueError, match=r"takes images \(B, H, W, 3\) or clips"):
    jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((64, 64, 3), "float32"))


@pytest.mark.parametrize("classes", ["3", -1, 2.5, None, {"verb": "3"}])
def test_a_number_of_classes_is_one(classes):
  with pytest.raises(errors.ConfigError, match="tsm: num_classes=.* is no whole number, and none for each head"):
    systems.create_model("tsm", num_classes=classes)


@pytest.mark.parametrize("share", [-0.1, 1, 3, "half"])
def test_a_share_to_drop_is_one(share):
  with pytest.raises(errors.ConfigError, match=r"tsm: dropout=.*: write a number from 0 on, below 1\."):
    systems.create_model("tsm", dropout=share)
