"""MuCon: frame labels, and a transcript with lengths, of a long video, learned from transcripts by mutual consistency.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 9; Souri, Fayyaz, Minciullo, Francesca and Gall: "Fast Weakly Supervised
Action Segmentation Using Mutual Consistency", 2021. Recipe: SGD without momentum, one
video a step, rate 0.01, a tenth of it after epoch 70 of 150.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import errors
from vidx.backbones.tcn import TCN
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.duration_dp import PUBLIC, poisson_dp
from vidx.nn.initialisers import INITS
from vidx.nn.length_descent import descend_lengths
from vidx.nn.recurrent import Affine, BiLSTM
from vidx.nn.segment_masks import (
    CORNERS, TEMPLATES, excess, integrate_segments, pool_segments, project_lengths, round_lengths, segment_masks,
    segment_of_frame, starts_of, widen)
from vidx.nn.sequence import at_labels, cut, live_labels, mean_live, smoothing, stretch
from vidx.nn.sequence_decoder import LENGTH_INPUTS, AttentionDecoder
from vidx.systems.ms_tcn import frame_loss

#: Dilations of the trunk's blocks (table 9.1); 'single' is one convolution of size 1 and its norm, without pooling.
BACKBONES = {"exponential": tuple(2**i for i in range(11)), "linear": tuple(range(1, 12)), "fixed": (1,) * 11,
             "single": ()}
_CHOICES = dict(
    consistency=("sum", "mean", "arithmetic"), consistency_target=("forced", "truth", "predicted"),
    masks=("mask", "integral"), template=TEMPLATES, corner=CORNERS,
    teacher_forcing=("all", "first", "none"), length_in=LENGTH_INPUTS, length_target=("log", "softmax"),
    infer=("exact", "grid", "gd"), initial=INITS)


class MuCon(nn.Module):
  """Two branches over one trunk: labels of frames, and a transcript with lengths.

  Attributes:
    num_classes: N, background included.
    backbone: a key of BACKBONES, or dilations.
    pools: blocks of the trunk, counted from 0, after which time is halved; Hollywood: (1, 2, 4).
    width: channels of the trunk.
    hidden: of the LSTMs, attention and embedding.
    groups: of the trunk's last norm.
    dropout: everywhere.
    length_in: see vidx.nn.sequence_decoder.AttentionDecoder.
    two_biases: of the LSTMs; see vidx.nn.recurrent.Gates.
    initial: of weights; see vidx.nn.recurrent.
    template: of masks; the next four as in vidx.nn.segment_masks.
    points: J.
    overlap: share of a segment by which its mask reaches into its neighbours.
    public_overlap: as the released code has it, where the enlarged length is also what divides in 9.1.
    corner: 'frame', 'align', or 'centre', for few points.
    masks: 'mask', or 'integral': sums between real boundaries, as in vidx.nn.segment_masks.
    consistency: 'sum' over segments (9.3), 'mean', or 'arithmetic', the mean of masked cross-entropies of frames.
    consistency_target: what the frames are to be consistent with: the 'truth', the 'predicted' transcript, or
      the one with which the decoder went on, the truth where it is 'forced' (table 9.5).
    background: class that `background_weight` is for.
    background_weight: of its segments in the consistency loss.
    consistency_weight: of the consistency loss; 0 leaves the lengths untrained.
    length_weight: alpha; Hollywood: 1.
    limit: w of 9.11.
    smoothing_weight: beta.
    public_smoothing: see vidx.nn.sequence.smoothing.
    frame_weight: of the cross-entropy of fully labelled videos.
    full_length_weight: of their squared error of lengths.
    length_target: compares 'log' relative lengths, or 'softmax', the relative lengths.
    teacher_forcing: in training, of 'all' videos, the 'first' `teacher_videos` of the run, or 'none'.
    teacher_videos: of 'first'; published: 70 epochs of 1,460 videos.
    max_segments: longest transcript that is decoded.
    infer: how lengths are fused with frames: 'exact' DP, 'grid' as in the released code, or 'gd', gradient descent.
    max_length: longest segment of the DP; where no such lengths fit, the decoder's lengths stay.
    align: the batch's transcript is taken in place of a decoded one.
    sites: blocks to plug into the trunk.
    dtype: compute dtype of trunk and decoder; None is fp32.
  """

  num_classes: int = 48
  backbone: str | Sequence[int] = "exponential"
  pools: Sequence[int] = (1, 2, 4, 8)
  width: int = 128
  hidden: int = 128
  groups: int = 32
  dropout: float = 0.25
  length_in: str = "h"
  two_biases: bool = False
  initial: str = "gaussian"
  template: str = "box"
  points: int = 100
  overlap: float = 0.0
  public_overlap: bool = False
  corner: str = "frame"
  masks: str = "mask"
  consistency: str = "sum"
  consistency_target: str = "forced"
  background: int = 0
  background_weight: float = 1.0
  consistency_weight: float = 1.0
  length_weight: float = 0.1
  limit: float = 2.0
  smoothing_weight: float = 0.1
  public_smoothing: bool = False
  frame_weight: float = 1.0
  full_length_weight: float = 1.0
  length_target: str = "log"
  teacher_forcing: str = "all"
  teacher_videos: int = 70 * 1460
  max_segments: int = 31
  infer: str = "exact"
  max_length: int = 2000
  align: bool = False
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("features", "length", "transcript", "frame_label", "full")

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    named = {"backbone": tuple(BACKBONES)} if isinstance(self.backbone, str) else {}
    for field, known in {**named, **_CHOICES}.items():
      choices.check(field, getattr(self, field), known)
    super().__post_init__()

  @nn.nowrap
  def _trunk(self) -> TCN:
    dilations = BACKBONES[self.backbone] if isinstance(self.backbone, str) else tuple(self.backbone)
    pools = tuple(i for i in self.pools if i < len(dilations))
    return TCN(width=self.width, dilations=dilations, pools=pools, tap=None, dropout=self.dropout, input_dropout=0.0,
               groups=self.groups, initial=self.initial, sites=self.sites, dtype=self.dtype, parent=None)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self._trunk().site_names()

  def setup(self):
    self.trunk = self._trunk().clone(parent=self)
    self.drop = nn.Dropout(self.dropout)
    affine = lambda features: Affine(features, initial=self.initial, dtype=self.dtype)
    self.classifier = affine(self.num_classes)
    self.encoder = BiLSTM(self.hidden, self.two_biases, self.initial, self.dtype)
    self.to_state, self.to_cell = affine(self.hidden), affine(self.hidden)
    self.decoder = AttentionDecoder(self.num_classes, self.hidden, self.hidden, self.dropout, self.length_in,
                                    self.two_biases, self.initial, self.dtype)
    if self.teacher_forcing == "first":
      self.seen = self.variable("progress", "videos", lambda: jnp.zeros((), jnp.int32))

  # ------------------------------------------------------------ the branches

  def encode(self, features: jax.Array, length: jax.Array | None = None, train: bool = False):
    """The two branches as far as they need no transcript (9.3.1 to 9.3.3).

    Args:
      features: (B, T, D).
      length: (B,) live frames; None: all.
      train: dropout.

    Returns:
      logits Y fp32 (B, T, N), the true lengths (B,), the mask (B, T), and what `decode` takes.
    """
    x, length, mask = cut(features, length)
    stride = 2 ** len(self.trunk.pools)
    seen = jnp.arange(x.shape[1]) < jnp.maximum(length, stride)[:, None]  # the shortest video has one region
    found = self.trunk(x, train, seen)
    z = self.drop(nn.relu(found["regions"]), deterministic=not train)
    live = found["regions_mask"]
    y = stretch(self.classifier(z), live.sum(1), length, x.shape[1])
    encoded, state, cell = self.encoder(z, live)
    return y, length, mask, (encoded, self.to_state(state), self.to_cell(cell), live)

  def decode(self, encoded, **options) -> dict[str, jax.Array]:
    """The segment branch; see AttentionDecoder."""
    return self.decoder(*encoded, **options)

  # ------------------------------------------------------------ training

  def _forced(self, batch: int, train: bool):
    """Whether the decoder is given the true labels: static where it can be."""
    if not train or self.teacher_forcing == "all":
      return True
    if self.teacher_forcing == "none":
      return False
    force = self.seen.value < self.teacher_videos
    if not self.is_initializing():
      self.seen.value += batch
    return force

  def losses(self, y: jax.Array, mask: jax.Array, length: jax.Array, decoded: Mapping[str, jax.Array],
             transcript: jax.Array, frame_label: jax.Array | None = None, full: jax.Array | None = None,
             forced: bool | jax.Array = True) -> dict[str, jax.Array]:
    """Weighted terms, (B,) each.

    Args:
      y: (B, T, N) logits.
      mask: (B, T).
      length: (B,) live frames.
      decoded: of M + 1 steps.
      transcript: (B, M), -1 after the end.
      frame_label: (B, T), -1 where unknown.
      full: (B,) 1 where frame labels may be used; None: everywhere.
      forced: whether the decoder was given the true labels.
    """
    batch, size = transcript.shape
    live = jnp.arange(size) < jnp.maximum((transcript >= 0).sum(1), 1)[:, None]
    labels = jnp.maximum(transcript, 0)
    count = live.sum(1)
    target = jnp.where(live, labels, self.num_classes)
    target = jnp.pad(target, ((0, 0), (0, 1)), constant_values=self.num_classes)  # the end
    of_target = -at_labels(jax.nn.log_softmax(decoded["logits"]), target)
    losses = {"transcript": jnp.where(jnp.arange(size + 1) <= count[:, None], of_target, 0).sum(1)}

    if self.consistency_target != "truth":
      predicted = jnp.where(decoded["labels"] < self.num_classes, decoded["labels"], 0)[:, :size]
      labels = jnp.where(forced & (self.consistency_target == "forced"), labels, predicted)
    relative = decoded["lengths"][:, :size]
    lengths = project_lengths(relative, length, live)  # eq. 9.5
    log_probs = jax.nn.log_softmax(y)
    losses["consistency"] = self.consistency_weight * self._consistency(
        y, log_probs, mask, length, lengths, labels, live)
    losses["length"] = self.length_weight * jnp.where(
        live, excess(relative, self.limit), 0).sum(1)  # eq. 9.11
    losses["smoothing"] = self.smoothing_weight * smoothing(log_probs, mask, public=self.public_smoothing)  # eq. 9.12
    if frame_label is not None:
      full = jnp.ones(batch) if full is None else full
      losses["frames"] = full * self.frame_weight * frame_loss(log_probs, frame_label, mask)
      losses["full_length"] = full * self.full_length_weight * self._length_error(
          relative, frame_label, mask, live)
    return losses

  def _consistency(self, y, log_probs, mask, length, lengths, labels, live):
    """The mutual consistency of Y with the transcript and its lengths, 9.1 to 9.3."""
    values = jnp.where(mask[..., None], log_probs if self.consistency == "arithmetic" else y, 0)
    starts, divisor = starts_of(lengths), lengths
    if self.public_overlap:
      _, divisor = widen(starts, lengths, self.overlap, True)
    if self.masks == "integral":
      sums = integrate_segments(
          values, *widen(starts, lengths, self.overlap, self.public_overlap)[::-1], length=length)
    else:
      sums = pool_segments(values, segment_masks(
          lengths, values.shape[1], length=length, mask=live, name=self.template, points=self.points,
          overlap=self.overlap, public_overlap=self.public_overlap, corner=self.corner))
    weight = jnp.where(labels == self.background, self.background_weight, 1.0) * live
    if self.consistency == "arithmetic":
      return -(weight * at_labels(sums, labels)).sum(1) / length
    pooled = sums / jnp.where(live, jnp.maximum(divisor, 1e-6), 1)[..., None]  # eq. 9.1
    each = -weight * at_labels(jax.nn.log_softmax(pooled), labels)  # eq. 9.2
    return each.sum(1) if self.consistency == "sum" else each.sum(1) / jnp.maximum(weight.sum(1), 1e-6)  # eq. 9.3

  def _length_error(self, relative, frame_label, mask, live):
    """Mean squared error of relative lengths, of videos whose runs of labels are as many as their segments."""
    true = run_lengths(jnp.where(mask, frame_label, -1), relative.shape[1])
    known = ((true > 0) == live).all(1)
    share = jnp.where(live & known[:, None], true / jnp.maximum(true.sum(1, keepdims=True), 1), 1)
    relative = jnp.where(live, relative.astype(jnp.float32), -jnp.inf)
    if self.length_target == "log":
      error = jnp.where(live, jax.nn.log_softmax(relative), 0) - jnp.log(share)
    else:
      error = jax.nn.softmax(relative) - share
    return mean_live(error**2, live & known[:, None])

  # ------------------------------------------------------------ use

  def segment(self, y: jax.Array, mask: jax.Array, length: jax.Array, transcript: jax.Array, relative: jax.Array
              ) -> dict[str, Any]:
    """The three read-outs (9.3.8): of frames alone, of segments alone, and of both.

    Args:
      y: (B, T, N) logits.
      mask: (B, T).
      length: (B,).
      transcript: (B, M) decoded or given, -1 after the end.
      relative: (B, M) relative log lengths.
    """
    count = jnp.clip((transcript >= 0).sum(1), 1, length)  # every segment has a frame
    live = jnp.arange(transcript.shape[1]) < count[:, None]
    labels = jnp.where(live, transcript, 0)
    means = project_lengths(relative, length, live)
    own = round_lengths(means)
    probs = jax.nn.softmax(y)
    fused = self._fuse(jnp.log(jnp.maximum(probs, 1e-30)), labels, means, own, length, count)

    def frames(lengths):
      owner = segment_of_frame(lengths, y.shape[1])
      return live_labels(jnp.take_along_axis(labels, owner, 1), mask)

    full = frames(fused)
    return {"predictions": {"full": full, "y": live_labels(y.argmax(-1), mask), "s": frames(own)},
            "confidence": jnp.where(mask, at_labels(probs, full), 0),
            "segments": live_labels(labels, live), "segment_lengths": fused}

  def _fuse(self, log_probs, labels, means, own, length, count):
    """Lengths by frames and the decoder's lengths, 9.14 and 9.15."""
    if self.infer == "gd":
      return jax.vmap(lambda p, a, m, n, k: descend_lengths(p, a, m, length=n, segments=k))(
          log_probs, labels, means, length, count)
    options = PUBLIC if self.infer == "grid" else {}
    options = {**options, "max_length": min(self.max_length, log_probs.shape[1])}
    search = lambda p, a, m, n, k: poisson_dp(p, a, m, length=n, segments=k, **options)
    best = jax.vmap(search)(log_probs, labels, means, length, count)
    return jnp.where(best.score[:, None] > -jnp.inf, best.lengths, own)

  def __call__(self, features: jax.Array, length: jax.Array | None = None, transcript: jax.Array | None = None,
               frame_label: jax.Array | None = None, full: jax.Array | None = None, train: bool = False
               ) -> dict[str, Any]:
    """Learns from transcripts, or segments videos.

    Args:
      features: (B, T, D).
      length: (B,) live frames; None: all.
      transcript: (B, M) int32, -1 after the end; training needs it, and `align`.
      frame_label: (B, T) int32, -1 where unknown.
      full: (B,) 1 for videos whose frame labels may be used; None: all that have some.
      train: dropout, and no predictions.

    Returns:
      fp32 {'logits': (B, T, N)}; with a transcript 'losses': {'transcript', 'consistency', 'length', 'smoothing',
      with frame labels 'frames' and 'full_length'}, (B,) each; in evaluation 'predictions': {'full', 'y', 's'},
      int32 (B, T), -1 after the end, 'confidence' (B, T), and 'segments' and 'segment_lengths', int32 (B, M'), -1
      and 0 after the end.
    """
    y, length, mask, encoded = self.encode(features, length, train)
    out = {"logits": y}
    if transcript is not None:
      forced = self._forced(len(y), train)
      decoded = self.decode(encoded, steps=transcript.shape[1] + 1, transcript=transcript, stop=False, train=train,
                            force=forced)
      out["losses"] = self.losses(y, mask, length, decoded, transcript, frame_label, full, forced)
    if train:
      return out
    if not self.align:
      free = self.decode(encoded, steps=self.max_segments)
      found = jnp.where(free["labels"] < self.num_classes, free["labels"], -1)
      return {**out, **self.segment(y, mask, length, found, free["lengths"])}
    if transcript is None:
      raise errors.ConfigError("mucon aligns transcripts, and these videos have none: set system.align = False.")
    return {**out, **self.segment(y, mask, length, transcript, decoded["lengths"][:, :-1])}


def run_lengths(frame_label: jax.Array, segments: int) -> jax.Array:
  """Frames of the first runs of equal labels: (B, T), -1 where unknown, -> int32 (B, segments), 0 after the last.

  A frame of unknown label counts for none. All are 0 where there are more runs.
  """
  known = frame_label >= 0
  before = jnp.pad(frame_label[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
  run = jnp.cumsum(known & (frame_label != before), 1) - 1
  counts = ((run[:, None] == jnp.arange(segments)[:, None]) & known[:, None]).sum(-1)
  return jnp.where(run[:, -1:] < segments, counts, 0)
