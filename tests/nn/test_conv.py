import jax
import jax.export
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import conv, tracing
from vidx.nn.conv import Conv, convolve

# kernel, strides, padding, dilation, groups, channels in, channels out
CASES = {
    "3x3x3": ((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1, 4, 6),
    "3x3x3 strided": ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), 1, 4, 6),
    "stem": ((3, 7, 7), (1, 2, 2), (1, 3, 3), (1, 1, 1), 1, 3, 4),
    "spatial": ((1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 1, 4, 6),
    "temporal": ((3, 1, 1), (2, 1, 1), (1, 0, 0), (1, 1, 1), 1, 4, 6),
    "pointwise": ((1, 1, 1), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1, 4, 6),
    "depth-wise": ((3, 3, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1), 4, 4, 4),
    "two outputs per channel": ((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 4, 4, 8),
    "groups": ((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 2, 4, 6),
    "dilated": ((1, 3, 3), (1, 1, 1), (0, 2, 2), (1, 2, 2), 1, 4, 6),
    "dilated in time": ((3, 1, 1), (1, 1, 1), (2, 0, 0), (2, 1, 1), 1, 4, 6),
    "unpadded": ((2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1, 4, 6),
    "blocks": ((1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 1, 3, 6),
    "large blocks": ((1, 7, 5), (2, 2, 4), (0, 3, 1), (1, 1, 1), 1, 3, 4),
    "unpadded blocks": ((1, 3, 3), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1, 3, 4),
    "few outputs in time": ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1), 1, 8, 2),
    "depth-wise in space": ((1, 3, 5), (1, 1, 1), (0, 1, 2), (1, 1, 1), 4, 4, 4),
    "two outputs in space, unpadded": ((1, 3, 3), (2, 1, 1), (0, 0, 0), (1, 1, 1), 4, 4, 8),
    "kernel larger than the image": ((1, 5, 5), (1, 1, 1), (0, 2, 2), (1, 1, 1), 1, 4, 6),
}


def reference(x, w, strides, padding, dilation, groups):
  return lax.conv_general_dilated(
      x, w, strides, [(p, p) for p in padding], rhs_dilation=dilation, feature_group_count=groups,
      dimension_numbers=("NDHWC", "DHWIO", "NDHWC"), precision="highest")


def by_loops(x, w, stride, padding):
  """Images (B, H, W, C), kernel (kh, kw, C, O)."""
  x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
  kh, kw, _, out = w.shape
  rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
  y = np.zeros((len(x), rows, columns, out), np.float32)
  for i in range(rows):
    for j in range(columns):
      window = x[:, i * stride:i * stride + kh, j * stride:j * stride + kw]
      y[:, i, j] = np.einsum("bhwc,hwco->bo", window, w)
  return y


def example(case):
  kernel, strides, padding, dilation, groups, inner, out = CASES[case]
  rng = np.random.default_rng(0)
  size = 4 if "larger" in case else 8 if "blocks" in case else 9
  x = jnp.asarray(rng.normal(size=(2, 5, size, size, inner)), jnp.float32)
  w = jnp.asarray(rng.normal(size=(*kernel, inner // groups, out)), jnp.float32)
  return x, w, (strides, padding, dilation, groups)


@pytest.mark.parametrize("case", CASES)
def test_every_lowering_equals_the_definition_gradients_included(case):
  x, w, how = example(case)
  names = [name for name in conv.LOWERINGS if conv.applies(name, x.shape, w.shape[:3], how[0], *how[2:])
           and (name not in ("shifts", "patches") or w[..., 0, 0].size <= 27)] + ["auto"]

  def values(f):
    y, pull = jax.vjp(f, x, w)
    return y, *pull(jnp.sin(y))

  ways = {"expected": lambda x, w: reference(x, w, *how)}
  ways |= {name: lambda x, w, name=name: convolve(x, w, *how, lowering=name) for name in names}
  found = jax.jit(lambda: {name: values(f) for name, f in ways.items()})()
  for name in names:
    for got, expected in zip(found[name], found["expected"]):
      np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_image_kernel_equals_the_loop(stride):
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 7, 6, 3))
  module = Conv(4, (3, 3), stride)
  variables = module.init(jax.random.PRNGKey(1), x)
  w = variables["params"]["kernel"]
  assert w.shape == (3, 3, 3, 4)
  np.testing.assert_allclose(module.apply(variables, x), by_loops(np.asarray(x), np.asarray(w), stride, 1),
                             rtol=1e-4, atol=1e-5)


def test_an_image_kernel_sees_the_frames_of_a_clip_one_by_one():
  x = jax.random.normal(jax.random.PRNGKey(0), (2, 3, 8, 8, 3))
  module = Conv(4, (3, 3), 2, use_bias=True)
  variables = module.init(jax.random.PRNGKey(1), x)
  clip = module.apply(variables, x)
  frames = module.apply(variables, x.reshape(6, 8, 8, 3))
  np.testing.assert_array_equal(clip.reshape(frames.shape), frames)


def test_strided_padding_is_symmetric():
  """'SAME' would pad an even image at its end only."""
  x = jnp.zeros((1, 8, 8, 1)).at[0, 0, 0, 0].set(1.0)
  w = jnp.arange(9.0).reshape(1, 3, 3, 1, 1)
  y = convolve(x[:, None], w, (1, 2, 2), (0, 1, 1))
  assert y.shape == (1, 1, 4, 4, 1)
  assert y[0, 0, 0, 0, 0] == 4.0


def test_using_forces_a_lowering_and_ends_with_its_block():
  x, w, how = example("3x3x3")
  traced = lambda: str(jax.make_jaxpr(lambda x, w: convolve(x, w, *how))(x, w))
  with conv.using("shifts"):
    assert "conv_general_dilated" not in traced()
  with conv.using("native"):
    assert traced().count("conv_general_dilated[") == 1
  assert "platform_index" in traced()


def test_equal_layers_are_traced_once_and_leave_no_call_behind(monkeypatch):
  """XLA's CPU runs the gradients of convolutions inside a call several times as slowly."""
  traced = []
  taps = conv.LOWERINGS["taps"]
  monkeypatch.setitem(conv.LOWERINGS, "taps", lambda *args: traced.append(1) or taps(*args))
  x, w = jnp.ones((1, 5, 17, 19, 8)), jnp.ones((3, 3, 3, 8, 8))
  layer = lambda x: convolve(x, w, (1, 1, 1), (1, 1, 1))
  lowered = jax.jit(jax.grad(lambda x: layer(layer(layer(x))).sum())).lower(x).as_text()
  assert len(traced) == 1 and "stablehlo.convolution" in lowered
  assert all("stablehlo.convolution" not in function for function in lowered.split("func.func private")[1:])


def test_the_computation_is_done_in_the_given_dtype_with_fp32_parameters():
  x = jax.random.normal(jax.random.PRNGKey(0), (1, 4, 8, 8, 3))
  module = Conv(4, (3, 3, 3), dtype=jnp.bfloat16)
  variables = module.init(jax.random.PRNGKey(1), x)
  assert variables["params"]["kernel"].dtype == jnp.float32
  y = module.apply(variables, x)
  assert y.dtype == jnp.bfloat16
  exact = Conv(4, (3, 3, 3)).apply(variables, x)
  np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.1)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_an_export_for_an_accelerator_holds_the_native_convolution(platform):
  x, w, how = example("3x3x3")
  step = jax.jit(jax.grad(lambda w, x: convolve(x, w, *how).sum()))
  text = jax.export.export(step, platforms=[platform])(w, x).mlir_module()
  assert text.count("stablehlo.convolution(") == 1


def test_vmap_and_forward_mode_work():
  x, w, how = example("3x3x3")
  many = jax.vmap(lambda w: convolve(x, w, *how))(jnp.stack([w, 2 * w]))
  np.testing.assert_allclose(many[1], 2 * many[0], rtol=1e-5)
  y, tangent = jax.jvp(lambda w: convolve(x, w, *how), (w,), (w,))
  np.testing.assert_allclose(y, tangent, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform, x, w, groups, lowering", [
    ("cuda", (1, 8, 28, 28, 64), (3, 3, 3, 64, 64), 1, "native"),
    ("cuda", (1, 8, 28, 28, 64), (3, 3, 3, 1, 64), 64, "native"),
    ("tpu", (1, 8, 224, 224, 3), (5, 7, 7, 3, 8), 1, "stacked"),
    ("tpu", (1, 8, 56, 56, 64), (3, 3, 3, 64, 64), 1, "native"),
    ("tpu", (1, 8, 56, 56, 64), (3, 3, 3, 2, 64), 32, "native"),
    ("tpu", (1, 8, 56, 56, 64), (3, 1, 1, 64, 64), 1, "shifts"),
    ("tpu", (1, 8, 56, 56, 64), (3, 3, 3, 1, 64), 64, "taps"),
    ("tpu", (1, 8, 14, 14, 64), (3, 3, 3, 1, 64), 64, "native"),
    ("tpu", (1, 8, 14, 14, 64), (3, 1, 1, 64, 64), 1, "native"),
    ("tpu", (1, 8, 56, 56, 64), (1, 3, 3, 64, 64), 1, "native"),
    ("tpu", (1, 8, 56, 56, 64), (1, 3, 3, 1, 64), 64, "native"),
    ("tpu", (1, 8, 224, 224, 3), (1, 9, 9, 1, 3), 3, "banded"),
    ("tpu", (1, 8, 224, 224, 6), (1, 3, 3, 2, 6), 3, "native"),
    ("cpu", (1, 8, 224, 224, 3), (5, 7, 7, 3, 8), 1, "fan_ahead"),
    ("cpu", (1, 8, 224, 224, 3), (3, 7, 7, 3, 8), 1, "taps"),
    ("cpu", (1, 8, 224, 224, 3), (5, 7, 7, 3, 24), 1, "evened"),
    ("cpu", (1, 8, 224, 224, 3), (1, 7, 7, 3, 32), 1, "evened"),
    ("cpu", (1, 8, 224, 224, 15), (1, 7, 7, 15, 24), 1, "evened"),
    ("cpu", (1, 8, 224, 224, 3), (1, 7, 7, 3, 64), 1, "native"),
    ("cpu", (1, 8, 224, 224, 10), (1, 7, 7, 10, 24), 1, "native"),
    ("cpu", (1, 8, 28, 28, 64), (3, 3, 3, 64, 64), 1, "taps"),
    ("cpu", (1, 8, 28, 28, 64), (1, 3, 3, 64, 64), 1, "native"),
    ("cpu", (1, 8, 28, 28, 64), (3, 1, 1, 64, 64), 1, "shifts"),
    ("cpu", (1, 8, 28, 28, 256), (3, 1, 1, 256, 64), 1, "fan"),
    ("cpu", (1, 8, 28, 28, 64), (3, 3, 3, 1, 64), 64, "shifts"),
    ("cpu", (1, 8, 28, 28, 64), (3, 3, 3, 8, 64), 8, "shifts"),
    ("cpu", (1, 8, 7, 7, 64), (3, 3, 3, 64, 64), 1, "taps"),
    ("cpu", (1, 8, 7, 7, 256), (3, 3, 3, 256, 256), 1, "patches"),
    ("cpu", (1, 8, 2, 2, 64), (3, 3, 3, 64, 64), 1, "patches"),
])
def test_the_choice_follows_platform_and_shape(platform, x, w, groups, lowering):
  assert conv.choose(platform, x, w, (1, 1, 1), groups) == lowering


@pytest.mark.parametrize("size", [56, 14])
def test_a_tpu_takes_frames_behind_depth_wise_kernels_that_stride_in_space(size):
  assert conv.choose("tpu", (1, 8, size, size, 64), (3, 3, 3, 1, 64), (1, 2, 2), 64) == "late"


@pytest.mark.parametrize("size, dilation, lowering", [(160, 1, "blocks"), (161, 1, "evened"), (160, 2, "evened")])
def test_a_stem_works_on_blocks_where_its_stride_divides_the_image(size, dilation, lowering):
  assert conv.choose("cpu", (1, 8, size, size, 3), (1, 3, 3, 3, 24), (1, 2, 2), 1, (1, dilation, dilation)) == lowering


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_stored_is_the_same_value_with_the_same_gradient(dtype):
  x = jnp.asarray([[1.0, -2.0, 0.0], [jnp.nan, jnp.inf, -0.0]], dtype)
  for rows in (x, x[::-1]):  # the branch is taken by the first entry
    for call in (jax.jit(conv.stored), jax.vmap(conv.stored)):
      np.testing.assert_array_equal(call(rows).astype(jnp.float32), rows.astype(jnp.float32))
  loss = lambda f: lambda x: (f(x) ** 3).sum()
  np.testing.assert_array_equal(jax.grad(loss(conv.stored))(x[0]), jax.grad(loss(lambda x: x))(x[0]))


def test_a_depth_wise_convolution_that_is_stored_is_computed_once():
  x, w, (strides, padding, dilation, groups) = example("depth-wise")

  def gated(x, w, keep):
    y = keep(convolve(x, w, strides, padding, dilation, groups) + 1)
    return y * jax.nn.sigmoid(y.mean((1, 2, 3), keepdims=True))

  def last(keep):  # the program's last operation, with its operands
    text = jax.jit(lambda x, w: gated(x, w, keep)).lower(x, w).compile().as_text()
    return next(line for line in text[text.index("ENTRY"):].splitlines() if "ROOT" in line).split("metadata")[0]

  assert "pad" in last(lambda y: y) and "pad" not in last(conv.stored)  # what the kernel is shifted over
  np.testing.assert_allclose(gated(x, w, conv.stored), gated(x, w, lambda y: y), rtol=1e-5, atol=1e-6)


def exported(call, platform, *shapes):
  structs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.export.export(jax.jit(call), platforms=[platform])(*structs).mlir_module()


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_an_accelerator_gets_no_branch_for_what_is_stored(platform):
  assert "stablehlo.compare" not in exported(conv.stored, platform, (2, 3))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_written_once_is_the_same_value_with_the_same_gradient(dtype):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4, 5)), dtype).at[0, 0, 0, 0, 0].set(jnp.nan)
  for call in (jax.jit(conv.written), jax.vmap(conv.written)):
    np.testing.assert_array_equal(call(x).astype(jnp.float32), x.astype(jnp.float32))
  loss = lambda f: lambda x: (f(x) ** 3).sum()
  np.testing.assert_array_equal(jax.grad(loss(conv.written))(x).astype(jnp.float32),
                                jax.grad(loss(lambda x: x))(x).astype(jnp.float32))
  ahead = jax.jvp(conv.written, (x,), (2 * x,))[1]
  np.testing.assert_array_equal(ahead.astype(jnp.float32), 2 * x.astype(jnp.float32))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("kernel, sliced", [((3, 1, 1), True), ((3, 3, 3), False)])
def test_a_tpu_writes_once_what_a_kernel_along_time_slices(platform, kernel, sliced):
  x, w = (2, 4, 32, 32, 8), (*kernel, 8, 8)
  along = lambda x, w: convolve(x, w, (1, 1, 1), tuple(k // 2 for k in kernel))
  kept = "stablehlo.optimization_barrier"
  assert (kept in exported(conv.written, platform, x)) == (platform == "tpu")
  assert (kept in exported(along, platform, x, w)) == (platform == "tpu" and sliced)
  there_and_back = exported(jax.grad(lambda x: (conv.written(x) ** 2).sum()), platform, x)
  assert there_and_back.count(kept) == (platform == "tpu")


@pytest.mark.parametrize("case", [case for case, how in CASES.items() if how[4] == 1])
def test_frames_among_the_channels_change_no_sum(case):
  x, w, (strides, padding, dilation, _) = example(case)
  wide = conv.across_frames(w, x.shape[1], strides[0], padding[0], dilation[0])
  y = reference(conv.to_channels(x), wide, (1, *strides[1:]), (0, *padding[1:]), (1, *dilation[1:]), 1)
  expected = reference(x, w, strides, padding, dilation, 1)
  np.testing.assert_allclose(conv.from_channels(y, expected.shape[1]), expected, rtol=1e-5, atol=2e-5)


def test_a_layer_with_its_frames_among_the_channels_has_the_same_parameters_and_results():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 6, 3)), jnp.float32)
  layer = Conv(4, (3, 3, 3), (1, 2, 2), use_bias=True)
  variables = jax.tree.map(lambda leaf: leaf + 0.1, layer.init(jax.random.PRNGKey(0), x))
  with conv.frames_among_channels(5):
    inside = lambda v: conv.from_channels(layer.apply(v, conv.to_channels(x)), 5)
    shapes = jax.eval_shape(layer.init, jax.random.PRNGKey(0), conv.to_channels(x))
    y, slopes = inside(variables), jax.grad(lambda v: (inside(v)**2).sum())(variables)
  assert conv.frames_inside() == 1
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
  np.testing.assert_allclose(y, layer.apply(variables, x), atol=2e-5)
  expected = jax.grad(lambda v: (layer.apply(v, x)**2).sum())(variables)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), slopes, expected)


@pytest.mark.parametrize("out, kernel, seen", [
    (64, (5, 3, 3), "f32[12,1,6,6,18]"), (32, (5, 3, 3), "f32[6,1,6,6,24]"), (8, (5, 3, 3), "f32[2,1,6,6,36]"),
    (32, (1, 3, 3), "feature_group_count=3"), (64, (1, 3, 3), "feature_group_count=6"), (64, (1, 1, 1), "dot_general")],
    ids=str)
def test_a_layer_with_its_frames_among_the_channels_goes_over_runs_that_fill_the_lanes(out, kernel, seen):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 6, 6, 3)), jnp.float32)
  layer = Conv(out, kernel, (1, 2, 2), use_bias=True, lowering="native")
  variables = jax.tree.map(lambda leaf: leaf + 0.1, layer.init(jax.random.PRNGKey(0), x))
  with conv.frames_among_channels(12):
    inside = lambda v: conv.from_channels(layer.apply(v, conv.to_channels(x)), 12)
    y, slopes = inside(variables), jax.grad(lambda v: (inside(v)**2).sum())(variables)
    text = str(jax.make_jaxpr(inside)(variables))
  assert seen in text
  np.testing.assert_allclose(y, layer.apply(variables, x), atol=2e-5)
  expected = jax.grad(lambda v: (layer.apply(v, x)**2).sum())(variables)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-3), slopes, expected)


def test_frames_go_to_the_channels_on_a_tpu_alone_and_of_whole_clips():
  clip = jnp.zeros((1, 4, 2, 2, 3))
  assert not conv.narrow_form(clip, None) or jax.default_backend() == "tpu"
  with tracing.traced_for("tpu"):
    assert conv.narrow_form(clip, None)
    assert not conv.narrow_form(jnp.zeros((1, 128, 2, 2, 3)), None)
    assert not conv.narrow_form(clip[:, :1], None) and not conv.narrow_form(clip, jnp.ones((1, 4)))
    with conv.using("native"):
      assert not conv.narrow_form(clip, None)
    with tracing.traced_for(""):
      assert not conv.narrow_form(clip, None)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("to_stay", [False, True])
def test_clips_come_back_from_the_channels_in_their_order(parts, to_stay):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(12, 2, 3, 4, 5)), jnp.float32)
  inside = conv.clips_to_channels(x, 2, parts)
  assert inside.shape == (6, 2, 3, 4, 10)
  half = 6 // parts  # of a part
  np.testing.assert_array_equal(inside[-1], jnp.concatenate([x[-1 - half], x[-1]], -1))
  np.testing.assert_array_equal(conv.clips_from_channels(inside, 2, parts, to_stay), x)


@pytest.mark.parametrize("case", CASES)
def test_a_layer_of_clips_side_by_side_has_the_same_parameters_and_results(case):
  kernel, strides, padding, dilation, groups, inner, out = CASES[case]
  size = 4 if "larger" in case else 8 if "blocks" in case else 9
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, size, size, inner)), jnp.float32)
  layer = Conv(out, kernel, strides, padding, groups, dilation, use_bias=True, lowering="native")
  variables = jax.tree.map(lambda leaf: leaf + 0.1, layer.init(jax.random.PRNGKey(0), x))
  with conv.clips_among_channels(4):
    inside = jax.jit(lambda v: conv.clips_from_channels(layer.apply(v, conv.clips_to_channels(x, 4)), 4))
    shapes = jax.eval_shape(layer.init, jax.random.PRNGKey(0), conv.clips_to_channels(x, 4))
    y, slopes = inside(variables), jax.grad(lambda v: (inside(v)**2).sum())(variables)
  assert conv.clips_inside() == conv.copies_inside() == 1
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
  np.testing.assert_allclose(y, layer.apply(variables, x), rtol=1e-5, atol=5e-5)
  expected = jax.grad(lambda v: (layer.apply(v, x)**2).sum())(variables)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2), slopes, expected)


def test_as_many_clips_stand_side_by_side_as_a_device_and_a_group_of_norms_have(monkeypatch):
  clips, beside = lambda b: jnp.zeros((b, 2, 2, 2, 3)), conv.clips_side_by_side
  assert beside(clips(8), None, 4) == (1, 1) or jax.default_backend() == "tpu"
  with tracing.traced_for("tpu"):
    with tracing.spread_over(1):
      assert [beside(clips(b), None, 4)[0] for b in (1, 2, 3, 4, 6, 8)] == [1, 2, 1, 4, 2, 4]
      assert beside(clips(8), None, 4, groups=4) == (2, 4) and beside(clips(8), None, 4, groups=8) == (1, 8)
      assert beside(clips(8), jnp.ones((8, 2)), 4) == (1, 1)
      with conv.using("native"):
        assert beside(clips(8), None, 4)[0] == 1
    with tracing.spread_over(2):
      assert beside(clips(8), None, 4) == (4, 2) and beside(clips(9), None, 4)[0] == 1
      assert beside(clips(12), None, 4, groups=3) == (2, 6)
    monkeypatch.setattr(jax, "device_count", lambda: 4)  # over which they may be spread, where nobody says
    assert tracing.spread() == 1 and beside(clips(8), None, 4) == (2, 4) and beside(clips(4), None, 4)[0] == 1
  assert [conv.copies_that_fit(width) for width in (24, 32, 64, 128, 200)] == [4, 4, 2, 1, 1]
