"""Detection: boxes of objects in every frame, from proposals that are scored and moved.

Girshick: "Fast R-CNN", 2015; Ren et al.: "Faster R-CNN", 2015, for the loss of proposals;
Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, section 3.2.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import boxes as metrics_lib
from vidx.metrics.ranking import mean_known
from vidx.nn import boxes as boxes_lib, region_proposals, roi_sampling
from vidx.nn.nms import nms
from vidx.tasks import base

RULES = ("vid", "voc")
TRUTH = ("truth_box", "truth_label", "truth_mask")
FOUND = ("found_box", "found_label", "found_score")
_BEST = 400  # pairs of box and class of a frame that take part in suppression
_APART = 1e4  # pixels by which classes are moved apart, so that they do not suppress each other


@dataclasses.dataclass(frozen=True)
class Detection(base.Task):
  """Cross entropy of boxes over classes and background, and smooth L1 of how objects' boxes move, class-agnostic.

  Attributes:
    sample: boxes of a frame that a step learns from.
    share: of objects among them, at most.
    mining: how they are chosen, see `vidx.nn.roi_sampling.roi_sample`.
    overlap: with a true box, from which a proposal is an object.
    box_weight: of the loss of moves.
    delta_mean: of moves, by which those of the network are normalised.
    delta_std: the same.
    anchor_weight: of the losses of a network that proposes boxes.
    anchor_sample: anchors of a frame that it learns from.
    suppress: overlap above which the worse box of a class is left out in evaluation.
    keep: boxes of a frame in evaluation.
    least: score of a box in evaluation.
    rule: 'vid', small boxes need less overlap, as on ImageNet VID; 'voc', 0.5 for all.
    names: of classes; from the data set.
  """

  sample: int = 128
  share: float = 0.25
  mining: str = "balanced"
  overlap: float = 0.5
  box_weight: float = 1.0
  delta_mean: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
  delta_std: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)
  anchor_weight: float = 1.0
  anchor_sample: int = 256
  suppress: float = 0.3
  keep: int = 100
  least: float = 1e-3
  rule: str = "vid"
  names: tuple[str, ...] = ()

  best_metric: ClassVar[str] = "mAP"
  inputs: ClassVar[tuple[str, ...]] = ("boxes", "box_label", "box_mask", "extent")

  def __post_init__(self):
    errors.check_choice("task.mining", self.mining, roi_sampling.RULES)
    errors.check_choice("task.rule", self.rule, RULES)
    for name in ("delta_mean", "delta_std", "names"):
      object.__setattr__(self, name, tuple(getattr(self, name)))
    if len(self.delta_mean) != 4 or len(self.delta_std) != 4 or min(self.delta_std) <= 0:
      raise errors.ConfigError("task.delta_mean and task.delta_std are four numbers each, those of delta_std above 0.")
    if min(self.sample, self.anchor_sample, self.keep) < 1 or not 0 <= self.share <= 1:
      raise errors.ConfigError(f"task.sample={self.sample}, anchor_sample={self.anchor_sample} and keep={self.keep} are"
                               f" 1 or more, task.share={self.share:g} is in [0, 1].")

  def for_dataset(self, dataset: Any) -> "Detection":
    """With the names of the classes."""
    return dataclasses.replace(self, names=tuple(dataset.classes))

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """All examples: frames without objects teach, too."""
    del targets
    return batch["labelled"] if "labelled" in batch else jnp.ones(batch["weight"].shape, jnp.float32)

  # ---------------------------------------------------------------- training

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """'class' and 'box', over the boxes that are chosen, and 'anchor' and 'anchor_box': means over the frames, (B,)."""
    if "boxes" not in batch:
      return jnp.zeros(batch["weight"].shape, jnp.float32), {}
    keys = jax.random.split(outputs.get("key", jax.random.PRNGKey(0)))
    label = batch["box_label"] + 1
    truth = batch["boxes"], label, batch["box_mask"]
    targets = roi_sampling.roi_targets(outputs["rois"], outputs["roi_mask"], *truth, overlap=self.overlap)
    goal = (targets.deltas - jnp.asarray(self.delta_mean)) / jnp.asarray(self.delta_std)
    targets = targets._replace(deltas=goal)
    of_class, of_box = roi_sampling.roi_losses(outputs["logits"], outputs["deltas"], targets)
    chosen = roi_sampling.roi_sample(targets.label, of_class + self.box_weight * of_box, keys[0], self.sample,
                                     self.share, self.mining, outputs["rois"])
    terms = {"class": _mean(of_class, chosen), "box": self.box_weight * _mean(of_box, chosen)}
    if "anchors" in outputs:
      terms |= self._of_anchors(outputs, batch, keys[1])
    return sum(terms.values()), terms

  def _of_anchors(self, outputs, batch, key):
    extent = jnp.broadcast_to(batch["extent"][:, None], (*batch["boxes"].shape[:2], 2))
    targets = region_proposals.anchor_targets(outputs["anchors"], batch["boxes"], batch["box_mask"], extent)
    logits = outputs["anchor_logits"]
    pair = jnp.stack([jnp.zeros_like(logits), logits], -1)  # a softmax over both is the sigmoid
    of_class, of_box = roi_sampling.roi_losses(pair, outputs["anchor_deltas"], targets, beta=1 / 9)
    chosen = roi_sampling.roi_sample(targets.label, logits, key, self.anchor_sample, 0.5, "random")
    return {"anchor": self.anchor_weight * _mean(of_class, chosen),
            "anchor_box": self.anchor_weight * _mean(of_box, chosen)}

  # ---------------------------------------------------------------- predictions

  def decoded(self, outputs: base.Outputs, extent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """All boxes (B, T, R, 4), moved and cut at the edges of images (B, 2), and scores (B, T, R, C), 0 of padding."""
    deltas = outputs["deltas"] * jnp.asarray(self.delta_std) + jnp.asarray(self.delta_mean)
    boxes = boxes_lib.decode(outputs["rois"], deltas)
    boxes = boxes_lib.clip(boxes, extent[:, :1, None], extent[:, 1:, None])
    scores = jax.nn.softmax(outputs["logits"].astype(jnp.float32), -1)[..., 1:]
    return boxes, scores * outputs["roi_mask"][..., None]

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'found_box' (B, T, K, 4) in pixels of the clip, 'found_label', 'found_score', 0 where there is none}, truth."""
    boxes, scores = self.decoded(outputs, batch["extent"])
    lead, classes = scores.shape[:2], scores.shape[-1]
    flat = scores.reshape(*lead, -1)
    best, at = jax.lax.top_k(flat, min(_BEST, flat.shape[-1]))
    label = at % classes
    found = jnp.take_along_axis(boxes, (at // classes)[..., None], 2)
    sure = jnp.where(best > self.least, best, -jnp.inf)
    kept = nms(found + _APART * label[..., None], sure, self.suppress, self.keep)
    pick = lambda x: jnp.take_along_axis(x, kept.index, 2)
    out = {"found_box": jnp.take_along_axis(found, kept.index[..., None], 2),
           "found_label": pick(label).astype(jnp.int32), "found_score": pick(best) * kept.valid}
    if "boxes" in batch:
      out |= dict(zip(TRUTH, (batch["boxes"], batch["box_label"], batch["box_mask"])))
    return out

  def merge(self, key: str) -> str:
    """Clips of a video show other frames: nothing is joined."""
    return "none" if key in TRUTH + FOUND else "mean"

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{'mAP'}, in percent, over all frames that were shown, in their pixels there."""
    return self.figures(predictions)[0]

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,) of true boxes, 'ap' (C,)}."""
    return self.figures(predictions)[1]

  def figures(self, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any]]:
    """Both, of one table of average precisions; nothing without true boxes."""
    if TRUTH[0] not in predictions:
      return {}, {}
    found = as_boxes(predictions["found_box"], predictions["found_label"], predictions["found_score"] > 0,
                     predictions["found_score"])
    truth = as_boxes(*(predictions[name] for name in TRUTH))
    classes = len(self.names) or int(max(found.label.max(initial=0), truth.label.max(initial=0))) + 1
    each = metrics_lib.average_precisions(found, truth, classes, small_boxes=self.rule == "vid")
    return {"mAP": mean_known(each)}, {"count": np.bincount(truth.label, minlength=len(each)), "ap": each}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'boxes': the best ones of the middle frame of the middle clip, in pixels of the clip}."""
    box, label, score = (predictions[name][row] for name in FOUND)
    at = len(box) // 2, box.shape[1] // 2
    best = np.argsort(-score[at], kind="stable")[:top]
    return {"boxes": [{"label": dataset.classes[int(label[at][i])], "score": float(score[at][i]),
                       "box": [round(float(x), 1) for x in box[at][i]]} for i in best if score[at][i] > 0]}

  @property
  def nothing(self) -> dict[str, Any]:
    """No boxes."""
    return {"boxes": []}


def _mean(values: jax.Array, chosen: jax.Array) -> jax.Array:
  """(B,) of (B, T, R): over the boxes that are chosen, in each frame, and then over frames."""
  count = jnp.maximum(chosen.sum(-1), 1)
  return (jnp.where(chosen, values, 0).sum(-1) / count).mean(-1)


def as_boxes(box: np.ndarray, label: np.ndarray, live: np.ndarray, score: np.ndarray | None = None
             ) -> metrics_lib.Boxes:
  """Live boxes (..., K, 4) of frames (...) as one list; frames count from 0."""
  live = np.asarray(live) > 0
  frame = np.broadcast_to(np.arange(int(np.prod(live.shape[:-1]))).reshape(*live.shape[:-1], 1), live.shape)
  return metrics_lib.Boxes(frame[live], box[live], label[live], None if score is None else score[live])
