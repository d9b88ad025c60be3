"""CvT: three stages of transformer blocks whose queries, keys and values come from depth-wise convolutions.

Wu et al.: "CvT: Introducing Convolutions to Vision Transformers", 2021.

Sites: per stage `embed0`, and per block
`block0.0.in`, `.heads`, `.attn`, `.mlp`, `.out`. Tokens at a site are (B, T, N, D), row
by row; in the last stage the CLS comes first.
"""

from collections.abc import Sequence
import functools
import math

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain, as_clip
from vidx.nn import sites as sites_lib
from vidx.nn import transformer
from vidx.nn.attention import Heads, attend
from vidx.nn.conv import Conv
from vidx.nn.norm import BatchNorm


def window_mask(mask: jax.Array | None, kernel: int, stride: int, padding: int) -> jax.Array | None:
  """(B, T, H, W) bool -> (B, T, H', W'): a window is live where any of its pixels is."""
  if mask is None:
    return None
  live = jax.lax.reduce_window(mask.astype(jnp.float32), 0.0, jax.lax.max, (1, 1, kernel, kernel),
                               (1, 1, stride, stride), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
  return live > 0


def _zeroed(x, mask):
  """Dead pixels as zeros, as the padding is."""
  return x if mask is None else jnp.where(mask[..., None], x, 0)


class ConvEmbed(nn.Module):
  """Convolution and norm; in the last stage, the CLS in front."""

  stage: int
  features: int
  kernel: int
  stride: int
  padding: int
  with_cls: bool
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, T, H, W, C), mask (B, T, H, W) -> tokens (B, T, N, D), mask (B, T, N), grid (H', W')."""
    conv = Conv(self.features, (self.kernel,) * 2, self.stride, self.padding, use_bias=True, dtype=self.dtype,
                kernel_init=nn.initializers.lecun_normal(), name="conv")
    x = conv(_zeroed(x, mask))
    mask = window_mask(mask, self.kernel, self.stride, self.padding)
    grid = x.shape[2:4]
    x = nn.LayerNorm(1e-5, dtype=self.dtype, name="norm")(x).reshape(*x.shape[:2], -1, self.features)
    mask = None if mask is None else mask.reshape(*x.shape[:-1])
    if self.with_cls:
      cls = self.param("cls", transformer.token_init, (1, 1, self.features)).astype(x.dtype)
      x = jnp.concatenate([jnp.broadcast_to(cls, (*x.shape[:2], 1, self.features)), x], 2)
      mask = None if mask is None else jnp.pad(mask, [(0, 0), (0, 0), (1, 0)], constant_values=True)
    x, mask = sites_lib.at(self.sites, f"embed{self.stage}", "at_embed")(x, mask, train)
    return x, mask, grid


class ConvAttention(nn.Module):
  """Attention whose queries, keys and values each are a depth-wise 3x3 convolution, BN and a dense layer.

  The scale is D ** -0.5, of the full width. The CLS is not convolved. Without
  `convolved`, tokens need not form a grid.
  """

  heads: int
  grid: tuple[int, int]
  with_cls: bool
  convolved: bool
  norm: tuple[tuple[str, object], ...]
  chunk: int | None
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False, between=None):
    """(B, T, N, D), mask (B, T, N) -> (B, T, N', D) and the Heads used."""
    width = x.shape[-1]
    dense = functools.partial(nn.Dense, width, dtype=self.dtype, kernel_init=transformer.token_init)
    parts, masks = {}, {}
    for name, stride in (("q", 1), ("k", 2), ("v", 2)):
      y, masks[name] = self._convolved(name, x, mask, stride, train) if self.convolved else (x, mask)
      y = dense(name=f"proj_{name}")(y)
      parts[name] = y.reshape(*y.shape[:-1], self.heads, width // self.heads)
    heads = Heads(parts["q"], parts["k"], parts["v"], masks["k"], scale=width ** -0.5)
    heads = heads if between is None else between(heads)
    y = attend(heads.q, heads.k, heads.v, heads.mask, scale=heads.scale, chunk=self.chunk)
    return dense(name="proj")(y.reshape(*y.shape[:-2], width)), heads

  def _convolved(self, name, x, mask, stride, train):
    first = int(self.with_cls)
    cls, x = x[:, :, :first], x[:, :, first:]
    lead, width = x.shape[:2], x.shape[-1]
    x = x.reshape(*lead, *self.grid, width)
    live = None if mask is None else mask[:, :, first:].reshape(*lead, *self.grid)
    conv = Conv(width, (3, 3), stride, 1, groups=width, dtype=self.dtype, name=f"conv_{name}")
    x = conv(_zeroed(x, live))
    live = window_mask(live, 3, stride, 1) if stride > 1 else live
    x = BatchNorm(**dict(self.norm), dtype=self.dtype, name=f"bn_{name}")(x, train, live)
    x = jnp.concatenate([cls, x.reshape(*lead, -1, width)], 2)
    if mask is not None:
      mask = jnp.concatenate([mask[:, :, :first], live.reshape(*lead, -1)], 2)
    return x, mask


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)); sites as `transformer.Block`."""

  site: str
  heads: int
  with_cls: bool
  convolved: bool
  drop_path: float
  norm: tuple[tuple[str, object], ...]
  chunk: int | None
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, grid=(0, 0), train=False, half=None):
    """(B, T, N, D), mask (B, T, N), grid (H, W) -> tokens and mask; `half`: see `transformer.in_halves`."""
    at = sites_lib.within(self.site, self.sites)
    norm = functools.partial(nn.LayerNorm, 1e-5, dtype=self.dtype)
    drop = transformer.DropPath(self.drop_path)
    between = lambda heads: at("heads")(heads, heads.mask, train)[0]
    if half != 1:
      x, mask = at("in")(x, mask, train)
      y, heads = ConvAttention(self.heads, grid, self.with_cls, self.convolved, self.norm, self.chunk, self.dtype,
                               name="attn")(norm(name="norm1")(x), mask, train, between)
      x, y, mask = transformer.kept_rows(x, y, mask, heads)
      y, mask = at("attn")(y, mask, train)
      x = x + drop(y, train)
    if half == 0:
      return x, mask
    y = transformer.Mlp(4 * x.shape[-1], transformer.quick_gelu, self.dtype, name="mlp")(norm(name="norm2")(x))
    y, mask = at("mlp")(y, mask, train)
    return at("out")(x + drop(y, train), mask, train)


class CvT(Chain):
  """A convolutional vision transformer; on clips, frame by frame.

  See Chain and Trunk for the fields that trunks share. A mask may name live pixels,
  (B, H, W) of images and (B, T, H, W) of clips, or live frames, (B, T).

  Attributes:
    dims: channels per stage.
    depths: blocks per stage.
    heads: of attention, per stage.
    kernels: of the convolutions in front of the stages.
    strides: of these.
    paddings: of these.
    convolved: per stage, whether queries, keys and values are convolved; a stage
      whose tokens are dropped on the way must not be.
    drop_path: rate of the last stage's last block; grows linearly from 0 there.
    chunk: keys that attention works on at a time; see `attention.attend`.
  """

  dims: Sequence[int] = (64, 192, 384)
  depths: Sequence[int] = (1, 2, 10)
  heads: Sequence[int] = (1, 3, 6)
  kernels: Sequence[int] = (7, 3, 3)
  strides: Sequence[int] = (4, 2, 2)
  paddings: Sequence[int] = (2, 1, 1)
  convolved: Sequence[bool] = (True, True, True)
  drop_path: float = 0.0
  head_std: float = 0.02
  chunk: int | None = None

  @property
  def patch(self) -> int:
    """Side of a last stage's token in pixels."""
    return math.prod(self.strides)

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = []
    for s, depth in enumerate(self.depths):
      names += [f"embed{s}", *(f"block{s}.{i}.{part}" for i in range(depth) for part in transformer.BLOCK_SITES)]
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    norm = self.norms()[1]
    last = len(self.dims) - 1
    self._embeds = [ConvEmbed(s, dim, self.kernels[s], self.strides[s], self.paddings[s], s == last, self.placed,
                              self.dtype, name=f"embed{s}") for s, dim in enumerate(self.dims)]
    rate = lambda s, i: self.drop_path * i / max(self.depths[s] - 1, 1) if s == last else 0.0
    self._blocks = [[Block(f"block{s}.{i}", self.heads[s], s == last, self.convolved[s], rate(s, i), norm, self.chunk,
                           self.placed, self.dtype, name=f"block{s}_{i}") for i in range(depth)]
                    for s, depth in enumerate(self.depths)]
    self.norm = nn.LayerNorm(1e-5, dtype=self.dtype)
    self.head = self.pooled_head()

  def steps(self):
    """(name, module) pairs; an embedding gives (tokens, mask, grid), and blocks are told the grid."""
    return [(module.name, module) for embed, blocks in zip(self._embeds, self._blocks) for module in (embed, *blocks)]

  def enter(self, video, mask=None, train=False):
    """See Trunk.enter: tokens (B, T, N, D) and their mask where the trunk may be cut."""
    x = as_clip(video, self.stills)
    if mask is not None:
      mask = mask.astype(bool).reshape(*x.shape[:2], *(mask.shape[-2:] if mask.ndim == video.ndim - 1 else (1, 1)))
      mask = jnp.broadcast_to(mask, x.shape[:-1])
    for s, blocks in enumerate(self._blocks):
      x, mask, grid = self._embeds[s](x, mask, train)
      last = s + 1 == len(self._blocks)
      for block in () if last and not self.convolved[s] else blocks:
        x, mask = block(x, mask, grid, train)
      if not last:
        x = x.reshape(*x.shape[:2], *grid, x.shape[-1])
        mask = None if mask is None else mask.reshape(*x.shape[:2], *grid)
    return [(x, mask)]

  def pieces(self):
    """See Trunk.pieces: the last stage's blocks, unless they convolve and so need all pixels."""
    blocks = () if self.convolved[-1] else self._blocks[-1]
    return transformer.in_halves((block.site, block) for block in blocks)

  def scores(self, x, mask=None, train=False):
    """See Trunk.scores."""
    x, live = transformer.read_cls(x, mask)
    return self.head(self.norm(x)[:, :, None, None], live, train)
