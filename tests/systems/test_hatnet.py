import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, measure
from vidx.nn import SimilarityGuidedSampling
from vidx.nn.sites import features

HVU = dict(action=739, attribute=117, concept=291, event=69, object=1678, scene=248)
TINY = dict(num_classes=3, stages=(1, 1, 1), width=8, strides=(1, 2, 2), time_strides=(1, 2, 2))
CLIP = promises.some_input((2, 6, 16, 16, 3))

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(name="hatnet_18", **fields):
  return vidx.create_model(name, **{**TINY, **fields})


@functools.cache
def counted(name, frames=16, heads=False):
  model = vidx.create_model(name, **(dict(num_classes=HVU) if heads else {}))
  return measure.count(model, jax.ShapeDtypeStruct((1, frames, 112, 112, 3), "float32"))


@pytest.mark.parametrize("name, params, gmacs, long", [("hatnet_18", 46_825_798, 55.81, 111.62),
                                                       ("hatnet_50", 90_012_230, 106.81, 213.61)])
def test_it_has_the_counted_parameters_and_products(name, params, gmacs, long):
  assert counted(name).params == params
  assert counted(name).macs / 1e9 == pytest.approx(gmacs, abs=6e-3)
  assert counted(name, 32).macs / 1e9 == pytest.approx(long, abs=1.1e-2)


def test_products_are_those_of_the_branches_and_of_seven_merges():
  clip, model = jax.ShapeDtypeStruct((1, 16, 112, 112, 3), "float32"), vidx.create_model("hatnet_18")
  branches = [measure.count(model.branch(name), clip).macs for name in ("temporal", "appearance")]
  by_module = counted("hatnet_18").by_module
  merges = sum(macs for name, (_, macs) in by_module.items() if name.startswith("merge"))
  assert [round(macs / 1e9, 2) for macs in (*branches, merges)] == [40.70, 13.63, 1.49]
  assert sum(branches) + merges + 512 * 3142 == counted("hatnet_18").macs
  assert {name.partition("/")[0] for name in by_module if name.startswith("merge")} == {
      *(f"merge_res{s}_{b}" for s in (2, 3, 4) for b in ("temporal", "appearance")), "merge_final"}


def test_an_stc_branch_adds_the_parameters_of_its_blocks():
  assert counted("hatnet_stc_18").params == 46_825_798 + 253_440


def test_six_heads_have_a_convolution_each():
  assert counted("hatnet_18", heads=True).params == 48_404_806


@pytest.mark.parametrize("frames, stem", [(16, "video"), (32, "video"), (16, "hara")])
def test_both_branches_have_equal_shapes_wherever_they_merge(frames, stem):
  """Merges refuse other shapes."""
  model = vidx.create_model("hatnet_18", stem=stem)
  clip = jax.ShapeDtypeStruct((1, frames, 112, 112, 3), jnp.float32)
  variables = promises.shapes_of(model, clip)
  shape = lambda site: jax.eval_shape(lambda v, x: features(model, v, x, site=site), variables, clip).shape
  t, side = (frames, 112) if stem == "video" else (frames // 2, 56)
  assert shape("res3") == (1, t // 2, side // 4, side // 4, 256)
  assert shape("appearance.res5") == shape("res5") == (1, t // 8, -(-side // 16), -(-side // 16), 512)


@pytest.mark.parametrize("fields", [{}, dict(merge_every="block", merge_stem=True, stages=(2, 1), strides=(1, 2),
                                             time_strides=(1, 2)), dict(mr_plain=True, block="bottleneck")])
def test_with_selected_merges_each_branch_starts_as_its_own_network(fields):
  model = tiny(mr_init="select", **fields)
  variables = promises.some_variables(model, CLIP)
  fresh = jax.jit(model.init)(jax.random.PRNGKey(0), CLIP)
  swap = lambda kind: {k: fresh[kind][k] if k.startswith("merge") else v for k, v in variables[kind].items()}
  variables = {kind: swap(kind) for kind in variables}
  last = model.ends()[-1]

  @jax.jit
  def together_and_apart(variables):
    part = lambda name: {kind: v.get(name, {}) for kind, v in variables.items()}
    alone = [model.branch(name).apply(part(name), CLIP)["features"] for name in ("temporal", "appearance")]
    ends = [features(model, variables, CLIP, site=f"{name}.{last}").mean((1, 2, 3))
            for name in ("temporal", "appearance")]
    return alone, ends, model.apply(variables, CLIP)["features"]

  alone, ends, whole = together_and_apart(variables)
  for a, b in zip([*alone, alone[0]], [*ends, whole]):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  assert np.abs(np.asarray(alone[0])).max() > 0.1


def test_the_2d_branch_is_an_image_network_on_single_frames():
  """Weights of images fit: their kernels have no time axis."""
  fields = dict(time_strides=(1, 1, 1))
  branch = tiny(**fields).branch("appearance")
  image = vidx.create_model("resnet_18", stages=(1, 1, 1), width=8, strides=(1, 2, 2), num_classes=0,
                            stem="image_flat", zero_init=True)
  variables = promises.some_variables(branch, CLIP)
  by_frame = jax.jit(lambda v, x: image.apply(v, x)["features"])(variables, CLIP.reshape(-1, 16, 16, 3))
  whole = jax.jit(lambda v, x: branch.apply(v, x)["features"])(variables, CLIP)
  np.testing.assert_allclose(whole, by_frame.reshape(2, 6, -1).mean(1), rtol=1e-4, atol=1e-5)
  published = vidx.create_model("resnet_18", num_classes=0)
  own = vidx.create_model("hatnet_18").branch("appearance")
  shapes = lambda m: jax.tree.map(lambda p: p.shape, promises.shapes_of(m, jnp.zeros((1, 8, 64, 64, 3)))["params"])
  assert shapes(own) == shapes(published)


def test_where_time_is_strided_the_2d_branch_keeps_every_second_frame_or_means():
  """Frame 1 is between the kept ones; with means it is heard."""
  changed = CLIP.at[:, 1].add(5.0)
  for align, heard in (("stride", False), ("pool", True)):
    branch = tiny(t_align=align).branch("appearance")
    variables = promises.some_variables(branch, CLIP)
    a, b = (promises.jitted(branch)(variables, x)["features"] for x in (CLIP, changed))
    assert bool((a != b).any()) == heard
    assert jax.eval_shape(lambda v, b=branch: b.apply(v, CLIP[:, :5], method="trunk")[0], variables).shape[1] == 2


def test_each_branch_hears_the_other_from_the_first_merge_on():
  model = tiny()
  variables = promises.some_variables(model, CLIP)

  @jax.jit
  def at_sites(params):
    return {site: features(model, {**variables, "params": params}, CLIP, site=site)
            for site in ("temporal.res2", "temporal.res3.0.in", "appearance.res2", "appearance.res3.0.in", "res4")}

  silent = lambda *names: at_sites({k: jax.tree.map(lambda p: p * 0, v) if k in names else v
                                    for k, v in variables["params"].items()})
  whole, without = silent(), silent("appearance")
  same = lambda site: np.array_equal(whole[site], without[site])
  assert same("temporal.res2") and not same("temporal.res3.0.in")
  one, other = silent("merge_res2_temporal"), silent("merge_res2_appearance")
  assert not np.array_equal(one["temporal.res3.0.in"], whole["temporal.res3.0.in"])
  np.testing.assert_array_equal(one["appearance.res3.0.in"], whole["appearance.res3.0.in"])
  np.testing.assert_array_equal(other["temporal.res3.0.in"], whole["temporal.res3.0.in"])


@pytest.mark.parametrize("fields, merges", [
    ({}, 2 + 2 + 1), (dict(merge_every="never"), 1), (dict(merge_stem=True), 7),
    (dict(merge_every="block", stages=(2, 1, 2)), 2 * 4 + 1)])
def test_merges_stand_where_they_are_wanted(fields, merges):
  shapes = promises.shapes_of(tiny(**fields), CLIP)
  assert sum(name.startswith("merge_") for name in shapes["params"]) == merges


def test_the_2d_branch_may_want_another_normalisation():
  clip, own = ((0.4, 0.4, 0.4), (0.2, 0.2, 0.2)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  pixels = np.random.default_rng(0).uniform(size=(1, 2, 4, 4, 3))
  normalised = lambda norm: ((pixels - norm[0]) / norm[1]).astype("f")
  ways = tiny(clip_norm=clip, appearance_norm=own).enter(jnp.asarray(normalised(clip)))
  np.testing.assert_array_equal(ways[0][0], normalised(clip))
  np.testing.assert_allclose(ways[1][0], normalised(own), atol=1e-5)


HEADS = dict(num_classes=dict(action=3, scene=2))


@pytest.mark.parametrize("fields", [
    dict(stc=True), dict(merge_every="block", merge_stem=True, stem="hara", t_align="pool"), HEADS])
def test_it_keeps_the_promises_of_a_trunk(fields):
  make = functools.partial(tiny, **fields)
  promises.keeps_examples_apart(make(), CLIP)
  promises.identities_change_nothing(make, CLIP[:1])
  promises.visits_every_site(make(), CLIP)
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), CLIP[:1])


def test_every_parameter_learns():
  dead = [name for name, alive in promises.has_finite_gradients(tiny(dtype=jnp.bfloat16), CLIP) if not alive]
  assert not dead


def test_heads_of_categories_put_out_logits_by_name():
  model = tiny(**HEADS)
  out = promises.jitted(model)(promises.some_variables(model, CLIP), CLIP)
  assert {k: v.shape for k, v in out["logits"].items()} == {"action": (2, 3), "scene": (2, 2)}
  assert out["features"].shape == (2, 32) and out["logits"]["action"].dtype == jnp.float32


# ---------------------------------------------------------------- with adaptive temporal resolution


def test_one_sampler_drops_the_same_frames_of_both_branches():
  model = tiny("atfr_hatnet_18", order="time", kernel="kronecker_sum")
  assert isinstance(model.sites["res2"][0](), SimilarityGuidedSampling)
  variables = promises.some_variables(model, CLIP)
  plain = tiny(sites={})

  @jax.jit
  def around(variables):
    before = features(plain, variables, CLIP, site="res2")
    cut = 1 + [name for name, _ in model.apply({}, method=lambda m: m.pieces())].index("res2")
    ways = model.apply(variables, CLIP, method=lambda m, x: m.walk(m.enter(x), stop=cut))
    return before, ways

  before, ((x, mask), (y, y_mask)) = around(variables)
  np.testing.assert_array_equal(mask, y_mask)
  assert mask[0].sum() < CLIP.shape[1]
  for part, whole in ((x, before[..., :8]), (y, before[..., 8:])):  # bins hold sums of frames, none is lost
    np.testing.assert_allclose(part.sum(1), whole.sum(1), rtol=1e-4, atol=1e-5)


def test_the_3d_branch_alone_decides_which_frames_are_alike():
  block = SimilarityGuidedSampling(lead=0.5)
  x = promises.some_input((1, 6, 4, 4, 8))
  variables = promises.some_variables(block, x)
  assert variables["params"]["fc1"]["kernel"].shape == (4, 2)
  other = x.at[..., 4:].multiply(-3.0)
  (y, mask), (z, same) = (jax.jit(block.apply)(variables, v) for v in (x, other))
  np.testing.assert_array_equal(mask, same)
  np.testing.assert_array_equal(y[..., :4], z[..., :4])


def test_with_a_sampler_examples_need_no_padding_and_are_cut_as_one_pathway():
  clips = promises.some_input((2, 12, 16, 16, 3))
  model = tiny("atfr_hatnet_18", measure="l2_to_mean")
  variables = promises.some_variables(model, clips)
  cut = 1 + [name for name, _ in model.apply({}, method=lambda m: m.pieces())].index("res2")

  @jax.jit
  def whole(variables, clips):
    ways = model.apply(variables, method=lambda m: m.walk(m.enter(clips), stop=cut))
    return ways, model.apply(variables, method=lambda m: m.leave(m.walk(ways, start=cut)))["logits"]

  ways, together = whole(variables, clips)
  lengths = np.asarray(model.lengths(ways))
  assert lengths.shape == (2, 1) and model.capacities(ways) == (12,) and lengths.min() < 12
  after = jax.jit(lambda v, w: model.apply(v, method=lambda m: m.leave(m.walk(w, start=cut)))["logits"])
  fitted = model.fit(ways, [int(lengths.max())])
  np.testing.assert_allclose(after(variables, fitted), together, rtol=1e-4, atol=1e-5)
  short = [(x[:1, :lengths[0, 0]], None) for x, _ in ways]
  np.testing.assert_allclose(after(variables, short)[0], together[0], rtol=1e-4, atol=1e-5)


def test_a_sampler_in_one_branch_is_refused_in_one_line():
  with pytest.raises(ValueError, match="behind res2 the branches have 3 and 6 frames: plug .* both, stem, res2"):
    promises.shapes_of(tiny(sites={"temporal.res2": {"name": "UniformSampling", "keep": 3}}, merge_every="never"), CLIP)


@pytest.mark.parametrize("fields, words", [
    (dict(merge_every="layer"), ["merge_every", "layer", "stage, block, never"]),
    (dict(t_align="mean"), ["t_align", "stride, pool"]), (dict(stem="image"), ["stem", "video, hara"]),
    (dict(mr_init="own"), ["mr_init", "he, select"]), (dict(head_conv="5x5x5"), ["head_conv", "1x1x1"]),
    (dict(appearance_norm=((0.4,) * 3, (0.2,) * 3)), ["clip_norm"]),
    (dict(sites={"both.*": "TemporalShift"}), ["both.*", "temporal.stem"])])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError) as e:
    tiny(**fields)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
