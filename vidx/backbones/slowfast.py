"""SlowFast: two residual networks on one clip, few frames with many channels and many frames with few.

Feichtenhofer et al.: "SlowFast Networks for Video Recognition", 2019.

Both pathways are `ResNet`s, walked step by step; after the stem and every stage but
the last, or after some of them, a convolution with a stride in time carries the fast
pathway's features over to the slow one. Sites: those of a ResNet behind `slow.` and `fast.`, and
`lateral.stem`, `lateral.res2`, ...: what is carried over.
"""

from collections.abc import Sequence
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain, abreast, as_clip
from vidx.backbones.resnet import ResNet
from vidx.nn import conv, pool, sites as sites_lib
from vidx.nn.non_local import NonLocal
from vidx.nn.norm import ConvNormAct

NARROW = 32  # channels; see ResNet.narrow


def slow_clip(video: jax.Array, alpha: int, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array | None]:
  """The slow pathway's frames: T / alpha of them, evenly spaced from the first to the last.

  Frame i is number i (T - 1) / (T / alpha - 1) of the clip, rounded down (the
  published linspace, truncated; in whole numbers here, where a published index
  could be one less by rounding).

  Args:
    video: (B, T, H, W, C); alpha divides T.
    alpha: frames of the clip per slow one.
    mask: (B, T), live frames in front; the slow frames then come from those alone.

  Returns:
    (B, T / alpha, H, W, C) and its mask, (B, T / alpha) or None.
  """
  frames = video.shape[1]
  if frames % alpha:
    raise ValueError(f"a clip of {frames} frames has no slow one: alpha = {alpha} does not divide {frames}")
  steps = jnp.arange(frames // alpha)
  if mask is None:
    return video[:, steps * (frames - 1) // max(frames // alpha - 1, 1)], None
  length = mask.sum(1, dtype=jnp.int32)[:, None]
  slow = jnp.maximum(length // alpha, 1)
  index = jnp.minimum(steps * (length - 1) // jnp.maximum(slow - 1, 1), frames - 1)
  live = (steps < slow).astype(mask.dtype)
  clip = jnp.take_along_axis(video, index[:, :, None, None, None], 1)
  return pool.live_frames(clip, live), live


def join(x: jax.Array, y: jax.Array, x_mask: jax.Array | None = None, y_mask: jax.Array | None = None
         ) -> tuple[jax.Array, jax.Array | None]:
  """Channels of two clips side by side; the shorter of two gets zero frames on both sides, the odd one behind.

  Args:
    x: (B, T, H, W, C).
    y: (B, T', H, W, C').
    x_mask: (B, T), live frames in front; None: all live.
    y_mask: (B, T').

  Returns:
    (B, max(T, T'), H, W, C + C'), and its mask, None where both are None.
  """
  frames = max(x.shape[1], y.shape[1])
  if x_mask is None and y_mask is None:
    return jnp.concatenate([_centred(x, frames), _centred(y, frames)], -1), None
  masks = [jnp.ones(z.shape[:2], jnp.int32) if m is None else m for z, m in ((x, x_mask), (y, y_mask))]
  lengths = [m.sum(1, dtype=jnp.int32) for m in masks]
  longest = jnp.maximum(*lengths)
  parts = [_moved(z, n, (longest - n) // 2, frames) for z, n in zip((x, y), lengths)]
  mask = (jnp.arange(frames) < longest[:, None]).astype(masks[0].dtype)
  return jnp.concatenate(parts, -1), mask


def _centred(x, frames):
  more = frames - x.shape[1]
  return jnp.pad(x, [(0, 0), (more // 2, more - more // 2)] + [(0, 0)] * 3) if more else x


def _moved(x, length, offset, frames):
  """The first `length` frames of each example, `offset` frames later, in an array of `frames`; zeros elsewhere."""
  index = jnp.arange(frames) - offset[:, None]
  live = (index >= 0) & (index < length[:, None])
  x = jnp.take_along_axis(x, jnp.clip(index, 0, x.shape[1] - 1)[:, :, None, None, None], 1)
  return jnp.where(live[:, :, None, None, None], x, 0)


class Lateral(nn.Module):
  """What the fast pathway hands to the slow one: a convolution over time, with a stride, to more channels."""

  site: str
  kernel: int
  stride: int
  ratio: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    k = self.kernel
    frames = -(-x.shape[1] // self.stride)
    mask = pool.stride_mask(mask, k, self.stride, k // 2, frames)
    layer = ConvNormAct(self.ratio * x.shape[-1], (k, 1, 1), (self.stride, 1, 1), norm=self.norm, dtype=self.dtype,
                        name="conv")
    if x.shape[-1] < 4 * NARROW and conv.narrow_form(x, mask):  # as a stage of such bottlenecks left it
      with conv.frames_among_channels(x.shape[1]):
        x = conv.from_channels(layer(conv.to_channels(x), train), frames)
    else:
      x = layer(x, train, mask)
    return sites_lib.at(self.sites, self.site, "at_lateral")(x, mask, train)


class SlowFast(Chain):
  """A slow and a fast residual network with lateral connections, on clips of a multiple of `alpha` frames.

  See Chain and Trunk for the fields that trunks share. The steps are those of the
  two pathways, side by side; features have the slow pathway's channels first.

  Attributes:
    stages: bottlenecks per stage, of both pathways.
    width: of the slow pathway; see ResNet.
    beta: how many times narrower the fast pathway is.
    alpha: frames of the clip per frame of the slow pathway.
    fusion_kernel: extent in time of the lateral convolutions; odd.
    fusion_ratio: their channels over those of the fast pathway.
    laterals: after which of the stem and the stages but the last features are carried over; (): all.
    non_local: (stage, block) pairs of the slow pathway, such as (4, 6), behind which it has a non-local operation
      (Wang et al.: "Non-local Neural Networks", 2018) whose affinities are divided by the number of keys.
    non_local_pool: of its keys and values, see NonLocal.
    slow_temporal: extent of kernels in time, per stage; a stage may list its blocks.
    fast_temporal: the same of the fast pathway.
    strides: spatial stride per stage.
    dilations: of the convolutions over space, per stage; a stage may list its blocks.
    zero_init: residual branches start as nothing.
  """

  num_classes: int = 400
  stages: Sequence[int] = (3, 4, 6, 3)
  width: int = 64
  beta: int = 8
  alpha: int = 4
  fusion_kernel: int = 7
  fusion_ratio: int = 2
  laterals: Sequence[bool] = ()
  non_local: Sequence[Sequence[int]] = ()
  non_local_pool: Sequence[int] = (1, 2, 2)
  slow_temporal: Sequence[int | Sequence[int]] = (1, 1, 3, 3)
  fast_temporal: Sequence[int | Sequence[int]] = (3, 3, 3, 3)
  strides: Sequence[int] = (1, 2, 2, 2)
  dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
  zero_init: bool = True
  dropout: float = 0.5
  consensus: bool = False

  def __post_init__(self):
    if self.fusion_kernel % 2 == 0:
      raise ValueError(f"fusion_kernel = {self.fusion_kernel} has no middle: take an odd one")
    if self.width % self.beta:
      raise ValueError(f"width = {self.width} cannot be divided by beta = {self.beta}")
    if self.laterals and len(self.laterals) != len(self.stages):
      raise ValueError(f"laterals = {tuple(self.laterals)} is one of the stem and of each of the {len(self.stages)}"
                       " stages but the last")
    super().__post_init__()

  @property
  def reduction(self) -> int:
    """See Trunk.reduction."""
    return self.pathway("slow").reduction

  @nn.nowrap
  def pathway(self, name: str) -> ResNet:
    """The 'slow' or the 'fast' network."""
    slow = name == "slow"
    own = dict(width=self.width, stem="image", temporal=self.slow_temporal) if slow else dict(
        width=self.width // self.beta, stem="video_pool", temporal=self.fast_temporal, narrow=NARROW)
    shared = {f: getattr(self, f) for f in ("stages", "strides", "dilations", "zero_init", "eps", "momentum",
                                            "frozen_bn", "bn_groups", "dtype")}
    added = {}
    if slow and self.non_local:
      block = functools.partial(NonLocal, "dot", pool=tuple(self.non_local_pool), norm=self.norms()[1],
                                dtype=self.dtype)
      added = {f"{self.prefix}slow.res{stage}.{i}.out": block for stage, i in self.non_local}
    network = sites_lib.share(
        lambda sites: ResNet(num_classes=0, block="bottleneck", dims=3, temporal_at="a", prefix=f"{self.prefix}{name}.",
                             sites=sites_lib.merge(added, sites), parent=None, **own, **shared), self.sites)
    sites_lib.check(added, network.site_names())
    return network

  @nn.nowrap
  def lateral_ends(self) -> tuple[str, ...]:
    """The steps after which features are carried over."""
    ends = ("stem", *(f"res{i + 2}" for i in range(len(self.stages) - 1)))
    return tuple(end for end, there in zip(ends, self.laterals or [True] * len(ends)) if there)

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    lateral = lambda end: [f"lateral.{end}"] if end in self.lateral_ends() else []
    names = ["slow.stem", "fast.stem", *lateral("stem")]
    for i, blocks in enumerate(self.stages):
      for j in range(blocks):
        names += [f"{way}.res{i + 2}.{j}.{part}" for way in ("slow", "fast")
                  for part in ("in", "branch", "residual", "out")]
      names += [*(f"{way}.res{i + 2}" for way in ("slow", "fast")), *lateral(f"res{i + 2}")]
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    self.slow, self.fast = self.pathway("slow"), self.pathway("fast")
    _, norm = self.norms()
    self.carry = {end: Lateral(f"lateral.{end}", self.fusion_kernel, self.alpha, self.fusion_ratio, norm, self.placed,
                               self.dtype, name=f"lateral_{end}") for end in self.lateral_ends()}
    self.head = self.pooled_head()

  def steps(self):
    """((name, slow module), (name, fast module)) pairs; see Trunk.steps."""
    return list(zip(self.slow.steps(), self.fast.steps()))

  def enter(self, video, mask=None, train=False):
    """See Trunk.enter: the slow clip first."""
    video = as_clip(video, stills=False)
    return [slow_clip(video, self.alpha, mask), (video, mask)]

  def pieces(self):
    """See Trunk.pieces."""
    return abreast((self.slow, self.fast), self.exchange)

  def leave(self, ways, train=False):
    """See Trunk.leave."""
    return self.scores(*ways, train)

  def trunk(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None
            ) -> tuple[tuple[jax.Array, jax.Array | None], tuple[jax.Array, jax.Array | None]]:
    """(x, mask) of the last stage of the slow and of the fast pathway."""
    return tuple(self.walk(self.enter(video, mask, train), train))

  def exchange(self, name, ways, train=False):
    """The (x, mask) of both pathways after a step, with what the fast one hands over."""
    if name not in self.carry:
      return ways
    ((x, x_mask), fast), (y, y_mask) = ways, self.carry[name](*ways[1], train)
    return join(x, y, x_mask, y_mask), fast

  def scores(self, slow, fast, train=False):
    """The outputs for (x, mask) of each pathway."""
    return self.head(jnp.concatenate([self.pooled(*way) for way in (slow, fast)], -1), None, train)
