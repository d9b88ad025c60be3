import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure.count import count
from vidx.measure.live import LiveMacs, live_counts
from vidx.nn import SimilarityGuidedSampling, UniformSampling

TINY = dict(num_classes=3, stages=(1, 1), width=8, dropout=0.0)
KINDS = {
    "resnet3d_slim_18": dict(TINY, widths=(4, 8), temporal=(3, 3)),
    "r2plus1d_bottleneck_18": TINY,
    "i3d_r50": dict(TINY, temporal=(3, 3)),
    "x3d_s": dict(num_classes=3, stages=(1, 1), widths=(8, 8), stem_features=8, features=16, dropout=0.0),
    "slowfast_r50_4x16": dict(TINY, width=16, slow_temporal=(3, 3), fast_temporal=(3, 3), strides=(1, 2), alpha=4),
}
CLIPS = promises.some_input((2, 16, 16, 16, 3))

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(trunk, **fields):
  return vidx.create_model(f"atfr_{trunk}", **{**KINDS[trunk], **fields})


@pytest.mark.parametrize("trunk", KINDS)
def test_an_example_needs_none_of_the_others_and_no_padding(trunk):
  """Cut to its own live frames, without a mask, it has the outputs that it has in its batch."""
  model = tiny(trunk, measure="l2_to_mean")
  variables = promises.some_variables(model, CLIPS)
  cut = 1 + max(i for i, (name, _) in enumerate(model.apply({}, method=lambda m: m.pieces())) if name.endswith("res2"))

  @jax.jit
  def whole(variables, clips):
    def call(m):
      ways = m.walk(m.enter(clips), stop=cut)
      return ways, m.leave(m.walk(ways, start=cut))["logits"]
    return model.apply(variables, method=call)

  ways, together = whole(variables, CLIPS)
  lengths = np.asarray(model.lengths(ways))
  assert (lengths[0] < model.capacities(ways)).all() and (lengths[0] > 1).any()
  if trunk == "i3d_r50":
    assert lengths[0] % 2  # the pooling over pairs of frames leaves one out
  alone = [(x[:1, :n], None) for (x, _), n in zip(ways, lengths[0])]
  short = jax.jit(lambda v, w: model.apply(v, method=lambda m: m.leave(m.walk(w, start=cut))))(variables, alone)
  np.testing.assert_allclose(short["logits"][0], together[0], rtol=1e-4, atol=1e-5)


def test_cutting_dead_frames_off_changes_nothing():
  model = tiny("resnet3d_slim_18")
  variables = promises.some_variables(model, CLIPS)

  def walk(m, clips):
    cut = 1 + [name for name, _ in m.pieces()].index("res2")
    before = m.walk(m.enter(clips), stop=cut)
    whole, short = (m.walk(ways, start=cut) for ways in (before, m.fit(before, [12])))
    return whole, short, m.leave(whole)["logits"], m.leave(short)["logits"]

  whole, short, a, b = jax.jit(lambda v, x: model.apply(v, x, method=walk))(variables, CLIPS)
  assert whole[0][1].sum(1).max() <= 12 and short[0][0].shape[1] == 12
  np.testing.assert_allclose(short[0][0], whole[0][0][:, :12], atol=1e-5)
  np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_it_keeps_the_promises_of_a_trunk():
  model = tiny("resnet3d_slim_18", dtype=jnp.bfloat16)
  promises.visits_every_site(model, CLIPS)
  promises.lowers_for_accelerators(model, CLIPS)
  before_a_norm = ("fc2/bias",)
  dead = [path for path, alive in promises.has_finite_gradients(model, CLIPS)
          if not alive and not path.endswith(before_a_norm)]
  assert not dead


def test_both_pathways_of_slowfast_have_a_sampler_of_their_own():
  made = lambda **fields: {site: block for site, (block,) in
                           vidx.create_model("atfr_slowfast_r50_8x8", **fields).sites.items()}
  blocks = made(block_len=(2, 8), bins=(4, 0))
  assert list(blocks) == ["slow.res2", "fast.res2"]
  slow, fast = (block() for block in blocks.values())
  assert (slow.block_len, fast.block_len, slow.bins, fast.bins) == (2, 8, 4, 0)
  assert list(made(pathways=("fast",), place="res3")) == ["fast.res3"]
  assert [block().keep for block in made(control="uniform").values()] == [4, 16]


def test_controls_take_the_place_of_the_sampler():
  made = lambda **fields: vidx.create_model("atfr_x3d_s", **fields).sites
  (sampler,), (random,), (uniform,) = (
      made(**f)["res2"] for f in ({}, dict(control="random"), dict(control="uniform", keep=5)))
  assert sampler() == SimilarityGuidedSampling(norm=sampler().norm) and random().control == "random"
  assert uniform() == UniformSampling(5) and made(control="none") == {}


COSTS = {  # trunk, place, size: (fixed GMACs, GMACs per frame, frames)
    ("resnet3d_slim_50", "res2", 256): (3.670, 1.1618, 32),
    ("i3d_r50", "res2", 256): (62.24, 2.693, 32), ("x3d_s", "res2", 160): (0.411, 0.1194, 13),
}


@pytest.mark.parametrize("trunk, place, size", COSTS)
def test_costs_are_linear_in_frames_as_published(trunk, place, size):
  fixed, per_frame, frames = COSTS[trunk, place, size]
  macs = LiveMacs(vidx.create_model(f"atfr_{trunk}", place=place),
                  jax.ShapeDtypeStruct((1, frames, size, size, 3), jnp.float32))
  few, more = macs({place: [2, 8]}) / 1e9
  channels = {"x3d_s": 24, "i3d_r50": 256}.get(trunk, 32)
  sampler = frames**2 * (size // 4)**2 * channels / 1e9  # the sums as a matrix product; the similarity is nothing
  assert (more - few) / 6 == pytest.approx(per_frame, abs=1e-4 + 2e-4 * per_frame)
  assert few - 2 * per_frame - sampler == pytest.approx(fixed, abs=2e-3 + 1e-3 * fixed)


def test_bottlenecks_of_split_kernels_cost_nearly_what_is_published():
  """Table 6.4 has 46.5."""
  clip = jax.ShapeDtypeStruct((1, 32, 224, 224, 3), jnp.float32)
  assert count(vidx.create_model("r2plus1d_bottleneck_18"), clip).macs / 1e9 == pytest.approx(46.68, abs=0.01)


def test_counts_of_a_clip_are_those_of_its_mask():
  model = tiny("slowfast_r50_4x16")
  variables = promises.some_variables(model, CLIPS)
  clips = CLIPS.at[0].set(CLIPS[0, :1])
  _, counts = jax.jit(lambda v, x: live_counts(model, v, x))(variables, clips)
  assert set(counts) == {"slow.res2", "fast.res2"}
  assert 1 <= counts["slow.res2"].max() <= 4 and counts["fast.res2"][0] < counts["fast.res2"][1] <= 16


@pytest.mark.parametrize("call, words", [
    (dict(name="atfr_x3d_s", place="res9"), ["res9", "the sites are stem, res2.0.in"]),
    (dict(name="atfr_x3d_s", kernel="cubic"), ["cubic", "linear"]),
    (dict(name="atfr_x3d_s", control="every"), ["every", "none, random, uniform"]),
    (dict(name="atfr_slowfast_r50_8x8", pathways=("quick",)), ["quick", "slow, fast"]),
    (dict(name="atfr_x3d_s", bin=4), ["no field 'bin'", "nearest: 'bins'"]),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model(**call)
  assert all(w in str(e.value) for w in words)
