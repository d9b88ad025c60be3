import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.backbones.x3d import SqueezeExcite, rounded_width
from vidx.measure import count
from vidx.nn import features

SIZES = {  # name: (frames, side, parameters, GMACs)
    "x3d_xs": (4, 160, 3_794_274, 0.605), "x3d_s": (13, 160, 3_794_274, 1.963), "x3d_m": (16, 224, 3_794_274, 4.732),
    "x3d_l": (16, 312, 6_153_384, 18.37), "x3d_xl": (16, 312, 11_095_840, 35.84),
}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(**fields):
  return vidx.create_model("x3d_s", **{
      **dict(stages=(2, 1), widths=(8, 16), stem_features=8, features=12, num_classes=3), **fields})


CLIP = promises.some_input((2, 4, 16, 16, 3))


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_exact_and_products_as_published(name):
  frames, side, params, gmacs = SIZES[name]
  counts = count(vidx.create_model(name), jax.ShapeDtypeStruct((1, frames, side, side, 3), jnp.float32))
  assert counts.params == params
  assert counts.macs / 1e9 == pytest.approx(gmacs, rel=3e-3)


def test_stage_shapes_are_those_of_the_paper():
  model = vidx.create_model("x3d_m")
  clip = jax.ShapeDtypeStruct((1, 16, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), clip)
  shape = lambda site: jax.eval_shape(lambda v, x: features(model, v, x, site=site), variables, clip).shape
  assert shape("stem") == (1, 16, 112, 112, 24)
  assert shape("res2") == (1, 16, 56, 56, 24)
  assert shape("conv5") == (1, 16, 7, 7, 432)


def test_widths_are_rounded_to_eights_without_losing_a_tenth():
  assert [rounded_width(w) for w in (3.4, 6.75, 13.5, 27, 278.4, 69.6)] == [8, 8, 16, 32, 280, 72]


def test_squeeze_and_excitation_that_lets_all_through_changes_nothing():
  module = SqueezeExcite(4)
  variables = promises.some_variables(module, CLIP)
  variables["params"]["fc2"]["bias"] = jnp.full(3, 40.0)
  np.testing.assert_allclose(module.apply(variables, CLIP), CLIP, rtol=1e-6)


def test_fields_without_sense_are_refused():
  with pytest.raises(errors.ConfigError, match="frozen_bn = 'some' is not one of"):
    tiny(frozen_bn="some")
  with pytest.raises(errors.ConfigError, match="3 stages, but widths names 2"):
    tiny(stages=(1, 1, 1))


def test_clips_do_not_depend_on_their_batch_in_evaluation():
  promises.keeps_examples_apart(tiny(), CLIP)


def test_identities_change_nothing():
  promises.identities_change_nothing(tiny, CLIP[:1])


def test_every_site_is_visited_in_order():
  promises.visits_every_site(tiny(), CLIP)


def test_gradients_are_finite_and_reach_every_parameter():
  for path, live in promises.has_finite_gradients(tiny(dropout=0.0, dtype=jnp.bfloat16), CLIP):
    assert live or "/se/fc1/" in path, path  # a hidden unit that the clip leaves at zero


def test_evaluation_lowers_for_accelerators():
  promises.lowers_for_accelerators(tiny(dtype=jnp.bfloat16), CLIP)


def test_a_masked_clip_equals_the_shorter_one():
  model = tiny()
  variables = promises.some_variables(model, CLIP)
  mask = jnp.asarray([[1, 1, 0, 0], [1, 1, 1, 1]])
  masked = promises.jitted(model)(variables, CLIP * mask[:, :, None, None, None], mask=mask)["logits"]
  short = promises.jitted(model)(variables, CLIP[:, :2])["logits"]
  np.testing.assert_allclose(masked[0], short[0], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(masked[1], promises.jitted(model)(variables, CLIP)["logits"][1], rtol=1e-4, atol=1e-5)


def test_frozen_norms_keep_their_statistics():
  model = tiny(frozen_bn="all_but_first")
  variables = promises.some_variables(model, CLIP)
  _, new = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"],
                                            rngs={"dropout": jax.random.PRNGKey(0)}))(variables, CLIP)
  same = jax.tree.map(lambda a, b: bool((a == b).all()), variables["batch_stats"], new["batch_stats"])
  assert {jax.tree_util.keystr(k, simple=True, separator="/").rsplit("/", 1)[0]
          for k, s in jax.tree_util.tree_leaves_with_path(same) if not s} == {"stem/temporal/norm"}
