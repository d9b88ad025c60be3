"""What people in boxes do: any number of actions of each; frame mAP as of AVA.

Gu et al.: "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions", 2018.
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import io
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.metrics import ava, boxes as boxes_lib
from vidx.metrics.ranking import mean_known
from vidx.nn.boxes import iou
from vidx.tasks import base, scores as scores_lib

OVERLAP = 0.5  # with a person of the truth, from which on a box is of that person
TRUTH, PROPOSED = "frame_boxes", "proposed_boxes"  # of Record.extra, see vidx/data/frame_boxes.py


@dataclasses.dataclass(frozen=True)
class BoxActions(base.Task):
  """Takes the outputs 'logits' (B, R, C) of the boxes `rois` (B, R, 4).

  Attributes:
    facts: what the data knows: 'records', 'evaluated' class ids, 'action_ids' by class as in its files.
  """

  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

  best_metric: ClassVar[str] = "mAP"
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: True}
  inputs: ClassVar[tuple[str, ...]] = ("rois", "roi_mask", "boxes", "box_label", "box_mask")

  def for_dataset(self, dataset: Any) -> "BoxActions":
    """With the boxes of a split."""
    every = tuple(range(len(dataset.classes)))
    facts = {"records": dataset.records, "evaluated": dataset.facts.get("evaluated", every),
             "action_ids": dataset.facts.get("action_ids", tuple(c + 1 for c in every))}
    return dataclasses.replace(self, facts=facts)

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """How many boxes of each example count, (B,) fp32: the loss is the mean over boxes, not over clips."""
    del targets
    if "labelled" in batch:
      return batch["labelled"]
    if "box_label" not in batch:
      return jnp.zeros(batch["weight"].shape, jnp.float32)
    return jnp.asarray(batch["roi_mask"]).sum(-1)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Binary cross entropy in fp32, the mean over actions, the sum over boxes: (B,).

    A box does what the person of highest overlap does, from 0.5 on, and nothing where there
    is none.
    """
    logits = outputs["logits"].astype(jnp.float32)
    if "box_label" not in batch:
      return jnp.zeros(len(logits)), {"cross_entropy": jnp.zeros(len(logits))}
    overlap = jnp.where(batch["box_mask"][:, None] > 0, iou(batch["rois"], batch["boxes"]), 0)
    label = jnp.take_along_axis(batch["box_label"].astype(jnp.float32), overlap.argmax(-1)[..., None], 1)
    label = jnp.where(overlap.max(-1, keepdims=True) >= OVERLAP, label, 0)
    each = optax.sigmoid_binary_cross_entropy(logits, label).mean(-1) * batch["roi_mask"]
    return base.with_system_losses(outputs, {"cross_entropy": each.sum(-1)}, self.labelled(batch))

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'box_scores': (B, R, C) fp32, 'box_seen': (B, R)}: probabilities, zeros of boxes that the view does not show."""
    seen = batch["roi_mask"].astype(jnp.float32)
    return {"box_scores": jax.nn.sigmoid(outputs["logits"].astype(jnp.float32)) * seen[..., None], "box_seen": seen}

  def _found(self, predictions: Mapping[str, np.ndarray], row: int, record: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N,) rows of a record's proposals that were seen, and their scores (N, C)."""
    seen = predictions["box_seen"][row][:len(record.extra[PROPOSED])]
    rows = np.flatnonzero(seen > 0)
    return rows, predictions["box_scores"][row][rows] / seen[rows, None]

  def _precisions(self, predictions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Average precision (C,), nan where an action is not scored, and boxes per action (C,)."""
    classes, only = predictions["box_scores"].shape[-1], list(self.facts["evaluated"])
    place = np.full(classes, -1)
    place[only] = np.arange(len(only))
    found, truth = [], []
    for row, index in enumerate(predictions["index"].tolist()):
      extra = self.facts["records"][index].extra
      rows, scores = self._found(predictions, row, self.facts["records"][index])
      found.append((row, extra[PROPOSED].box[rows], scores[:, only]))
      if TRUTH in extra:
        which, label = np.nonzero(extra[TRUTH].label)
        truth.append((row, extra[TRUTH].box[which], label))
    join = lambda parts, width=(): np.concatenate([np.zeros((0, *width)), *parts])
    count = np.bincount(join([label for *_, label in truth]).astype(int), minlength=classes)
    truth = [(row, box[place[label] >= 0], place[label][place[label] >= 0]) for row, box, label in truth]
    each = ava.average_precisions(
        boxes_lib.Boxes(join([np.full(s.size, row) for row, _, s in found]),
                        join([np.repeat(box, s.shape[1], 0) for _, box, s in found], (4,)),
                        join([np.tile(np.arange(s.shape[1]), len(s)) for *_, s in found]),
                        join([s.reshape(-1) for *_, s in found])),
        boxes_lib.Boxes(join([np.full(len(label), row) for row, _, label in truth]),
                        join([box for _, box, _ in truth], (4,)), join([label for *_, label in truth])), len(only))
    out = np.full(classes, np.nan)
    out[only] = each
    return out, count

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """'mAP' of key frames, over the actions that are scored and occur."""
    return self.figures(predictions)[0]

  def details(self, predictions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{'count' (C,) of true boxes, 'ap' (C,) percent}."""
    return self.figures(predictions)[1]

  def figures(self, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any]]:
    """Both, of one table of average precisions."""
    ap, count = self._precisions(predictions)
    return {"mAP": mean_known(ap)}, {"count": count, "ap": ap}

  def files(self, predictions: Mapping[str, np.ndarray], dataset: Any) -> dict[str, str]:
    """{'.csv': `video, second, x0, y0, x1, y1, action, score`} of every box and scored action, as AVA has it."""
    facts, text = self.for_dataset(dataset).facts, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row, index in enumerate(predictions["index"].tolist()):
      record = dataset.records[index]
      rows, scores = self._found(predictions, row, record)
      for box, own in zip(record.extra[PROPOSED].box[rows], scores):
        corners = [f"{x:.9g}" for x in box]
        writer.writerows((record.extra["video"], f"{record.extra['second']:04d}", *corners, facts["action_ids"][c],
                          f"{own[c]:.9g}") for c in facts["evaluated"])
    return {".csv": text.getvalue()}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = scores_lib.TOP
               ) -> dict[str, Any]:
    """{'people': [{'box': in parts of the frame, 'score': of the detector, 'actions': [{'label', 'score'}, ...]}]}."""
    record = dataset.records[int(predictions["index"][row])]
    given = record.extra[PROPOSED]
    rows, scores = self._found(predictions, row, record)
    return {"people": [{"box": [round(float(x), 4) for x in given.box[i]], "score": round(float(given.score[i]), 4),
                        "actions": scores_lib.best(own, dataset.classes, top)} for i, own in zip(rows, scores)]}

  @property
  def nothing(self) -> dict[str, Any]:
    """No people."""
    return {"people": []}

  def samples(self, predictions: Mapping[str, np.ndarray], dataset: Any, limit: int) -> base.Samples:
    """An even choice of key frames: `describe` with the best action of each, and 'truth' [{'box', 'actions'}]."""
    found = []
    for row in base.evenly(len(predictions["index"]), limit):
      extra = dataset.records[int(predictions["index"][row])].extra
      truth = [{"box": [round(float(x), 4) for x in box], "actions": [dataset.classes[c] for c in np.flatnonzero(hot)]}
               for box, hot in zip(extra[TRUTH].box, extra[TRUTH].label)] if TRUTH in extra else []
      found.append((row, {**self.describe(predictions, row, dataset, 1), "truth": truth}))
    return found
