"""One image per segment of consecutive frames: what a network sees in place of the frames.

A representation is a block (B, N, d, H, W, C) -> (B, N, H, W, C'), for N segments of
d consecutive frames.
"""

from flax import linen as nn
import jax


def segments(video: jax.Array, consecutive: int) -> jax.Array:
  """(B, N, d, H, W, C) as it is, or (B, N d, H, W, C) cut into segments of d = `consecutive` frames.

  Raises:
    ValueError: frames that do not make whole segments.
  """
  if video.ndim == 6:
    if video.shape[2] != consecutive:
      raise ValueError(f"segments of {video.shape[2]} frames where {consecutive} are needed")
    return video
  if video.ndim != 5 or video.shape[1] % consecutive:
    raise ValueError(f"a clip of shape {video.shape} has no segments of {consecutive} consecutive frames")
  return video.reshape(video.shape[0], -1, consecutive, *video.shape[2:])


class MiddleFrame(nn.Module):
  """The frame in the middle of each segment; of an even number, the later of two."""

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, d, H, W, C) -> (B, N, H, W, C)."""
    del train
    return x[:, :, x.shape[2] // 2]


class FrameDifference(nn.Module):
  """The differences of each frame to the one before it, side by side in channels.

  Wang et al.: "Temporal Segment Networks", 2016.
  """

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, d, H, W, C) -> (B, N, H, W, (d - 1) C), d at least 2."""
    del train
    if x.shape[2] < 2:
      raise ValueError("a difference needs segments of at least 2 frames")
    return side_by_side(x[:, :, 1:] - x[:, :, :-1])


class Stacked(nn.Module):
  """All frames of a segment side by side in channels, as networks for optical flow take them.

  Simonyan, Zisserman: "Two-Stream Convolutional Networks for Action Recognition in Videos", 2014.
  """

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """(B, N, d, H, W, C) -> (B, N, H, W, d C)."""
    del train
    return side_by_side(x)


def side_by_side(x: jax.Array) -> jax.Array:
  """(B, N, d, H, W, C) -> (B, N, H, W, d C)."""
  b, n, d, h, w, c = x.shape
  return x.transpose(0, 1, 3, 4, 2, 5).reshape(b, n, h, w, d * c)
