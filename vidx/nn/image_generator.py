"""Encoders of images and the decoder that makes an image of their features.

Wang et al.: "High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs", 2018 (pix2pixHD), whose transposed convolutions become upsampling
and convolutions; Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.conv import Conv
from vidx.nn.norm import instance_norm

NORMAL = nn.initializers.normal(0.02)


def reflect_pad(x: jax.Array, width: int) -> jax.Array:
  """(B, H, W, C) with `width` pixels on every side, mirrored without the edge itself."""
  return jnp.pad(x, [(0, 0), (width, width), (width, width), (0, 0)], mode="reflect")


def upsample(x: jax.Array) -> jax.Array:
  """(B, H, W, C) -> (B, 2 H, 2 W, C), every pixel four times."""
  return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


class ImageConv(nn.Module):
  """Convolution with bias, then instance normalisation and ReLU where wanted.

  Attributes:
    features: output channels.
    kernel: side of the kernel.
    stride: of the convolution.
    reflect: mirrors at the border in place of zeros.
    norm: whether there is instance normalisation.
    act: whether there is a ReLU.
    dtype: compute dtype; None is fp32.
  """

  features: int
  kernel: int = 3
  stride: int = 1
  reflect: bool = False
  norm: bool = True
  act: bool = True
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    around = self.kernel // 2
    x = reflect_pad(x, around) if self.reflect else x
    x = Conv(self.features, (self.kernel, self.kernel), self.stride, 0 if self.reflect else around, use_bias=True,
             dtype=self.dtype, kernel_init=NORMAL, name="conv")(x)
    x = instance_norm(x) if self.norm else x
    return nn.relu(x) if self.act else x


class ImageEncoder(nn.Module):
  """A 7x7 convolution and `downs` of stride 2, each of which doubles the channels (Xiao 2020, chapter 5).

  Attributes:
    width: channels of the first.
    downs: convolutions of stride 2.
    norm: instance normalisation after each, which takes out the means and variances that tell
      who is seen; the encoder of identities has none.
    dtype: compute dtype; None is fp32.
    norm_first: whether the 7x7 convolution has it too. It takes out whatever is the same at every pixel, such as a
      code beside the image.
  """

  width: int = 64
  downs: int = 3
  norm: bool = False
  dtype: jnp.dtype | None = None
  norm_first: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, H / 2^downs, W / 2^downs, 2^downs width)."""
    norm = self.norm and self.norm_first
    x = ImageConv(self.width, 7, reflect=True, norm=norm, dtype=self.dtype, name="layer1")(x)
    for i in range(self.downs):
      x = ImageConv(self.width * 2 ** (i + 1), 3, 2, norm=self.norm, dtype=self.dtype, name=f"layer{i + 2}")(x)
    return x


class ResidualImageBlock(nn.Module):
  """x + IN(conv(relu(IN(conv(x))))), 3x3 kernels over mirrored borders; nothing after the sum."""

  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = ImageConv(x.shape[-1], reflect=True, dtype=self.dtype, name="first")(x)
    return x + ImageConv(x.shape[-1], reflect=True, act=False, dtype=self.dtype, name="second")(y)


class ImageDecoder(nn.Module):
  """Residual blocks, upsampling to the size of the image, and a 7x7 convolution to its colours.

  Attributes:
    width: channels of the penultimate features, twice as many after each upsampling before it.
    ups: upsamplings.
    blocks: residual blocks.
    remat: residual blocks keep only what enters them for the backward pass.
    dtype: compute dtype; None is fp32.
    transposed: transposed convolutions in place of upsampling and convolutions, as in pix2pixHD.
  """

  width: int = 64
  ups: int = 3
  blocks: int = 9
  remat: bool = False
  dtype: jnp.dtype | None = None
  transposed: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, h, w, C) -> fp32 image (B, 2^ups h, 2^ups w, 3) in -1..1, and (..., width), what the last layer sees."""
    block = nn.remat(ResidualImageBlock) if self.remat else ResidualImageBlock
    for i in range(self.blocks):
      x = block(dtype=self.dtype, name=f"block{i + 1}")(x)
    for i in reversed(range(self.ups)):
      width, name = self.width * 2 ** i, f"up{self.ups - i}"
      if self.transposed:
        x = nn.ConvTranspose(width, (3, 3), (2, 2), ((1, 2), (1, 2)), dtype=self.dtype, kernel_init=NORMAL,
                             name=name)(x)
        x = nn.relu(instance_norm(x))
      else:
        x = ImageConv(width, dtype=self.dtype, name=name)(upsample(x))
    image = ImageConv(3, 7, reflect=True, norm=False, act=False, dtype=self.dtype, name="rgb")(x)
    return jnp.tanh(image.astype(jnp.float32)), x
