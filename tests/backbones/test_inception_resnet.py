import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.measure import count
from vidx.nn import sites

CLIP = promises.some_input((2, 2, 75, 75, 3))
SMALL = dict(num_classes=3, repeats=(1, 1, 2), width_multiplier=1 / 16)

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def make(**more):
  return vidx.create_model("inception_resnet_v2", **{**SMALL, **more})


@functools.cache
def counts(side):
  """Of the published network for an image."""
  return count(vidx.create_model("inception_resnet_v2"), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))


@pytest.mark.parametrize("side, gmacs", [(299, 13.156), (224, 6.469)])
def test_parameters_are_exact_and_products_as_published(side, gmacs):
  assert counts(side).params == 55_843_464
  assert counts(side).by_module["head/fc"][0] == 55_843_464 - 54_306_464
  assert counts(side).macs / 1e9 == pytest.approx(gmacs, rel=5e-3)


# parameters and GMACs of an image of side 299
STAGES = [
    (("conv1a",), 928, 0.019), (("conv2a", "conv2b"), 27_840, 0.597), (("conv3b", "conv4a"), 143_904, 0.724),
    (("mixed5b",), 268_320, 0.327), (("block_a",), 1_231_680, 1.499), (("mixed6a",), 2_664_960, 1.398),
    (("block_b",), 22_535_680, 6.499), (("mixed7a",), 3_880_960, 0.585), (("block_c",), 20_354_240, 1.300),
    (("conv7b",), 3_197_952, 0.205),
]


def test_every_stage_has_its_parameters_and_products():
  by_module = counts(299).by_module
  for names, params, gmacs in STAGES:
    found = np.sum([c for path, c in by_module.items() if path.startswith(names)], 0)
    assert found[0] == params, names
    assert found[1] / 1e9 == pytest.approx(gmacs, abs=1e-3), names


def test_sites_are_passed_in_order_and_identities_change_nothing():
  promises.visits_every_site(make(), CLIP)
  promises.identities_change_nothing(make, CLIP)


def test_examples_do_not_depend_on_their_batch():
  promises.keeps_examples_apart(make(), CLIP, "logits")


def test_gradients_in_half_precision_reach_every_parameter():
  gradients = dict(promises.has_finite_gradients(make(dtype=jnp.bfloat16, repeats=(1, 1, 1)), CLIP))
  assert all(gradients.values()), [path for path, alive in gradients.items() if not alive]


def test_lowers_for_accelerators():
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), CLIP)


def test_frames_are_averaged_and_dead_ones_left_out():
  model = make()
  variables = promises.some_variables(model, CLIP)
  frames = [promises.jitted(model)(variables, CLIP[:, t])["logits"] for t in range(2)]
  live = promises.jitted(model)(variables, CLIP, mask=jnp.asarray([[1.0, 1], [1, 0]]))["logits"]
  np.testing.assert_allclose(live[0], (frames[0][0] + frames[1][0]) / 2, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(live[1], frames[0][1], rtol=1e-4, atol=1e-5)


def test_a_block_may_change_the_frames_in_the_stem():
  model = make(sites={"conv1a": lambda x: x.mean(1, keepdims=True)})
  variables = promises.some_variables(model, CLIP)
  out = jax.eval_shape(lambda v: model.apply(v, CLIP), variables)
  assert out["logits"].shape == (2, 3)


@functools.cache
def sites_of():
  """variables -> what leaves every site of the small network."""
  keep = dict(capture_intermediates=lambda module, _: isinstance(module, sites.Site), mutable=["intermediates"])
  return jax.jit(lambda variables: make().apply(variables, CLIP, **keep)[1]["intermediates"])


def parts(seen, block):
  """What enters a block, what its branches add, what leaves it."""
  return (seen[block][f"at_{part}"]["__call__"][0][0] for part in ("in", "residual", "out"))


def test_blocks_add_what_their_branches_give_and_only_the_last_has_no_relu():
  seen = sites_of()(promises.some_variables(make(), CLIP))
  for block, act in {"block_a_0": True, "block_b_0": True, "block_c_0": True, "block_c_1": False}.items():
    before, added, after = parts(seen, block)
    total = before + added
    assert (total < 0).any()
    np.testing.assert_allclose(after, np.maximum(total, 0) if act else total, rtol=1e-5, atol=1e-6)


def test_what_is_added_is_scaled():
  ones = lambda path, x: jnp.full_like(x, path[-1].key == "bias") if "up" in [p.key for p in path] else x
  seen = sites_of()(jax.tree_util.tree_map_with_path(ones, promises.some_variables(make(), CLIP)))
  for block, scale in {"block_a_0": 0.17, "block_b_0": 0.10, "block_c_0": 0.20, "block_c_1": 1.0}.items():
    _, added, _ = parts(seen, block)
    np.testing.assert_allclose(added, scale, rtol=1e-6)


def test_another_number_of_groups_is_an_error():
  with pytest.raises(errors.ConfigError, match="3 numbers of blocks"):
    make(repeats=(1, 1))
