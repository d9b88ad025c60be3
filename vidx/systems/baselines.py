"""What weak labels give by simple means: frames labelled by an even split, a duration DP, soft boundaries, or no single
labelling.

A frame classifier, one stage of MS-TCN, learns labels made from the transcript or set of
a video: `uniform_split` cuts it evenly; `length_dp` aligns it again at every step to what
the classifier says so far and to the mean lengths of the classes, and labels new videos
by frames and lengths together; `soft_boundaries` moves the boundaries of the even split
round by round towards what the classifier says, and labels new videos by frames alone;
`forward_loss` aligns as `length_dp` does, and learns from all segmentations whose cuts are
near those of the alignment, against others that are hard to tell from them.

`length_dp` is after Richard et al.: "NeuralNetwork-Viterbi", CVPR 2018, without its buffer
of videos and its grammar. `soft_boundaries` is after Ding and Xu: "Weakly-Supervised Action
Segmentation with Iterative Soft Boundary Assignment", CVPR 2018, with another trunk than
their TCFPN, with rounds that come at stated steps in place of a stopping criterion, and all
rounds so far are made of what the classifier says now. `forward_loss` is after Li, Lei,
Todorovic: "Weakly Supervised Energy-Based Learning for Action Segmentation", ICCV 2019
(CDFL), with this trunk in place of a GRU; see vidx/nn/segmentation_graph.py.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import errors
from vidx.backbones.tcn import Stage, site_names
from vidx.nn import choices, compaction, segmentation_graph
from vidx.nn import sites as sites_lib
from vidx.nn.duration_dp import poisson_dp, poisson_log_probs
from vidx.nn.segment_masks import segment_of_frame
from vidx.nn.semi_markov import semi_markov
from vidx.nn.sequence import cut, stretch
from vidx.nn.soft_boundaries import entry_labels, insert_entries, soft_loss
from vidx.systems.ms_tcn import frame_loss, frame_readout

SUPERVISIONS = ("transcript", "set")


class WeakFrames(nn.Module):
  """A frame classifier that learns labels made from weak ones.

  Attributes:
    num_classes: N.
    realign: aligns by a duration DP; otherwise the even split is learned, or one whose boundaries move.
    contrast: with `realign`, learns no labels of frames but the segmentations near the aligned one, against 'hard'
      others, 'all' or 'none' (vidx.nn.segmentation_graph); '': labels.
    window: frames around a cut in which these have theirs.
    step: frames between their places.
    insertions: rounds in which its boundaries move (vidx.nn.soft_boundaries), whose targets are soft; 0: none.
    insert_every: steps of training before each of these rounds.
    supervision: what is known of a training video, its 'transcript', or the 'set' of its actions. A set is taken as a
      transcript: by class, or with `realign` by when its actions are expected.
    layers: blocks of the classifier.
    width: channels.
    dropout: in the blocks.
    max_length: longest segment of the DP.
    grid: frames between its boundaries.
    memory: by which share what is known of lengths fades at every step.
    align: the transcript or set of a new video is given too, and its alignment is the prediction.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int = 48
  realign: bool = False
  contrast: str = ""
  window: int = 10
  step: int = 5
  insertions: int = 0
  insert_every: int = 7300
  supervision: str = "transcript"
  layers: int = 10
  width: int = 64
  dropout: float = 0.5
  max_length: int = 2000
  grid: int = 4
  memory: float = 0.999
  align: bool = False
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    choices.check("supervision", self.supervision, SUPERVISIONS)
    if self.insertions and (self.realign or self.insertions < 0 or self.insert_every < 1):
      raise errors.ConfigError(f"insertions = {self.insertions}, insert_every = {self.insert_every}: write rounds of 0"
                               " or more and steps of 1 or more, and none with realign.")
    choices.check("contrast", self.contrast, ("", *segmentation_graph.OTHERS))
    if self.contrast and (not self.realign or self.window < 0 or self.step < 1):
      raise errors.ConfigError(f"contrast = '{self.contrast}', window = {self.window}, step = {self.step}: write 0 or"
                               " more frames around a cut, 1 or more between its places, and realign = True.")
    super().__post_init__()

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch."""
    return ("features", "length", "transcript" if self.supervision == "transcript" else "label")

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the classifier."""
    return tuple(f"stage1.{name}" for name in site_names(self.layers))

  @nn.compact
  def __call__(self, features: jax.Array, length: jax.Array | None = None, weak: jax.Array | None = None,
               train: bool = False) -> dict[str, Any]:
    """Learns from weak labels, or labels frames.

    Args:
      features: (B, T, D).
      length: (B,) live frames; None: all.
      weak: int32 (B, M), -1 after the end, a transcript; or (B, N), 1 for the actions of a set. Training needs it,
        and `align`.
      train: dropout, lengths are gathered, and no predictions.

    Returns:
      fp32 {'logits': (B, T, N)}; with weak labels 'losses': {'frames': (B,)}, or 'forward' with `contrast`; in
      evaluation 'predictions': {'y': int32 (B, T), -1 after the end} and 'confidence': (B, T).
    """
    sites_lib.check(self.sites, self.site_names())
    zeros = lambda: jnp.zeros(self.num_classes)
    lengths = {name: self.variable("lengths", name, zeros) for name in ("frames", "segments")} if self.realign else {}
    steps = self.variable("progress", "steps", lambda: jnp.zeros((), jnp.int32)) if self.insertions else None
    x, length, mask = cut(features, length)
    stage = Stage("stage1", self.num_classes, self.layers, self.width, self.dropout, self.sites, self.dtype,
                  name="stage1")
    logits = stage(x, mask, train)
    out = {"logits": logits}
    seen = {name: variable.value for name, variable in lengths.items()}
    if weak is not None and self.insertions:
      found, loss = self._moved(logits, weak, length, mask, steps.value // self.insert_every)
      out["losses"] = {"frames": loss}
      if train and not self.is_initializing():
        steps.value += 1
    elif weak is not None:
      found, own, aligned = self._labels(jax.lax.stop_gradient(logits), weak, length, mask, seen)
      if self.contrast:
        loss = functools.partial(segmentation_graph.forward_loss, window=self.window, step=self.step,
                                 others=self.contrast)
        out["losses"] = {"forward": jax.vmap(loss)(jax.nn.log_softmax(logits), *aligned, length)}
      else:
        out["losses"] = {"frames": frame_loss(jax.nn.log_softmax(logits), found, mask)}
      if train:
        for name, values in own.items():
          lengths[name].value = self.memory * seen[name] + values
    if train:
      return out
    if self.align:
      if weak is None:
        raise errors.ConfigError("these videos have nothing to align: set system.align = False.")
      labels = found
    else:
      labels = self._decoded(logits, length, seen) if self.realign else None
    return {**out, **frame_readout(jax.nn.softmax(logits), mask, labels)}

  # ------------------------------------------------------------ labels from weak ones

  def _labels(self, logits, weak, length, mask, seen):
    """Labels (B, T) of frames, and with `realign` the frames and segments that each class was given, (N,) each, and the
    transcript (B, M), the lengths (B, M) of its segments, zeros where none fit, and how many (B,) it has."""
    labels, live = self._transcript(logits, weak, mask)
    frames, count = mask.shape[1], jnp.maximum(live.sum(1), 1)
    even = stretch(labels, count, length, frames)
    if not self.realign:
      return even, {}, ()
    share = _unbiased(logits, seen)
    mean, known = _means(seen)
    means = jnp.where(known[labels] & live, mean[labels], (length / count)[:, None])
    means = jnp.where(live, means, 0)
    means *= length[:, None] / jnp.maximum(means.sum(1, keepdims=True), 1)

    def search(scores, transcript, means, length, segments):
      return poisson_dp(scores, transcript, means, length=length, segments=segments, grid=self.grid,
                                    max_length=min(self.max_length, frames))

    best = jax.vmap(search)(share, labels, means, length, count)
    aligned = jnp.take_along_axis(labels, segment_of_frame(best.lengths, frames), 1)
    fits = (best.score > -jnp.inf)[:, None]
    own = jax.nn.one_hot(labels, self.num_classes) * (live & fits)[..., None]
    given = {"frames": (own * best.lengths[..., None]).sum((0, 1)), "segments": own.sum((0, 1))}
    return jnp.where(fits, aligned, even), given, (labels, jnp.where(fits, best.lengths, 0), count)

  def _moved(self, logits, weak, length, mask, rounds):
    """Labels (B, T) of the even split whose boundaries have moved, and the loss of the soft ones, (B,)."""
    labels, live = self._transcript(logits, weak, mask)
    live |= jnp.arange(live.shape[1]) == 0
    log_probs = jax.nn.log_softmax(logits)
    counts = insert_entries(jnp.exp(jax.lax.stop_gradient(log_probs)), labels, live, length, self.insertions, rounds)
    entries = entry_labels(labels, counts, live.shape[1] * (1 + self.insertions))
    total = counts.sum(1)
    return stretch(entries, total, length, mask.shape[1]), soft_loss(log_probs, entries, total, length, mask)

  def _transcript(self, logits, weak, mask):
    """Class ids (B, M), 0 after the end, and which are live."""
    if self.supervision == "transcript":
      return jnp.maximum(weak, 0), weak >= 0
    inside = weak > 0
    if not self.realign:
      order, live = compaction.live_first(inside)
    else:
      share = jax.nn.softmax(logits) * mask[..., None]
      expected = jnp.einsum("t,btn->bn", jnp.arange(mask.shape[1]), share) / jnp.maximum(share.sum(1), 1e-6)
      order = jnp.argsort(jnp.where(inside, expected, jnp.inf), 1)
      live = jnp.arange(self.num_classes) < inside.sum(1, keepdims=True)
    return jnp.where(live, order, 0), live

  # ------------------------------------------------------------ new videos

  def _decoded(self, logits, length, seen):
    """Labels (B, T) by frames and lengths; by frames alone as long as no length is known."""
    mean, known = _means(seen)
    table = poisson_log_probs(mean, min(self.max_length, logits.shape[1]))
    table = jnp.where(known[:, None], table, -jnp.inf)
    labels, score = jax.vmap(lambda s, n: semi_markov(s, table, length=n, grid=self.grid))(
        _unbiased(logits, seen), length)
    return jnp.where((score > -jnp.inf)[:, None], labels, logits.argmax(-1))


def _means(seen):
  """Mean length of each class, and whether one is known."""
  known = seen["segments"] > 0
  return jnp.where(known, seen["frames"] / jnp.where(known, seen["segments"], 1), 1), known


def _unbiased(logits, seen):
  """log p(c | x) - log p(c), p(c) the share of frames that each class was given; log p(c | x) of one never given."""
  prior = seen["frames"] / jnp.maximum(seen["frames"].sum(), 1)
  return jax.nn.log_softmax(logits) - jnp.log(jnp.where(prior > 0, prior, 1))
