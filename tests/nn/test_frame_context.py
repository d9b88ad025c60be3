from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx import measure
from vidx.nn import frame_context
from vidx.nn.frame_context import FrameScores, deconvolve

WIDTH = 8


def scattered(x, w, length):
  """out[2 i + k - 1] += x[i] w[k], term by term; what falls outside is dropped."""
  out = np.zeros((x.shape[0], length, w.shape[2]))
  for i in range(x.shape[1]):
    for k in range(3):
      if 0 <= 2 * i + k - 1 < length:
        out[:, 2 * i + k - 1] += x[:, i] @ w[k]
  return out


@pytest.mark.parametrize("size, more", [(1, 0), (1, 1), (4, 0), (5, 1)])
def test_a_deconvolution_equals_the_scatter_and_that_of_torch(size, more):
  x, w, length = promises.some_input((2, size, 4)), promises.some_input((3, 4, 5), 1), 2 * size - 1 + more
  expected = scattered(np.asarray(x), np.asarray(w), length)
  np.testing.assert_allclose(deconvolve(x, w, length), expected, atol=1e-5)
  torch = pytest.importorskip("torch")
  torch_w = torch.tensor(np.asarray(w)).permute(1, 2, 0)
  peer = torch.nn.functional.conv_transpose1d(torch.tensor(np.asarray(x)).transpose(1, 2), torch_w, stride=2,
                                              padding=1, output_padding=more)
  np.testing.assert_allclose(peer.transpose(1, 2), expected, atol=1e-5)


def test_a_deconvolution_is_the_same_on_every_platform():
  x, w = promises.some_input((2, 5, 4)), promises.some_input((3, 4, 6), 1)
  for length in (9, 10):
    one, other = (f(x, w, length) for f in (frame_context.interleaved, frame_context.stretched))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_only_two_lengths_can_be_deconvolved_to():
  with pytest.raises(ValueError, match="only to 9 or 10"):
    deconvolve(jnp.zeros((1, 5, 2)), jnp.zeros((3, 2, 2)), 11)


@pytest.mark.parametrize("frames, lengths", [(25, [13, 7, 4, 7, 13, 25]), (10, [5, 3, 2, 3, 5, 10]),
                                             (1, [1] * 6)])
def test_time_is_halved_and_doubled_again(frames, lengths):
  seen = []

  def note(call, args, kwargs, context):
    y = call(*args, **kwargs)
    if type(context.module).__name__ in ("ConvNormAct", "Deconv"):
      seen.append(y.shape[1])
    return y

  with nn.intercept_methods(note):
    shapes = jax.eval_shape(FrameScores().init, jax.random.PRNGKey(0), jnp.zeros((2, frames, WIDTH)))
  assert seen == lengths and shapes["params"]["score"]["kernel"].shape == (WIDTH, 1)


def test_parameters_and_products_of_the_published_widths():
  features = jax.ShapeDtypeStruct((1, 25, 1024), jnp.float32)
  counted = {c: measure.count(FrameScores(c), features) for c in frame_context.CONTEXTS}
  head = 1_025
  assert counted["none"].params == head
  assert counted["tcn"].params - head == 9_443_328
  assert counted["ed_tcn"].params - head == 18_886_656
  published = measure.count(FrameScores("ed_tcn"), features, convention="published")
  assert published.macs / 1e9 == pytest.approx(0.2172, abs=5e-5)
  assert counted["ed_tcn"].macs / 1e9 == pytest.approx(0.151, abs=5e-4)


@pytest.fixture(scope="module")
def frames():
  return promises.some_input((2, 9, WIDTH))


def scored(context, frames, **fields):
  model = FrameScores(context, tuple(fields.items()))
  variables = promises.some_variables(model, frames)
  return lambda x: promises.jitted(model)(variables, x)


@pytest.mark.parametrize("context", frame_context.CONTEXTS)
def test_convolutions_know_the_order_of_frames_and_the_others_do_not(context, frames):
  order = np.asarray([3, 0, 8, 1, 7, 2, 6, 5, 4])
  score = scored(context, frames)
  difference = np.abs(score(frames[:, order]) - score(frames)[:, order]).max()
  assert difference < 1e-5 if context in ("none", "nonlocal") else difference > 1e-3


@pytest.mark.parametrize("context", ["nonlocal", "tcn", "ed_tcn"])
def test_a_video_does_not_depend_on_its_neighbours(context, frames):
  score = scored(context, frames)
  np.testing.assert_allclose(score(frames.at[1].set(7.0))[0], score(frames)[0], rtol=1e-5, atol=1e-6)


def test_a_fresh_non_local_block_changes_nothing(frames):
  plain, gathered = FrameScores("none"), FrameScores("nonlocal")
  variables = jax.jit(gathered.init)(jax.random.PRNGKey(0), frames)
  alone = {"params": {"score": variables["params"]["score"]}}
  np.testing.assert_allclose(promises.jitted(gathered)(variables, frames), plain.apply(alone, frames),
                             rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("context, reach", [("tcn", 3), ("ed_tcn", 7)])
def test_what_a_frame_sees(context, reach):
  """Three layers see 3 frames to either side; of the encoder's last layer each output sees 15 frames in all."""
  x = promises.some_input((1, 33, WIDTH))
  layer = "encoder3" if context == "ed_tcn" else "layer3"
  model = FrameScores(context)
  variables = promises.some_variables(model, x)

  def at(x):
    state = model.apply(variables, x, capture_intermediates=lambda m, _: m.name == layer, mutable=["intermediates"])[1]
    middle = jax.tree.leaves(state["intermediates"])[0]
    return middle[0, middle.shape[1] // 2].sum()

  moved = np.flatnonzero(np.abs(jax.jit(jax.grad(at))(x)[0]).max(-1))
  assert moved.min() >= 16 - reach and moved.max() <= 16 + reach and len(moved) == 2 * reach + 1


def test_the_order_within_a_decoder_layer_is_a_field():
  frames = promises.some_input((2, 3, 4))
  for order in frame_context.DECODER_ORDERS:
    model = frame_context.EncoderDecoder(layers=1, order=order)
    low = promises.jitted(model)(promises.some_variables(model, frames), frames).min()
    assert low >= 0 if order == "deconv_bn_relu" else low < 0  # which of them ends with the ReLU
  with pytest.raises(ValueError, match="deconv_bn_relu, bn_relu_deconv"):
    frame_context.EncoderDecoder(order="relu_bn")
  with pytest.raises(ValueError, match="none, nonlocal, tcn, ed_tcn"):
    FrameScores("lstm")
