"""What pixels are that networks take: where their channels are, and that they are no bytes."""

import jax
import jax.numpy as jnp

COLOURS = 3


def check_pixels(video: jax.Array) -> None:
  """Raises ValueError for images or clips of bytes, or with channels before height and width, as other libraries have.

  Shapes alone tell: of the last two axes the second is about as long as the first, as height and width are, and an
  axis that has three entries is where channels would be, right behind the batch or right before height and width.
  Flow, stacked frames and differences have channels too few to be taken for a width, whatever the number of frames.

  Args:
    video: (B, H, W, C), (B, T, H, W, C) or (B, N, d, H, W, C).
  """
  if jnp.issubdtype(video.dtype, jnp.integer):
    raise ValueError(f"pixels of the dtype {video.dtype}, where this network takes floats, (x / 255 - mean) / std of"
                     " bytes x: give it vidx.nn.augment.normalize(video, mean, std), of what vidx.pixels_of tells")
  height, width = video.shape[-2:]
  if video.ndim < 4 or width <= COLOURS or 2 * width < height:
    return
  for axis in (1, video.ndim - 3):
    if video.shape[axis] == COLOURS:
      raise ValueError(f"an array of shape {video.shape} has its channels in axis {axis}, where this network takes them"
                       f" last: give it jnp.moveaxis(video, {axis}, -1)")
