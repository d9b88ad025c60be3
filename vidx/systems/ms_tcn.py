"""MS-TCN: stages of dilated convolutions over the features of a video, each correcting the one before; full labels.

Farha and Gall: "MS-TCN: Multi-Stage Temporal Convolutional Network for Action
Segmentation", CVPR 2019.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.tcn import Stage, site_names
from vidx.nn import sites as sites_lib
from vidx.nn.sequence import at_labels, cut, live_labels, mean_live, smoothing


class MSTCN(nn.Module):
  """A multi-stage TCN.

  Attributes:
    num_classes: N.
    stages: how many; one is a single-stage TCN.
    layers: blocks of a stage.
    width: channels.
    dropout: in the blocks.
    smoothing: weight of the smoothing loss.
    limit: see vidx.nn.sequence.smoothing.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int = 48
  stages: int = 4
  layers: int = 10
  width: int = 64
  dropout: float = 0.5
  smoothing: float = 0.15
  limit: float = 4.0
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("features", "length", "frame_label", "full")

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    if self.stages < 1:
      raise ValueError(f"stages = {self.stages} are none")
    super().__post_init__()

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of all stages, in their order."""
    return tuple(f"stage{i + 1}.{name}" for i in range(self.stages) for name in site_names(self.layers))

  @nn.compact
  def __call__(self, features: jax.Array, length: jax.Array | None = None, frame_label: jax.Array | None = None,
               full: jax.Array | None = None, train: bool = False) -> dict[str, Any]:
    """Labels the frames of videos.

    Args:
      features: (B, T, D).
      length: (B,) live frames; None: all.
      frame_label: (B, T) int32, -1 where unknown.
      full: (B,) 1 for videos whose frame labels may be used; None: all.
      train: dropout, and no predictions.

    Returns:
      fp32 {'logits': (B, T, N) of the last stage}; where there are labels 'losses': {'frames', 'smoothing'},
      (B,) each, sums over stages; in evaluation 'predictions': {'y': int32 (B, T), -1 after the end}
      and 'confidence': (B, T).
    """
    sites_lib.check(self.sites, self.site_names())
    x, _, mask = cut(features, length)
    losses = {"frames": 0.0, "smoothing": 0.0}
    for name in (f"stage{i + 1}" for i in range(self.stages)):
      logits = Stage(name, self.num_classes, self.layers, self.width, self.dropout, self.sites, self.dtype,
                     name=name)(x, mask, train)
      log_probs = jax.nn.log_softmax(logits)
      if frame_label is not None:
        losses["frames"] += frame_loss(log_probs, frame_label, mask)
        losses["smoothing"] += self.smoothing * smoothing(log_probs, mask, self.limit)
      x = jnp.exp(log_probs)
    out = {"logits": logits}
    if frame_label is not None:
      share = jnp.ones(len(x)) if full is None else full
      out["losses"] = {name: value * share for name, value in losses.items()}
    return out if train else {**out, **frame_readout(x, mask)}


def frame_loss(log_probs: jax.Array, frame_label: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean cross-entropy over the live frames whose label is known: (B, T, N), (B, T), (B, T) -> (B,)."""
  return mean_live(-at_labels(log_probs, frame_label), mask & (frame_label >= 0))


def frame_readout(probs: jax.Array, mask: jax.Array, labels: jax.Array | None = None) -> dict[str, Any]:
  """Labels (B, T) of the frames, by default the likeliest, and how probable each is by its frame, from (B, T, N)."""
  labels = probs.argmax(-1) if labels is None else labels
  return {"predictions": {"y": live_labels(labels, mask)}, "confidence": jnp.where(mask, at_labels(probs, labels), 0)}
