"""SCT: frame labels of long videos, learned from the sets of their actions by a set constrained temporal transformer.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 8; Fayyaz and Gall: "SCT: Set Constrained Temporal Transformer for Set
Supervised Action Segmentation", 2020. Two descriptions of a video, regions with
lengths (A and L, spread to Y) and frames (S), are to agree on every action of the set;
what they disagree about trains the lengths. Recipe: SGD, rate 0.01, one video a step.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.tcn import TCN
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.initialisers import INITS
from vidx.nn.recurrent import Affine
from vidx.nn.segment_masks import (
    CORNERS, excess, project_lengths, round_lengths, segment_masks, shares, spread_segments, starts_of)
from vidx.nn.sequence import STRETCHES, cut, live_labels, mean_live, stretch

_CHOICES = dict(reduce=("mean", "sum"), sparsity=("l1", "l1_weighted", "entropy"), agreement=("sct", "js"),
                interpolation=STRETCHES, initial=INITS, masks=("mask", "integral"), corner=CORNERS)
_LEAST = 1e-6  # of what a logarithm is taken


class SCT(nn.Module):
  """Regions with classes and lengths beside scores of frames, over one trunk.

  Attributes:
    num_classes: C, background included.
    dilations: of the trunk's blocks.
    pools: blocks, counted from 0, after which time is halved (table 8.1 varies those up to `tap`).
    tap: block of the trunk after which the scores of frames are taken.
    width: channels of the trunk.
    dropout: in the trunk's blocks.
    dropout_after_residual: see vidx.backbones.tcn.TCN.
    groups: of the trunk's last norm.
    initial: of weights; see vidx.nn.recurrent.
    temperature: of the regions' softmax.
    points: J, of the regions' template; fewer make wider ramps.
    corner: 'frame', 'align', or 'centre', for few points; see vidx.nn.segment_masks.segment_masks.
    masks: 'mask', or 'integral', the share of each frame that lies in a region.
    stop_starts: a region's length trains that region alone, not where later ones begin.
    normalise: rows of Y sum to 1 on ramps also.
    interpolation: of frame scores, see vidx.nn.sequence.stretch.
    set_weight: of the set loss (8.5).
    region_weight: of the region loss (8.6).
    sparsity_weight: of the inverse sparsity regulariser (8.7).
    consistency_weight: of the temporal consistency loss (8.8).
    agreement_weight: of the self-supervision (8.12).
    length_weight: of the length regulariser (8.14).
    limit: d of 8.14.
    positives_only: the set loss leaves absent classes out, and is a mean over the set.
    reduce: 'mean' or 'sum' of the terms of 8.8 and 8.14.
    sparsity: 'l1' is 8.7, 'l1_weighted' weights it by class, 'entropy' is the negative one of the mean region over
      the set.
    agreement: 'sct' is 8.12, 'js' the Jensen-Shannon divergence of Y and S in its place (8.15).
    background: class that `background_weight` is for.
    background_weight: of it in 8.12, the positives of 8.5, and 'l1_weighted'; 0.001 keeps all from being background.
    sites: blocks to plug into the trunk.
    dtype: compute dtype of the trunk; None is fp32.
  """

  num_classes: int = 48
  dilations: Sequence[int] = tuple(2**b for b in range(11))
  pools: Sequence[int] = (1, 2, 4, 8, 10)
  tap: int = 6
  width: int = 128
  dropout: float = 0.25
  dropout_after_residual: bool = False
  groups: int = 32
  initial: str = "uniform"
  temperature: float = 0.1
  points: int = 100
  corner: str = "frame"
  masks: str = "mask"
  stop_starts: bool = False
  normalise: bool = False
  interpolation: str = "linear"
  set_weight: float = 1.0
  region_weight: float = 0.1
  sparsity_weight: float = 0.1
  consistency_weight: float = 0.1
  agreement_weight: float = 1.0
  length_weight: float = 0.1
  limit: float = 1.0
  positives_only: bool = False
  reduce: str = "mean"
  sparsity: str = "l1"
  agreement: str = "sct"
  background: int = 0
  background_weight: float = 1.0
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("features", "length", "label")

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    for field, known in _CHOICES.items():
      choices.check(field, getattr(self, field), known)
    super().__post_init__()

  @nn.nowrap
  def _trunk(self) -> TCN:
    return TCN(width=self.width, dilations=self.dilations, pools=self.pools, tap=self.tap, dropout=self.dropout,
               dropout_after_residual=self.dropout_after_residual, groups=self.groups, initial=self.initial,
               sites=self.sites, dtype=self.dtype, parent=None)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self._trunk().site_names()

  def setup(self):
    self.trunk = self._trunk().clone(parent=self)
    affine = lambda features: Affine(features, initial=self.initial)
    self.region_class, self.frame_class = affine(self.num_classes), affine(self.num_classes)
    self.length1, self.length2 = affine(64), affine(1)

  def __call__(self, features: jax.Array, length: jax.Array | None = None, label: jax.Array | None = None,
               train: bool = False) -> dict[str, Any]:
    """Learns from sets of actions, or labels frames.

    Args:
      features: (B, T, D).
      length: (B,) live frames; None: all.
      label: (B, C) 1 for the actions of the set; training needs it.
      train: dropout, and no predictions.

    Returns:
      fp32 {'logits': S (B, T, C), 'regions': A (B, K, C)}; with a set 'losses': {'set', 'region', 'sparsity',
      'consistency', 'agreement', 'length'}, (B,) each; in evaluation 'predictions': {'y', 'a', 's'}, int32 (B, T),
      -1 after the end, of regions with their lengths, with equal lengths, and of frames; 'confidence' (B, T); and
      'segments' and 'segment_lengths', int32 (B, K), -1 and 0 after the end.
    """
    x, length, mask = cut(features, length)
    stride = 2 ** len(self.pools)
    found = self.trunk(x, train, jnp.arange(x.shape[1]) < jnp.maximum(length, stride)[:, None])
    z, live = found["regions"], found["regions_mask"]
    a = jax.nn.softmax(self.region_class(z) / self.temperature)  # A
    relative = self.length2(self.length1(z))[..., 0]  # L
    s = stretch(self.frame_class(found["early"]), found["early_mask"].sum(1), length, x.shape[1], self.interpolation)
    lengths = project_lengths(relative, length, live)  # eq. 8.1
    y = self.spread(a, lengths, length, live, x.shape[1])
    out = {"logits": s, "regions": a}
    if label is not None:
      out["losses"] = self.losses(a, relative, y, s, label, length, live, mask)
    if train:
      return out
    flat = stretch(a.argmax(-1), live.sum(1), length, x.shape[1])
    readouts = {"y": y.argmax(-1), "a": flat, "s": s.argmax(-1)}
    return {**out, "predictions": {name: live_labels(labels, mask) for name, labels in readouts.items()},
            "confidence": jnp.where(mask, y.max(-1) / jnp.maximum(y.sum(-1), _LEAST), 0),
            "segments": live_labels(a.argmax(-1), live), "segment_lengths": round_lengths(lengths)}

  def spread(self, a: jax.Array, lengths: jax.Array, length: jax.Array, live: jax.Array, frames: int) -> jax.Array:
    """Y, fp32 (B, T, C): every region's classes over its length, 8.2 to 8.4, from A (B, K, C)."""
    starts = starts_of(lengths)
    if self.stop_starts:
      starts = jax.lax.stop_gradient(starts)
    if self.masks == "integral":
      masks = shares(lengths, frames, starts=starts, length=length, mask=live)
    else:
      masks = segment_masks(lengths, frames, starts=starts, length=length, mask=live, points=self.points,
                            corner=self.corner)
    return spread_segments(a, masks, self.normalise)

  # ------------------------------------------------------------ training

  def losses(self, a: jax.Array, relative: jax.Array, y: jax.Array, s: jax.Array, label: jax.Array, length: jax.Array,
             live: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    """Weighted terms, (B,) each.

    Args:
      a: (B, K, C) probabilities of regions.
      relative: (B, K) relative log lengths.
      y: (B, T, C).
      s: (B, T, C).
      label: (B, C) the set.
      length: (B,) live frames.
      live: (B, K) live regions.
      mask: (B, T) live frames.
    """
    inside = label > 0
    size = jnp.maximum(inside.sum(1), 1)  # M
    regions = live.sum(1)  # K
    weight = jnp.where(jnp.arange(self.num_classes) == self.background, self.background_weight, 1.0)
    log = lambda p: jnp.log(jnp.clip(p, _LEAST, 1.0))
    of_set = lambda values: jnp.where(inside, values, 0).sum(1)
    a = jnp.where(live[..., None], a, 0)
    mean = a.sum(1) / regions[:, None]

    highest = a.max(1)
    positives = of_set(log(highest) * weight)
    if self.positives_only:
      of_sets = -positives / size
    else:
      of_sets = -(positives + jnp.where(inside, 0, log(1 - highest)).sum(1)) / self.num_classes  # eq. 8.5
    nearest = jnp.where(inside[:, None], a, 0).max(-1)
    of_regions = -jnp.where(live, log(nearest), 0).sum(1) / regions  # eq. 8.6
    if self.sparsity == "entropy":
      share = jnp.where(inside, mean, 0)
      share = share / jnp.maximum(share.sum(1, keepdims=True), _LEAST)
      sparsity = of_set(share * log(share))
    else:
      sparsity = of_set((1 - mean) * (weight if self.sparsity == "l1_weighted" else 1)) / size  # eq. 8.7
    changes = jnp.where(live[:, 1:, None] & inside[:, None], jnp.abs(jnp.diff(a, axis=1)), 0).sum((1, 2))
    beyond = jnp.where(live, excess(relative, self.limit), 0).sum(1)
    if self.reduce == "mean":
      changes, beyond = changes / (size * regions), beyond / regions  # eq. 8.8, eq. 8.14
    agreement = self._divergence(y, s, mask) if self.agreement == "js" else self._agreement(
        y, s, inside, length, mask, weight)
    return {"set": self.set_weight * of_sets, "region": self.region_weight * of_regions,
            "sparsity": self.sparsity_weight * sparsity, "consistency": self.consistency_weight * changes,
            "agreement": self.agreement_weight * agreement, "length": self.length_weight * beyond}

  def _agreement(self, y, s, inside, length, mask, weight):
    """Each action's frames by Y, pooled from S, are to be that action: 8.9 to 8.12."""
    w = jnp.where(mask[..., None] & inside[:, None], y, 0)
    v = jnp.einsum("btm,btc->bmc", w, s, precision="highest") / length[:, None, None]  # eq. 8.11
    each = jnp.diagonal(jax.nn.log_softmax(v), axis1=1, axis2=2)
    weight = jnp.where(inside, weight, 0)
    return -(weight * each).sum(1) / jnp.maximum(weight.sum(1), _LEAST)  # eq. 8.12

  def _divergence(self, y, s, mask):
    """The Jensen-Shannon divergence of Y and S, a mean over frames: 8.15."""
    y = y / jnp.maximum(y.sum(-1, keepdims=True), _LEAST)
    s = jax.nn.softmax(s)
    log = lambda p: jnp.log(jnp.maximum(p, _LEAST))
    middle = log((y + s) / 2)
    apart = lambda p: (p * (log(p) - middle)).sum(-1)
    return mean_live((apart(y) + apart(s)) / 2, mask)
