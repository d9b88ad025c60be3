import jax
import jax.numpy as jnp
import pytest

import vidx
from vidx import errors
from vidx.measure import count
from vidx.nn import AdaptiveTokenSampler, TokenReorganization

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)


@pytest.mark.parametrize("name, fields, least, most", [
    ("ats_deit_s", dict(stages=(3,), keep=108), 3.05, 3.06),
    ("ats_deit_s", dict(stages=(3,), keep=78), 2.55, 2.56),
    ("ats_deit_s", dict(stages=(3,), keep=48), 2.06, 2.07),
    ("ats_deit_s", dict(stages=(0,), keep=130), 3.02, 3.04),
    ("ats_deit_s", dict(stages=(6,), keep=56), 3.015, 3.03),
    ("ats_deit_s", dict(rule="topk", keep=0.865), 2.98, 3.00),
    ("ats_deit_s", {}, 4.5989, 4.61),
    ("evit", {}, 2.99, 3.05),
    ("ats_cvt_13", {}, 5.20, 5.22),
    ("ats_cvt_21", {}, 8.20, 8.22),
])
def test_products_at_the_caps_are_those_computed(name, fields, least, most):
  assert least <= count(vidx.create_model(name, **fields), IMAGE).macs / 1e9 <= most


def stages_of(model):
  return [name for name, blocks in model.sites.items() if any(getattr(b, "func", b) is AdaptiveTokenSampler for b in blocks)]


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
    (dict(rule="top-k"), ["rule 'top-k'", "inverse, nearest, topk"]),
    (dict(keep=1.2), ["keep = 1.2"]),
    (dict(kep=0.5), ["no field 'kep'", "nearest: 'keep'"]),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("ats_deit_s", **call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
