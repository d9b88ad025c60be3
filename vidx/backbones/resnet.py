"""Residual networks on frames and clips: one factory, every variant a row of fields.

He et al.: "Deep Residual Learning for Image Recognition", 2016. Tran et al.: "A
Closer Look at Spatiotemporal Convolutions for Action Recognition", 2018. Hara
et al.: "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and
ImageNet?", 2018. Xie et al.: "Aggregated Residual Transformations", 2017.

Steps: `stem`, `res2.0`, `res2.1`, ..., `res2`, `res3.0`, ... Sites: `stem`, per
block `res2.0.in` (what enters the block), `.branch` (what enters its residual
branch), `.residual` (what the branch adds), `.out` (what leaves the block), and
per stage `res2`.
"""

from collections.abc import Sequence
import dataclasses
import functools
import math
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from vidx.backbones.chain import Chain
from vidx.nn import choices, conv, pool, sites as sites_lib
from vidx.nn.norm import ConvNormAct, NormAct

BLOCK_SITES = ("in", "branch", "residual", "out")


@dataclasses.dataclass(frozen=True)
class StemShape:
  """A stem: (kt, kh, kw) convolution, then max pooling where `window` is given; `mid` splits the kernel."""

  kernel: tuple[int, int, int]
  strides: tuple[int, int, int]
  window: tuple[int, int, int] | None = None
  window_strides: tuple[int, int, int] = (1, 2, 2)
  mid: int = 0


STEMS = {
    "image": StemShape((1, 7, 7), (1, 2, 2), (1, 3, 3)),
    "image_flat": StemShape((1, 7, 7), (1, 2, 2)),
    "small": StemShape((1, 3, 3), (1, 2, 2)),
    "video": StemShape((3, 7, 7), (1, 2, 2)),
    "video_pool": StemShape((5, 7, 7), (1, 2, 2), (1, 3, 3)),
    "r2plus1d": StemShape((3, 7, 7), (1, 2, 2), mid=45),
    "hara": StemShape((7, 7, 7), (1, 2, 2), (3, 3, 3), (2, 2, 2)),
    "hara_flat": StemShape((1, 7, 7), (1, 2, 2), (1, 3, 3), (2, 2, 2)),
    "hara_table": StemShape((7, 7, 7), (2, 2, 2), (3, 3, 3), (1, 1, 1)),
}


def middle_width(inner: int, out: int) -> int:
  """Channels between the two halves of a (2+1)D convolution with as many parameters as the 3^3 one."""
  return inner * out * 27 // (inner * 9 + 3 * out)


CHOICES = {
    "block": ("basic", "bottleneck"),
    "temporal_at": ("a", "b"),
    "stride_at": ("a", "b"),
    "split": ("", "block", "conv", "plain", "reversed"),
    "shortcut": ("A", "B"),
    "stem": tuple(STEMS),
    "thin": ("every", "mean"),
    "order": ("post", "pre"),
}


_SMALL = 32  # pixels along a side, from which on it costs more to write a clip than to slice it


class SplitConv(nn.Module):
  """(2+1)D: a spatial ConvNormAct to `mid` channels, then a temporal one; or the temporal one first."""

  features: int
  kernel: tuple[int, int, int]
  strides: tuple[int, int, int]
  mid: int
  act: Any = nn.relu
  mid_norm: tuple[tuple[str, object], ...] = ()
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None
  temporal_first: bool = False

  @nn.compact
  def __call__(self, x, train=False, mask=None, mask_before=None):
    """Args: x (B, T, H, W, C); mask (B, T') after the time stride, mask_before (B, T) before it."""
    (kt, kh, kw), (st, sh, sw) = self.kernel, self.strides
    halves = [("spatial", (1, kh, kw), (1, sh, sw), mask_before), ("temporal", (kt, 1, 1), (st, 1, 1), mask)]
    if self.temporal_first:
      halves = [halves[1], ("spatial", (1, kh, kw), (1, sh, sw), mask)]
    ends = [(self.mid, nn.relu, self.mid_norm), (self.features, self.act, self.norm)]
    for (name, kernel, strides, live), (features, act, norm) in zip(halves, ends):
      x = ConvNormAct(features, kernel, strides, act=act, norm=norm, dtype=self.dtype, name=name)(x, train, live)
    return x


class Stem(nn.Module):
  """Convolution and pooling in front of the first stage."""

  features: int
  shape: StemShape
  dims: int
  norm: tuple[tuple[str, object], ...]
  first_norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    s = self.shape
    before = mask
    mask = pool.stride_mask(mask, s.kernel[0], s.strides[0], s.kernel[0] // 2, -(-x.shape[1] // s.strides[0]))
    if s.mid:
      x = SplitConv(self.features, s.kernel, s.strides, s.mid, mid_norm=self.first_norm, norm=self.norm,
                    dtype=self.dtype, name="conv")(x, train, mask, before)
    else:
      x = ConvNormAct(self.features, s.kernel[3 - self.dims:], s.strides[3 - self.dims:], norm=self.first_norm,
                      dtype=self.dtype, name="conv")(x, train, mask)
    if s.window:
      padding = tuple(w // 2 for w in s.window)
      x = pool.max_pool(x, s.window, s.window_strides, padding)
      mask = pool.stride_mask(mask, s.window[0], s.window_strides[0], padding[0], x.shape[1])
      x = pool.live_frames(x, mask)
    return sites_lib.at(self.sites, "stem", "at_stem")(x, mask, train)


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a block looks like; all fields as in ResNet, resolved for this block."""

  name: str
  kind: str
  inner: int
  out: int
  temporal: int
  temporal_at: str
  stride: int
  time_stride: int
  stride_at: str
  dilation: int
  groups: int
  dims: int
  split: str
  shortcut: str
  zero_init: bool
  thin: str
  order: str


class Block(nn.Module):
  """One residual block: out = relu(shortcut(in) + branch(in)), without the relu where `order` is 'pre'."""

  shape: Shape
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    s = self.shape
    site = sites_lib.within(s.name, self.sites)
    x, mask = site("in")(x, mask, train)
    width = x.shape[-1] // conv.copies_inside()
    branch, layers = site("branch"), self._layers(width)
    along, across, _ = layers[0][1]
    if branch.blocks or (along > across and min(x.shape[2:4]) > _SMALL):
      x = conv.written(x)  # what is plugged in may shift it, and a kernel along time slices it
    y, inside = branch(x, mask, train)
    for i, (features, kernel, strides, groups) in enumerate(layers):
      last = i == len(layers) - 1
      norm = (*self.norm, ("scale_init", 0.0)) if last and s.zero_init else self.norm
      act = None if last else nn.relu
      before = inside
      inside = pool.stride_mask(inside, kernel[0], strides[0], kernel[0] // 2, -(-y.shape[1] // strides[0]))
      if s.split and kernel[0] > 1 and kernel[1] > 1:
        y = SplitConv(features, kernel, strides, self._middle(y.shape[-1] // conv.copies_inside(), width, features), act,
                      self.norm, norm, self.dtype, s.split == "reversed", name=f"conv{i + 1}")(
                          y, train, inside, before)
      else:
        spread = (1, s.dilation, s.dilation)
        y = self._thinned(y, strides[0], before)
        if s.order == "pre":
          y = NormAct(self.norm, self.dtype, name=f"act{i + 1}")(y, train, before)
          y = conv.Conv(features, kernel[3 - s.dims:], strides[3 - s.dims:], groups=groups,
                        dilation=spread[3 - s.dims:], dtype=self.dtype, name=f"conv{i + 1}")(y)
          y = pool.live_frames(y, inside)
          continue
        y = ConvNormAct(features, kernel[3 - s.dims:], strides[3 - s.dims:], groups, spread[3 - s.dims:], act,
                        norm=norm, dtype=self.dtype, name=f"conv{i + 1}")(y, train, inside)
    y, inside = site("residual")(y, inside, train)
    y = self._shortcut(x, train, inside, mask) + y
    y = y if s.order == "pre" else nn.relu(y)
    return site("out")(y, inside, train)

  def _layers(self, width):
    """(features, kernel, strides, groups) of the branch's convolutions."""
    s = self.shape
    strides = (s.time_stride, s.stride, s.stride)
    if s.kind == "basic":
      kernel = (s.temporal, 3, 3)
      return [(s.inner, kernel, strides, 1), (s.out, kernel, (1, 1, 1), s.groups)]
    first, second = ((s.temporal, 1), (1, s.temporal))[s.temporal_at == "b"]
    ones = (1, 1, 1)
    return [(s.inner, (first, 1, 1), strides if s.stride_at == "a" else ones, 1),
            (s.inner, (second, 3, 3), strides if s.stride_at == "b" else ones, s.groups),
            (s.out, ones, ones, 1)]

  def _thinned(self, x, stride, mask):
    """The frames over which a kernel without a time axis, of such a stride, goes on."""
    if self.shape.dims == 3 or stride == 1:
      return x
    return x[:, ::stride] if self.shape.thin == "every" else pool.mean_of_runs(x, stride, mask)

  def _middle(self, width, block_width, features):
    """Channels between the halves of a split convolution."""
    if self.shape.split in ("plain", "reversed"):
      return features
    return middle_width(block_width if self.shape.split == "block" else width, features)

  def _shortcut(self, x, train, mask, before):
    s = self.shape
    strides = (s.time_stride, s.stride, s.stride)
    if x.shape[-1] == s.out * conv.copies_inside() and max(strides) == 1:
      return x
    if s.shortcut == "A":
      x = x[:, ::strides[0], ::strides[1], ::strides[2]]
      return jnp.pad(x, [(0, 0)] * 4 + [(0, s.out - x.shape[-1])])
    x = self._thinned(x, s.time_stride, before)
    return ConvNormAct(s.out, (1,) * s.dims, strides[3 - s.dims:], act=None, norm=self.norm, dtype=self.dtype,
                       name="shortcut")(x, train, mask)


class StageEnd(nn.Module):
  """The site of a stage, then max pooling over time where `window` is above 1."""

  name_of: str
  window: int
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x, mask = sites_lib.at(self.sites, self.name_of, "at_stage")(x, mask, train)
    if self.window > 1:
      x = pool.max_pool(x, (self.window, 1, 1), (self.window, 1, 1), (0, 0, 0))
      mask = pool.stride_mask(mask, self.window, self.window, 0, x.shape[1])
      x = pool.live_frames(x, mask)  # an odd last frame would be met by the next temporal kernel
    return x, mask


class Last(nn.Module):
  """The normalisation and ReLU in front of the pooling, then the site."""

  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = NormAct(self.norm, self.dtype, name="act")(x, train, mask)
    return sites_lib.at(self.sites, "last", "at_end")(x, mask, train)


def residual_sites(stages: Sequence[int]) -> tuple[str, ...]:
  """Sites of a stem and of stages of so many residual blocks, in the order in which the input passes them."""
  names = ["stem"]
  for i, blocks in enumerate(stages, start=2):
    names += [*(f"res{i}.{j}.{part}" for j in range(blocks) for part in BLOCK_SITES), f"res{i}"]
  return tuple(names)


class ResNet(Chain):
  """A residual network; see Chain and Trunk for the fields that trunks share.

  Attributes:
    stages: blocks per stage.
    block: 'basic' or 'bottleneck'.
    width: channels of the first stage's inner convolutions; doubles per stage.
    widths: in place of the doubling, the width of every stage.
    stem_features: channels of the stem; 0: `width`.
    inner: factor on the inner width of bottlenecks (ResNeXt 32x4d: 2).
    expansion: output width of a bottleneck over `width`.
    groups: of the 3x3 convolution.
    dims: 2 for kernels that see single frames, 3 for kernels with a time axis.
    temporal: extent of kernels in time, per stage; a stage may list its blocks.
    temporal_at: which convolution of a bottleneck has it: 'a', the first, or 'b', the 3x3.
    strides: spatial stride per stage.
    time_strides: temporal stride per stage.
    thin: what kernels without a time axis take where time is strided: 'every' so manieth
      frame, or the 'mean' of so many.
    stride_at: which convolution of a bottleneck strides: 'b', the 3x3, or 'a', the first.
    dilations: of the 3x3 convolutions, per stage; a stage may list its blocks.
    time_pools: max pooling over time after each stage.
    split: (2+1)D convolutions: spatial, then temporal, with a middle width that
      follows the 'block' or each 'conv', or is that of the output: 'plain', and
      'reversed' with the temporal one first; '' for none.
    order: 'post', convolution, normalisation and ReLU, or 'pre', normalisation and ReLU in
      front of each convolution of a block, with a step and site `last` of both behind the blocks
      (He et al.: "Identity Mappings in Deep Residual Networks", 2016).
    shortcut: where shapes change: 'B', a 1x1 convolution, or 'A', zero channels.
    stem: a key of STEMS.
    zero_init: residual branches start as nothing.
    narrow: layers of fewer inner channels see the frames of a clip among the channels where that is quicker, on a TPU;
      see vidx.nn.conv.narrow_form. For 3D kernels without a stride in time, groups, splits and shortcuts A.
  """

  stages: Sequence[int] = (2, 2, 2, 2)
  block: str = "basic"
  width: int = 64
  widths: Sequence[int] = ()
  stem_features: int = 0
  inner: float = 1
  expansion: int = 4
  groups: int = 1
  dims: int = 2
  temporal: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
  temporal_at: str = "b"
  strides: Sequence[int] = (1, 2, 2, 2)
  time_strides: Sequence[int] = (1, 1, 1, 1)
  thin: str = "every"
  stride_at: str = "b"
  dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1)
  time_pools: Sequence[int] = (1, 1, 1, 1)
  split: str = ""
  order: str = "post"
  shortcut: str = "B"
  stem: str = "image"
  zero_init: bool = False
  narrow: int = 0
  consensus: bool = False

  def __post_init__(self):
    for field, known in CHOICES.items():
      choices.check(field, getattr(self, field), known)
    for field in ("strides", "time_strides", "dilations", "time_pools", "temporal", "widths"):
      given = getattr(self, field)
      if given and len(given) < len(self.stages):
        raise ValueError(f"{len(self.stages)} stages, but {field} names {len(given)}")
    if self.order == "pre" and (self.split or self.zero_init or (self.dims == 2 and max(self.time_strides) > 1)):
      raise ValueError("order = 'pre' is for whole kernels: leave split empty, zero_init False, and time"
                       " unstrided in 2D")
    if self.narrow and (self.dims == 2 or self.groups > 1 or self.split or self.shortcut == "A"
                        or max(*self.time_strides, STEMS[self.stem].strides[0]) > 1):
      raise ValueError("narrow is for 3D kernels without a stride in time, groups, splits and shortcuts A: leave it 0")
    super().__post_init__()

  @property
  def reduction(self) -> int:
    """See Trunk.reduction."""
    stem = STEMS[self.stem]
    pooled = stem.window_strides[1] if stem.window else 1
    return stem.strides[1] * pooled * math.prod(self.strides[:len(self.stages)])

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return (*residual_sites(self.stages), *(["last"] if self.order == "pre" else []))

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, rest = self.norms()
    steps = [("stem", Stem(self.stem_features or self.width, STEMS[self.stem], self.dims, rest, first, self.placed,
                           self.dtype, name="stem"))]
    for i, blocks in enumerate(self.stages):
      stage = f"res{i + 2}"
      steps += [(f"{stage}.{j}", Block(self._shape(i, j), rest, self.placed, self.dtype, name=f"{stage}_{j}"))
                for j in range(blocks)]
      steps.append((stage, StageEnd(stage, self.time_pools[i], self.placed, name=stage)))
    if self.order == "pre":
      steps.append(("last", Last(rest, self.placed, self.dtype, name="last")))
    self._steps = steps
    self.head = self.pooled_head()

  def steps(self):
    """See Trunk.steps."""
    if self.dims == 3 and self.shortcut == "B" and not self.narrow:
      if self.block == "basic":
        return self.folded(conv.copies_that_fit(self.width), lambda step: self._inner(step) < conv.LANES)
      # Bottlenecks fill the lanes by themselves; with stems over more frames, more is lost in the layout than gained.
      if 1 < STEMS[self.stem].kernel[0] <= 5:
        return self.folded(4, lambda step: isinstance(step, Stem))
    is_narrow = lambda name, step: 0 < self._inner(step) < self.narrow and not self.is_plugged(name)
    return [(name, functools.partial(conv.narrow, step) if is_narrow(name, step) else step)
            for name, step in self._steps]

  def _inner(self, step: nn.Module) -> int:
    """Channels inside of a step; 0 where it has no layers."""
    return step.features if isinstance(step, Stem) else step.shape.inner if isinstance(step, Block) else 0

  def _shape(self, stage: int, block: int) -> Shape:
    first = block == 0
    width = self.widths[stage] if self.widths else self.width * 2**stage
    bottleneck = self.block == "bottleneck"
    of_block = lambda given: given if isinstance(given, int) else given[block]
    return Shape(
        name=f"res{stage + 2}.{block}", kind=self.block,
        inner=int(width * self.inner) if bottleneck else width,
        out=width * self.expansion if bottleneck else width,
        temporal=of_block(self.temporal[stage]),
        temporal_at=self.temporal_at, stride=self.strides[stage] if first else 1,
        time_stride=self.time_strides[stage] if first else 1, stride_at=self.stride_at,
        dilation=of_block(self.dilations[stage]), groups=self.groups, dims=self.dims, split=self.split,
        shortcut=self.shortcut, zero_init=self.zero_init, thin=self.thin, order=self.order)
