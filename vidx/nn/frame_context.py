"""Importance of frames from features of all of them: what surrounds a frame, then a score.

The context relation mining of the parallel sampling network, Wang: "Collaborative
Dual-Stream Modeling for Video Understanding", 2021, section 5.2.2, eq. 5.1 and
eq. 5.2: no context, a non-local block, three temporal convolutions, or an encoder and
decoder of them (after Lea et al.: "Temporal Convolutional Networks for Action
Segmentation and Detection", 2017).
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.non_local import NonLocal
from vidx.nn.norm import BatchNorm, ConvNormAct

DECODER_ORDERS = ("deconv_bn_relu", "bn_relu_deconv")


def deconvolve(x: jax.Array, w: jax.Array, length: int) -> jax.Array:
  """Transposed convolution of kernel 3, stride 2 and padding 1: out[2 i + k - 1] += x[i] w[k].

  On a CPU it is one matrix product whose parts are interleaved; no product with the
  zeros between frames is computed.

  Args:
    x: (B, L, C).
    w: (3, C, D).
    length: frames to give, 2 L - 1 or 2 L.

  Returns:
    (B, length, D), dtype of `x`.

  Raises:
    ValueError: another length.
  """
  size = x.shape[1]
  if length not in (2 * size - 1, 2 * size):
    raise ValueError(f"{size} frames cannot be deconvolved to {length}, only to {2 * size - 1} or {2 * size}")
  return jax.lax.platform_dependent(x, w, cpu=functools.partial(interleaved, length=length),
                                    default=functools.partial(stretched, length=length))


def interleaved(x, w, length):
  """`deconvolve` by products with the three taps, put together frame by frame."""
  before, at, after = jnp.moveaxis(jnp.einsum("blc,kcd->blkd", x, w), 2, 0)
  odd = after + jnp.pad(before[:, 1:], ((0, 0), (0, 1), (0, 0)))
  return jnp.stack([at, odd], 2).reshape(x.shape[0], 2 * x.shape[1], -1)[:, :length]


def stretched(x, w, length):
  """`deconvolve` by a convolution over frames with zeros between them."""
  return jax.lax.conv_general_dilated(x, w[::-1], (1,), [(1, 2 + length - 2 * x.shape[1])], lhs_dilation=(2,),
                                      dimension_numbers=("NWC", "WIO", "NWC"))


class Deconv(nn.Module):
  """`deconvolve` with its kernel, He, fan-out."""

  features: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, length: int) -> jax.Array:
    """(B, L, C) -> (B, length, D)."""
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    dtype = self.dtype or jnp.float32
    w = self.param("kernel", init, (3, x.shape[-1], self.features), jnp.float32)
    return deconvolve(x.astype(dtype), w.astype(dtype), length)


def _encode(x, width, stride, norm, dtype, name, train):
  """Convolution of kernel 3, batch normalisation, ReLU along time, in a compact call: (B, L, C) -> (B, L', D)."""
  unit = ConvNormAct(width, (3, 1, 1), (stride, 1, 1), padding=(1, 0, 0), norm=norm, dtype=dtype, name=name)
  return unit(x[:, :, None, None], train)[:, :, 0, 0]


class TemporalConvolutions(nn.Module):
  """Three convolutions along time that keep the length; each frame sees 7.

  Attributes:
    width: channels; 0: as many as come.
    layers: how many.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  width: int = 0
  layers: int = 3
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, C) -> (B, N, D)."""
    width = self.width or x.shape[-1]
    for i in range(self.layers):
      x = _encode(x, width, 1, self.norm, self.dtype, f"layer{i + 1}", train)
    return x


class EncoderDecoder(nn.Module):
  """Convolutions that halve time, then deconvolutions that double it again, with sums across.

  e_i is the convolution of e_(i-1), e_0 = x; d_1 = D_1(e_n), d_j = D_j(d_(j-1) + e_(n+1-j)):
  25 frames become 13, 7, 4, 7, 13, 25.

  Attributes:
    width: channels of every layer; 0: as many as come.
    layers: of the encoder, and of the decoder.
    order: of what a decoder layer does, one of DECODER_ORDERS.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  width: int = 0
  layers: int = 3
  order: str = "deconv_bn_relu"
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("EncoderDecoder: order", self.order, DECODER_ORDERS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, C) -> (B, N, D)."""
    width = self.width or x.shape[-1]
    lengths, skips = [], []
    for i in range(self.layers):
      lengths.append(x.shape[1])
      x = _encode(x, width, 2, self.norm, self.dtype, f"encoder{i + 1}", train)
      skips.append(x)
    skips.pop()  # the deepest one goes into the first decoder layer, and is not added again
    for j in range(self.layers):
      x = x if j == 0 else x + skips.pop()
      deconv = Deconv(width, self.dtype, name=f"decoder{j + 1}")
      norm = BatchNorm(**dict(self.norm), dtype=self.dtype, name=f"decoder{j + 1}_norm")
      length = lengths.pop()
      if self.order == "deconv_bn_relu":
        x = nn.relu(norm(deconv(x, length), train))
      else:
        x = deconv(nn.relu(norm(x, train)), length)
    return x


class NonLocalFrames(nn.Module):
  """Each frame gathers from all by similarity, whatever their order; starts as the frames themselves.

  Attributes:
    blocks: how many, one after the other.
    scale: factor of the similarities.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  blocks: int = 1
  scale: float = 1.0
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, C) -> (B, N, C)."""
    x = x[:, :, None, None]
    for i in range(self.blocks):
      x = NonLocal(scale=self.scale, norm=self.norm, dtype=self.dtype, name=f"block{i + 1}")(x, train)
    return x[:, :, 0, 0]


#: Context modules by name; 'none' leaves the features as they are.
CONTEXTS = {"none": None, "nonlocal": NonLocalFrames, "tcn": TemporalConvolutions, "ed_tcn": EncoderDecoder}


class FrameScores(nn.Module):
  """Logits of the importance of frames (before the sigmoid of eq. 5.2).

  Attributes:
    context: a key of CONTEXTS.
    fields: of the context module, as pairs.
    dtype: compute dtype of the context; the score is fp32.
  """

  context: str = "ed_tcn"
  fields: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("FrameScores: context", self.context, CONTEXTS)
    super().__post_init__()

  @nn.nowrap
  def module(self, **fields) -> nn.Module | None:
    """A fresh context module; None for 'none'."""
    kind = CONTEXTS[self.context]
    return kind and kind(**dict(self.fields), dtype=self.dtype, **fields)

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Features (B, N, C) -> fp32 (B, N)."""
    context = self.module(name="context")
    x = x if context is None else context(x, train)
    score = nn.Dense(1, kernel_init=nn.initializers.normal(0.01), name="score")
    return score(x.astype(jnp.float32))[..., 0]
