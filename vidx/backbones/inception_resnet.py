"""Inception-ResNet-V2: parallel branches whose joint result is scaled and added to the input.

Szegedy et al.: "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2017.

Steps and sites: `conv1a`, `conv2a`, `conv2b`, `pool3a`, `conv3b`, `conv4a`, `stem`
(the second pooling), `mixed5b`; per residual block `block_a.0.in`, `.branch` (what
the branches are given), `.residual` (what they add), `.out`; per group `block_a`;
`mixed6a`, the blocks of `block_b`, `mixed7a`, the blocks of `block_c`; `conv7b`.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax.numpy as jnp

from vidx.backbones.chain import Chain, ConvStep
from vidx.backbones.resnet import BLOCK_SITES, StageEnd
from vidx.nn import pool, sites as sites_lib
from vidx.nn.conv import Conv
from vidx.nn.norm import ConvNormAct

#: (step, channels, kernel, stride, padding) of the stem; pooling where there are no channels.
STEM = (("conv1a", 32, 3, 2, 0), ("conv2a", 32, 3, 1, 0), ("conv2b", 64, 3, 1, 1), ("pool3a", 0, 3, 2, 0),
        ("conv3b", 80, 1, 1, 0), ("conv4a", 192, 3, 1, 0), ("stem", 0, 3, 2, 0))

#: Per step the branches, each of (channels, kernel, stride) and poolings, see `Branches`; strides go without padding.
BRANCHES = {
    "mixed5b": (((96, (1, 1), 1),),
                ((48, (1, 1), 1), (64, (5, 5), 1)),
                ((64, (1, 1), 1), (96, (3, 3), 1), (96, (3, 3), 1)),
                ("average", (64, (1, 1), 1))),
    "block_a": (((32, (1, 1), 1),),
                ((32, (1, 1), 1), (32, (3, 3), 1)),
                ((32, (1, 1), 1), (48, (3, 3), 1), (64, (3, 3), 1))),
    "mixed6a": (((384, (3, 3), 2),),
                ((256, (1, 1), 1), (256, (3, 3), 1), (384, (3, 3), 2)),
                ("max",)),
    "block_b": (((192, (1, 1), 1),),
                ((128, (1, 1), 1), (160, (1, 7), 1), (192, (7, 1), 1))),
    "mixed7a": (((256, (1, 1), 1), (384, (3, 3), 2)),
                ((256, (1, 1), 1), (288, (3, 3), 2)),
                ((256, (1, 1), 1), (288, (3, 3), 1), (320, (3, 3), 2)),
                ("max",)),
    "block_c": (((192, (1, 1), 1),),
                ((192, (1, 1), 1), (224, (1, 3), 1), (256, (3, 1), 1))),
}

GROUPS = (("mixed5b", "block_a", 0.17), ("mixed6a", "block_b", 0.10), ("mixed7a", "block_c", 0.20))


class Pool(nn.Module):
  """3x3 max pooling of stride 2 without padding, then the site."""

  site: str
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = pool.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 0, 0))
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class Branches(nn.Module):
  """Chains of convolutions (`branch0_0`, `branch0_1`, ...) and pooling on the same input, their channels joined.

  3x3 poolings are "average" (of what lies inside), "average_all" (of zeros outside too),
  "max_same", all of stride 1, and "max" of stride 2 without padding. Several convolutions
  in place of one (`branch1_1a`, `branch1_1b`) see the same, and their channels are joined.

  Attributes:
    branches: as in BRANCHES.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  branches: Sequence[Sequence]
  norm: tuple[tuple[str, object], ...]
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    def conv(y, features, kernel, stride, name):
      return ConvNormAct(features, kernel, stride, norm=self.norm, dtype=self.dtype,
                         padding=0 if stride > 1 else None, name=name)(y, train, mask)

    out = []
    for i, branch in enumerate(self.branches):
      y = x
      for j, part in enumerate(branch):
        if part in ("average", "average_all"):
          y = pool.average_pool(y, (1, 3, 3), (1, 1, 1), (0, 1, 1), part == "average_all")
        elif part in ("max", "max_same"):
          y = pool.max_pool(y, (1, 3, 3), (1, 2, 2) if part == "max" else (1, 1, 1), (0, *[int(part != "max")] * 2))
        elif isinstance(part[0], tuple):
          y = jnp.concatenate([conv(y, *one, f"branch{i}_{j}{letter}") for one, letter in zip(part, "ab")], -1)
        else:
          y = conv(y, *part, f"branch{i}_{j}")
      out.append(y)
    return jnp.concatenate(out, -1)


class Mixed(nn.Module):
  """Branches, then the site."""

  site: str
  branches: Sequence[Sequence]
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = Branches(self.branches, self.norm, self.dtype, name="branches")(x, mask, train)
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class Residual(nn.Module):
  """out = relu(in + scale * up(branches(in))); `up` is a 1x1 convolution with a bias.

  Attributes:
    name_of: of the block.
    branches: as in BRANCHES.
    scale: of what is added.
    act: whether there is a ReLU at the end.
    norm: BatchNorm fields as pairs.
    sites: of the trunk.
    dtype: compute dtype; None is fp32.
  """

  name_of: str
  branches: Sequence[Sequence]
  scale: float
  act: bool
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    site = sites_lib.within(self.name_of, self.sites)
    x, mask = site("in")(x, mask, train)
    y, inside = site("branch")(x, mask, train)
    y = Branches(self.branches, self.norm, self.dtype, name="branches")(y, inside, train)
    y = self.scale * Conv(x.shape[-1], (1, 1), use_bias=True, dtype=self.dtype, name="up")(y)
    y = pool.live_frames(y, inside)
    y, inside = site("residual")(y, inside, train)
    y = x + y
    return site("out")(nn.relu(y) if self.act else y, inside, train)


class InceptionResNet(Chain):
  """Inception-ResNet-V2; see Chain and Trunk for the fields that trunks share.

  Attributes:
    repeats: residual blocks of groups A, B and C; the last one of C adds without scale or ReLU.
    width_multiplier: of the channels of every convolution but `up`.
  """

  repeats: Sequence[int] = (10, 20, 10)
  width_multiplier: float = 1.0
  eps: float = 1e-3
  dropout: float = 0.5

  def __post_init__(self):
    if len(self.repeats) != len(GROUPS):
      raise ValueError(f"repeats = {tuple(self.repeats)} should be {len(GROUPS)} numbers of blocks")
    super().__post_init__()

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = [name for name, *_ in STEM]
    for (mixed, group, _), count in zip(GROUPS, self.repeats):
      names += [mixed, *(f"{group}.{j}.{part}" for j in range(count) for part in BLOCK_SITES), group]
    return (*names, "conv7b")

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    wide = lambda features: max(1, round(self.width_multiplier * features))

    def conv(name, features, kernel, stride, padding, norm):
      unit = (("features", wide(features)), ("kernel", (kernel, kernel)), ("strides", stride), ("padding", padding),
              ("norm", norm), ("dtype", self.dtype))
      return name, ConvStep(unit, name, self.placed, name=name)

    def branches(name):
      return tuple(tuple(part if isinstance(part, str) else (wide(part[0]), *part[1:]) for part in branch)
                   for branch in BRANCHES[name])

    steps = []
    for name, features, *shape in STEM:
      steps.append(conv(name, features, *shape, norm if steps else first) if features
                   else (name, Pool(name, self.placed, name=name)))
    for (mixed, group, scale), count in zip(GROUPS, self.repeats):
      steps.append((mixed, Mixed(mixed, branches(mixed), norm, self.placed, self.dtype, name=mixed)))
      for j in range(count):
        name, end = f"{group}.{j}", group == "block_c" and j == count - 1
        steps.append((name, Residual(name, branches(group), 1.0 if end else scale, not end, norm, self.placed,
                                     self.dtype, name=name.replace(".", "_"))))
      steps.append((group, StageEnd(group, 1, self.placed, name=group)))
    self._steps = [*steps, conv("conv7b", 1536, 1, 1, 0, norm)]
    self.head = self.pooled_head()
