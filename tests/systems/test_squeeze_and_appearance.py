"""TeSNet and DAN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, measure
from vidx.systems import tesnet as tesnet_lib

TINY = dict(num_classes=3, trunk="resnet_18", stages=(1, 1), width=8, dropout=0.0)
LOCAL = dict(stride=4, kernel=5, features=4)


def tesnet(**fields):
  return vidx.create_model("tesnet", **{**TINY, "placements": (("input", 4, 2),), **fields})


def dan(**fields):
  return vidx.create_model("dan", **{**TINY, "consecutive": 2, "projection": LOCAL, **fields})


CLIP = promises.some_input((2, 4, 16, 16, 3))
MODELS = {"tesnet": tesnet, "dan": dan,
          "tesnet_inside": lambda **f: tesnet(placements=(("stem", 4, 3), ("res2:1", 3, 1)), **f),
          "tesnet_concat": lambda **f: tesnet(consensus="concat", **f)}


@pytest.mark.parametrize("placements", [None, ()])
def test_without_placements_a_tesnet_is_its_trunk(placements):
  fields = {k: v for k, v in TINY.items() if k != "trunk"}
  assert tesnet(placements=placements) == vidx.create_model(TINY["trunk"], **fields, stills=False)


@pytest.mark.parametrize("name", ["tesnet", "dan"])
def test_the_promises_of_trunks_hold(name):
  make = MODELS[name]
  promises.keeps_examples_apart(make(), CLIP)
  promises.visits_every_site(make(), CLIP)
  promises.identities_change_nothing(make, CLIP)
  promises.lowers_for_accelerators(make(), CLIP)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_and_reach_every_parameter(name):
  reached = dict(promises.has_finite_gradients(MODELS[name](dtype=jnp.bfloat16), CLIP))
  assert sum(reached.values()) >= 0.9 * len(reached), [k for k, v in reached.items() if not v]


def counts(name, shape, **fields):
  return measure.count(vidx.create_model(name, **fields), jax.ShapeDtypeStruct(shape, jnp.float32))


def test_tesnet_costs_its_trunk_on_three_images():
  found = counts("tesnet", (1, 10, 299, 299, 3))
  assert found.params == 54_461_701 + 440
  np.testing.assert_allclose(found.macs, 3 * 13.154e9, rtol=0.005)


def test_squeezing_inside_block_b_costs_what_the_footnote_says():
  cost = lambda placements: counts("tesnet", (1, 10, 299, 299, 3), placements=placements).macs
  whole = 3 * 13.154e9
  assert abs(cost(tesnet_lib.PLACEMENTS[5]) / whole - 0.70) < 0.08
  assert cost((("conv1a", 10, 3), ("block_b:20", 3, 1))) / whole > 0.85


def test_dan_has_the_parameters_of_its_parts():
  assert counts("dan", (1, 16, 8, 256, 256, 3), trunk="x3d_m").params == 3_794_274 + 9_686
  assert counts("dan", (1, 8, 256, 256, 3), trunk="x3d_m", consecutive=4, num_classes=174).params == 3_331_200 + 6_103


def test_without_a_squeeze_tesnet_is_tsn():
  plain = tesnet(placements=())
  tsn = vidx.create_model("tsn", **TINY)
  variables = promises.some_variables(tsn, CLIP)
  np.testing.assert_array_equal(*(promises.jitted(model)(variables, CLIP)["logits"] for model in (plain, tsn)))


def test_the_squeeze_adds_beta_times_its_loss():
  losses = []
  for beta in (0.0, 1.0, 10.0):
    model = tesnet(squeeze=dict(beta=beta))
    variables = promises.some_variables(model, CLIP)
    _, state = jax.jit(functools.partial(model.apply, mutable=["losses"]))(variables, CLIP)
    losses += [float(x) for x in jax.tree.leaves(state["losses"])]
  assert losses[0] == 0 and losses[1] > 0
  np.testing.assert_allclose(losses[2], 10 * losses[1], rtol=1e-5)


@pytest.mark.parametrize("name, images", [("tesnet", 2), ("tesnet_inside", 1), ("tesnet_concat", 2)])
def test_consensus_is_of_the_images_that_are_left(name, images):
  model = MODELS[name]()
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), CLIP)["params"]
  shapes = shapes.get("trunk", shapes)
  width = 16 * (images if name == "tesnet_concat" else 1)
  assert shapes["head"]["fc"]["kernel"].shape == (width, 3)


def test_clips_of_flow_have_their_own_stem():
  flow = promises.some_input((1, 4, 16, 16, 2))
  shapes = jax.eval_shape(tesnet().init, jax.random.PRNGKey(0), flow)["params"]["trunk"]
  assert shapes["stem"]["conv"]["conv"]["kernel"].shape[-2] == 2


def test_segments_may_be_an_axis_of_their_own():
  model = dan()
  variables = promises.some_variables(model, CLIP)
  clip = np.asarray(CLIP)
  flat, cut = (promises.jitted(model)(variables, x) for x in (clip, clip.reshape(2, 2, 2, 16, 16, 3)))
  np.testing.assert_array_equal(flat["logits"], cut["logits"])
  assert flat["losses"]["enopr"].shape == (2,) and (np.asarray(flat["losses"]["enopr"]) > 0).all()
  with pytest.raises(ValueError, match="segments"):
    promises.jitted(model)(variables, clip[:, :3])


@pytest.mark.parametrize("representation", ["dynamic_image", "squeezed", "appearance"])
def test_representations_make_one_image_per_segment(representation):
  model = vidx.create_model("represented", **TINY, representation=representation, consecutive=4,
                            image=LOCAL if representation == "appearance" else None)
  video = promises.some_input((1, 8, 16, 16, 3))
  key = jax.random.PRNGKey(0)
  assert jax.eval_shape(lambda x: model.init_with_output(key, x)[0], video)["logits"].shape == (1, 3)
  image = model.projection if representation == "appearance" else model.image
  images = jax.eval_shape(lambda x: image.init_with_output(key, x)[0], video.reshape(1, 2, 4, 16, 16, 3))
  assert images.shape == (1, 2, 16, 16, 3)


@pytest.mark.parametrize("name, fields, words", [
    ("tesnet", dict(placements=(("res9", 4, 2),)), "res9"),
    ("tesnet", dict(placements=(("res2:0", 4, 2),)), "counted from 1"),
    ("tesnet", dict(consensus="max"), "consensus = 'max'"), ("tesnet", dict(squeeze=dict(phi="svd")), "phi"),
    ("tesnet", dict(squeeze=dict(ph="qr")), "squeeze"), ("dan", dict(projection=dict(norm="no")), "norm"),
    ("dan", dict(projection=dict(width=3)), "projection")])
def test_a_wrong_field_is_one_clear_line(name, fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    vidx.create_model(name, **{**TINY, **fields})
