import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.backbones.slowfast import join, slow_clip
from vidx.measure import count
from vidx.nn import conv, features, tracing

SIZES = {  # name: (parameters, GMACs at 256^2)
    "slowfast_r18_8x8": (20_588_344, 40.41), "slowfast_r50_4x16": (34_480_216, 36.10),
    "slowfast_r50_8x8": (34_566_488, 65.71), "slowfast_r101_8x8": (62_826_968, 125.9),
    "slowfast_r101_8x8_50_50": (53_774_808, 106.5),
    "slowfast_r101_16x8_nl": (60_080_088, 234.0),  # printed; 233.2 with affinities multiplied out from the right
}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(**fields):
  return vidx.create_model("slowfast_r50_4x16", **{
      **dict(stages=(1, 1), slow_temporal=(1, 3), fast_temporal=(3, 3), strides=(1, 2), width=16, alpha=4,
             num_classes=3),
      **fields})


CLIP = promises.some_input((2, 8, 16, 16, 3))


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_exact_and_products_as_published(name):
  frames = 64 if "16x8" in name else 32
  counts = count(vidx.create_model(name), jax.ShapeDtypeStruct((1, frames, 256, 256, 3), jnp.float32))
  assert counts.params == SIZES[name][0]
  assert counts.macs / 1e9 == pytest.approx(SIZES[name][1], rel=4e-3)


@pytest.mark.parametrize("name, fields, size, params, gmacs", [
    ("slowfast_r50_4x16", dict(laterals=(0, 0, 0, 0)), (256, 256), 33_070_648, 34.16),
    ("slowfast_r50_4x16", dict(strides=(1, 2, 2, 1)), (256, 320), 34_480_216, 65.73),
])
def test_laterals_strides_and_crops_cost_what_was_published(name, fields, size, params, gmacs):
  counts = count(vidx.create_model(name, **fields), jax.ShapeDtypeStruct((1, 32, *size, 3), jnp.float32))
  assert counts.params == params and counts.macs / 1e9 == pytest.approx(gmacs, rel=5e-4)


def test_laterals_can_be_left_out_and_the_rest_is_the_same_network():
  fewer = tiny(laterals=(0, 1), stages=(1, 1))
  assert [s for s in fewer.site_names() if s.startswith("lateral")] == ["lateral.res2"]
  assert tiny(laterals=(1, 1)).site_names() == tiny().site_names()
  promises.visits_every_site(fewer, CLIP)
  none = tiny(laterals=(0, 0))
  variables = promises.some_variables(none, CLIP)
  changed = jax.tree_util.tree_map_with_path(lambda k, v: v * 2 if k[1].key == "fast" else v, variables)
  slow = lambda v: promises.jitted(none)(v, CLIP)["features"][:, :128]
  np.testing.assert_array_equal(slow(variables), slow(changed))
  with pytest.raises(errors.ConfigError, match="laterals"):
    tiny(laterals=(1,))


def test_non_local_operations_start_as_nothing_and_stand_in_the_slow_pathway():
  plain, with_them = tiny(), tiny(non_local=((3, 0),))
  variables = jax.jit(with_them.init)(jax.random.PRNGKey(0), CLIP)
  assert "NonLocal_0" in variables["params"]["slow"]["res3_0"]["at_out"]
  out = lambda m: promises.jitted(m)(variables, CLIP)["features"]
  np.testing.assert_array_equal(out(with_them), out(plain))
  with pytest.raises(ValueError, match="matches no site"):
    tiny(non_local=((3, 4),)).pathway("slow")


def test_stage_shapes_are_those_of_the_paper():
  model = vidx.create_model("slowfast_r50_4x16")
  clip = jax.ShapeDtypeStruct((1, 32, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), clip)
  shape = lambda site: jax.eval_shape(lambda v, x: features(model, v, x, site=site), variables, clip).shape
  assert shape("slow.stem") == (1, 4, 56, 56, 64) and shape("fast.stem") == (1, 32, 56, 56, 8)
  assert shape("lateral.stem") == (1, 4, 56, 56, 16)
  assert shape("slow.res3.0.in") == (1, 4, 56, 56, 320)
  assert shape("slow.res5") == (1, 4, 7, 7, 2048) and shape("fast.res5") == (1, 32, 7, 7, 256)


def test_the_slow_frames_are_spread_from_first_to_last():
  clip = jnp.arange(32.0).reshape(1, 32, 1, 1, 1)
  np.testing.assert_array_equal(slow_clip(clip, 4)[0].ravel(), [0, 4, 8, 13, 17, 22, 26, 31])
  np.testing.assert_array_equal(slow_clip(clip, 8)[0].ravel(), [0, 10, 20, 31])
  np.testing.assert_array_equal(slow_clip(clip, 32)[0].ravel(), [0])


def test_the_slow_frames_of_a_shorter_clip_are_its_own():
  clip = 1 + jnp.arange(16.0).reshape(1, 16, 1, 1, 1)
  slow, mask = slow_clip(clip, 4, jnp.ones((1, 16), jnp.int32).at[:, 8:].set(0))
  np.testing.assert_array_equal(slow.ravel(), [1, 8, 0, 0])
  np.testing.assert_array_equal(mask, [[1, 1, 0, 0]])


def test_clips_that_alpha_does_not_divide_and_fields_without_sense_are_refused():
  with pytest.raises(ValueError, match="alpha = 4 does not divide 6"):
    slow_clip(CLIP[:, :6], 4)
  with pytest.raises(errors.ConfigError, match="odd"):
    tiny(fusion_kernel=4)
  with pytest.raises(errors.ConfigError, match="beta"):
    tiny(beta=3)
  with pytest.raises(errors.ConfigError, match="matches no site"):
    tiny(sites={"slow.res9": promises.Identity})


def test_joining_centres_the_shorter_clip():
  x, y = jnp.ones((1, 5, 1, 1, 1)), 2 * jnp.ones((1, 2, 1, 1, 1))
  z, mask = join(x, y)
  np.testing.assert_array_equal(z[0, :, 0, 0], [[1, 0], [1, 2], [1, 2], [1, 0], [1, 0]])
  assert mask is None
  z, mask = join(x, y, jnp.asarray([[1, 1, 1, 0, 0]]), None)
  np.testing.assert_array_equal(z[0, :, 0, 0], [[1, 2], [1, 2], [1, 0], [0, 0], [0, 0]])
  np.testing.assert_array_equal(mask, [[1, 1, 1, 0, 0]])
  same, mask = join(x, x, jnp.ones((1, 5)), jnp.ones((1, 5)))
  np.testing.assert_array_equal(same, join(x, x)[0])


def test_clips_do_not_depend_on_their_batch_in_evaluation():
  promises.keeps_examples_apart(tiny(), CLIP)


def test_identities_change_nothing():
  promises.identities_change_nothing(tiny, CLIP[:1])


def test_every_site_is_visited_in_order():
  promises.visits_every_site(tiny(stages=(2, 1)), CLIP)


def test_gradients_are_finite_and_reach_every_parameter():
  for path, live in promises.has_finite_gradients(tiny(dropout=0.0, dtype=jnp.bfloat16), CLIP):
    assert live, path


def test_evaluation_lowers_for_accelerators():
  promises.lowers_for_accelerators(tiny(dtype=jnp.bfloat16), CLIP)


def test_a_masked_clip_equals_the_shorter_one():
  model = tiny()
  variables = promises.some_variables(model, CLIP)
  mask = jnp.asarray([[1] * 4 + [0] * 4, [1] * 8])
  clip = CLIP * mask[:, :, None, None, None]
  masked = promises.jitted(model)(variables, clip, mask=mask)["logits"]
  whole = promises.jitted(model)(variables, CLIP)["logits"]
  short = promises.jitted(model)(variables, CLIP[:, :4])["logits"]
  np.testing.assert_allclose(masked[0], short[0], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(masked[1], whole[1], rtol=1e-4, atol=1e-5)


def test_frozen_norms_keep_their_statistics():
  model = tiny(frozen_bn="all_but_first")
  variables = promises.some_variables(model, CLIP)
  _, new = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"],
                                            rngs={"dropout": jax.random.PRNGKey(0)}))(variables, CLIP)
  same = jax.tree.map(lambda a, b: bool((a == b).all()), variables["batch_stats"], new["batch_stats"])
  moved = {jax.tree_util.keystr(k, simple=True, separator="/").rsplit("/", 1)[0]
           for k, s in jax.tree_util.tree_leaves_with_path(same) if not s}
  assert moved == {"slow/stem/conv/norm", "fast/stem/conv/norm"}


def test_the_fast_pathway_is_the_same_network_with_its_frames_among_the_channels_on_a_tpu():
  model = tiny(dropout=0.0)
  variables = promises.some_variables(model, CLIP)

  def slopes(params, x):
    out, state = model.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
    return (out["features"]**2).mean(), (out, state)

  found = []
  for platform in ("", "tpu"):
    with conv.using("auto"), tracing.traced_for(platform):
      program = jax.jit(lambda params, x: jax.value_and_grad(slopes, has_aux=True)(params, x))
      found.append(program(variables["params"], CLIP))
      text = jax.jit(lambda v, x: model.apply(v, x)["logits"]).lower(variables, CLIP).as_text()
      assert ("x16x16x24x" in text) == (platform == "tpu")  # eight frames of three colours
      with pytest.raises(ValueError, match="alpha"):
        model.apply(variables, CLIP[:, :6])
      shape = lambda site: features(model, variables, CLIP, site=site).shape
      assert shape("fast.res2.0.out") == (2, 8, 4, 4, 8)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), *found)


def test_what_is_plugged_into_the_fast_pathway_sees_frames_on_a_tpu_too():
  seen = []
  model = tiny(sites={"fast.res2.0.out": lambda x: seen.append(x.shape) or x})
  with conv.using("auto"), tracing.traced_for("tpu"):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), CLIP)
    variables = promises.some_variables(tiny(), CLIP)
    text = lambda mask: str(jax.make_jaxpr(lambda v, x: tiny().apply(v, x, mask=mask)["logits"])(variables, CLIP))
    assert "16,16,24]" in text(None) and "16,16,24]" not in text(jnp.ones((2, 8)))  # of which frames may be dead
  assert set(seen) == {(2, 8, 4, 4, 8)}
