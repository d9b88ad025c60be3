"""ShuffleNetV2: half of the channels pass a block unchanged, then channels are shuffled.

Ma et al.: "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018.

Steps and sites: `stem`; per block `stage2.0.in`, `.branch` (what its branch is
given), `.residual` (what the branch gives), `.out`; `last`.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain, ConvStep
from vidx.nn import pool, sites as sites_lib
from vidx.nn.norm import ConvNormAct

PARTS = ("in", "branch", "residual", "out")


def shuffle(x: jax.Array, groups: int = 2) -> jax.Array:
  """(..., C): the channels of equal groups interleaved; C must be a multiple of `groups`."""
  return jnp.swapaxes(x.reshape(*x.shape[:-1], groups, -1), -1, -2).reshape(x.shape)


class Shuffled(nn.Module):
  """One block; where it strides, both halves are computed from the whole input."""

  name_of: str
  features: int
  stride: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    half = self.features // 2

    site = sites_lib.within(self.name_of, self.sites)

    def pointwise(name, x, mask):
      return ConvNormAct(half, (1, 1), norm=self.norm, dtype=self.dtype, name=name)(x, train, mask)

    def depthwise(name, x, mask):
      width = x.shape[-1]
      return ConvNormAct(width, (3, 3), self.stride, width, act=None, norm=self.norm, dtype=self.dtype,
                         name=name)(x, train, mask)

    x, mask = site("in")(x, mask, train)
    if self.stride > 1:
      left, right = pointwise("left2", depthwise("left1", x, mask), mask), x
    else:
      left, right = x[..., :half], x[..., half:]
    right, inside = site("branch")(right, mask, train)
    right = pointwise("right1", right, inside)
    right = pointwise("right3", depthwise("right2", right, inside), inside)
    right, inside = site("residual")(right, inside, train)
    return site("out")(shuffle(jnp.concatenate([left, right], -1)), inside, train)


class Stem(nn.Module):
  """3x3 convolution and max pooling, both of stride 2, then the site."""

  unit: tuple
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = ConvNormAct(**dict(self.unit), name="conv")(x, train, mask)
    x = pool.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    return sites_lib.at(self.sites, "stem", "at_end")(x, mask, train)


class ShuffleNet(Chain):
  """ShuffleNetV2; see Chain for the fields that trunks share.

  Attributes:
    stages: blocks per stage; the first of each strides.
    widths: channels of the stem, of every stage, and before the classifier.
  """

  stages: Sequence[int] = (4, 8, 4)
  widths: Sequence[int] = (24, 116, 232, 464, 1024)

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    blocks = [f"stage{i}.{j}" for i, count in enumerate(self.stages, start=2) for j in range(count)]
    return ("stem", *(f"{b}.{part}" for b in blocks for part in PARTS), "last")

  def setup(self):
    if len(self.widths) != len(self.stages) + 2:
      raise ValueError(f"{len(self.stages)} stages need {len(self.stages) + 2} widths, got {len(self.widths)}")
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    unit = lambda features, kernel, strides, norm: (
        ("features", features), ("kernel", kernel), ("strides", strides), ("norm", norm), ("dtype", self.dtype))
    steps = [("stem", Stem(unit(self.widths[0], (3, 3), 2, first), self.placed, name="stem"))]
    for i, count in enumerate(self.stages, start=2):
      steps += [(f"stage{i}.{j}", Shuffled(f"stage{i}.{j}", self.widths[i - 1], 2 if j == 0 else 1, norm, self.placed,
                                           self.dtype, name=f"stage{i}_{j}")) for j in range(count)]
    steps.append(("last", ConvStep(unit(self.widths[-1], (1, 1), 1, norm), "last", self.placed, name="last")))
    self._steps = steps
    self.head = self.pooled_head()
