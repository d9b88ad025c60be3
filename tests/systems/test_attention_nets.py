import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure import count
from vidx.nn import ChannelGate, RegionNonLocal

CLIP = jax.ShapeDtypeStruct((1, 8, 224, 224, 3), jnp.float32)
SMALL = dict(num_classes=3, block="basic", stages=(1, 1, 1), width=16, stem="small", zero_init=False)
NAMES = ("rnl", "cpa", "nonlocal")


@pytest.mark.parametrize("name, fields, params", [
    ("rnl", {}, 28_128_720),
    ("rnl", dict(descriptor="identity"), 28_128_720 - 2 * 37_632 - 3 * 13_824),
    ("rnl", dict(descriptor="identity", places=("res3.2.out",)), 24_327_632 + 263_936),
    ("nonlocal", {}, 31_686_096),
    ("cpa", {}, 24_329_722),
    ("cpa", dict(pyramid=((1, 1, 1),)), 24_327_632 + 5),
    ("channel_gate", {}, 24_791_248),
    ("channel_gate", dict(form="gc"), 24_795_349),
    ("channel_gate", dict(form="cbam"), 24_794_176),  # 24.79 to 24.80 M
    ("channel_gate", dict(num_classes=174), 23_864_558 + 463_616),
    ("rnl", dict(num_classes=174, trunk="tsm_r101"),
     42_500_160 + 2049 * 174 - 174 + 174 + 28_128_720 - 24_327_632),
])
def test_a_net_has_the_parameters_of_its_parts(name, fields, params):
  model = vidx.create_model(name, **fields)
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), jax.ShapeDtypeStruct((1, 1, 64, 64, 3), jnp.float32))
  assert sum(np.prod(v.shape, dtype=int) for v in jax.tree.leaves(shapes["params"])) == params


@pytest.mark.parametrize("fields, params, gmacs", [({}, 35_483_088, 41.15), (dict(se=True), 35_946_704, 41.16)])
def test_both_accountings_of_the_region_network(fields, params, gmacs):
  model = vidx.create_model("rnl", **fields)
  published = count(model, CLIP, convention="published", masked={"region": 32})
  assert published.params == params == sum(p for p, _ in published.by_module.values())
  assert published.macs / 1e9 == pytest.approx(gmacs, rel=1e-3)
  true = count(model, CLIP)
  assert true.params == params - 35_483_088 + 28_128_720
  assert abs(true.macs / 1e9 - 89.3) < 0.1


def test_non_local_blocks_cost_what_is_published():
  assert abs(count(vidx.create_model("nonlocal"), CLIP, convention="published").macs / 1e9 - 49.38) < 0.1


@pytest.mark.parametrize("trunk, places", [
    ("tsm_r50", ["res3.0", "res3.2", "res4.0", "res4.2", "res4.4"]),
    ("tsm_r101", ["res3.0", "res3.2", "res4.0", "res4.8", "res4.16"]),
])
def test_blocks_stand_at_the_published_places(trunk, places):
  model = vidx.create_model("rnl", trunk=trunk, se="gc")
  blocks = {site: made for site, made in model.sites.items() if site.endswith(".out")}
  assert list(blocks) == [f"{p}.out" for p in places]
  kernels = [made[-1]().kernel for made in blocks.values()]
  assert kernels == [(3, 7, 7)] * 2 + [(3, 3, 3)] * 3
  gates = [made[0]() for made in blocks.values() if len(made) > 1]
  assert [(g.form, g.reduction) for g in gates] == [("gc", 2)]
  chained = vidx.create_model("rnl", trunk=trunk, se=True, se_reduction=2)
  gates = [made[0]() for site, made in chained.sites.items() if site.endswith(".out")]
  assert [(g.form, g.reduction) for g in gates] == [("se", 2)] * 5


def test_a_chain_starts_as_its_trunk():
  x = promises.some_input((1, 2, 16, 16, 3))
  trunk, net = vidx.create_model("tsm_r50", **SMALL), vidx.create_model("rnl", **SMALL, se=True)
  variables = promises.some_variables(trunk, x)
  fresh = jax.jit(net.init)(jax.random.PRNGKey(1), x)

  def merged(own, given):
    return {k: merged(v, given[k]) if isinstance(v, dict) and k in given else given.get(k, v) for k, v in own.items()}

  np.testing.assert_allclose(promises.jitted(net)(merged(fresh, variables), x)["logits"],
                             promises.jitted(trunk)(variables, x)["logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_net_keeps_the_promises(name):
  x = promises.some_input((2, 2, 16, 16, 3))
  make = lambda **f: vidx.create_model(name, **SMALL, **f)
  model = make(se="gc" if name == "rnl" else True)
  promises.keeps_examples_apart(model, x)
  promises.visits_every_site(model, x)
  promises.lowers_for_accelerators(model, x)
  no_effect = ("ChannelGate_0/squeeze/bias", "out/conv/bias",  # before a norm
               "ChannelGate_0/score/bias")  # before a softmax over positions
  dead = [path for path, alive in promises.has_finite_gradients(model, x) if not alive]
  assert all(path.endswith(no_effect) or "phi" in path or "res4" in path for path in dead), dead


def test_identities_change_nothing():
  x = promises.some_input((1, 3, 16, 16, 3))
  promises.identities_change_nothing(lambda **f: vidx.create_model("rnl", **SMALL, **f), x)


def test_a_net_computes_in_half_precision_where_asked():
  x = promises.some_input((1, 3, 16, 16, 3))
  model = vidx.create_model("rnl", **SMALL, dtype=jnp.bfloat16)
  blocks = [made[-1]() for site, made in model.sites.items() if site.endswith(".out")]
  assert {b.dtype for b in blocks} == {jnp.bfloat16}
  assert jax.eval_shape(lambda x: model.init_with_output(jax.random.PRNGKey(0), x)[0], x)["logits"].dtype == jnp.float32


def test_blocks_go_into_any_trunk_with_sites():
  x = jax.ShapeDtypeStruct((1, 4, 32, 32, 3), jnp.float32)
  for trunk in ("x3d_s", "r3d_18", "slowonly_r50"):
    if trunk not in vidx.list_models():
      continue
    model = vidx.create_model("rnl", num_classes=3, trunk=trunk)
    assert any(m is RegionNonLocal or getattr(m, "func", None) is RegionNonLocal
               for v in model.sites.values() for m in v)
    jax.eval_shape(model.init, jax.random.PRNGKey(0), x)
  by_hand = vidx.create_model("tsm_r50", sites={"res3.0.out": {"name": "ChannelGate", "form": "cbam"}})
  made, = by_hand.sites["res3.0.out"]
  assert made() == ChannelGate(form="cbam")


@pytest.mark.parametrize("name", ["rnl", "nonlocal"])
def test_maps_are_of_the_point_that_is_asked_for(name):
  x = promises.some_input((1, 2, 32, 32, 3))
  make = lambda **fields: vidx.create_model(name, places=("res3.0.out",), **{**SMALL, **fields})
  variables = promises.some_variables(make(), x)
  shown = lambda model: jax.tree.leaves(jax.jit(
      lambda v: model.apply(v, x, mutable=["maps"])[1]["maps"])(variables))[0]
  middle, corner = shown(make()), shown(make(query=(0.0, 0.0, 0.99)))
  assert middle.shape == corner.shape and np.abs(middle - corner).max() > 1e-6


@pytest.mark.parametrize("call, words", [
    (dict(name="rnl", form="gauss"), ["gauss", "gaussian, dot, cosine"]),
    (dict(name="rnl", se="senet"), ["senet", "gc"]),
    (dict(name="cpa", mode="none"), ["none", "rescale"]),
    (dict(name="rnl", trunk="mobilenet_v2"), ["mobilenet_v2", "places"]),
    (dict(name="rnl", places=("res9.0.out",)), ["res9.0.out", "the sites are"]),
])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model(**call)
  assert all(w in str(e.value) for w in words)
