"""Quarter turns of clips: what a network learns without labels by telling them.

Gidaris, Singh, Komodakis: "Unsupervised Representation Learning by Predicting Image Rotations", 2018.
"""

import jax
import jax.numpy as jnp

ROTATIONS = 4


def quarter_turns(video: jax.Array, turns: jax.Array) -> jax.Array:
  """Every clip turned anticlockwise by so many quarters, all of its frames alike.

  Args:
    video: (B, T, H, H, C).
    turns: (B,) int32, 0..3.

  Returns:
    (B, T, H, H, C), dtype of `video`.

  Raises:
    ValueError: frames that are not square.
  """
  if video.shape[2] != video.shape[3]:
    raise ValueError(f"clips of {video.shape[2]} x {video.shape[3]} cannot be turned by a quarter: take square ones")
  pick = lambda chosen, x, y: jnp.where(chosen[:, None, None, None, None], x, y)
  video = pick(turns % 2 == 1, video.swapaxes(2, 3)[:, :, ::-1], video)
  return pick(turns >= 2, video[:, :, ::-1, ::-1], video)
