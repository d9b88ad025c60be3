"""Discriminators of images, at several scales: one score per image, or one per patch.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5; Wang et al.:
"High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
2018 (pix2pixHD), of which the form with patches is.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool
from vidx.nn.conv import Conv
from vidx.nn.image_generator import NORMAL
from vidx.nn.norm import instance_norm

SLOPE = 0.2  # of the leaky ReLU


def halve(x: jax.Array) -> jax.Array:
  """(B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C): 3x3 means, of what lies inside alone."""
  return pool.average_pool(x[:, None], (1, 3, 3), (1, 2, 2), (0, 1, 1))[:, 0]


class ScalarCritic(nn.Module):
  """Convolutions of stride 2, a hidden layer, and one score per image; beside it the classes of an auxiliary head.

  Attributes:
    widths: channels of the 4x4 convolutions; all but the first are normalised per image, and those are left out
      that would halve a small image to a single pixel, of which normalisation leaves nothing.
    hidden: width of the layer before the score.
    classes: of the auxiliary head; 0: none.
    dtype: compute dtype of the convolutions; None is fp32.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 512)
  hidden: int = 512
  classes: int = 0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> dict[str, jax.Array | list[jax.Array]]:
    """(B, H, W, C) -> fp32 {'score': (B, 1), 'classes': (B, classes)}, and 'features', what each layer gives."""
    features = []
    for i, width in enumerate(self.widths):
      if i and min(x.shape[1:3]) < 4:
        break
      x = Conv(width, (4, 4), 2, 1, use_bias=True, dtype=self.dtype, kernel_init=NORMAL, name=f"conv{i + 1}")(x)
      x = nn.leaky_relu(instance_norm(x) if i else x, SLOPE)
      features.append(x)
    dense = lambda width, name: nn.Dense(width, kernel_init=NORMAL, name=name)
    x = x.reshape(x.shape[0], -1).astype(jnp.float32)
    x = nn.leaky_relu(dense(self.hidden, "hidden")(x), SLOPE)
    out = {"score": dense(1, "score")(x), "features": [*features, x]}
    return out | ({"classes": dense(self.classes, "classes")(x)} if self.classes else {})


class PatchCritic(nn.Module):
  """A score per patch of the image: the discriminator of pix2pixHD, with its 4x4 kernels and borders of two zeros.

  Attributes:
    widths: channels of the convolutions, of which all but the last have stride 2.
    classes: of an auxiliary head on the mean over the image; 0: none.
    dtype: compute dtype; None is fp32.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  classes: int = 0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> dict[str, jax.Array | list[jax.Array]]:
    """(B, H, W, C) -> fp32 {'score': (B, patches), 'classes': (B, classes)}, and 'features', what each layer gives."""
    features = []
    conv = lambda width, stride, name: Conv(width, (4, 4), stride, 2, use_bias=True, dtype=self.dtype,
                                            kernel_init=NORMAL, name=name)
    for i, width in enumerate(self.widths):
      x = conv(width, 1 if i == len(self.widths) - 1 else 2, f"conv{i + 1}")(x)
      x = nn.leaky_relu(instance_norm(x) if i else x, SLOPE)
      features.append(x)
    score = conv(1, 1, "score")(x).astype(jnp.float32)
    out = {"score": score.reshape(len(score), -1), "features": features}
    if self.classes:
      mean = x.astype(jnp.float32).mean((1, 2))
      out["classes"] = nn.Dense(self.classes, kernel_init=NORMAL, name="classes")(mean)
    return out


class MultiScaleCritic(nn.Module):
  """The same kind of discriminator at full size, at half of it, ..., each with weights of its own.

  Attributes:
    scales: sizes that are looked at.
    patches: PatchCritic in place of ScalarCritic, whose smaller ones have a convolution less each.
    width: channels of the first convolution.
    classes: of the auxiliary heads; 0: none.
    dtype: compute dtype; None is fp32.
  """

  scales: int = 2
  patches: bool = False
  width: int = 64
  classes: int = 0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> list[dict[str, jax.Array | list[jax.Array]]]:
    """(B, H, W, C) -> what the critics of each scale give, the full size first."""
    out = []
    wide = lambda *times: tuple(self.width * t for t in times)
    for i in range(self.scales):
      x = halve(x) if i else x
      if self.patches:
        critic = PatchCritic(wide(1, 2, 4, 8), self.classes, self.dtype, name=f"scale{i + 1}")
      else:
        widths = (*wide(1, 2, 4), *wide(8) * max(1, 2 - i))
        critic = ScalarCritic(widths, 8 * self.width, self.classes, self.dtype, name=f"scale{i + 1}")
      out.append(critic(x))
    return out
