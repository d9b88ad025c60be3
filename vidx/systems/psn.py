"""Parallel sampling network: a light network scores all candidate frames at once, a heavy one sees the best few.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 5.
The classifier is trained before, `train.init_from = (("/classifier/", RUN), ...)`, and
only evaluated here.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import errors, systems
from vidx.backbones.chain import as_clip
from vidx.nn import axes, choices, compaction
from vidx.nn import sites as sites_lib
from vidx.nn.frame_context import FrameScores
from vidx.nn.frame_selection import FUSIONS, FrameChoice, best_frames, excess, fuse, uniform_frames
from vidx.nn.represent import segments
from vidx.terminal import counted

SELECTIONS = ("topk", "uniform", "random", "scsampler", "oracle")
SCORED = ("topk", "scsampler")  # selections by the scores of the light network
REDUCTIONS = ("sum", "mean")
_NEVER = -1e30  # score of a frame that is not to be chosen


class ParallelSampling(nn.Module):
  """`sampler` sees N candidates, `classifier` the `keep` best of them; see `psn` for the other fields."""

  sampler: nn.Module
  classifier: nn.Module
  frame_scores: FrameScores
  keep: int
  sparsity: float
  select: str
  weighting: bool
  reduce: str
  fusion: str
  dedup: bool
  consecutive: int
  sampler_size: int

  held = ("^classifier/",)  # gets no gradient

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch; the oracle looks at the label."""
    return ("video", "label") if self.select == "oracle" else ("video",)

  @property
  def frame_choice(self) -> FrameChoice | None:
    """What is chosen, where the scores of frames are all there is to know."""
    by_scores = self.select in SCORED and not self.dedup
    return FrameChoice(self.keep, self.sampler_size) if by_scores else None

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the sampler, then those of the classifier."""
    return self.sampler.site_names() + self.classifier.site_names()

  # ------------------------------------------------------------ the parts

  def score(self, frames: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """What the light network makes of candidates.

    Args:
      frames: (B, N, h, w, 3), normalised.
      train: batch statistics over the B N frames.

    Returns:
      {'scores': fp32 (B, N), before the sigmoid of eq. 5.2}; of SCSampler the
      highest logit of each frame, and its own 'logits' (B, num_classes), their mean.
    """
    seen = _each(lambda x: self.sampler(x, train=train), frames)
    if self.select != "scsampler":
      return {"scores": self.frame_scores(seen["features"], train=train)}
    return {"scores": seen["logits"].max(-1), "logits": seen["logits"].mean(1)}

  def choose(self, scores: jax.Array, new: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Indices of the frames to classify and their weights, (B, keep) each, from scores (B, N).

    Args:
      scores: by which the best are chosen.
      new: (B, N) bool, frames that do not repeat the one before; None: all.
    """
    chosen = best_frames(scores if new is None else jnp.where(new, scores, _NEVER), self.keep)
    return chosen, self._weights(compaction.take(scores, chosen),
                                 None if new is None else compaction.take(new, chosen))

  def classify(self, clips: jax.Array, weights: jax.Array) -> dict[str, jax.Array]:
    """The prediction from chosen frames alone.

    Args:
      clips: (B, M, H, W, 3), or (B, M, d, H, W, 3) for a classifier of clips; normalised.
      weights: (B, M).

    Returns:
      {'logits': (B, num_classes), 'features': (B, C)}, fp32.
    """
    return self._fused(_each(lambda x: self.classifier(x, train=False), clips), weights)

  def _weights(self, scores, live=None):
    """How much each frame counts: its score in 0..1, or all alike."""
    if self.weighting:
      weights = jax.nn.sigmoid(scores)
      weights = weights / scores.shape[1] if self.reduce == "mean" else weights
      return weights if live is None else weights * live
    live = jnp.ones_like(scores) if live is None else live.astype(scores.dtype)
    return live / live.sum(-1, keepdims=True)

  def _fused(self, seen, weights):
    logits = fuse(seen["logits"], weights, self.fusion)
    return {"logits": logits, "features": jnp.einsum("bn,bnc->bc", weights, seen["features"])}

  def _small(self, clips):
    """The middle frame of each candidate at the size that the sampler sees."""
    frames = clips[:, :, clips.shape[2] // 2]
    size = self.sampler_size
    if not size or size == frames.shape[2]:
      return frames
    shape = (*frames.shape[:2], size, size, frames.shape[-1])
    return jax.image.resize(frames, shape, "linear", antialias=True).astype(frames.dtype)

  # ------------------------------------------------------------ the whole

  def __call__(self, video: jax.Array, label: jax.Array | None = None, train: bool = False) -> dict[str, Any]:
    """Trains the sampler, or predicts from the frames that it chooses.

    Args:
      video: (B, N d, H, W, 3), normalised: N candidates of d = `consecutive` frames.
      label: (B,) or multi-hot (B, num_classes), for the oracle.
      train: all candidates are classified, and weighted by their scores.

    Returns:
      fp32 {'logits': (B, num_classes), 'features': (B, C)}; 'losses': {'sparsity': (B,)}
      where frames are weighted; in evaluation 'frames', int32 (B, keep), the candidates
      chosen, the best first, and 'weights' of them (B, keep).
    """
    axes.check_pixels(video)
    clips = segments(video, self.consecutive)
    if self.keep > clips.shape[1]:
      raise errors.ConfigError(f"psn keeps {counted(self.keep, 'frame')} of {counted(clips.shape[1], 'candidate')}:"
                               " raise data.frames, or lower system.keep.")
    if self.is_initializing():  # every part has its parameters, whichever of them a selection needs
      self.score(self._small(clips))
      return self.classify(self._shaped(clips[:, :1]), jnp.ones((len(clips), 1)))
    return self._training(clips) if train else self._evaluation(clips, label)

  def _training(self, clips):
    found = self.score(self._small(clips), train=True)
    if self.select == "scsampler":
      return {"logits": found["logits"]}
    seen = jax.lax.stop_gradient(_each(lambda x: self.classifier(x, train=False), self._shaped(clips)))
    q = jax.nn.sigmoid(found["scores"])  # eq. 5.2
    weights = q / q.shape[1] if self.reduce == "mean" else q
    sparsity = self.sparsity * excess(q, self.keep)  # eq. 5.6
    return {**self._fused(seen, weights), "losses": {"sparsity": sparsity}}  # eq. 5.4

  def _evaluation(self, clips, label):
    count = clips.shape[1]
    small, losses = self._small(clips), {}
    scores = jnp.zeros(clips.shape[:2])
    if self.select in SCORED or self.weighting:
      scores = self.score(small)["scores"]
    if self.weighting:
      losses = {"losses": {"sparsity": self.sparsity * excess(jax.nn.sigmoid(scores), self.keep)}}
    if self.select in SCORED:
      chosen, weights = self.choose(scores, _new(small) if self.dedup else None)
    else:
      chosen = self._other(clips, small, label)
      weights = self._weights(compaction.take(scores, chosen))
    self._show(chosen, weights, count)
    out = self.classify(self._shaped(compaction.take(clips, chosen)), weights)
    return {**out, **losses, "frames": chosen, "weights": weights}

  def _other(self, clips, small, label):
    """Frames chosen without scores, (B, keep): evenly, at random, or by what the classifier says of the true class."""
    batch, count = clips.shape[:2]
    if self.select == "uniform":
      return jnp.broadcast_to(uniform_frames(count, self.keep), (batch, self.keep))
    if self.select == "random":
      middle = small[:, :, small.shape[2] // 2, small.shape[3] // 2, 0].astype(jnp.float32)
      seeds = jax.lax.bitcast_convert_type(middle, jnp.int32).sum(-1)  # of the video alone, whatever its batch
      draw = lambda seed: jax.random.uniform(jax.random.PRNGKey(seed), (count,))
      return best_frames(jax.vmap(draw)(seeds), self.keep)
    logits = _each(lambda x: self.classifier(x, train=False), self._shaped(clips))["logits"]
    if label.ndim == 1:
      label = jax.nn.one_hot(label, logits.shape[-1])
    return best_frames(jnp.where(label[:, None] > 0, logits, _NEVER).max(-1), self.keep)

  def _shaped(self, clips):
    """(B, M, d, H, W, 3), single frames for d = 1, as the classifier is given them."""
    return clips[:, :, 0] if self.consecutive == 1 else clips

  def _show(self, chosen, weights, count):
    if self.is_mutable_collection("maps"):
      kept = jnp.einsum("bm,bmn->bn", weights, jax.nn.one_hot(chosen, count))
      self.sow("maps", "kept", jnp.repeat(kept, self.consecutive, 1))


def _each(network, x):
  """The outputs of a network for each of (B, N, ...), as (B, N, ...)."""
  found = network(as_clip(x.reshape(-1, *x.shape[2:])))
  return {k: v.reshape(*x.shape[:2], *v.shape[1:]) for k, v in found.items() if k in ("logits", "features")}


def _new(frames):
  """(B, N): frames that are not, pixel by pixel, the one before."""
  changed = jnp.any(frames[:, 1:] != frames[:, :-1], axis=(2, 3, 4))
  return jnp.pad(changed, ((0, 0), (1, 0)), constant_values=True)


def psn(num_classes: int = 200, trunk: str = "resnet_101", sampler: str = "shufflenet_v2",
        sampler_fields: Mapping[str, Any] | None = None, context: str = "ed_tcn",
        context_fields: Mapping[str, Any] | None = None, keep: int = 10, sparsity: float = 0.1,
        select: str = "topk", weighting: bool | None = None, reduce: str = "sum", fusion: str = "logits",
        dedup: bool = False, consecutive: int = 1, sampler_size: int = 0, sites=None, dtype=None,
        **fields) -> ParallelSampling:
  """The parallel sampling network.

  Args:
    num_classes: classes.
    trunk: name of the classifier: any trunk or system of frames, or, with `consecutive`, of clips.
    sampler: name of the light trunk, of frames.
    sampler_fields: of it.
    context: what of other frames a frame's score knows: 'none', 'nonlocal', 'tcn' or 'ed_tcn'.
    context_fields: of that module in vidx/nn/frame_context.py.
    keep: frames to classify, M; published with 25 candidates: 10 of ResNet-101, 6 or 8 of ResNet-50.
    sparsity: lambda of eq. 5.7.
    select: in evaluation, 'topk' by score; or, to compare with, 'uniform', 'random', 'oracle' (by the
      classifier's logit of the true class) or 'scsampler': the light trunk is trained to classify frames,
      and the frames with its highest logits are chosen.
    weighting: whether frames count by their scores; None: with 'topk'. Otherwise all count alike.
    reduce: 'sum' of weighted predictions (eq. 5.4), or 'mean' (figure 5.1).
    fusion: of 'logits' or 'probabilities'.
    dedup: frames that repeat the one before, as in videos shorter than N, are chosen last and count nothing.
    consecutive: frames per candidate; the sampler sees the middle one.
    sampler_size: side of the frames that the sampler sees, in pixels; 0: as they come.
    sites: blocks to plug in: the sampler's sites are those of its trunk behind `sampler.`.
    dtype: compute dtype; scores and fusion are fp32.
    **fields: of the classifier.

  Returns:
    A module (B, N, H, W, 3) -> {'logits', 'features', ...}.
  """
  for field, value, known in (("select", select, SELECTIONS), ("reduce", reduce, REDUCTIONS),
                              ("fusion", fusion, FUSIONS)):
    choices.check(field, value, known)
  if keep < 1:
    raise ValueError(f"keep = {keep} frames are none")
  sites = sites_lib.merge(sites or {})

  def made(name, **fields):
    return sites_lib.share(lambda sites: systems.create_model(name, dtype=dtype, sites=sites, **fields), sites)

  classes = num_classes if select == "scsampler" else 0
  light = made(sampler, num_classes=classes, prefix="sampler.", **(sampler_fields or {}))
  heavy = made(trunk, num_classes=num_classes, **fields)
  sites_lib.check(sites, light.site_names() + heavy.site_names())
  scores = FrameScores(context, tuple((context_fields or {}).items()), dtype)
  systems.block("context_fields", scores.module)
  return ParallelSampling(
      light, heavy, scores, keep=keep, sparsity=sparsity, select=select,
      weighting=select == "topk" if weighting is None else weighting, reduce=reduce, fusion=fusion, dedup=dedup,
      consecutive=consecutive, sampler_size=sampler_size)
