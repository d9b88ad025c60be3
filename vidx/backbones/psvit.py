"""PS-ViT: tokens sampled from a feature map at points that move, then a transformer over them.

Yue et al.: "Vision Transformer with Progressive Sampling", 2021.

Sites: `stem`, the map (B, T, H, W, D); per sampling step `sample0.in`, `.heads`, `.attn`,
`.mlp`, `.out`, as in `transformer.Block`, and per block `block0.in`, ...: tokens
(B, T, N, D), in the blocks with the CLS first.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.backbones.chain import Chain, as_clip
from vidx.nn import pool
from vidx.nn import sites as sites_lib
from vidx.nn import transformer
from vidx.nn.norm import ConvNormAct


def start_points(points: int, size: int) -> np.ndarray:
  """fp32 (points ** 2, 2): y, x of the centres of a square grid over a map, column by column."""
  centres = (np.arange(points) * (size / points)).astype(np.float32) + np.float32(size / points / 2)
  x, y = np.meshgrid(centres, centres, indexing="ij")
  return np.stack([y, x], -1).reshape(-1, 2)


def sample(x: jax.Array, points: jax.Array) -> jax.Array:
  """Bilinear values of a map at points; the map is zero outside.

  Args:
    x: (B, H, W, D) map.
    points: (B, P, 2), y and x in pixels; a pixel's centre is at its index.

  Returns:
    (B, P, D), dtype of `x`.
  """
  b, h, w, d = x.shape
  points = points.astype(jnp.float32)
  low = jnp.floor(points)
  part = points - low
  low = low.astype(jnp.int32)
  flat = x.reshape(b, h * w, d)
  total = 0.0
  for dy in (0, 1):
    for dx in (0, 1):
      py, px = low[..., 0] + dy, low[..., 1] + dx
      inside = (py >= 0) & (py < h) & (px >= 0) & (px < w)
      weight = jnp.abs(1 - dy - part[..., 0]) * jnp.abs(1 - dx - part[..., 1])
      index = jnp.clip(py, 0, h - 1) * w + jnp.clip(px, 0, w - 1)
      value = jnp.take_along_axis(flat, index[..., None], 1).astype(jnp.float32)
      total += value * jnp.where(inside, weight, 0)[..., None]
  return total.astype(x.dtype)


class Bottleneck(nn.Module):
  """Residual block of 1x1, 3x3, 1x1 convolutions."""

  inner: int
  features: int
  norm: tuple[tuple[str, object], ...]
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, train=False):
    unit = lambda name, features, kernel, act=nn.relu: ConvNormAct(
        features, (kernel, kernel), act=act, norm=self.norm, dtype=self.dtype, name=name)
    y = unit("conv1", self.inner, 1)(x, train)
    y = unit("conv2", self.inner, 3)(y, train)
    y = unit("conv3", self.features, 1, None)(y, train)
    if x.shape[-1] != self.features:
      x = unit("shortcut", self.features, 1, None)(x, train)
    return nn.relu(x + y)


class Stem(nn.Module):
  """Convolution, pooling and bottlenecks: a map at stride 4."""

  widths: Sequence[int]
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, train=False):
    """(B, T, H, W, 3) -> (B, T, H // 4, W // 4, D)."""
    x = ConvNormAct(64, (7, 7), 2, norm=self.norm, dtype=self.dtype, name="conv")(x, train)
    x = pool.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for i, width in enumerate(self.widths):
      x = Bottleneck(64, width, self.norm, self.dtype, name=f"block{i}")(x, train)
    return sites_lib.at(self.sites, "stem", "at_stem")(x, None, train)[0]


class PSViT(Chain):
  """A vision transformer over progressively sampled tokens; on clips, frame by frame. Points are fp32.

  See Chain and Trunk for the fields that trunks share. A mask may name live points,
  (B, P) of images and (B, T, P) of clips, or live frames, (B, T).

  Attributes:
    image: height and width of the images.
    points: side of the grid of points.
    dim: channels D.
    depth: sampling steps and blocks together.
    samplings: of these, sampling steps.
    heads: of attention.
    mlp_ratio: hidden width of the MLPs over D.
    widths: of the stem's bottlenecks; the last is D.
    scale: of the scores; 0: D ** -0.5, as in the public weights; None: head width ** -0.5.
    gamma: factor of the offsets where the map is sampled.
    drop_path: rate of the last block; grows linearly from 0.
    chunk: keys that attention works on at a time; see `attention.attend`.
  """

  image: int = 224
  points: int = 14
  dim: int = 384
  depth: int = 14
  samplings: int = 4
  heads: int = 6
  mlp_ratio: float = 3.0
  widths: Sequence[int] = (256, 384)
  scale: float | None = 0
  gamma: float = 1.0
  drop_path: float = 0.0
  head_std: float = 0.02
  chunk: int | None = None

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return ("stem", *(f"{step}.{part}" for step in self._names() for part in transformer.BLOCK_SITES))

  @nn.nowrap
  def _names(self) -> list[str]:
    return [f"sample{i}" for i in range(self.samplings)] + [f"block{i}" for i in range(self.depth - self.samplings)]

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    self.stem = Stem(self.widths, self.norms()[1], self.placed, self.dtype)
    scale = self.dim ** -0.5 if self.scale == 0 else self.scale
    self._steps = [
        (name, transformer.Block(name, self.heads, self.mlp_ratio, False, scale, eps=1e-5, chunk=self.chunk,
                                 drop_path=self.drop_path * i / max(self.depth - 1, 1), sites=self.placed,
                                 dtype=self.dtype, name=name))
        for i, name in enumerate(self._names())]
    self.place = nn.Dense(self.dim, kernel_init=transformer.token_init)
    self.offsets = [nn.Dense(2, kernel_init=nn.initializers.zeros, name=f"offset{i}")
                    for i in range(self.samplings - 1)]
    self.cls = self.param("cls", transformer.token_init, (1, 1, self.dim))
    self.norm = nn.LayerNorm(1e-5, dtype=self.dtype)
    self.head = self.pooled_head()

  def sampled(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False
              ) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Tokens of a map (B, T, H, W, D): (B, T, P, D), their mask, and the points (B, T, P, 2) last sampled."""
    b, t, h, w, d = x.shape
    if (h, w) != (self.image // 4,) * 2:
      raise ValueError(f"a map of {h} x {w} for images of {self.image}: set the field image to their size")
    point = jnp.asarray(start_points(self.points, h))
    point = jnp.broadcast_to(point, (b, t, *point.shape))
    offset, out = jnp.zeros_like(point), 0.0
    frames = lambda z: z.reshape(b * t, *z.shape[2:])
    for i, (_, block) in enumerate(self._steps[:self.samplings]):
      y = sample(frames(x), frames(point + self.gamma * offset)).reshape(b, t, -1, d)
      point = point + jax.lax.stop_gradient(offset)
      out, mask = block(y + self.place(point / h).astype(y.dtype) + out, mask, train)
      if i < self.samplings - 1:
        offset = self.offsets[i](out.astype(jnp.float32))
    return out, mask, point

  def enter(self, video, mask=None, train=False):
    """See Trunk.enter: the sampled tokens (B, T, 1 + P, D), the CLS first, and their mask."""
    x = as_clip(video, self.stills)
    b, t = x.shape[:2]
    if mask is not None:
      mask = jnp.broadcast_to(mask.astype(bool).reshape(b, t, -1), (b, t, self.points ** 2))
    x, mask, _ = self.sampled(self.stem(x, train), mask, train)
    cls = jnp.broadcast_to(self.cls.astype(x.dtype), (b, t, 1, self.dim))
    x = jnp.concatenate([cls, x], 2)
    mask = None if mask is None else jnp.pad(mask, [(0, 0), (0, 0), (1, 0)], constant_values=True)
    return [(x, mask)]

  def pieces(self):
    """See Trunk.pieces: the blocks behind the sampling."""
    return transformer.in_halves(self._steps[self.samplings:])

  def scores(self, x, mask=None, train=False):
    """See Trunk.scores."""
    x, live = transformer.read_cls(x, mask)
    return self.head(self.norm(x)[:, :, None, None], live, train)
