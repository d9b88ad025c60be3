import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, measure
from vidx.nn.sites import features
from vidx.systems.bqn import DESIGNS, connections

TINY = dict(num_classes=3, trunk="tsn", stages=(1, 1), width=8, quiet_size=16, lateral_size=3)


def tiny(**fields):
  return vidx.create_model("bqn", **{**TINY, **fields})


@pytest.fixture(scope="module")
def clip():
  return promises.some_input((2, 6, 24, 24, 3))


def logits(model, variables, clip):
  return promises.jitted(model)(variables, clip)["logits"]


@functools.cache
def counted(quiet, busy, **fields):
  model = vidx.create_model("bqn", num_classes=174, quiet_size=quiet, **fields)
  return measure.count(model, jax.ShapeDtypeStruct((1, 8, 3, busy, busy, 3), "float32"))


@pytest.mark.parametrize("quiet, busy, recomputed, published", [
    (160, 256, 60.3, 60.7), (128, 224, 44.0, 44.4), (224, 224, 66.6, 65.9)])
def test_macs_are_those_of_table_5_8(quiet, busy, recomputed, published):
  gmacs = counted(quiet, busy).macs / 1e9
  assert gmacs == pytest.approx(recomputed, rel=0.01) and gmacs == pytest.approx(published, rel=0.015)


def test_the_other_rows_of_table_5_8_follow_from_the_sizes():
  """Each pathway's products depend on its own size alone."""
  macs = lambda quiet, busy: counted(quiet, busy).macs / 1e9
  assert macs(128, 224) + macs(160, 256) - 2 * macs(128, 224) == pytest.approx(16.3, rel=0.02)
  assert macs(224, 224) - macs(128, 224) == pytest.approx(66.6 - 44.0, rel=0.02)


def test_parameters_are_those_of_the_thesis():
  by_module = counted(160, 256).by_module
  of = lambda wanted: sum(params for name, (params, _) in by_module.items() if wanted(name))
  assert counted(160, 256).params == 47_678_506
  assert of(lambda n: n.startswith(("busy", "quiet"))) == 2 * 23_508_032 + 356_526
  assert of(lambda n: n == "band_pass") == 252
  assert of(lambda n: n.startswith("to_") and n.endswith("norm")) == 30_208
  assert of(lambda n: n.startswith("to_") and "band_pass" in n) == 275_456


@pytest.mark.parametrize("name, fields, expected", [
    ("bqn", dict(trunk="tsm_r101"), 86_152_234), ("bqn_x3d_m", {}, 6_662_400 + 5_424 + 73_632 + 252)])
def test_other_trunks_have_the_parameters_of_the_thesis(name, fields, expected):
  model = vidx.create_model(name, num_classes=174, **fields)
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), jnp.zeros((1, 6, 64, 64, 3)))
  assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == expected


def test_connections_alternate_and_stand_where_they_are_wanted():
  names = vidx.create_model("bqn").busy.site_names()
  assert len(connections(names)) == 16 and len(connections(names, every=2)) == 8
  assert [c[1][0] for c in connections(names)[:4]] == ["to_quiet", "to_busy"] * 2
  assert [c[0] for c in connections(names, places=("res[23].0",))] == ["res2.0", "res3.0"]
  assert connections(names, places=()) == ()
  assert [c[2] for c in connections(names)] == [7] * 13 + [3] * 3
  assert {len(c[1]) for c in connections(names, design="LC-III")} == {2}
  assert len(connections(vidx.create_model("bqn_x3d_m").busy.site_names())) == 26


@pytest.mark.parametrize("shared", [True, False])
def test_at_the_start_it_is_two_independent_networks(clip, shared):
  model = tiny(shared_head=shared)
  variables = jax.jit(model.init)(jax.random.PRNGKey(1), clip)

  @jax.jit
  def together_and_apart(variables):
    ways = []
    for name, x in zip(("busy", "quiet"), model.apply(variables, clip, method="pathways")):
      part = {k: dict(v[name]) for k, v in variables.items()}
      part["params"]["head"] = variables["params"]["busy" if shared else name]["head"]
      ways.append(model.busy.apply(part, x)["logits"])
    return model.apply(variables, clip)["logits"], (ways[0] + ways[1]) / 2

  assert ("head" in variables["params"]["quiet"]) != shared
  np.testing.assert_array_equal(*together_and_apart(variables))


def test_complement_and_busy_make_the_mean_in_time(clip):
  @functools.partial(jax.jit, static_argnums=0)
  def pathways(model):
    return model.init_with_output(jax.random.PRNGKey(1), clip, method="pathways")[0]

  busy, quiet = map(np.asarray, pathways(tiny(quiet_size=0)))
  mean = np.asarray(clip).reshape(2, 2, 3, 24, 24, 3).mean(2)
  np.testing.assert_allclose(quiet + busy, mean, atol=1e-4)
  assert busy.shape == (2, 2, 24, 24, 3)
  for fields, expected in ((dict(quiet_input="mean"), mean), (dict(complement_gain=0.0), mean),
                           (dict(quiet_input="first_frame"), np.asarray(clip)[:, ::3])):
    np.testing.assert_allclose(pathways(tiny(quiet_size=0, **fields))[1], expected, atol=1e-6)


def test_both_layouts_score_alike(clip):
  model = tiny()
  variables = promises.some_variables(model, clip)
  np.testing.assert_allclose(logits(model, variables, clip),
                             logits(model, variables, clip.reshape(2, 2, 3, 24, 24, 3)), rtol=1e-5)


def test_only_the_pathway_at_the_end_of_a_connection_hears_the_other(clip):
  """After res2.0 Busy speaks to Quiet, after res3.0 Quiet to Busy."""
  model = tiny()
  variables = promises.some_variables(model, clip)

  @jax.jit
  def at_sites(params):
    return {site: features(model, {**variables, "params": params}, clip, site=site)
            for site in ("busy.res3", "quiet.res3.0.in", "quiet.res3", "busy.res3.0.in")}

  def outs(silent):
    params = {k: v for k, v in variables["params"].items()}
    for name in silent:
      params[name] = jax.tree.map(np.zeros_like, params[name])
    return at_sites(params)

  assert {k for k in variables["params"] if k.startswith("to_")} == {"to_quiet_res2_0", "to_busy_res3_0"}
  all_on, no_quiet, no_busy = outs(()), outs(("to_quiet_res2_0",)), outs(("to_busy_res3_0",))
  same = lambda a, b, site: np.array_equal(a[site], b[site])
  assert same(all_on, no_quiet, "busy.res3.0.in") and not same(all_on, no_quiet, "quiet.res3.0.in")
  assert same(all_on, no_busy, "quiet.res3") and not same(all_on, no_busy, "busy.res3")


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_has_its_connections(clip, design):
  model = tiny(design=design)
  variables = promises.some_variables(model, clip)
  names = [k for k in variables["params"] if k.startswith("to_")]
  expected = {"LC-I": (2, 0), "LC-II": (0, 2), "LC-III": (2, 2), "LC-IV": (1, 1), "LC-V": (1, 1)}[design]
  assert tuple(sum(k.startswith(way) for k in names) for way in ("to_busy", "to_quiet")) == expected
  filtered = [k for k in names if "band_pass" in variables["params"][k]]
  assert len(filtered) == (0 if design == "LC-V" else expected[0])
  assert np.isfinite(logits(model, variables, clip)).all()


@pytest.mark.parametrize("fusion", ["max_logits", "average_features", "concatenate_features"])
def test_every_fusion_scores_as_it_says(clip, fusion):
  model = tiny(fusion=fusion)
  variables = promises.some_variables(model, clip)
  out = promises.jitted(model)(variables, clip)
  assert out["logits"].shape == (2, 3)
  if fusion == "max_logits":
    fc = variables["params"]["busy"]["head"]["fc"]
    each = [f @ np.asarray(fc["kernel"]) + fc["bias"] for f in np.split(np.asarray(out["features"]), 2, -1)]
    np.testing.assert_allclose(out["logits"], np.maximum(*each), rtol=1e-4)
  else:
    width = out["features"].shape[1] // (2 if fusion == "average_features" else 1)
    assert variables["params"]["head"]["fc"]["kernel"].shape == (width, 3)


def test_quiet_may_have_fewer_frames_than_busy():
  x = promises.some_input((1, 12, 24, 24, 3))
  model = tiny(quiet_frames=3)
  at = lambda site: jax.eval_shape(functools.partial(features, model, site=site), promises.shapes_of(model, x), x)
  assert at("quiet.res3").shape[1] == 3
  assert at("busy.res3").shape[1] == 4


def test_what_is_heard_is_a_map(clip):
  model = tiny()
  variables = promises.shapes_of(model, clip)
  assert "maps" not in variables
  maps = jax.eval_shape(functools.partial(model.apply, mutable=["maps"]), variables, clip)[1]["maps"]
  assert maps["band_pass"]["band_pass"][-1].shape == (2, 2, 24, 24, 3)


@pytest.mark.parametrize("fields", [
    dict(), dict(trunk="x3d_m", widths=(8, 16), stem_features=8, features=16, shared_head=False),
    dict(trunk="tsm_mobilenet_v2", stages=((1, 8, 1, 1), (2, 16, 2, 2)), last=16)])
def test_it_keeps_the_promises_of_a_trunk(fields):
  x = promises.some_input((2, 6, 24, 24, 3))
  common = {k: v for k, v in TINY.items() if k != "width" or "x3d" not in fields.get("trunk", "")}
  make = functools.partial(vidx.create_model, "bqn", **{**common, **fields})
  promises.keeps_examples_apart(make(), x)
  promises.identities_change_nothing(make, x[:1])
  promises.visits_every_site(make(), x)
  promises.lowers_for_accelerators(make(), x[:1])


def test_every_parameter_learns(clip):
  dead = [name for name, alive in promises.has_finite_gradients(tiny(dtype=jnp.bfloat16), clip) if not alive]
  assert not dead


@pytest.mark.parametrize("fields, words", [
    (dict(quiet_input="mena"), ["quiet_input", "mena", "complement, first_frame, mean"]),
    (dict(design="LC-VI"), ["design", "LC-VI", "LC-I, "]),
    (dict(fusion="sum"), ["fusion", "sum", "average_logits"]),
    (dict(phi="conv"), ["phi", "conv", "conv1x1"]),
    (dict(places=("res9.*",)), ["res9", "res2.0"]),
    (dict(sites={"loud.*": "TemporalShift"}), ["loud.*", "busy.stem"]),
    (dict(trunk="vgg16"), ["no field 'stages'"])])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError) as e:
    tiny(**fields)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
