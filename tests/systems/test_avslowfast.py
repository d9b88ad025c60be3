import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors, interop, systems
from vidx.measure import count
from vidx.nn.roi_align import roi_align
from vidx.train import warm_start

B, ROWS, MELS = 4, 16, 8
TINY = dict(stages=(1, 1, 1), width=16, strides=(1, 2, 2), slow_temporal=(1, 1, 3), fast_temporal=(3, 3, 3), alpha=4,
            fs_stages=(0, 0, 1), afs_stages=(0, 0, 1), avs=("res3", "res4"), num_classes=3, inner=4, crop=0,
            dropout=0.0)
GIVEN = dict(video=promises.some_input((B, 8, 16, 16, 3)), audio=promises.some_input((B, ROWS, MELS, 1), 1),
             audio_neg=promises.some_input((B, ROWS, MELS, 1), 2), audio_valid=jnp.ones(B), progress=jnp.zeros(B),
             weight=jnp.ones(B), index=jnp.arange(B))

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(**fields):
  return vidx.create_model("avslowfast_r50_4x16", **{**TINY, **fields})


def arrays(model, **changed):
  return [{**GIVEN, **changed}[name] for name in model.inputs]


@functools.cache
def variables(**fields):
  model = tiny(**fields)
  return promises.some_variables(model, *arrays(model))


def evaluated(model, v, **changed):
  return promises.jitted(model)(v, *arrays(model, **changed))


@functools.cache
def trainer(model):
  return jax.jit(lambda v, key, *x: model.apply(v, *x, train=True, rngs={"dropout": key},
                                                mutable=["batch_stats", "figures"]))


def trained(model, v, seed=0, **changed):
  return trainer(model)(v, jax.random.PRNGKey(seed), *arrays(model, **changed))


def shape(*s):
  return jax.ShapeDtypeStruct(s, jnp.float32)


@pytest.mark.parametrize("fields, params, gmacs", [
    (dict(avs=()), 41_820_984, 39.60), (dict(avs=("res5",)), 43_957_304, 39.78),
])
def test_parameters_are_exact_and_products_as_published(fields, params, gmacs):
  model = vidx.create_model("avslowfast_r50_4x16", **fields)
  sound = shape(1, 128, 80, 1)
  counts = count(model, shape(1, 32, 256, 256, 3), sound, shape(1), *([sound, shape(1), shape(1)] if model.avs else []))
  assert counts.params == params and counts.macs / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_halves_are_slowfast_and_the_audio_pathway():
  sight = tiny(streams="sight", fs_stages=(1, 1, 1))
  assert sight.inputs == ("video",) and vidx.create_model("avslowfast_r50_4x16", streams="sound").inputs == (
      "audio", "audio_valid")
  plain = vidx.create_model("slowfast_r50_4x16", **{k: v for k, v in TINY.items() if k not in (
      "fs_stages", "afs_stages", "avs", "inner")})
  v = variables(streams="sight", fs_stages=(1, 1, 1))
  own = {k: {**tree["sight"], **({"head": tree["head"]} if k == "params" else {})} for k, tree in v.items()}
  np.testing.assert_array_equal(promises.jitted(sight)(v, GIVEN["video"])["logits"],
                                promises.jitted(plain)(own, GIVEN["video"])["logits"])
  sound = vidx.create_model("avslowfast_r50_4x16", streams="sound")
  assert sound.width == 32 and type(sound).__name__ == "AudioNet"


def test_without_fusion_the_visual_features_are_slowfast_s_and_sound_is_in_the_head_alone():
  model, v = tiny(fs_stages=(1, 1, 1), afs_stages=(0, 0, 0), avs=()), variables(
      fs_stages=(1, 1, 1), afs_stages=(0, 0, 0), avs=())
  here, other = evaluated(model, v)["features"], evaluated(model, v, audio=GIVEN["audio_neg"])["features"]
  visual = 16 * 16 + 2 * 16
  np.testing.assert_array_equal(here[:, :visual], other[:, :visual])
  assert (here[:, visual:] != other[:, visual:]).any()


@pytest.mark.parametrize("fusion", ["a_fs", "a_f_s", "nonlocal"])
def test_sound_reaches_what_is_seen_unless_it_is_dropped(fusion):
  model, v = tiny(fusion=fusion), variables(fusion=fusion)
  visual = 16 * 16 + 2 * 16

  def changes(drop, scope="lateral"):
    own = tiny(fusion=fusion, drop=drop, drop_scope=scope)
    here, there = (trained(own, v, audio=audio)[0]["features"] for audio in (GIVEN["audio"], GIVEN["audio_neg"] * 3))
    return [(here[:, part] != there[:, part]).any() for part in (slice(visual), slice(visual, None))]

  assert changes(0.0) == [True, True]
  assert changes(1.0) == [False, True]
  if fusion == "a_fs":
    assert changes(1.0, "all") == [False, False]
  x, y = evaluated(model, v)["features"], evaluated(model, v, audio=GIVEN["audio_neg"])["features"]
  assert (x[:, :visual] != y[:, :visual]).any()  # in evaluation it is never dropped


def test_one_draw_decides_for_all_examples_and_a_share_of_the_steps_drops():
  model, v = tiny(drop=0.5, avs=()), variables(avs=())
  visual = 16 * 16 + 2 * 16
  always = trained(tiny(drop=0.0, avs=()), v)[0]["features"][:, :visual]
  same = []
  for seed in range(12):
    rows = np.isclose(trained(model, v, seed)[0]["features"][:, :visual], always, atol=1e-6).all(-1)
    assert rows.all() or not rows.any()
    same.append(rows.all())
  assert 1 < sum(same) < 11


def test_a_video_without_sound_is_that_without_the_audio_pathway():
  model, v = tiny(), variables()
  valid = jnp.asarray([1.0, 0, -1, 1])
  out = evaluated(model, v, audio_valid=valid)
  again = evaluated(model, v, audio_valid=valid, audio=GIVEN["audio"].at[1:3].set(7.0))
  np.testing.assert_array_equal(out["logits"], again["logits"])
  assert not out["features"][1:3, 16 * 16 + 2 * 16:].any()
  dropped = trained(tiny(drop=1.0, frozen_bn="all"), v, audio_valid=jnp.zeros(B))[0]["features"]
  silent = trained(tiny(drop=0.0, frozen_bn="all"), v, audio_valid=jnp.zeros(B))[0]["features"]
  np.testing.assert_array_equal(dropped, silent)


@pytest.mark.parametrize("drop, stages", [(0.0, {"res3"}), (1.0, {"res3", "res4"})])
def test_only_stages_that_have_not_met_sound_are_compared(drop, stages):
  model, v = tiny(drop=drop), variables()
  out, new = trained(model, v)
  figures = {k: float(x[0]) for k, x in new["figures"].items() if k.startswith("sync")}
  assert {k.removeprefix("sync_") for k, x in figures.items() if x > 0} == stages
  np.testing.assert_allclose(out["losses"]["avs"].mean(), sum(figures.values()), rtol=1e-5)
  expected = sum(0.5 * (out["distance"][s] ** 2 + np.maximum(0, 0.99 - out["distance_neg"][s]) ** 2) for s in stages)
  np.testing.assert_allclose(out["losses"]["avs"], expected, rtol=1e-4)
  scored = evaluated(tiny(score_sync=True), variables(score_sync=True))
  assert set(scored["distance"]) == set(scored["distance_neg"]) == {"res3"}


def test_what_is_compared_is_what_is_seen_before_sound_comes_in():
  model, v = tiny(drop=0.0), variables()
  a, _ = trained(model, v)
  louder = {**v, "params": {**v["params"], "fuse_res3": jax.tree.map(lambda x: 2 * x, v["params"]["fuse_res3"])}}
  b, _ = trained(model, {**louder, "params": {**louder["params"], "avs_res3": v["params"]["avs_res3"]}})
  assert (a["features"] != b["features"]).any()
  # The reference does not move: with the query at the origin, distances are those of the reference alone.
  zero = lambda p: {**p, "params": {**p["params"], "avs_res3": {**p["params"]["avs_res3"], "query": jax.tree.map(
      jnp.zeros_like, p["params"]["avs_res3"]["query"])}}}
  np.testing.assert_allclose(trained(model, zero(v))[0]["distance"]["res3"],
                             trained(model, zero(louder))[0]["distance"]["res3"], rtol=1e-6)


def test_the_loss_is_the_mean_over_pairs_that_tell_and_zero_without_any():
  model, v = tiny(drop=1.0), variables()
  audio = GIVEN["audio"].at[2].set(1.0)  # constant: neither it nor the pair after it tells anything
  out, _ = trained(model, v, audio=audio)
  np.testing.assert_array_equal(out["tells"], [1, 1, 0, 0])
  plain = sum(0.5 * (out["distance"][s] ** 2 + np.maximum(0, 0.99 - out["distance_neg"][s]) ** 2)
              for s in ("res3", "res4"))
  np.testing.assert_allclose(out["losses"]["avs"].mean(), plain[:2].mean(), rtol=1e-4)
  for changed in (dict(audio_valid=jnp.zeros(B)), dict(audio=0 * audio), dict(audio=GIVEN["audio"][:1].repeat(B, 0))):
    out, _ = trained(model, v, **changed)
    assert not out["losses"]["avs"].any() and np.isfinite(out["features"]).all()
  weight = jnp.asarray([1.0, 0, 1, 1])
  out, _ = trained(model, v, audio_valid=weight, weight=weight)
  np.testing.assert_array_equal(out["tells"], [1, 0, 0, 1])
  each = out["losses"]["avs"]
  np.testing.assert_allclose((each * weight).sum() / 3, (each * 2 / 3).sum() / 2, rtol=1e-5)


def test_audio_batch_statistics_see_own_and_other_sound_whatever_the_groups():
  v = variables()
  stats = lambda model, **changed: trained(model, v, **changed)[1]["batch_stats"]["sound"]["stem"]["norm"]["mean"]
  quiet = stats(tiny(drop=0.0, hard_share=1.0, hard_from=0.0))
  loud = stats(tiny(drop=0.0, hard_share=1.0, hard_from=0.0), audio_neg=5 * GIVEN["audio_neg"])
  assert (quiet != loud).any()
  grouped = stats(tiny(drop=0.0, hard_share=1.0, hard_from=0.0, bn_groups=2))
  np.testing.assert_allclose(grouped, quiet, rtol=1e-4, atol=1e-5)  # means of means


def test_rotations_are_told_by_sight_alone():
  fields = dict(rotation=True, num_classes=0, afs_stages=(0, 0, 0), fs_stages=(0, 0, 0), score_sync=True)
  model, v = tiny(**fields), variables(**fields)
  assert model.inputs[-1] == "index"
  out = evaluated(model, v)
  np.testing.assert_array_equal(out["turned"], np.arange(B) % 4)
  assert out["turn"].shape == (B, 4) and "logits" not in out and set(out["distance_neg"]) == {"res3", "res4"}
  np.testing.assert_array_equal(out["turn"], evaluated(model, v, audio=GIVEN["audio_neg"])["turn"])
  draws = np.concatenate([trained(model, v, seed)[0]["turned"] for seed in range(8)])
  assert set(draws.tolist()) == {0, 1, 2, 3}


def test_in_evaluation_an_example_does_not_depend_on_its_batch():
  fields = dict(rotation=True, score_sync=True)
  model, v = tiny(**fields), variables(**fields)
  here = evaluated(model, v)
  there = evaluated(model, v, **{k: GIVEN[k].at[1:].set(2 * GIVEN[k][1:] + 1) for k in ("video", "audio", "audio_neg")})
  for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there)):
    np.testing.assert_allclose(a[0], b[0], rtol=1e-4, atol=1e-5)


def test_verbs_and_nouns_have_heads_of_their_own():
  model = tiny(num_classes={"verb": 5, "noun": 7})
  out = jax.eval_shape(lambda: model.init_with_output(jax.random.PRNGKey(0), *arrays(model))[0])
  assert {k: v.shape for k, v in out["logits"].items()} == {"verb": (B, 5), "noun": (B, 7)}


def test_larger_clips_are_scored_at_every_place_with_one_sound():
  model, v = tiny(crop=16, avs=()), variables(avs=())
  video = promises.some_input((B, 8, 32, 32, 3))
  out = evaluated(model, v, video=video)
  np.testing.assert_allclose(jnp.exp(out["logits"]).sum(-1), 1, rtol=1e-5)  # logarithms of mean probabilities
  same = evaluated(model, v)
  assert out["features"].shape == same["features"].shape


@pytest.mark.parametrize("fields", [dict(), dict(fusion="nonlocal", drop_fill="mean")])
def test_gradients_are_finite_in_half_precision_and_reach_every_parameter(fields):
  model = tiny(drop=0.0, dtype=jnp.bfloat16, rotation=True, score_sync=True, **fields)
  v = promises.some_variables(model, *arrays(model))

  @jax.jit
  def loss(params):
    out, _ = model.apply({**v, "params": params}, *arrays(model), train=True, mutable=["batch_stats"],
                         rngs={"dropout": jax.random.PRNGKey(0)})
    assert out["logits"].dtype == out["losses"]["avs"].dtype == jnp.float32
    late = sum((x ** 2).sum() for x in (*out["distance"].values(), *out["distance_neg"].values()))
    return (out["logits"] ** 2).sum() + (out["turn"] ** 2).sum() + out["losses"]["avs"].sum() + late

  for path, g in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(v["params"])):
    assert np.isfinite(g).all(), path
    assert np.any(g), path


def test_training_and_evaluation_lower_for_accelerators():
  model = tiny(dtype=jnp.bfloat16)
  v = promises.shapes_of(model, *arrays(model))
  call = lambda train: jax.jit(lambda v, key, *x: model.apply(v, *x, train=train, rngs={"dropout": key},
                                                              mutable=["batch_stats"])[0])
  for train in (False, True):
    assert export.export(call(train), platforms=["tpu", "cuda"])(
        v, jax.random.PRNGKey(0), *arrays(model)).mlir_module_serialized


def test_blocks_can_be_plugged_into_all_three_pathways():
  plain, plugged = tiny(), tiny(sites={"*": promises.Identity})
  assert {"slow.res3.0.out", "fast.stem", "lateral.res3", "audio.res3"} <= set(plain.site_names())
  a, b = evaluated(plain, variables()), evaluated(plugged, variables())
  np.testing.assert_array_equal(a["logits"], b["logits"])
  with pytest.raises(errors.ConfigError, match="matches no site"):
    tiny(sites={"audio.res9": promises.Identity})


@pytest.mark.parametrize("block", ["tf_v1", "tf_v2", "plain"])
def test_weights_of_pyslowfast_come_and_go_with_every_tensor_accounted_for(block):
  model = tiny(audio=dict(audio_block=block), crop=0)
  v = promises.some_variables(model, *arrays(model))
  state = interop.to_torch(model, v, "pyslowfast")
  named = {"tf_v1": "branch2.t_bn.weight", "tf_v2": "branch2.b_f.weight", "plain": "branch2.b.weight"}[block]
  assert f"s2.pathway2_res0.{named}" in state and state["s1.pathway2_stem.conv_t.weight"].shape == (8, 1, 1, 9, 1)
  assert state["s3_fuse.conv_a2fs_1.weight"].shape == (128 + 2 * 16, 4, 1, 5, 1) and "s4_fuse.avs.ref_fc.bias" in state
  assert {"s4_fuse.conv_f2s.weight", "s3_fuse.bn_f2s.running_var", "head.projection.weight"} <= set(state)
  back, report = interop.from_torch(model, state, "pyslowfast", inputs=[x.shape for x in arrays(model)])
  jax.tree.map(np.testing.assert_array_equal, back, jax.tree.map(np.asarray, v))
  assert not report.fresh and len(report.mapped) + len(report.dropped) == len(state)
  with pytest.raises(errors.CheckpointError, match="s9 has no rule"):
    interop.from_torch(model, {**state, "s9": np.zeros(1)}, "pyslowfast", inputs=[x.shape for x in arrays(model)])


def test_it_starts_from_slowfast_and_says_what_is_fresh():
  slowfast = vidx.create_model("slowfast_r50_4x16", **{k: v for k, v in TINY.items() if k not in (
      "fs_stages", "afs_stages", "avs", "inner")})
  source = promises.some_variables(slowfast, GIVEN["video"], seed=5)
  merged, report = warm_start.merge(variables(), source)
  np.testing.assert_array_equal(merged["params"]["sight"]["slow"]["res3_0"]["conv2"]["conv"]["kernel"],
                                source["params"]["slow"]["res3_0"]["conv2"]["conv"]["kernel"])
  assert all(p.startswith(("params/sight", "batch_stats/sight")) for p in report["loaded"] if "head" not in p)
  assert any(p.startswith("params/sound") for p in report["not in the checkpoint"])
  shapes = [p.split(":")[0] for p in report["other shape"]]
  assert "params/head/fc/kernel" in shapes


@pytest.mark.parametrize("fields, words", [
    (dict(fusion="afs"), "fusion = 'afs' is not one of a_fs"), (dict(drop=1.5), "shares"),
    (dict(avs=("res9",)), "avs = 'res9'"), (dict(drop_fill="noise"), "noise"), (dict(streams="none"), "streams"),
    (dict(trunk="r3d_18"), "no field"), (dict(audio=dict(audio_block="tf")), "audio_block"),
])
def test_fields_without_sense_are_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    tiny(**fields)


def test_rows_of_sound_that_frames_do_not_divide_are_one_clear_line():
  model = tiny()
  with pytest.raises(ValueError, match="data.audio.rows"):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), *arrays(model, audio=jnp.zeros((B, 18, MELS, 1)),
                                                              audio_neg=jnp.zeros((B, 18, MELS, 1))))


# ---------------------------------------------------------------- people in boxes

BOXES = dict(boxes=True, avs=(), crop=0, strides=(1, 2, 1), dilations=(1, 1, 2))
PEOPLE = jnp.asarray([[[0, 0, 16, 16], [2.0, 1, 9, 14]], [[0, 0, 4, 4], [4, 4, 16, 12]],
                      [[0, 0, 0, 0], [1, 1, 2, 2]], [[-8, -8, 30, 30], [7, 2, 8, 3]]], jnp.float32)


def at_boxes(model, v, people=PEOPLE, **changed):
  given = {**GIVEN, "rois": people, **changed}
  return promises.jitted(model)(v, *[given[name] for name in model.inputs])


@functools.cache
def variables_at_boxes(**fields):
  model = tiny(**BOXES, **fields)
  return promises.some_variables(model, *[{**GIVEN, "rois": PEOPLE}[name] for name in model.inputs])


@pytest.mark.parametrize("name, params, gmacs, plain", [
    ("slowfast_ava", 33_742_616, 65.73, 65.73), ("avslowfast_ava", 40_755_704, 67.09, 67.09),
    ("slowfast_ava_r101", 59_342_488, 183.44, 172.11), ("avslowfast_ava_r101", 80_168_824, 209.90, 198.57)])
def test_products_are_as_published_for_people_in_boxes(name, params, gmacs, plain):
  counts = count(vidx.create_model(name), *[shape(*s) for s in systems.rows()[name].inputs])
  box = 256 * 9 / 8 * (7 * 16 * 20 * 8 + 49 * 20 * 8) / 1e9  # of the pooling of one box
  assert counts.params == params and counts.macs / 1e9 == pytest.approx(gmacs + box, abs=0.006)
  non_local = sum(macs for module, (_, macs) in counts.by_module.items() if "NonLocal" in module)
  assert (counts.macs - non_local) / 1e9 == pytest.approx(plain + box, abs=0.006)


def test_a_box_is_scored_by_the_largest_of_what_is_seen_in_it_and_by_the_sound():
  model, v = tiny(**BOXES), variables_at_boxes()
  out = at_boxes(model, v)
  assert out["logits"].shape == (B, 2, 3) and out["features"].shape == (B, 2, 16 * 16 + 2 * 16 + 128)
  sight = tiny(**BOXES, streams="sight", num_classes=0)
  ways = jax.jit(lambda v, x: sight.sight.apply(v, x, method="trunk"))(
      {k: t["sight"] for k, t in variables_at_boxes(streams="sight").items()}, GIVEN["video"])
  seen = at_boxes(sight, variables_at_boxes(streams="sight"))["features"]
  mean = jnp.concatenate([x.mean(1) for x, _ in ways], -1)  # 2 x 2 entries of 8 pixels
  assert mean.shape[1:3] == (2, 2)
  pooled = roi_align(mean, PEOPLE, 7, scale=1 / 8)
  np.testing.assert_allclose(seen, pooled.max((2, 3)), rtol=1e-4, atol=1e-5)
  heard = out["features"][..., -128:]
  np.testing.assert_array_equal(heard[:, 0], heard[:, 1])
  other = at_boxes(model, v, audio=GIVEN["audio_neg"])["logits"]
  assert (other != out["logits"]).any()


def test_scores_of_a_box_depend_on_no_other_box_and_no_other_clip():
  model, v = tiny(**BOXES), variables_at_boxes()
  out = at_boxes(model, v)
  padded = at_boxes(model, v, jnp.concatenate([PEOPLE, jnp.zeros((B, 3, 4))], 1))
  swapped = at_boxes(model, v, PEOPLE[:, ::-1])
  alone = at_boxes(model, v, **{k: GIVEN[k].at[1:].set(2 * GIVEN[k][1:] + 1) for k in ("video", "audio")})
  for key in ("logits", "features"):
    np.testing.assert_allclose(padded[key][:, :2], out[key], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(swapped[key][:, ::-1], out[key], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone[key][0], out[key][0], rtol=1e-4, atol=1e-5)


def test_boxes_train_in_half_precision_and_lower_for_accelerators():
  less = dict(stages=(1,), strides=(1,), slow_temporal=(1,), fast_temporal=(3,), fs_stages=(0,), afs_stages=(0,))
  model = tiny(**{**BOXES, **less, "dilations": (2,)}, drop=0.0, dtype=jnp.bfloat16)
  given = [{**GIVEN, "rois": PEOPLE}[name] for name in model.inputs]
  v = promises.some_variables(model, *given)

  def loss(params, v):
    out, _ = model.apply({**v, "params": params}, *given, train=True, mutable=["batch_stats"],
                         rngs={"dropout": jax.random.PRNGKey(0)})
    assert out["logits"].dtype == jnp.float32
    return (out["logits"] ** 2).sum()

  for path, g in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(v["params"], v)):
    assert np.isfinite(g).all() and np.any(g), path
  assert export.export(jax.jit(jax.grad(loss)), platforms=["tpu", "cuda"])(v["params"], v).mlir_module_serialized


def test_a_head_of_boxes_starts_from_clips_and_takes_weights_of_pyslowfast():
  model, v = tiny(**BOXES, streams="sight", fs_stages=(1, 1, 1)), variables_at_boxes(streams="sight",
                                                                                      fs_stages=(1, 1, 1))
  clip = vidx.create_model("slowfast_r50_4x16", **{k: v for k, v in TINY.items() if k not in (
      "fs_stages", "afs_stages", "avs", "inner")})
  source = promises.some_variables(clip, GIVEN["video"], seed=5)
  merged, report = warm_start.merge(v, source, exclude=("head",))
  assert not report["not in the checkpoint"] and not report["other shape"]
  assert all("head" in p for p in report["excluded"]) and len(report["excluded"]) == 2
  state = interop.to_torch(model, v, "pyslowfast")
  assert {"s1_fuse.bn.weight", "head.projection.weight"} <= set(state)
  back, found = interop.from_torch(model, state, "pyslowfast", inputs=[GIVEN["video"].shape, PEOPLE.shape])
  jax.tree.map(np.testing.assert_array_equal, back, jax.tree.map(np.asarray, v))
  assert not found.fresh


def test_boxes_without_sight_are_one_clear_line():
  with pytest.raises(errors.ConfigError, match="sees nothing"):
    tiny(**BOXES, streams="sound")
