import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure.count import products

EPIC_55 = {"verb": 125, "noun": 352}
TINY = dict(num_classes={"verb": 4, "noun": 6}, trunk="resnet3d_18", stages=(1,), width=8, local_frames=2, per_frame=2)
CLIP = np.asarray(promises.some_input((2, 4, 16, 16, 3)))
FEATURES = np.asarray(promises.some_input((2, 8, 10), 1))
BOXES = np.sort(np.random.default_rng(2).uniform(0, 16, (2, 8, 2, 2)), 2).reshape(2, 8, 4).astype("f")
MASK = np.array([[1, 0, 1, 1, 1, 0, 1, 1], [1, 1, 0, 1, 0, 1, 1, 0]], bool)
DETECTIONS = (FEATURES, BOXES, MASK)
VARIANTS = {
    "sap": dict(align_verb="global"), "local noun": dict(align_noun="local"), "w/o CSG": dict(gate=False,
                                                                                              cross_stream=False),
    "w/o gating": dict(gate=False), "w/o cross-stream": dict(cross_stream=False),
    "w/o ARM": dict(arm=False), "w/o ARM, max": dict(arm=False, pool_by="max"),
    "detections alone": dict(use_clip=False), "mean of detections": dict(align_noun="detections"),
    "max of detections": dict(align_noun="detections", pool_by="max"), "noun + detections": dict(align_noun="concat"),
    "verb + noun": dict(align_verb="fusion"), "l2": dict(scaling="l2_rescale"),
}


@functools.cache
def made(**fields):
  model = vidx.create_model("saoa", **TINY, **fields)
  return model, jax.device_get(promises.some_variables(model, *map(jnp.asarray, (CLIP, *DETECTIONS))))


def run(model, variables, *inputs):
  return jax.tree.map(np.asarray, promises.jitted(model)(variables, *inputs))


def stream(classes, **fields):
  """One classifier of a model on EPIC-55, without the networks."""
  model = vidx.create_model("saoa", num_classes=EPIC_55, trunk="resnet3d_18", **fields)
  return dataclasses.replace(getattr(model, classes), name=None)


def counted(made, channels, candidates, local):
  shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)
  pooled = shape(1, channels)
  return counts_of(made, pooled, pooled, shape(1, candidates, 2048), shape(1, candidates),
                   shape(1, candidates, channels) if local else None)


def counts_of(made, *inputs):
  params = jax.eval_shape(lambda *x: made.init(jax.random.PRNGKey(0), *x, False), *inputs)
  jaxpr = jax.make_jaxpr(lambda v, *x: made.apply(v, *x, False))(params, *inputs)
  return (sum(p.size for p in jax.tree.leaves(params)),
          sum(products(jaxpr.jaxpr, len(jax.tree.leaves(params))).values()))


@pytest.mark.parametrize("channels, module, heads, macs, slow", [
    (2048, 29_368_320, 977_373, 605.4, 708.0), (1024, 9_441_280, 488_925, 256.5, 282.2)])
def test_both_classifiers_have_the_parameters_and_products_of_their_equations(channels, module, heads, macs, slow):
  for fields, want in (({}, macs), (dict(query_side=False), slow)):
    found = [counted(stream("verb", **fields), channels, 40, True),
             counted(stream("noun", **fields), channels, 60, False)]
    assert sum(p for p, _ in found) == module + heads
    assert sum(m for _, m in found) / 1e6 == pytest.approx(want, abs=0.06)
  assert counted(stream("verb", align_verb="global"), channels, 60, False)[0] == found[0][0]


@pytest.mark.parametrize("trunk, total", [("resnet3d_50", 122_743_645), ("i3d", 34_504_733)])
def test_the_whole_has_two_networks_besides(trunk, total):
  model = vidx.create_model("saoa", trunk=trunk, num_classes=EPIC_55)
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 16, 32, 32, 3), (1, 60, 2048), (1, 60, 4), (1, 60))]
  params = jax.eval_shape(model.init, jax.random.PRNGKey(0), *shapes)["params"]
  assert sum(p.size for p in jax.tree.leaves(params)) == total


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_scores_both_and_keeps_examples_apart(name):
  model = vidx.create_model("saoa", **TINY, **VARIANTS[name])
  rng = np.random.default_rng(0)
  own, other, local = (rng.normal(size=s).astype("f") for s in ((2, 8), (2, 8), (2, 8, 8)))
  for classes, classifier in ((4, model.verb), (6, model.noun)):
    classifier = dataclasses.replace(classifier, name=None)
    inside = local if classifier.align == "local" else None
    inputs = (own, other, FEATURES, MASK, inside)
    init = jax.jit(lambda *x: classifier.init_with_output(jax.random.PRNGKey(0), *x, False))
    (logits, _, _), variables = init(*inputs)
    assert logits.shape == (2, classes) and np.isfinite(logits).all()
    changed = [None if x is None else np.concatenate([x[:1], 1 + 2 * x[1:]]) if x.dtype != bool else x for x in inputs]
    again, _, _ = classifier.apply(variables, *changed, False)
    np.testing.assert_allclose(again[0], logits[0], rtol=1e-4, atol=1e-5)
    wild = [own, other, np.where(MASK[..., None], FEATURES, np.inf), MASK, inside]
    np.testing.assert_allclose(classifier.apply(variables, *wild, False)[0], logits, rtol=1e-4, atol=1e-5)


def test_the_baseline_needs_no_detections():
  model = vidx.create_model("saoa", **TINY, align_verb="none", align_noun="none")
  assert model.inputs == ("video",)
  promises.lowers_for_accelerators(model, jnp.asarray(CLIP))
  assert vidx.create_model("sap").inputs[1:] == ("detections/features", "detections/boxes", "detections/mask")


def test_the_order_of_a_frame_s_candidates_does_not_matter():
  model, variables = made()
  out = run(model, variables, CLIP, *DETECTIONS)
  order = np.array([1, 0, 3, 2, 5, 4, 7, 6])
  moved = run(model, variables, CLIP, *(x[:, order] for x in DETECTIONS))
  for name in ("verb", "noun"):
    np.testing.assert_allclose(moved["logits"][name], out["logits"][name], atol=1e-5)
  np.testing.assert_allclose(moved["weights/noun"], out["weights/noun"][:, order], atol=1e-6)
  np.testing.assert_allclose(out["weights/noun"].sum(-1), 1, rtol=1e-5)


def test_what_dead_candidates_hold_changes_nothing_unless_padding_counts():
  wild = [np.where(MASK[..., None], x, 7) for x in (FEATURES, BOXES)]
  for fields, same in (({}, True), (dict(mask_padding=False), False)):
    model, variables = made(**fields)
    a, b = (run(model, variables, CLIP, *d, MASK)["logits"]["noun"] for d in ((FEATURES, BOXES), wild))
    assert np.allclose(a, b, atol=1e-6) == same


@pytest.mark.parametrize("fields", [{}, dict(arm=False), dict(align_noun="local"), dict(align_noun="detections")])
def test_a_clip_without_detections_stays_finite_and_has_a_virtual_candidate(fields):
  model, variables = made(**fields)
  out = run(model, variables, CLIP, FEATURES, BOXES, MASK & False)
  assert all(np.isfinite(v).all() for v in jax.tree.leaves(out))
  assert not any(np.any(v) for k, v in out.items() if k.startswith("weights"))
  single = run(model, variables, CLIP, 0 * FEATURES, BOXES, MASK & (np.arange(8) == 0))
  if not fields:
    np.testing.assert_allclose(out["logits"]["noun"], single["logits"]["noun"], atol=1e-5)


def test_local_alignment_looks_at_the_middle_frames_alone():
  model, variables = made(align_noun="local")
  moved = [x.copy() for x in (FEATURES, BOXES)]
  for x in moved:
    x[:, :2], x[:, 6:] = 3, 3
  a, b = (run(model, variables, CLIP, *d, MASK) for d in ((FEATURES, BOXES), moved))
  assert a["weights/verb"].shape == (2, 4)
  np.testing.assert_allclose(b["logits"]["verb"], a["logits"]["verb"], atol=1e-6)


def test_local_alignment_with_whole_frames_on_an_even_map_is_global_alignment():
  model, variables = made()
  boxes = np.broadcast_to(np.array([0, 0, 16, 16], "f"), BOXES.shape)
  x = jnp.broadcast_to(promises.some_input((2, 1, 1, 1, 8)), (2, 2, 4, 4, 8))
  local = model.bind(variables)._inside(x, jnp.asarray(boxes), (16, 16))
  h = lambda x: model.bind(variables).verb.apply({"params": variables["params"]["verb"]}, x[:, 0], x[:, 0],
                                                 FEATURES, MASK, x if x.shape[1] > 1 else None, False)[0]
  np.testing.assert_allclose(h(local), h(x.mean((1, 2, 3))[:, None]), atol=1e-5)


@pytest.mark.parametrize("time", ["mean", "max", "frame"])
def test_boxes_see_the_map_at_the_time_that_is_asked_for(time):
  model = vidx.create_model("saoa", **TINY, roi=dict(time=time, bins=1, rate=1.0, span=2.0))
  x = jnp.arange(4.0)[None, :, None, None, None] * jnp.ones((1, 4, 3, 3, 8))
  x = {"mean": x.mean(1, keepdims=True), "max": x.max(1, keepdims=True)}.get(time, x)  # as `encode` leaves it
  boxes = jnp.broadcast_to(jnp.asarray([0, 0, 16, 16.0]), (1, 4, 4))  # two frames of two, half a second off the middle
  found = model._inside(x, boxes, (16, 16))[0, :, 0]
  np.testing.assert_allclose(found, {"mean": [1.5] * 4, "max": [3] * 4, "frame": [1, 1, 3, 3]}[time], atol=1e-6)


def test_features_are_rescaled_to_the_length_of_the_clip_s():
  model, variables = made(scaling="l2_rescale")
  a, b = (run(model, variables, CLIP, k * FEATURES, BOXES, MASK)["logits"]["noun"] for k in (1, 9))
  np.testing.assert_allclose(a, b, atol=1e-4)
  zero = run(model, jax.tree.map(np.zeros_like, variables), CLIP, 0 * FEATURES, BOXES, MASK)
  assert all(np.isfinite(v).all() for v in jax.tree.leaves(zero))


def gradients(fields):
  model, variables = made(**fields)
  rest = {k: v for k, v in variables.items() if k != "params"}

  @jax.jit
  def loss(params):
    out, state = model.apply({"params": params, **rest}, CLIP, *DETECTIONS, train=True, mutable=["batch_stats"])
    return sum((out["logits"][k] ** 2).sum() for k in ("verb", "noun")), state

  grads, state = jax.grad(loss, has_aux=True)(variables["params"])
  return grads, variables, state


def test_frozen_networks_learn_nothing_and_keep_their_statistics():
  grads, variables, state = gradients({})
  for net in ("verb_net", "noun_net"):
    assert not any(np.any(g) for g in jax.tree.leaves(grads[net]))
  for stream in ("verb", "noun"):
    assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(grads[stream]))
  jax.tree.map(np.testing.assert_array_equal, state["batch_stats"], variables["batch_stats"])


def test_networks_that_are_not_frozen_learn_with_the_rest():
  grads, _, state = gradients(dict(frozen=False))
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
  assert any(np.any(g) for g in jax.tree.leaves(grads["verb_net"]))


def test_it_computes_in_half_precision_where_asked_and_lowers():
  model = vidx.create_model("saoa", **TINY, dtype=jnp.bfloat16)
  inputs = [jnp.asarray(x) for x in (CLIP, *DETECTIONS)]
  out = jax.eval_shape(lambda *x: model.init_with_output(jax.random.PRNGKey(0), *x)[0], *inputs)
  assert {v.dtype for v in jax.tree.leaves(out)} == {jnp.dtype("float32")}
  forward = jax.jit(lambda v, *x: model.apply(v, *x))
  assert jax.export.export(forward, platforms=["tpu", "cuda"])(
      promises.shapes_of(model, *inputs), *inputs).mlir_module_serialized


@pytest.mark.parametrize("call, words", [
    (dict(align_verb="locale"), ["'locale'", "nearest: 'local'"]), (dict(num_classes=3), ["num_classes = 3", "'verb'"]),
    (dict(num_classes={"verb": 3}), ["'noun': ..."]), (dict(pool_by="sum"), ["'sum'", "mean, max"]),
    (dict(roi=dict(bin=3)), ["roi has no field 'bin'", "bins"]), (dict(scaling="l3"), ["'l3'", "l2_rescale"]),
    (dict(per_frame=0), ["per_frame = 0"]), (dict(roi=dict(time="max_")), ["roi.time", "mean, max, frame"])])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("saoa", **call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
