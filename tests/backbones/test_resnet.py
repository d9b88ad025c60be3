import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx.backbones import table
from vidx.measure import count
from vidx.nn import conv, features

# name: (parameters, GMACs) for the published classes and input
SIZES = {
    "resnet_18": (11_689_512, 1.814), "resnet_34": (21_797_672, 3.664), "resnet_50": (25_557_032, 4.089),
    "resnet_101": (44_549_160, 7.801), "resnet_152": (60_192_808, 11.514),
    "r3d_18": (33_371_472, 40.70), "r3d_50": (46_980_944, 54.67), "mc3_18": (11_695_440, 43.34),
    "r2plus1d_18": (31_505_325, 40.52), "r2plus1d_34": (63_697_175, 152.36),
    "resnet3d_18": (33_409_104, 8.31), "resnet3d_34": (63_718_736, 12.70), "resnet3d_50": (47_018_576, 10.07),
    "resnet3d_101": (86_064_720, 13.89), "resnext3d_101": (48_340_816, 9.57),
    "r2plus1d_bottleneck_18": (16_858_576, 46.68), "r2plus1d_bottleneck_50": (28_107_600, 94.52),
    "r2plus1d_r50": (28_107_600, 57.53), "c2d_r50": (24_327_632, 19.49), "i3d_r50": (28_043_472, 28.41),
    "slowonly_r50_8x8": (32_454_096, 41.74), "slowonly_r50_4x16": (32_454_096, 41.74 / 2),
    "resnet3d_slim_18": (4_629_720, 18.06), "resnet3d_slim_50": (7_533_944, 40.85),
}

# One small network of every kind.
TINY = dict(num_classes=3, stages=(1, 1), width=8)
KINDS = {
    "image": ("resnet_18", TINY),
    "bottleneck": ("resnet_50", TINY),
    "dilated": ("resnet_50", {**TINY, "strides": (1, 1), "dilations": (1, 2), "stride_at": "a"}),
    "3D": ("r3d_18", TINY),
    "mixed": ("mc3_18", TINY),
    "(2+1)D": ("r2plus1d_18", TINY),
    "(2+1)D by convolution": ("r2plus1d_34", TINY),
    "(2+1)D reversed": ("r2plus1d_r50", TINY),
    "pooled in time": ("i3d_r50", {**TINY, "temporal": (3, (1,))}),
    "grouped": ("resnext3d_101", {**TINY, "groups": 4}),
    "shortcut A": ("resnet3d_18", {**TINY, "shortcut": "A"}),
    "temporal first": ("resnet3d_slim_18", {**TINY, "widths": (4, 8), "temporal": ((3,), 1)}),
}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


def filled(model, clip):
  """Variables of plausible size, drawn without compiling anything."""
  rng = np.random.default_rng(0)

  def draw(path, x):
    if x.ndim > 1:
      return rng.normal(size=x.shape, scale=(2 / np.prod(x.shape[:-1]))**0.5).astype("f")
    return (rng.uniform(0.8, 1.2, x.shape) if path[-1].key in ("var", "scale") else rng.normal(size=x.shape, scale=0.1)
            ).astype("f")

  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), clip)
  return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
  """(model, variables, clip)"""
  name, fields = KINDS[request.param]
  model = vidx.create_model(name, **fields)
  clip = some(2, 4, 16, 16, 3)
  return model, filled(model, clip), clip


def test_every_row_is_in_the_list_of_sizes():
  assert set(SIZES) == {n for n, r in table.ROWS.items() if r.factory.endswith("resnet:ResNet")}


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_exact_and_products_as_published(name):
  row = table.ROWS[name]
  counts = count(vidx.create_model(name), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in row.inputs))
  params, gmacs = SIZES[name]
  assert counts.params == params
  assert counts.macs / 1e9 == pytest.approx(gmacs, rel=3e-3)


def test_the_width_of_a_stem_is_a_field():
  model = vidx.create_model("resnext3d_101", stem_features=128)
  assert count(model, jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32)).params == 48_431_376


def test_stage_shapes_of_r3d():
  model = vidx.create_model("r3d_18")
  clip = jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: model.init(jax.random.PRNGKey(0), x), clip)
  shape = lambda site: jax.eval_shape(lambda v, x: features(model, v, x, site=site), variables, clip).shape
  assert shape("stem") == (1, 16, 56, 56, 64)
  assert shape("res3") == (1, 8, 28, 28, 128)
  assert shape("res5") == (1, 2, 7, 7, 512)


def test_clips_do_not_depend_on_their_batch_in_evaluation(kind):
  model, variables, clip = kind
  f = jax.jit(lambda v, x: model.apply(v, x))
  together, other = f(variables, clip), f(variables, np.stack([clip[0], np.full_like(clip[1], 5)]))
  for key in ("logits", "features"):
    np.testing.assert_allclose(together[key][0], other[key][0], rtol=1e-5, atol=1e-6)
    assert together[key].dtype == jnp.float32
  assert together["logits"].shape == (2, 3)


def test_gradients_reach_every_parameter(kind):
  model, variables, clip = kind

  def loss(params):
    out, _ = model.apply({**variables, "params": params}, clip, train=True, mutable=["batch_stats"],
                         rngs={"dropout": jax.random.PRNGKey(3)})
    return (out["logits"]**2).sum()

  grads = jax.jit(jax.grad(loss))(variables["params"])
  for path, g in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(g).all() and np.any(g), jax.tree_util.keystr(path)


def test_evaluation_lowers_for_accelerators_and_in_bf16(kind):
  model, variables, clip = kind
  half = model.clone(dtype=jnp.bfloat16)
  exported = jax.export.export(jax.jit(lambda v, x: half.apply(v, x)), platforms=["tpu", "cuda"])(variables, clip)
  assert {a.dtype for a in exported.out_avals} == {jnp.dtype(jnp.float32)}
  assert re.search("stablehlo.convolution.*bf16", exported.mlir_module())


def test_training_in_bf16_is_close_to_fp32():
  clip = some(4, 2, 32, 32, 3)
  model = vidx.create_model("resnet_18", **TINY)
  variables = filled(model, clip)

  def loss(params, dtype):
    out, new = model.clone(dtype=dtype).apply(
        {**variables, "params": params}, clip, train=True, mutable=["batch_stats"])
    return (out["features"]**2).mean(), new

  def both(params):
    return [jax.value_and_grad(lambda p: loss(p, d), has_aux=True)(params) for d in (None, jnp.bfloat16)]

  ((exact, stats), _), ((half, half_stats), half_grads) = jax.jit(both)(variables["params"])
  assert half == pytest.approx(float(exact), rel=0.05)
  for tree in (half_grads, half_stats):
    assert all(x.dtype == jnp.float32 and np.isfinite(x).all() for x in jax.tree.leaves(tree))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.05), half_stats, stats)


@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
def test_the_lowering_of_this_platform_changes_nothing(name):
  model = vidx.create_model(name, **{**TINY, "width": 4})
  clip = some(1, 4, 16, 16, 3)
  variables = filled(model, clip)

  def features_by(lowering):
    with conv.using(lowering):
      return model.apply(variables, clip)["features"]

  native, auto = jax.jit(lambda: (features_by("native"), features_by("auto")))()
  np.testing.assert_allclose(auto, native, rtol=1e-3, atol=1e-5)


def test_an_image_is_a_clip_of_one_frame_and_frames_are_averaged():
  model = vidx.create_model("resnet_18", **TINY)
  clip = some(2, 3, 16, 16, 3)
  variables = filled(model, clip)
  f = jax.jit(lambda x: model.apply(variables, x)["logits"])
  frames = np.stack([f(clip[:, t]) for t in range(3)])
  np.testing.assert_allclose(f(clip), frames.mean(0), rtol=1e-4, atol=1e-6)


def test_an_inflated_kernel_on_a_still_clip_equals_the_image_network():
  """Kernels repeated over time and divided by its length; frames far from the ends."""
  flat = vidx.create_model("resnet_18", num_classes=3, stages=(1,), width=4, stem="video", dims=3, temporal=(1,))
  deep = flat.clone(temporal=(3,))
  clip = np.repeat(some(1, 1, 16, 16, 3), 9, 1)
  variables = filled(flat, clip)

  def inflate(path, x):
    return np.repeat(x, 3, 0) / 3 if "res2" in str(path) and x.ndim == 5 and x.shape[0] == 1 else x

  thick = {**variables, "params": jax.tree_util.tree_map_with_path(inflate, variables["params"])}
  middle = lambda model: jax.jit(lambda v: features(model, v, clip, site="res2")[:, 4])
  a, b = middle(flat)(variables), middle(deep)(thick)
  np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)


def test_frozen_norms_use_stored_statistics_and_the_first_may_stay_free():
  clip = some(2, 2, 16, 16, 3)
  moved = {}
  for frozen in ("", "all", "all_but_first"):
    model = vidx.create_model("resnet_18", **TINY, frozen_bn=frozen)
    variables = filled(model, clip)
    _, new = jax.jit(lambda v, x, m=model: m.apply(v, x, train=True, mutable=["batch_stats"]))(variables, clip)
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), variables["batch_stats"], new["batch_stats"])
    moved[frozen] = {re.sub(r"\W+", "/", jax.tree_util.keystr(k)).strip("/").rsplit("/", 1)[0]
                     for k, s in jax.tree_util.tree_leaves_with_path(same) if not s}
  assert moved["all"] == set() and moved["all_but_first"] == {"stem/conv/norm"}
  assert len(moved[""]) > 3


def test_last_norms_start_at_zero_where_asked():
  def scale(name):
    model = vidx.create_model(name, num_classes=0, stages=(1,), width=2)
    params = jax.jit(model.init)(jax.random.PRNGKey(0), jnp.zeros((1, 2, 8, 8, 3)))["params"]
    return np.asarray(params["res2_0"]["conv2"]["norm"]["scale"])

  assert (scale("r3d_18") == 0).all() and (scale("resnet_18") == 1).all()
