"""Vision transformers on images, frames and clips: one factory, every variant a row of fields.

Dosovitskiy et al.: "An Image is Worth 16x16 Words", 2020. Touvron et al.:
"Training data-efficient image transformers", 2021. Bertasius, Wang, Torresani:
"Is Space-Time Attention All You Need for Video Understanding?", 2021. Bulat et
al.: "Space-time Mixing Attention for Video Transformer", 2021.

Steps: `embed`, `block0`, `block1`, ... Sites: `embed` and, per block, `block0.in`,
`.heads`, `.attn`, `.mlp`, `.out`; with divided attention also `.time`. Tokens at a site are
(B, G, N, D), the CLS first: G is the number of frames where each has a CLS of its own,
else 1, and then the patches follow frame by frame.
"""

from flax import linen as nn
import jax.numpy as jnp

from vidx.backbones.chain import Trunk
from vidx.nn import choices, pool, space_time, transformer
from vidx.nn import sites as sites_lib
from vidx.nn.head import Head
from vidx.nn.patches import PatchEmbed


class Embed(nn.Module):
  """Frames to tokens: patches, the CLS, positions, and times where `frames` is given."""

  dim: int
  patch: int
  image: int
  frames: int
  joined: bool
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, T, H, W, 3), mask (B, T) or (B, T, N) -> (B, G, N', D), mask (B, G, N'), both with the CLS."""
    x = PatchEmbed(self.dim, self.patch, self.dtype, name="patch")(x)
    b, t, h, w, d = x.shape
    side = self.image // self.patch
    if (h, w) != (side, side):
      raise ValueError(f"images of {h} x {w} patches for {side} x {side} positions: set the field image, "
                       f"now {self.image}, to the size of the images")
    x = x.reshape(b, t, h * w, d)
    cls = self.param("cls", transformer.token_init, (1, 1, d))
    positions = self.param("positions", transformer.token_init, (1, 1 + h * w, d))
    first = jnp.broadcast_to(cls + positions[:, :1], (b, 1 if self.joined else t, 1, d))
    x = x.astype(jnp.float32) + positions[:, 1:]
    if self.frames:
      if t != self.frames:
        raise ValueError(f"clips of {t} frames for {self.frames} times: set the field frames")
      times = self.param("times", nn.initializers.zeros, (1, t, d))[:, :, None]
      x = x + times
      first = first if self.joined else first + times
    if mask is not None:
      mask = jnp.broadcast_to(mask.astype(bool).reshape(b, t, -1), (b, t, h * w))
    if self.joined:
      x = x.reshape(b, 1, t * h * w, d)
      mask = None if mask is None else mask.reshape(b, 1, -1)
    x = jnp.concatenate([first, x], -2).astype(self.dtype or jnp.float32)
    mask = None if mask is None else jnp.pad(mask, [(0, 0), (0, 0), (1, 0)], constant_values=True)
    return sites_lib.at(self.sites, "embed", "at_embed")(x, mask, train)


class TemporalHead(nn.Module):
  """A small transformer over the frames' features, read at a CLS of its own."""

  num_classes: int
  layers: int
  heads: int
  dropout: float
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, T, D), mask (B, T) -> {'logits': (B, num_classes), 'features': (B, D)}, fp32."""
    b, _, d = x.shape
    cls = self.param("cls", nn.initializers.zeros, (1, 1, d)).astype(x.dtype)
    x = jnp.concatenate([jnp.broadcast_to(cls, (b, 1, d)), x], 1)
    mask = None if mask is None else jnp.pad(mask, [(0, 0), (1, 0)], constant_values=True)
    for i in range(self.layers):
      x, mask = transformer.Block(f"temporal{i}", self.heads, qkv_bias=False, eps=1e-5, sites=self.sites,
                                  dtype=self.dtype, name=f"block{i}")(x, mask, train)
    x = x[:, 0]
    out = {"features": x.astype(jnp.float32)}
    if self.num_classes:
      y = nn.LayerNorm(1e-5, dtype=self.dtype, name="norm")(x)
      y = transformer.gelu(nn.Dense(d, dtype=self.dtype, kernel_init=transformer.token_init, name="hidden")(y))
      y = nn.Dropout(self.dropout, deterministic=not train)(y).astype(jnp.float32)
      out["logits"] = nn.Dense(self.num_classes, kernel_init=transformer.token_init, name="fc")(y)
    return out


class ViT(Trunk):
  """A vision transformer; see Trunk for the fields that trunks share.

  A mask may name live patches, (B, N) of images and (B, T, N) of clips, or live
  frames, (B, T).

  Attributes:
    image: height and width of the images that it has positions for.
    patch: side of a patch.
    dim: channels D.
    depth: blocks.
    heads: of attention.
    mlp_ratio: hidden width of the MLPs over D.
    attention: 'space', frames apart; 'joint', all tokens of a clip together;
      'divided', along time, then within frames; 'shift', frames apart, with keys
      and values shifted along time.
    frames: of a clip, where there is something to learn per frame; 0: no times.
    shift: share of the keys' and values' channels per direction ('shift').
    shift_frames: clips are shifted in parts of so many frames; 0: as a whole.
    temporal_layers: of a transformer over the frames' features; 0: their mean.
    consensus: mean of per-frame logits; otherwise the frames' tokens are averaged before the last norm.
    qkv_bias: whether queries, keys and values have a bias.
    eps: of the norms.
    drop_path: rate of the last block; grows linearly from 0.
    chunk: keys that attention works on at a time; see `attention.attend`.
    remat: computes blocks anew in the backward pass, for less memory.
  """

  image: int = 224
  patch: int = 16
  dim: int = 768
  depth: int = 12
  heads: int = 12
  mlp_ratio: float = 4.0
  attention: str = "space"
  frames: int = 0
  shift: float = 1 / 8
  shift_frames: int = 0
  temporal_layers: int = 0
  qkv_bias: bool = True
  eps: float = 1e-6
  drop_path: float = 0.0
  head_std: float = 0.02
  chunk: int | None = None
  remat: bool = False

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    parts = space_time.DIVIDED_SITES if self.attention == "divided" else transformer.BLOCK_SITES
    temporal = [f"temporal{i}.{part}" for i in range(self.temporal_layers) for part in transformer.BLOCK_SITES]
    return ("embed", *(f"block{i}.{part}" for i in range(self.depth) for part in parts), *temporal)

  def setup(self):
    choices.check("attention", self.attention, ("space", "joint", "divided", "shift"))
    sites_lib.check(self.sites, self.site_names())
    joined = self.attention in ("joint", "divided")
    embed = Embed(self.dim, self.patch, self.image, self.frames, joined, self.placed, self.dtype, name="embed")
    self._steps = [("embed", embed), *((f"block{i}", self._block(i)) for i in range(self.depth))]
    self.norm = nn.LayerNorm(self.eps, dtype=self.dtype)
    if self.temporal_layers:
      self.head = TemporalHead(self.num_classes, self.temporal_layers, self.heads, self.dropout, self.placed,
                               self.dtype)
    else:
      self.head = Head(self.num_classes, self.dropout, self.head_std, consensus=True)

  def _block(self, i: int) -> nn.Module:
    fields = dict(site=f"block{i}", heads=self.heads, mlp_ratio=self.mlp_ratio, eps=self.eps, chunk=self.chunk,
                  drop_path=self.drop_path * i / max(self.depth - 1, 1), sites=self.placed, dtype=self.dtype,
                  name=f"block{i}")
    wrap = lambda block: nn.remat(block, static_argnums=(3,)) if self.remat else block
    if self.attention == "divided":
      return wrap(space_time.DividedBlock)(frames=self.frames, **fields)
    between = space_time.shift_keys(self.shift, self.shift_frames) if self.attention == "shift" else None
    return wrap(transformer.Block)(qkv_bias=self.qkv_bias, between=between, **fields)

  def pieces(self):
    """See Trunk.pieces: halves of blocks; whole ones where these are computed anew in the backward pass."""
    pieces = super().pieces()
    return pieces if self.remat else pieces[:1] + transformer.in_halves(self._steps[1:])

  @nn.nowrap
  def lengths(self, ways):
    """See Trunk.lengths; with divided attention, patches per frame."""
    [(_, mask)] = ways
    return super().lengths([self._by_frame(mask, mask)] if self.attention == "divided" else ways)

  @nn.nowrap
  def capacities(self, ways):
    """See Trunk.capacities; with divided attention, patches per frame."""
    [whole] = super().capacities(ways)
    return ((whole - 1) // self.frames if self.attention == "divided" else whole,)

  @nn.nowrap
  def fit(self, ways, sizes):
    """See Trunk.fit; with divided attention, patches per frame."""
    if self.attention != "divided":
      return super().fit(ways, sizes)
    [(x, mask)] = ways
    [(y, live)] = super().fit([self._by_frame(x, mask)], sizes)
    flat = lambda z: z.reshape(z.shape[0], 1, -1, *z.shape[3:])
    return [(jnp.concatenate([x[:, :, :1], flat(y)], 2), jnp.concatenate([mask[:, :, :1], flat(live)], 2))]

  @nn.nowrap
  def _by_frame(self, x, mask):
    """The patches (B, T, S, ...) behind the CLS of (B, 1, 1 + T * S, ...), and their mask."""
    split = lambda z: z[:, 0, 1:].reshape(z.shape[0], self.frames, -1, *z.shape[3:])
    return split(x), split(mask)

  def scores(self, x, mask=None, train=False):
    """See Trunk.scores; x: (B, G, N, D), not normalised."""
    x, live = transformer.read_cls(x, mask)
    if not self.consensus:
      x, live = pool.mean_over_live(x, live)[:, None], None
    x = self.norm(x)
    return self.head(x if self.temporal_layers else x[:, :, None, None], live, train)
