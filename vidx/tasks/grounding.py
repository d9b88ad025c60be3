"""Grounding: phrases belong to their image, and their masks obey the tree of their sentence.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, sections 6.2.3 and 6.3.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import grounding
from vidx.nn import phrase_structure
from vidx.tasks import base


@dataclasses.dataclass(frozen=True)
class Grounding(base.Task):
  """Takes 'score', 'masks', 'drawn' and 'there' of vidx/systems/grounding.py.

  L = -mean sigmoid(s+) + mean sigmoid(s-) + pc L_PC + sib L_SIB (Thesis, eq. 6.1 to 6.4), with means over
  all pairs, parents and sets of siblings of the batch, which may therefore not be cut.

  Attributes:
    pc: weight of the constraint of parents and children, lambda_PC; 0: none.
    sib: weight of that of siblings, lambda_SIB; 0: none.
    stop_weight: whether no gradient goes through W of eq. 6.3.
    tolerance: pixels by which a point may miss.
    threshold: of a region, "middle" or "printed", see `vidx.metrics.grounding.region`.
    records: of the data set, what is true of each image.
  """

  pc: float = 0.01
  sib: float = 1e-4
  stop_weight: bool = False
  tolerance: float = 0.0
  threshold: str = "middle"
  records: Any = dataclasses.field(default=None, compare=False, repr=False)

  best_metric: ClassVar[str] = "pointing"
  headlines: ClassVar[tuple[str, ...]] = ("pointing/random", "mAP", "mAP@0.3", "mAP@0.4", "mAP@0.5")
  targets: ClassVar[Mapping[str, bool]] = {}
  inputs: ClassVar[tuple[str, ...]] = ("phrase_parent", "phrase_name", "phrase_count")
  pairs: ClassVar[bool] = True

  def __post_init__(self):
    errors.check_choice("task.threshold", self.threshold, grounding.THRESHOLDS)
    if min(self.pc, self.sib, self.tolerance) < 0:
      raise errors.ConfigError(f"task.pc={self.pc:g}, task.sib={self.sib:g}, task.tolerance={self.tolerance:g}: none"
                               " may be below 0.")

  def for_dataset(self, dataset: Any) -> "Grounding":
    """With what is true of the images of a data set."""
    return dataclasses.replace(self, records=dataset.records)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The terms 'own', 'drawn', 'pc', 'sib', and for the log the mean and the highest value of a mask: (B,) each."""
    counts = batch["weight"] > 0
    valid = (batch["phrase_name"] >= 0) & counts[:, None]
    there = valid * outputs["there"]
    # A step takes the mean over examples, the equations one over pairs, parents and sets.
    examples = jnp.maximum(batch["weight"].sum(), 1e-6)
    mean = lambda total, number: total * examples / jnp.maximum(number.sum(), 1)
    over = lambda x, which: mean((x * which).sum(-1), which.sum(-1))
    terms = {"own": -over(jax.nn.sigmoid(outputs["score"]), valid),
             "drawn": over(jax.nn.sigmoid(outputs["drawn"]), there)}
    masks, parent = outputs["masks"].astype(jnp.float32), batch["phrase_parent"]
    if self.pc:
      terms["pc"] = self.pc * mean(*phrase_structure.parent_child(masks, parent, valid))
    if self.sib:
      terms["sib"] = self.sib * mean(*phrase_structure.siblings(masks, parent, valid, stop_weight=self.stop_weight))
    shown = {"mask mean": over(masks.mean((-2, -1)), valid), "mask max": over(masks.max((-2, -1)), valid)}
    return sum(terms.values()), {**terms, **shown}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'masks': fp32 (B, N, h, w), 'score': fp32 (B, N)}."""
    return {"masks": outputs["masks"].astype(jnp.float32), "score": outputs["score"]}

  def merge(self, key: str) -> str:
    """There is one view of an image."""
    del key
    return "first"

  def ragged(self, key: str) -> str | None:
    """Images have as many phrases as they have."""
    return "phrase_count" if key in ("masks", "score") else None

  def metrics(self, predictions: Mapping[str, Any]) -> dict[str, float]:
    """'pointing', the share of points inside, 'pointing/random' of random ones, and of true masks 'mAP@t' and 'mAP'.

    Where phrases are asked of images without them, 'mAP/present' is over the images that have them alone.
    """
    hits, chance, rows = [], [], []
    for row, index in enumerate(predictions["index"]):
      record = self.records[int(index)]
      found = self.found(record, predictions["masks"][row])
      if found is None:
        continue
      hits += [h for h, there in zip(found["hits"], found["there"]) if there]
      truth = found["truth"][np.array(found["there"], bool)]
      if len(truth):
        height, width = record.extra["size"]
        chance += grounding.random_hits(truth, height, width, np.random.default_rng(int(index))).tolist()
      rows += zip(found.get("category", ()), found.get("scores", ()), found.get("iou", ()), found["there"])
    percent = lambda values: 100 * float(np.mean(values)) if values else float("nan")
    metrics = {"pointing": percent(hits), "pointing/random": percent(chance)}
    if rows:
      category, score, iou, present = map(np.array, zip(*rows))
      metrics |= grounding.segmentation(category, score, iou, present)
      if not present.all():
        alone = grounding.segmentation(category[present], score[present], iou[present], present[present])
        metrics |= {f"{k}/present": v for k, v in alone.items()}
    return metrics

  def found(self, record: Any, masks: np.ndarray) -> dict[str, Any] | None:
    """What masks (N, h, w) say of an image's phrases, None where nothing is known of them.

    Returns:
      {'points': [(x, y)], 'hits', 'there': [bool], 'truth': (N, 4) boxes or (N, H, W) masks}, and of true masks 'iou',
      'scores' and 'category'.
    """
    extra = record.extra
    if "size" not in extra or not ("boxes" in extra or "segments" in extra):
      return None
    height, width = extra["size"]
    points, hits, iou, scores = [], [], [], []
    if "boxes" in extra:
      truth = np.asarray(extra["boxes"], np.float64).reshape(-1, 4) * (width, height, width, height)
    else:
      truth = np.zeros((len(extra["segments"]), height, width), bool)
      for mask, things in zip(truth, extra["segments"]):
        mask[:] = things.mask(height, width)
    for mask, true in zip(masks, truth):
      whole = grounding.upsample(mask, height, width)
      points.append(grounding.point(whole))
      if "boxes" in extra:
        hits.append(grounding.in_box(points[-1], true, self.tolerance))
      else:
        hits.append(grounding.in_mask(points[-1], true, self.tolerance))
        inside, score = grounding.region(whole, self.threshold)
        iou.append(grounding.overlap(inside, true))
        scores.append(score)
    there = [True] * len(hits) if "boxes" in extra else truth.reshape(len(truth), -1).any(1).tolist()
    of_masks = {} if "boxes" in extra else {"iou": iou, "scores": scores, "category": list(extra["categories"])}
    return {"points": points, "hits": hits, "there": there, "truth": truth, **of_masks}

  def describe(self, predictions: Mapping[str, Any], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'phrases': [{'phrase', 'score', 'point' [x, y], 'hit', 'iou'}]} of one image, as far as they are known."""
    record = dataset.records[int(predictions["index"][row])]
    found = self.found(record, predictions["masks"][row])
    if found is None:
      return {"captions": list(record.extra.get("captions", ()))[:top]}
    shown = []
    for i, phrase in enumerate(record.extra["phrases"][:top]):
      shown.append({"phrase": phrase, "score": round(float(predictions["score"][row][i]), 4),
                    "point": list(found["points"][i]), "hit": bool(found["hits"][i]),
                    **({"iou": round(float(found["iou"][i]), 4)} if "iou" in found else {})})
    return {"phrases": shown}
