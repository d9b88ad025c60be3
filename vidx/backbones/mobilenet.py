"""MobileNetV2: inverted residual blocks with depth-wise convolutions.

Sandler et al.: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.

Steps and sites: `stem`; per block `stage2.1.in`, `.branch` and `.residual` where
it has a shortcut, `.out`; `last`.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain, ConvStep
from vidx.nn import sites as sites_lib
from vidx.nn.norm import ConvNormAct

#: (expansion, channels, blocks, stride of the first) per stage.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
  """1x1 expansion, depth-wise 3x3, linear 1x1; added to the input where `shortcut`."""

  name_of: str
  features: int
  expansion: int
  stride: int
  shortcut: bool
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    site = sites_lib.within(self.name_of, self.sites)

    def unit(name, features, kernel, stride=1, groups=1, act=jax.nn.relu6):
      return ConvNormAct(features, kernel, stride, groups, act=act, norm=self.norm, dtype=self.dtype, name=name)

    x, mask = site("in")(x, mask, train)
    y, inside = site("branch")(x, mask, train) if self.shortcut else (x, mask)
    width = x.shape[-1] * self.expansion
    if self.expansion != 1:
      y = unit("expand", width, (1, 1))(y, train, inside)
    y = unit("depthwise", width, (3, 3), self.stride, width)(y, train, inside)
    y = unit("project", self.features, (1, 1), act=None)(y, train, inside)
    if self.shortcut:
      y, inside = site("residual")(y, inside, train)
      y = x + y
    return site("out")(y, inside, train)


class MobileNet(Chain):
  """MobileNetV2; see Chain for the fields that trunks share.

  Attributes:
    stages: (expansion, channels, blocks, stride) each.
    width: of the stem.
    last: channels before the classifier.
  """

  stages: Sequence[Sequence[int]] = STAGES
  width: int = 32
  last: int = 1280
  dropout: float = 0.2

  @nn.nowrap
  def blocks(self) -> list[tuple[str, int, int, int, bool]]:
    """(name, channels, expansion, stride, shortcut) of every block."""
    out, width = [], self.width
    for i, (expansion, features, count, stride) in enumerate(self.stages, start=1):
      for j in range(count):
        s = stride if j == 0 else 1
        out.append((f"stage{i}.{j}", features, expansion, s, s == 1 and width == features))
        width = features
    return out

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = ["stem"]
    for name, _, _, _, shortcut in self.blocks():
      names += [f"{name}.{part}" for part in (("in", "branch", "residual", "out") if shortcut else ("in", "out"))]
    return (*names, "last")

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    unit = lambda features, kernel, strides, norm: (
        ("features", features), ("kernel", kernel), ("strides", strides), ("act", jax.nn.relu6), ("norm", norm),
        ("dtype", self.dtype))
    steps = [("stem", ConvStep(unit(self.width, (3, 3), 2, first), "stem", self.placed, name="stem"))]
    for name, features, expansion, stride, shortcut in self.blocks():
      steps.append((name, InvertedResidual(name, features, expansion, stride, shortcut, norm, self.placed, self.dtype,
                                           name=name.replace(".", "_"))))
    steps.append(("last", ConvStep(unit(self.last, (1, 1), 1, norm), "last", self.placed, name="last")))
    self._steps = steps
    self.head = self.pooled_head()
