import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure import count
from vidx.measure.live import LiveMacs
from vidx.nn import AdaptiveTokenSampler, TokenReorganization

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
VIT = dict(image=32, patch=8, dim=24, depth=2, heads=3, num_classes=5)
SMALL = {
    "deit_ti": VIT, "xvit_b16": dict(VIT, frames=2, shift_frames=2, dropout=0.0),
    "timesformer_b": dict(VIT, frames=2), "timesformer_joint": dict(VIT, frames=2),
    "cvt_13": dict(dims=(6, 12, 12), depths=(1, 1, 2), heads=(1, 3, 3), num_classes=5),
    "psvit_b14": dict(image=32, points=4, dim=12, depth=3, samplings=1, heads=3, widths=(8, 12), num_classes=5),
}
X = promises.some_input((2, 2, 32, 32, 3))


@functools.cache
def small(trunk, **fields):
  return vidx.create_model(f"ats_{trunk}", **SMALL[trunk], **{"stages": (0,), "least": 2, **fields})


@functools.cache
def variables_of(trunk):
  fields = {"convolved": (True, True, False)} if trunk == "cvt_13" else {}
  return promises.some_variables(vidx.create_model(trunk, **SMALL[trunk], **fields), X)


@pytest.mark.parametrize("name, fields, least, most", [
    ("ats_deit_s", dict(stages=(3,), keep=108), 3.05, 3.06),
    ("ats_deit_s", dict(stages=(3,), keep=78), 2.55, 2.56),
    ("ats_deit_s", dict(stages=(3,), keep=48), 2.06, 2.07),
    ("ats_deit_s", dict(stages=(0,), keep=130), 3.02, 3.04),
    ("ats_deit_s", dict(stages=(6,), keep=56), 3.015, 3.03),
    ("ats_deit_s", dict(rule="topk", keep=0.865), 2.98, 3.00),
    ("ats_deit_s", {}, 4.5989, 4.61),
    ("evit", {}, 2.99, 3.05),
    ("ats_evit", {}, 2.15, 2.16),
    ("ats_cvt_13", {}, 5.20, 5.22),
    ("ats_cvt_21", {}, 8.20, 8.22),
])
def test_products_at_the_caps_are_those_computed(name, fields, least, most):
  assert least <= count(vidx.create_model(name, **fields), IMAGE).macs / 1e9 <= most


def block_products(n, left, d=384, r=4):
  """Of a block that samples: projections, the CLS's scores, attention of the rows left, output, MLP."""
  return 3 * n * d * d + n * d + 2 * left * n * d + left * d * d + 2 * r * left * d * d


def test_products_of_single_examples_follow_their_live_tokens():
  macs = LiveMacs(vidx.create_model("ats_deit_s"), IMAGE)
  assert macs.places == tuple(f"block{i}.heads" for i in range(3, 12))
  counts = np.random.default_rng(0).integers(2, 198, (3, 9))
  counts = -np.sort(-counts, axis=1)
  found = macs({place: counts[:, i] for i, place in enumerate(macs.places)})
  for lengths, total in zip(counts, found):
    plain = 3 * (block_products(197, 197) - 197 * 384)
    sampled = sum(block_products(n, left) for n, left in zip([197, *lengths], lengths))
    assert total == 196 * 768 * 384 + plain + sampled + 384 * 1000


@pytest.mark.parametrize("trunk", list(SMALL))
def test_equal_scores_leave_the_trunk_as_it_is_on_its_own_weights(trunk):
  variables = variables_of(trunk)
  model = small(trunk, score="uniform", stages=(0, 1))
  shapes = lambda tree: jax.tree.map(jnp.shape, dict(tree))
  assert shapes(jax.eval_shape(model.init, jax.random.PRNGKey(0), X)) == shapes(variables)
  expected = promises.jitted(model.clone(sites={}))(variables, X)["logits"]
  np.testing.assert_allclose(promises.jitted(model)(variables, X)["logits"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trunk, fields", [
    ("deit_ti", dict(fused=(1,), keep=0.7)), ("xvit_b16", dict(keep=4)),
    ("timesformer_b", dict(keep=6, stages=(0, 1)))])
def test_what_is_dead_may_be_cut_off_between_blocks(trunk, fields):
  """The first block, a read of the lengths, and the others with no more room than that."""
  model, variables = small(trunk, **fields), variables_of(trunk)
  whole = promises.jitted(model)(variables, X)["logits"]
  run = lambda method: jax.jit(functools.partial(model.apply, method=method))
  ways = run(lambda m, x: m.walk(m.enter(x), stop=2))(variables, X)
  room = [int(n) for n in model.lengths(ways).max(0)]
  assert room[0] < ways[0][1].shape[-1]
  cut = run(lambda m, ways: m.leave(m.walk(ways, start=2)))(variables, model.fit(ways, room))["logits"]
  np.testing.assert_allclose(cut, whole, rtol=1e-4, atol=1e-5)
  assert np.abs(whole - promises.jitted(model.clone(sites={}))(variables, X)["logits"]).max() > 1e-4


def test_a_system_keeps_the_promises():
  model = small("deit_ti", keep=0.5)
  x = X[:, 0]
  promises.keeps_examples_apart(model, x)
  promises.visits_every_site(model, x)
  promises.lowers_for_accelerators(model, x)
  half = small("deit_ti", keep=0.5, dtype=jnp.bfloat16)
  assert all(alive for _, alive in promises.has_finite_gradients(half, x))


def stages_of(model):
  return [name for name, blocks in model.sites.items()
          if any(getattr(b, "func", b) is AdaptiveTokenSampler for b in blocks)]


@pytest.mark.parametrize("name, places, over_frames", [
    ("ats_deit_s", [f"block{i}.heads" for i in range(3, 12)], "apart"),
    ("ats_cvt_21", [f"block2.{i}.heads" for i in range(9)], "apart"),
    ("ats_psvit_b18", [f"block{i}.heads" for i in range(1, 10)], "apart"),
    ("ats_xvit_b16", [f"block{i}.heads" for i in range(3, 12)], "union"),
    ("ats_timesformer_l", [f"block{i}.heads" for i in range(3, 6)], "tube"),
    ("ats_timesformer_joint", [f"block{i}.heads" for i in range(3, 12)], "apart"),
    ("ats_evit", [f"block{i}.heads" for i in (4, 5, 7, 8, 10, 11)], "apart"),
    ("evit", [], ""),
])
def test_samplers_stand_where_they_are_published(name, places, over_frames):
  model = vidx.create_model(name)
  assert stages_of(model) == places
  assert all(block().over_frames == over_frames for place in places for block in model.sites[place])
  fused = [k for k, blocks in model.sites.items() if any(getattr(b, "func", b) is TokenReorganization for b in blocks)]
  assert fused == ([f"block{i}.heads" for i in (3, 6, 9)] if "evit" in name else [])


def test_stages_may_have_shares_of_their_own():
  model = vidx.create_model("ats_deit_s", stages=(3, 6), keep=(0.9, 40))
  assert [model.sites[f"block{i}.heads"][0]().keep for i in (3, 6)] == [0.9, 40]


@pytest.mark.parametrize("call, words", [
    (dict(stages=(12,)), ["no block 12", "the 12 blocks of deit_s", "'stages'"]),
    (dict(depth=3), ["no block samples", "'stages'"]),
    (dict(stages=(3, 4), fused=(3,)), ["named twice"]),
    (dict(keep=(0.5, 0.5)), ["2 values of keep for 9 stages"]),
    (dict(rule="top-k"), ["rule = 'top-k'", "inverse, nearest, topk"]),
    (dict(keep=1.2), ["keep = 1.2"]),
    (dict(kep=0.5), ["no field 'kep'", "nearest: 'keep'"]),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("ats_deit_s", **call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
