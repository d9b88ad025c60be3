"""Inception networks on frames and clips: one factory, every variant a row of fields.

Ioffe and Szegedy: "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015 (BN-Inception). Szegedy et al.: "Going
Deeper with Convolutions", 2015 (V1). Carreira and Zisserman: "Quo Vadis, Action
Recognition? A New Model and the Kinetics Dataset", 2017 (I3D). Xie et al.:
"Rethinking Spatiotemporal Feature Learning", 2018 (S3D, S3D-G).

Steps: `stem`, `conv2`, `mixed3.0`, `mixed3.1`, ..., `pool3` where a pooling ends the
stage, `mixed4.0`, ... Sites: `stem`, `conv2` and `pool3` for what leaves them,
`mixed3.0.in` and `mixed3.0.out` for what enters and leaves a block.
"""

from collections.abc import Sequence
import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain
from vidx.backbones.resnet import SplitConv
from vidx.nn import choices, pool, sites as sites_lib
from vidx.nn.head import Head
from vidx.nn.norm import ConvNormAct
from vidx.nn.same_padding import pad_same

Triple = tuple[int, int, int]
PADDINGS = ("half", "ceil", "same")

#: Blocks per stage: channels of the 1x1 branch; of two branches, each a 1x1 and 3x3
#: convolutions; pooling and the channels of its 1x1. These are those of V1, I3D and S3D.
STAGES = (
    ((64, (96, 128), (16, 32), ("max", 32)), (128, (128, 192), (32, 96), ("max", 64))),
    ((192, (96, 208), (16, 48), ("max", 64)), (160, (112, 224), (24, 64), ("max", 64)),
     (128, (128, 256), (24, 64), ("max", 64)), (112, (144, 288), (32, 64), ("max", 64)),
     (256, (160, 320), (32, 128), ("max", 128))),
    ((256, (160, 320), (32, 128), ("max", 128)), (384, (192, 384), (48, 128), ("max", 128))),
)


@dataclasses.dataclass(frozen=True)
class Units:
  """What the convolutions of one network have in common; see Inception."""

  dims: int
  padding: str
  separable: bool
  bias: bool
  norm: tuple[tuple[str, object], ...]
  dtype: jnp.dtype | None

  def conv(self, name: str, features: int, size: int, strides: Triple = (1, 1, 1), norm: tuple | None = None):
    """A convolution with normalisation and ReLU, for a compact call: (x, mask, train) -> (x, mask)."""
    kernel, norm = (size if self.dims == 3 else 1, size, size), norm or self.norm

    def call(x, mask, train):
      before, padding = mask, None
      if self.padding == "same" and max(strides) > 1:
        x, mask = pad_same(x, kernel, strides, mask)
        padding = 0
      else:
        mask = pool.stride_mask(mask, kernel[0], strides[0], kernel[0] // 2, -(-x.shape[1] // strides[0]))
      if self.separable and size > 1:
        return SplitConv(features, kernel, strides, features, mid_norm=norm, norm=self.norm, dtype=self.dtype,
                         name=name)(x, train, mask, before), mask
      return ConvNormAct(features, kernel[3 - self.dims:], strides[3 - self.dims:], use_bias=self.bias, norm=norm,
                         dtype=self.dtype, padding=padding, name=name)(x, train, mask), mask

    return call

  def max_pool(self, x: jax.Array, mask: jax.Array | None, window: Triple, strides: Triple
               ) -> tuple[jax.Array, jax.Array | None]:
    """Maxima over windows, of live frames alone; dead ones leave as zeros."""
    frames = lambda mask: mask[:, :, None, None, None] > 0
    timed = mask is not None and window[0] > 1
    x = jnp.where(frames(mask), x, -jnp.inf) if timed else x
    if self.padding == "same":
      x, mask = pad_same(x, window, strides, mask, -jnp.inf)
      x = pool.max_pool(x, window, strides, (0, 0, 0))
    else:
      padding = tuple((k - 1) // 2 for k in window)
      if self.padding == "ceil" and max(strides) > 1:
        padding = (padding[0], 0, 0)
        behind = [(0, -(-max(n - k, 0) // s) * s + k - n) for n, k, s in zip(x.shape[2:4], window[1:], strides[1:])]
        x = jnp.pad(x, [(0, 0), (0, 0), *behind, (0, 0)], constant_values=-jnp.inf)
      if any(n + 2 * p < k for n, p, k in zip(x.shape[1:4], padding, window)):
        raise ValueError(f"the clip is too short or its frames are too small: {x.shape[1:4]} for a pooling of {window}")
      x = pool.max_pool(x, window, strides, padding)
      mask = pool.stride_mask(mask, window[0], strides[0], padding[0], x.shape[1])
    return (jnp.where(frames(mask), x, 0) if timed else x), mask


class Stem(nn.Module):
  """7x7 convolution of stride 2 and max pooling, then the site."""

  features: int
  units: Units
  first: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = pool.live_frames(x, mask)
    strides = (2 if self.units.dims == 3 else 1, 2, 2)
    x, mask = self.units.conv("conv", self.features, 7, strides, self.first)(x, mask, train)
    x, mask = self.units.max_pool(x, mask, (1, 3, 3), (1, 2, 2))
    return sites_lib.at(self.sites, "stem", "at_end")(x, mask, train)


class Second(nn.Module):
  """1x1 and 3x3 convolutions and max pooling, then the site."""

  reduce: int
  features: int
  units: Units
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x, mask = self.units.conv("reduce", self.reduce, 1)(x, mask, train)
    x, mask = self.units.conv("conv", self.features, 3)(x, mask, train)
    x, mask = self.units.max_pool(x, mask, (1, 3, 3), (1, 2, 2))
    return sites_lib.at(self.sites, "conv2", "at_end")(x, mask, train)


class Pool(nn.Module):
  """Max pooling that halves the grid, then the site."""

  site: str
  size: int
  units: Units
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    clips = self.units.dims == 3
    x, mask = self.units.max_pool(x, mask, (self.size if clips else 1,) + (self.size,) * 2, (2 if clips else 1, 2, 2))
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class Gate(nn.Module):
  """x * sigmoid(W mean(x) + b): channels are weighed by the whole clip (S3D-G)."""

  @nn.compact
  def __call__(self, x, mask=None):
    """(B, T, H, W, C), mask (B, T) -> (B, T, H, W, C)."""
    weights = nn.sigmoid(nn.Dense(x.shape[-1], name="fc")(pool.mean_pool(x, mask)))
    return x * weights[:, None, None, None].astype(x.dtype)


class Mixed(nn.Module):
  """One block: its branches side by side. Where it has no 1x1 branch it halves the image."""

  name_of: str
  block: tuple
  gating: bool
  units: Units
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    one, *chains, (kind, projection) = self.block
    site = sites_lib.within(self.name_of, self.sites)
    strides = (1, 1, 1) if one else (1, 2, 2)
    x, mask = site("in")(x, mask, train)
    outs = [self.units.conv("branch0", one, 1)(x, mask, train)[0]] if one else []
    for i, widths in enumerate(chains, start=1):
      y, _ = self.units.conv(f"branch{i}_0", widths[0], 1)(x, mask, train)
      for j, width in enumerate(widths[1:], start=1):
        last = j == len(widths) - 1
        y, _ = self.units.conv(f"branch{i}_{j}", width, 3, strides if last else (1, 1, 1))(y, mask, train)
        y = Gate(name=f"gate{i}_{j}")(y, mask) if self.gating else y
      outs.append(y)
    window = (3 if self.units.dims == 3 else 1, 3, 3)
    if kind == "max":
      if self.units.padding == "ceil" and not one:  # odd sides become as large as the convolutions make them
        x = jnp.pad(x, [(0, 0), (0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2), (0, 0)], constant_values=-jnp.inf)
      y, _ = self.units.max_pool(x, mask, window, strides)
    else:
      y = pool.average_pool(jnp.pad(x, [(0, 0), *((k // 2,) * 2 for k in window), (0, 0)]), window, strides, (0, 0, 0))
    outs.append(self.units.conv("pool", projection, 1)(y, mask, train)[0] if projection else y)
    return site("out")(jnp.concatenate(outs, -1), mask, train)


class WindowHead(Head):
  """Scores the mean over windows of the clip, in which the entries at its ends count less; see Head."""

  window: Sequence[int] = (2, 7, 7)

  def __call__(self, x, mask=None, train=False):
    return super().__call__(*pool.windows(x, mask, self.window), train)


class Inception(Chain):
  """BN-Inception, Inception-V1, I3D, S3D; see Chain for the fields that trunks share.

  Attributes:
    stages: blocks per stage; see STAGES. A block without a 1x1 branch (0) halves the
      image; its pooling has no 1x1 (0).
    pools: sizes of the pooling after each stage but the last; none where blocks halve the image.
    widths: channels of the stem, and of the two convolutions after it.
    dims: 2 for single frames; 3 for clips: kernels reach as far in time as in space.
    padding: where an operation strides: 'half' of the kernel on both sides; 'ceil' as 'half', but
      pooling of images rounds the size up; 'same' as TensorFlow does.
    separable: 3-D kernels are split into a spatial and a temporal convolution.
    gating: see Gate; after the 3x3 convolutions of a block.
    bias: of the convolutions.
    window: of the mean before the classifier, in time, height, width; of clips only.
  """

  stages: Sequence[Sequence[Sequence]] = STAGES
  pools: Sequence[int] = (3, 2)
  widths: Sequence[int] = (64, 64, 192)
  dims: int = 2
  padding: str = "ceil"
  separable: bool = False
  gating: bool = False
  bias: bool = False
  window: Sequence[int] = (2, 7, 7)

  def __post_init__(self):
    choices.check("padding", self.padding, PADDINGS)
    if self.separable and (self.dims == 2 or self.padding == "same" or self.bias):
      raise ValueError("separable convolutions are of clips (dims = 3), without bias, and not padded as 'same'")
    if self.pools and len(self.pools) != len(self.stages) - 1:
      raise ValueError(f"{len(self.stages)} stages need {len(self.stages) - 1} pools or none, got {len(self.pools)}")
    super().__post_init__()

  @nn.nowrap
  def blocks(self) -> list[list[tuple[str, Sequence]]]:
    """(name, row of `stages`) of every block, per stage."""
    return [[(f"mixed{i}.{j}", block) for j, block in enumerate(blocks)]
            for i, blocks in enumerate(self.stages, start=3)]

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = ["stem", "conv2"]
    for i, blocks in enumerate(self.blocks()):
      names += [f"{name}.{part}" for name, _ in blocks for part in ("in", "out")]
      names += [f"pool{i + 3}"] if i < len(self.pools) else []
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    units = Units(self.dims, self.padding, self.separable, self.bias, norm, self.dtype)
    stem, reduce, features = self.widths
    steps = [("stem", Stem(stem, units, first, self.placed, name="stem")),
             ("conv2", Second(reduce, features, units, self.placed, name="conv2"))]
    for i, blocks in enumerate(self.blocks()):
      steps += [(name, Mixed(name, block, self.gating, units, self.placed, name=name.replace(".", "_")))
                for name, block in blocks]
      if i < len(self.pools):
        steps.append((f"pool{i + 3}", Pool(f"pool{i + 3}", self.pools[i], units, self.placed, name=f"pool{i + 3}")))
    self._steps = steps
    self.head = (self.pooled_head() if self.dims == 2 else
                 WindowHead(self.num_classes, self.dropout, self.head_std, self.consensus, self.window))
