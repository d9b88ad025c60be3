"""TCN: dilated temporal convolutions over the features of a long video.

The temporal embedding and region network of Fayyaz and Gall: "SCT: Set
Constrained Temporal Transformer for Set Supervised Action Segmentation", 2020.

Sites: `stem` and, per block, `block0.in`, `.branch` (what the branch adds), `.out` (what
leaves the block, pooled where it pools), and `end`; features (B, T, D).
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool
from vidx.nn import sites as sites_lib
from vidx.nn.conv import convolve
from vidx.nn.initialisers import bias_init, kernel_init, param
from vidx.nn.pool import mean_over_live


class TimeConv(nn.Module):
  """Convolution along time with zeros beyond the ends, dead frames counting as beyond."""

  features: int
  kernel: int = 1
  dilation: int = 1
  dtype: jnp.dtype | None = None
  initial: str = "uniform"

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, C), mask (B, T) -> (B, T, D)."""
    fan_in = self.kernel * x.shape[-1]
    w = param(self, "kernel", kernel_init(self.initial), (self.kernel, x.shape[-1], self.features))
    bias = param(self, "bias", bias_init(self.initial, fan_in), (self.features,))
    dtype = self.dtype or jnp.float32
    if mask is not None:
      x = jnp.where(mask[..., None], x, 0)
    pad = self.dilation * (self.kernel - 1) // 2
    y = convolve(x.astype(dtype)[:, :, None, None], w.astype(dtype)[:, None, None], (1, 1, 1), (pad, 0, 0),
                 (self.dilation, 1, 1))
    return y[:, :, 0, 0] + bias.astype(dtype)


class Block(nn.Module):
  """x + dropout(conv1(relu(conv3(x)))), then max pooling by 2 where `pool`."""

  site: str
  dilation: int
  pool: bool
  dropout: float
  dropout_after_residual: bool
  sites: sites_lib.Placed
  dtype: jnp.dtype | None
  initial: str = "uniform"

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, T, D), mask (B, T) -> (B, T or T // 2, D) and mask."""
    at = sites_lib.within(self.site, self.sites)
    width = x.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=not train)
    x, mask = at("in")(x, mask, train)
    y = nn.relu(TimeConv(width, 3, self.dilation, self.dtype, self.initial, name="conv3")(x, mask))
    y = TimeConv(width, dtype=self.dtype, initial=self.initial, name="conv1")(y)
    y, mask = at("branch")(y, mask, train)
    x = drop(x + y) if self.dropout_after_residual else x + drop(y)
    if self.pool:
      x = pool.max_pool(x[:, :, None, None], (2, 1, 1), (2, 1, 1), (0, 0, 0))[:, :, 0, 0]
      mask = pool.stride_mask(mask, 2, 2, 0, x.shape[1])
    return at("out")(x, mask, train)


class Stage(nn.Module):
  """One stage of MS-TCN: residual blocks of dilation 1, 2, 4, ..., and scores of every frame.

  Farha and Gall: "MS-TCN: Multi-Stage Temporal Convolutional Network for Action
  Segmentation", CVPR 2019. Its sites are those of a TCN behind the stage's name.

  Attributes:
    site: the stage's name.
    num_classes: N.
    layers: blocks.
    width: channels.
    dropout: in the blocks.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  site: str
  num_classes: int
  layers: int = 10
  width: int = 64
  dropout: float = 0.5
  sites: sites_lib.Placed = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
    """(B, T, D), mask (B, T) -> fp32 (B, T, N)."""
    at = sites_lib.within(self.site, self.sites)
    x, mask = at("stem")(TimeConv(self.width, dtype=self.dtype, name="stem")(x, mask), mask, train)
    for i in range(self.layers):
      block = Block(f"{self.site}.block{i}", 2**i, False, self.dropout, False, self.sites, self.dtype,
                    name=f"block{i}")
      x, mask = block(x, mask, train)
    x, mask = at("end")(x, mask, train)
    return TimeConv(self.num_classes, dtype=jnp.float32, name="fc")(x, mask)


def site_names(blocks: int) -> tuple[str, ...]:
  """Sites of a stem, so many blocks, and the end."""
  return ("stem", *(f"block{i}.{part}" for i in range(blocks) for part in ("in", "branch", "out")), "end")


class TCN(nn.Module):
  """A temporal convolutional network, read at two places.

  Attributes:
    num_classes: 0 leaves the logits out.
    width: channels D of every layer.
    dilations: of the blocks; () leaves one convolution and the norm.
    pools: blocks, counted from 0, after which time is halved; an odd frame at the end is left out.
    tap: block after which `early` is taken (the public code has 4); None: nowhere.
    dropout: in the blocks.
    input_dropout: of the input.
    dropout_after_residual: dropout after the sum, as in the thesis' text, not in the branch.
    groups: of the last norm.
    initial: of the convolutions; see vidx.nn.recurrent.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int = 0
  width: int = 128
  dilations: Sequence[int] = tuple(2**b for b in range(11))
  pools: Sequence[int] = (1, 2, 4, 8, 10)
  tap: int | None = 6
  dropout: float = 0.25
  input_dropout: float = 0.05
  dropout_after_residual: bool = False
  groups: int = 32
  initial: str = "uniform"
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("features",)

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    super().__post_init__()

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return site_names(len(self.dilations))

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    if self.tap is not None and not 0 <= self.tap < len(self.dilations):
      raise ValueError(f"tap {self.tap} is not one of the blocks 0 to {len(self.dilations) - 1}")
    self.stem = TimeConv(self.width, dtype=self.dtype, initial=self.initial)
    self._steps = [(f"block{i}", Block(f"block{i}", dilation, i in self.pools, self.dropout,
                                       self.dropout_after_residual, self.sites, self.dtype, self.initial,
                                       name=f"block{i}"))
                   for i, dilation in enumerate(self.dilations)]
    if self.dilations:  # without blocks, the stem is all
      self.last = TimeConv(self.width, dtype=self.dtype, initial=self.initial)
    self.norm = nn.GroupNorm(self.groups, epsilon=1e-5, dtype=self.dtype)
    self.in_drop = nn.Dropout(self.input_dropout)
    self.at_stem, self.at_end = sites_lib.at(self.sites, "stem"), sites_lib.at(self.sites, "end")
    if self.num_classes:
      self.fc = TimeConv(self.num_classes, dtype=jnp.float32)

  def __call__(self, features: jax.Array, train: bool = False, mask: jax.Array | None = None
               ) -> dict[str, jax.Array]:
    """Embeds sequences of features.

    Args:
      features: (B, T, C); T at least the total stride, 32 where no pool is left out.
      train: dropout.
      mask: (B, T), 1 for live frames, live ones in front.

    Returns:
      fp32 {'early': (B, T', D), taken at `tap`; 'regions': (B, K, D), at the end; 'features': (B, D), the mean
      region; 'logits': (B, num_classes), the mean of the regions', where there are classes}, and with a
      mask 'early_mask' (B, T') and 'regions_mask' (B, K).
    """
    if features.shape[1] < 2 ** len(self.pools):
      raise ValueError(f"a sequence of {features.shape[1]} frames is shorter than one region, {2 ** len(self.pools)}")
    mask = None if mask is None else mask.astype(bool)
    x = self.in_drop(features, deterministic=not train)
    x, mask = self.at_stem(nn.relu(self.stem(x, mask)) if self.dilations else self.stem(x, mask), mask, train)
    out = {}
    for i, (_, block) in enumerate(self._steps):
      x, mask = block(x, mask, train)
      if i == self.tap:
        out["early"] = x.astype(jnp.float32)
        if mask is not None:
          out["early_mask"] = mask
    x = self.last(nn.relu(x)) if self.dilations else x
    live = None if mask is None else jnp.broadcast_to(mask[..., None], x.shape)
    x, mask = self.at_end(self.norm(x, mask=live), mask, train)
    out["regions"] = x.astype(jnp.float32)
    if mask is not None:
      out["regions_mask"] = mask
    out["features"] = mean_over_live(x, mask)
    if self.num_classes:
      out["logits"] = mean_over_live(self.fc(out["regions"]), mask)
    return out
