"""Densely connected networks on clips: every layer adds a few channels to all those before it.

Huang et al.: "Densely Connected Convolutional Networks", 2017; on clips: Diba et
al.: "Temporal 3D ConvNets", 2017, and Hara et al.: "Can Spatiotemporal 3D CNNs
Retrace the History of 2D CNNs and ImageNet?", 2018.

Steps and sites: `stem`; per layer `block1.0.in` (all channels so far), `.branch`
(what its branch is given), `.residual` (the channels that it adds), `.out` (all
channels, with its own); per dense block `block1` (its output, before the
transition), and `transition1`; `last`.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain
from vidx.backbones.resnet import BLOCK_SITES, Last, StageEnd
from vidx.nn import pool, sites as sites_lib
from vidx.nn.conv import Conv
from vidx.nn.norm import ConvNormAct, NormAct


def halve(x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array | None]:
  """Means over 2 x 2 x 2, without overlap; an axis of one entry stays, as does a clip of one live frame.

  Args:
    x: (B, T, H, W, C), dead frames zero.
    mask: (B, T), live frames in front; None: all live.

  Returns:
    (B, T', H', W', C) with the dtype of `x`, and its mask.
  """
  window = tuple(min(2, n) for n in x.shape[1:4])
  y = pool.average_pool(x, window, window, (0, 0, 0))
  if mask is None or window[0] == 1:
    return y, mask
  alone = mask.sum(1) == 1
  mask = pool.stride_mask(mask, 2, 2, 0, y.shape[1]).at[:, 0].set(mask[:, 0])
  y = y * jnp.where(alone, 2, 1).astype(y.dtype)[:, None, None, None, None]
  return pool.live_frames(y, mask), mask


class Stem(nn.Module):
  """Convolution and max pooling, then the site."""

  features: int
  frames: int
  stride: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    mask = pool.stride_mask(mask, self.frames, self.stride, self.frames // 2, -(-x.shape[1] // self.stride))
    x = ConvNormAct(self.features, (self.frames, 7, 7), (self.stride, 2, 2), norm=self.norm, dtype=self.dtype,
                    name="conv")(x, train, mask)
    x = pool.max_pool(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))
    mask = pool.stride_mask(mask, 3, 2, 1, x.shape[1])
    return sites_lib.at(self.sites, "stem", "at_end")(x, mask, train)


class DenseLayer(nn.Module):
  """1x1x1 to the bottleneck, 3x3x3 to the new channels, each behind its normalisation and ReLU."""

  name_of: str
  growth: int
  bottleneck: int
  dropout: float
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    site = sites_lib.within(self.name_of, self.sites)
    x, mask = site("in")(x, mask, train)
    y, inside = site("branch")(x, mask, train)
    y = NormAct(self.norm, self.dtype, name="act1")(y, train, inside)
    y = Conv(self.bottleneck, (1, 1, 1), dtype=self.dtype, name="conv1")(y)
    y = NormAct(self.norm, self.dtype, name="act2")(y, train, inside)
    y = Conv(self.growth, (3, 3, 3), dtype=self.dtype, name="conv2")(y)
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    y = pool.live_frames(y, inside)
    y, inside = site("residual")(y, inside, train)
    return site("out")(jnp.concatenate([x, y], -1), inside, train)


class Transition(nn.Module):
  """Half of the channels on half of the grid, then the site."""

  site: str
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    width = x.shape[-1] // 2
    x = NormAct(self.norm, self.dtype, name="act")(x, train, mask)
    x, mask = halve(Conv(width, (1, 1, 1), dtype=self.dtype, name="conv")(x), mask)
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class DenseNet(Chain):
  """DenseNet-BC on clips; see Chain and Trunk for the fields that trunks share.

  Attributes:
    layers: per dense block; between two blocks lies a transition.
    growth: channels that a layer adds.
    bottleneck: width inside a layer over `growth`.
    width: of the stem.
    stem_frames: extent of its kernel in time: 3, or 7 in the networks of Hara et al.
    stem_stride: of its kernel in time: 2, or 1 in the networks of Hara et al.
    layer_dropout: of the channels that a layer adds.
  """

  layers: Sequence[int] = (6, 12, 24, 16)
  growth: int = 32
  bottleneck: int = 4
  width: int = 64
  stem_frames: int = 3
  stem_stride: int = 2
  layer_dropout: float = 0.0
  num_classes: int = 400
  consensus: bool = False

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = ["stem"]
    for i, count in enumerate(self.layers, start=1):
      names += [f"transition{i - 1}"] if i > 1 else []
      names += [f"block{i}.{j}.{part}" for j in range(count) for part in BLOCK_SITES] + [f"block{i}"]
    return (*names, "last")

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    steps = [("stem", Stem(self.width, self.stem_frames, self.stem_stride, first, self.placed, self.dtype,
                           name="stem"))]
    for i, count in enumerate(self.layers, start=1):
      if i > 1:
        name = f"transition{i - 1}"
        steps.append((name, Transition(name, norm, self.placed, self.dtype, name=name)))
      steps += [(f"block{i}.{j}", DenseLayer(f"block{i}.{j}", self.growth, self.growth * self.bottleneck,
                                             self.layer_dropout, norm, self.placed, self.dtype, name=f"block{i}_{j}"))
                for j in range(count)]
      steps.append((f"block{i}", StageEnd(f"block{i}", 1, self.placed, name=f"block{i}")))
    steps.append(("last", Last(norm, self.placed, self.dtype, name="last")))
    self._steps = steps
    self.head = self.pooled_head()
