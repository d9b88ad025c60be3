"""X3D: narrow residual networks with depth-wise kernels in space and time.

Feichtenhofer: "X3D: Expanding Architectures for Efficient Video Recognition", 2020.

Steps and sites are those of a ResNet, with a last one, `conv5`.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain
from vidx.backbones.resnet import StageEnd, residual_sites
from vidx.nn import pool, sites as sites_lib
from vidx.nn.conv import LANES, Conv, clips_inside, copies_that_fit, stored
from vidx.nn.norm import ConvNormAct


def rounded_width(width: float, divisor: int = 8) -> int:
  """The nearest multiple of `divisor`, or the next above where that loses over a tenth; at least one `divisor`."""
  out = max(divisor, int(width + divisor / 2) // divisor * divisor)
  return out + divisor if out < 0.9 * width else out


class SqueezeExcite(nn.Module):
  """Channels scaled by a share in (0, 1) that the whole clip decides."""

  hidden: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Args: x (B, T, H, W, C), dead frames zero; mask (B, T)."""
    clips = clips_inside()
    y = pool.mean_pool(x, mask).reshape(x.shape[0] * clips, -1)
    y = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="fc1")(y))
    y = nn.sigmoid(nn.Dense(x.shape[-1] // clips, dtype=self.dtype, name="fc2")(y))
    return x * y.reshape(x.shape[0], 1, 1, 1, -1).astype(x.dtype)


class Stem(nn.Module):
  """A convolution over space, then a depth-wise one over time."""

  features: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = Conv(self.features, (1, 3, 3), (1, 2, 2), dtype=self.dtype, name="spatial")(x)
    x = ConvNormAct(self.features, (5, 1, 1), 1, self.features, norm=self.norm, dtype=self.dtype, name="temporal")(
        x, train, mask)
    return sites_lib.at(self.sites, "stem", "at_stem")(x, mask, train)


class Block(nn.Module):
  """out = relu(shortcut(in) + branch(in)) with a depth-wise 3^3 kernel in the branch.

  Attributes:
    block: its name.
    inner: channels of the depth-wise convolution.
    out: channels.
    stride: in space.
    squeeze: hidden width of squeeze-and-excitation; 0 for none.
    zero_init: the branch starts as nothing.
    norm: BatchNorm fields as pairs.
    sites: blocks to plug in.
    dtype: compute dtype; None is fp32.
  """

  block: str
  inner: int
  out: int
  stride: int
  squeeze: int
  zero_init: bool
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    site = sites_lib.within(self.block, self.sites)
    strides = (1, self.stride, self.stride)
    x, mask = site("in")(x, mask, train)
    y, inside = site("branch")(x, mask, train)
    y = ConvNormAct(self.inner, (1, 1, 1), norm=self.norm, dtype=self.dtype, name="conv1")(y, train, inside)
    y = ConvNormAct(self.inner, (3, 3, 3), strides, self.inner, act=None, norm=self.norm, dtype=self.dtype,
                    name="conv2")(y, train, inside)
    if self.squeeze:  # which reads y twice
      y = SqueezeExcite(self.squeeze, self.dtype, name="se")(y if train else stored(y), inside)
    last = (*self.norm, ("scale_init", 0.0)) if self.zero_init else self.norm
    y = ConvNormAct(self.out, (1, 1, 1), act=None, norm=last, dtype=self.dtype, name="conv3")(
        nn.silu(y), train, inside)
    y, inside = site("residual")(y, inside, train)
    if x.shape[-1] != self.out * clips_inside():
      x = ConvNormAct(self.out, (1, 1, 1), strides, act=None, norm=self.norm, dtype=self.dtype, name="shortcut")(
          x, train, inside)
    elif self.stride > 1:  # as published, without normalisation
      x = Conv(self.out, (1, 1, 1), strides, dtype=self.dtype, name="shortcut")(x)
    return site("out")(nn.relu(x + y), inside, train)


class LastConv(nn.Module):
  """The widening in front of the pooling."""

  features: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = ConvNormAct(self.features, (1, 1, 1), norm=self.norm, dtype=self.dtype, name="conv")(x, train, mask)
    return sites_lib.at(self.sites, "conv5", "at_conv5")(x, mask, train)


class X3D(Chain):
  """An X3D network; see Chain and Trunk for the fields that trunks share.

  Attributes:
    stages: blocks per stage.
    widths: channels per stage.
    stem_features: channels of the stem.
    inner: width of a block's inner convolutions over its output, rounded down.
    squeeze: hidden width of squeeze-and-excitation, in every second block from the
      first on, over the inner width; 0 for none.
    features: width of the hidden layer of the head.
    zero_init: residual branches start as nothing.
  """

  num_classes: int = 400
  stages: Sequence[int] = (3, 5, 11, 7)
  widths: Sequence[int] = (24, 48, 96, 192)
  stem_features: int = 24
  inner: float = 2.25
  squeeze: float = 1 / 16
  features: int = 2048
  zero_init: bool = True
  dropout: float = 0.5
  consensus: bool = False

  def __post_init__(self):
    if len(self.widths) < len(self.stages):
      raise ValueError(f"{len(self.stages)} stages, but widths names {len(self.widths)}")
    super().__post_init__()

  @property
  def reduction(self) -> int:
    """See Trunk.reduction."""
    return 2 ** (1 + len(self.stages))

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return (*residual_sites(self.stages), "conv5")

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, rest = self.norms()
    steps = [("stem", Stem(self.stem_features, first, self.placed, self.dtype, name="stem"))]
    for i, blocks in enumerate(self.stages):
      stage, out = f"res{i + 2}", self.widths[i]
      inner = int(self.inner * out)
      squeeze = rounded_width(inner * self.squeeze) if self.squeeze else 0
      steps += [(f"{stage}.{j}", Block(f"{stage}.{j}", inner, out, 1 if j else 2, 0 if j % 2 else squeeze,
                                       self.zero_init, rest, self.placed, self.dtype, name=f"{stage}_{j}"))
                for j in range(blocks)]
      steps.append((stage, StageEnd(stage, 1, self.placed, name=stage)))
    steps.append(("conv5", LastConv(inner, rest, self.placed, self.dtype, name="conv5")))
    self._steps = steps
    self.hidden = nn.Dense(self.features, use_bias=False)
    self.head = self.pooled_head()

  def steps(self):
    """See Trunk.steps."""
    few = lambda step: getattr(step, "inner", getattr(step, "features", 0)) < LANES
    return self.folded(copies_that_fit(self.widths[0]), few)

  def scores(self, x, mask=None, train=False):
    """See Trunk.scores."""
    return self.head(nn.relu(self.hidden(self.pooled(x, mask))), None, train)
