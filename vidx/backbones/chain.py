"""What trunks share: fields, the walk through their steps, the head."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import sites as sites_lib
from vidx.nn.head import Head
from vidx.nn.norm import ConvNormAct

FROZEN = ("", "all", "all_but_first")


class Trunk(nn.Module):
  """A network with sites, whose `setup` puts (name, module) pairs into `_steps` and a head into `head`.

  Attributes:
    num_classes: 0 leaves the logits out.
    dropout: before the last layer.
    head_std: of its initialisation.
    consensus: mean of per-frame logits.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int = 1000
  dropout: float = 0.0
  head_std: float = 0.01
  consensus: bool = True
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("video",)

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    super().__post_init__()

  @nn.nowrap
  def pooled_head(self) -> Head:
    """The head of most trunks, for `setup`."""
    return Head(self.num_classes, self.dropout, self.head_std, self.consensus)

  def steps(self) -> list[tuple[str, nn.Module]]:
    """(name, module) pairs; each module is called as (x, mask, train) -> (x, mask)."""
    return self._steps

  def trunk(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None
            ) -> tuple[jax.Array, jax.Array | None]:
    """What the head is given, (B, T', H', W', C) or tokens, and its mask."""
    x = as_clip(video)
    for _, step in self.steps():
      x, mask = step(x, mask, train)
    return x, mask

  def scores(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """The outputs for what `trunk` gives."""
    return self.head(x, mask, train)

  def __call__(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None) -> dict[str, jax.Array]:
    """Scores images or clips.

    Args:
      video: (B, H, W, 3) or (B, T, H, W, 3), normalised.
      train: batch statistics of this batch, dropout.
      mask: (B, T), 1 for live frames, live ones in front; None: all live. Transformers
        also take live patches, points or pixels: see their class.

    Returns:
      {'logits': (B, num_classes), 'features': (B, C)}, fp32.
    """
    return self.scores(*self.trunk(video, train, mask), train)


def as_clip(video: jax.Array) -> jax.Array:
  """(B, H, W, 3) as clips of one frame; clips as they are."""
  return video[:, None] if video.ndim == 4 else video


class Chain(Trunk):
  """A trunk with batch normalisation; see Trunk for the other fields.

  Attributes:
    eps: of batch normalisation.
    momentum: share of stored batch statistics kept per step.
    frozen_bn: '', 'all', or 'all_but_first'.
    bn_groups: see BatchNorm.groups.
  """

  eps: float = 1e-5
  momentum: float = 0.9
  frozen_bn: str = ""
  bn_groups: int = 1

  def __post_init__(self):
    if self.frozen_bn not in FROZEN:
      raise ValueError(f"frozen_bn = '{self.frozen_bn}' is not one of {', '.join(filter(None, FROZEN))}")
    super().__post_init__()

  @nn.nowrap
  def norms(self) -> tuple[tuple, tuple]:
    """BatchNorm fields of the first normalisation and of the others."""
    norm = (("eps", self.eps), ("momentum", self.momentum), ("groups", self.bn_groups))
    return (*norm, ("frozen", self.frozen_bn == "all")), (*norm, ("frozen", self.frozen_bn != ""))


def lockstep(trunks: Sequence[Trunk], ways: Sequence[tuple[jax.Array, jax.Array | None]],
             exchange: Callable[[str, list, bool], list], train: bool = False
             ) -> list[tuple[jax.Array, jax.Array | None]]:
  """Walks trunks of equally many steps side by side, which exchange features after each.

  Args:
    trunks: the pathways.
    ways: (x, mask) that enters each of them.
    exchange: (name of the first trunk's step, ways, train) -> ways.
    train: see Trunk.

  Returns:
    (x, mask) that leaves each of them, as Trunk.trunk gives it.
  """
  for steps in zip(*(trunk.steps() for trunk in trunks), strict=True):
    ways = [step(*way, train) for (_, step), way in zip(steps, ways)]
    ways = exchange(steps[0][0], ways, train)
  return ways


class ConvStep(nn.Module):
  """A convolution of single frames with its normalisation and activation, then a site.

  Attributes:
    unit: fields of ConvNormAct, as pairs.
    site: the name of the site; '' for none.
    sites: of the trunk.
  """

  unit: tuple[tuple[str, Any], ...]
  site: str = ""
  sites: sites_lib.Sites = dataclasses.field(default_factory=dict)

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = ConvNormAct(**dict(self.unit), name="conv")(x, train, mask)
    if not self.site:
      return x, mask
    return sites_lib.Site(self.site, sites_lib.plugged(self.sites, self.site), name="at_end")(x, mask, train)
