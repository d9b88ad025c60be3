"""Where the channels of pixels are."""

import jax

COLOURS = 3


def check_channels(video: jax.Array) -> None:
  """Raises ValueError for images or clips whose channels stand before height and width, as other libraries have them.

  Shapes alone tell: of the last two axes the second is about as long as the first, as height and width are, and an
  axis that has three entries is where channels would be, right behind the batch or right before height and width.
  Flow, stacked frames and differences have channels too few to be taken for a width, whatever the number of frames.

  Args:
    video: (B, H, W, C), (B, T, H, W, C) or (B, N, d, H, W, C).
  """
  height, width = video.shape[-2:]
  if video.ndim < 4 or width <= COLOURS or 2 * width < height:
    return
  for axis in (1, video.ndim - 3):
    if video.shape[axis] == COLOURS:
      raise ValueError(f"an array of shape {video.shape} has its channels in axis {axis}, where this network takes them"
                       f" last: give it jnp.moveaxis(video, {axis}, -1)")
