"""Attention over the frames of a clip: divided in time and space, or by keys shifted along time.

Bertasius, Wang, Torresani: "Is Space-Time Attention All You Need for Video
Understanding?", 2021. Bulat et al.: "Space-time Mixing Attention for Video
Transformer", 2021.
"""

from collections.abc import Callable
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool, transformer
from vidx.nn import sites as sites_lib
from vidx.nn.attention import Attention, Heads
from vidx.nn.temporal_shift import temporal_shift

DIVIDED_SITES = ("in", "time", "heads", "attn", "mlp", "out")


def shift_keys(fraction: float, frames: int = 0) -> Callable[[Heads], Heads]:
  """A transform of `Heads` (B, T, N, H, d) that takes shares of keys and values from the next and the last frame.

  Of the H d channels, the first share comes from frame t + 1, the next from t - 1.
  What lies outside the clip, or is not live, counts as zero.

  Args:
    fraction: share of the channels per direction.
    frames: clips are shifted in parts of so many frames; 0: as a whole.
  """

  def shift(x, mask):
    b, t, n, h, d = x.shape
    part = frames or t
    if t % part:
      raise ValueError(f"shift_keys: {t} frames do not divide into parts of {part}")
    if mask is not None:
      x = jnp.where(mask[..., None, None], x, 0)
    return temporal_shift(x.reshape(b * t // part, part, n, 1, h * d), fraction).reshape(x.shape)

  return lambda heads: heads.replace(k=shift(heads.k, heads.mask), v=shift(heads.v, heads.mask))


class DividedBlock(nn.Module):
  """Attention along time at each place, then over the places of each frame, then the MLP.

  Tokens are one CLS and T times S patches, frame by frame. The CLS takes part in
  the attention of every frame and moves by the mean of what these give. Sites: as
  `transformer.Block`, and `.time`, what the attention along time adds to the
  patches (..., T * S, D). `.heads` sees the attention within frames: (..., T, 1 + S, H, d);
  rows that it keeps must be as many per frame, the CLS first.

  Attributes:
    site: name of the block in its trunk.
    frames: T.
    heads: of both attentions.
    mlp_ratio: hidden width of the MLP over D.
    drop_path: rate.
    eps: of the norms.
    chunk: see `attention.attend`.
    sites: blocks to plug in.
    dtype: compute dtype.
  """

  site: str
  frames: int
  heads: int
  mlp_ratio: float = 4.0
  drop_path: float = 0.0
  eps: float = 1e-6
  chunk: int | None = None
  sites: sites_lib.Placed = sites_lib.merge()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False, half: int | None = None
               ) -> tuple[jax.Array, jax.Array | None]:
    """(..., 1 + T * S, D) tokens and (..., 1 + T * S) bool, live tokens -> the same, maybe with smaller S.

    `half`: see `transformer.in_halves`.
    """
    at = sites_lib.within(self.site, self.sites)
    norm = functools.partial(nn.LayerNorm, epsilon=self.eps, dtype=self.dtype)
    attention = functools.partial(Attention, self.heads, chunk=self.chunk, dtype=self.dtype)
    drop = transformer.DropPath(self.drop_path)
    between = lambda heads: at("heads")(heads, heads.mask, train)[0]

    if half != 1:
      x, mask = at("in")(x, mask, train)
      cls, patches = x[..., :1, :], x[..., 1:, :]
      x, frames = self._along_time(patches, mask, attention, norm, drop, at, train)
      x = self._per_frame(x)
      x = jnp.concatenate([jnp.broadcast_to(cls[..., None, :, :], (*x.shape[:-2], 1, x.shape[-1])), x], -2)
      y, heads = attention(name="attn")(norm(name="norm1")(x), frames, between)
      x, y, frames = transformer.kept_rows(x, y, frames, heads)
      flat = lambda z: z.reshape(*z.shape[:-3], -1, z.shape[-1])
      live = None if frames is None else frames[..., 1:].any(-1)
      moved = pool.mean_over_live(y[..., 0, :], live)[..., None, :].astype(y.dtype)
      y = jnp.concatenate([moved, flat(y[..., 1:, :])], -2)
      x = jnp.concatenate([cls, flat(x[..., 1:, :])], -2)
      if frames is not None:
        mask = jnp.concatenate([frames[..., 0, :1], frames[..., 1:].reshape(*frames.shape[:-2], -1)], -1)
      y, mask = at("attn")(y, mask, train)
      x = x + drop(y, train)
    if half == 0:
      return x, mask
    y = transformer.Mlp(int(x.shape[-1] * self.mlp_ratio), dtype=self.dtype, name="mlp")(norm(name="norm2")(x))
    y, mask = at("mlp")(y, mask, train)
    return at("out")(x + drop(y, train), mask, train)

  def _per_frame(self, x):
    """(..., T * S, D) -> (..., T, S, D)."""
    return x.reshape(*x.shape[:-2], self.frames, -1, x.shape[-1])

  def _along_time(self, patches, mask, attention, norm, drop, at, train):
    """Patches after the attention along time; and the mask per frame, (..., T, 1 + S), CLS first."""
    x = self._per_frame(patches).swapaxes(-2, -3)
    times = frames = None
    if mask is not None:
      frames = mask[..., 1:].reshape(*mask.shape[:-1], self.frames, -1)
      times = frames.swapaxes(-1, -2)
      first = jnp.broadcast_to(mask[..., None, :1], (*frames.shape[:-1], 1))
      frames = jnp.concatenate([first, frames], -1)
    y, _ = attention(name="temporal_attn")(norm(name="temporal_norm")(x), times)
    y = nn.Dense(y.shape[-1], dtype=self.dtype, kernel_init=nn.initializers.zeros, name="temporal_fc")(drop(y, train))
    y, _ = at("time")(y.swapaxes(-2, -3).reshape(patches.shape), None if mask is None else mask[..., 1:], train)
    return patches + y, frames
