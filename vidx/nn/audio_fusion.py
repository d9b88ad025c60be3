"""What an audio pathway hands to visual ones: features of sound, brought to the frames of a clip.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020, section 3.2.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.attention import attend
from vidx.nn.norm import ConvNormAct

FILLS = ("zeros", "mean")


class ToFrames(nn.Module):
  """m = relu(BN(conv5(relu(BN(conv5(mean over frequency)))))), the second strided in time to the frames of a clip.

  Attributes:
    features: channels of the result.
    inner: channels between both convolutions.
    frames: of the clip.
    kernel: extent of both in time.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype.
  """

  features: int
  inner: int
  frames: int
  kernel: int = 5
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
    """(B, 1, T, F, C), mask (B, 1) -> (B, frames, features), zeros where the mask is 0.

    Raises:
      ValueError: T is no multiple of the frames.
    """
    stride, rest = divmod(x.shape[2], self.frames)
    if rest or not stride:
      raise ValueError(f"{x.shape[2]} rows of sound are no multiple of the {self.frames} frames of the slow pathway:"
                       " change data.audio.rows")
    y = jnp.mean(x, 3, keepdims=True, dtype=jnp.float32)
    unit = lambda features, stride, name: ConvNormAct(features, (self.kernel, 1), (stride, 1), norm=self.norm,
                                                      dtype=self.dtype, name=name)
    y = unit(self.inner, 1, "conv1")(y, train, mask)
    return unit(self.features, stride, "conv2")(y, train, mask)[:, 0, :, 0]


class AudioVisualNonLocal(nn.Module):
  """u + BN(W_o softmax(q k^T / sqrt d) v): for every frame what sound finds at all places of a clip; starts as u.

  q = W_q of the mean over frequency, brought to the clip's frames by means; k, v = W u.

  Attributes:
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; the softmax is fp32.
  """

  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, u: jax.Array, sound: jax.Array, train: bool = False) -> jax.Array:
    """What is added to u (B, T, H, W, C), given features of sound (B, 1, Ta, F, Ca): (B, T, 1, 1, C).

    Raises:
      ValueError: Ta is no multiple of T.
    """
    frames, inner = u.shape[1], u.shape[-1] // 2
    if sound.shape[2] % frames:
      raise ValueError(f"{sound.shape[2]} rows of sound are no multiple of the {frames} frames of the slow pathway:"
                       " change data.audio.rows")
    linear = lambda x, name: nn.Dense(inner, dtype=self.dtype, name=name)(x)
    heard = jnp.mean(sound[:, 0], 2, dtype=jnp.float32)
    heard = heard.reshape(len(heard), frames, -1, heard.shape[-1]).mean(2)
    places = u.reshape(len(u), -1, u.shape[-1])
    q, k, v = linear(heard, "query"), linear(places, "key"), linear(places, "value")
    y = attend(q[:, :, None], k[:, :, None], v[:, :, None])[:, :, 0]
    norm = (*self.norm, ("scale_init", 0.0))
    return ConvNormAct(u.shape[-1], (1, 1), act=None, norm=norm, dtype=self.dtype, name="out")(
        y[:, :, None, None], train)


class Dropped(nn.Module):
  """DropPathway: in a share of the training steps zeros, or the running average, in place of what sound gives.

  Attributes:
    fill: 'zeros', or 'mean', of all that was given so far in training, kept in `batch_stats`.
    momentum: share of the running average that is kept per step.
  """

  fill: str = "zeros"
  momentum: float = 0.9

  def __post_init__(self):
    choices.check("Dropped: fill", self.fill, FILLS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, keep: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """x (B, ..., C) where keep () is 1, what fills its place where it is 0; mask (B,) of the examples that count."""
    if self.fill == "zeros":
      return x * keep.astype(x.dtype)
    mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:], jnp.float32)
    if train and not self.is_initializing():
      flat = x.astype(jnp.float32).reshape(len(x), -1, x.shape[-1]).mean(1)
      live = jnp.ones(len(x)) if mask is None else mask
      now = (flat * live[:, None]).sum(0) / jnp.maximum(live.sum(), 1)
      mean.value = self.momentum * mean.value + (1 - self.momentum) * jax.lax.stop_gradient(now)
    return jnp.where(keep > 0, x, jnp.broadcast_to(mean.value, x.shape).astype(x.dtype))
