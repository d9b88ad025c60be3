"""A system that scores boxes, any number per clip, which follow crop and flip of the frames beside them."""

import dataclasses
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.backbones.table import Row
from vidx.data import geometry
from vidx.data.batch import Field
from vidx.data.parts import Row as PartRow
from vidx.tasks import base

FIELDS = {
    "boxes": Field("(N, 4) in pixels of the middle frame", axes=2, views=True, last=4),
    "box_label": Field("(N,) 1 for the square, 0 for others, -1 after the end", np.int32, -1, 1, target=True,
                       kept=True),
    "box_count": Field("() boxes that are live", np.int32, kept=True),
}
PART = PartRow("tests.system.plugins.boxes:Boxes", tuple(FIELDS))
SYSTEM = Row("tests.system.plugins.boxes:Scorer", {}, "test", ((1, 4, 16, 16, 3), (1, 1, 4)))
TASK = ("tests.system.plugins.boxes", "BoxTask")


class Boxes:
  """The part: the boxes of the middle frame of every clip, padded to the most that a frame of the split has."""

  keys = tuple(FIELDS)

  def __init__(self, dataset, data, training, clips, crops, seed):
    del seed, data
    self._dataset, self._training, self._views = dataset, training, clips * crops
    self._room = max((len(frame) for r in dataset.records for frame in r.extra.get("boxes", ())), default=1)

  def make(self, index, cut, rng, room):
    del rng
    frames = self._dataset.records[index].extra.get("boxes")
    if frames is None:
      return self.blank(index, room), None
    example, views = self.blank(index, room), []
    for clip in cut.indices:
      found = np.array(frames[clip[len(clip) // 2]])
      for place in cut.geometry:
        views.append(geometry.clip(geometry.to_pixels(found[:, :4], place), place))
    example["boxes"][..., :len(found), :] = views[0] if self._training else np.stack(views)
    example["box_label"][:len(found)] = found[:, 4]
    example["box_count"] = np.int32(len(found))
    return example, None

  def blank(self, index, room):
    del index, room
    shape = (self._room, 4) if self._training else (self._views, self._room, 4)
    return {"boxes": np.zeros(shape, np.float32), "box_label": np.full(self._room, -1, np.int32),
            "box_count": np.int32(0)}

  @classmethod
  def shapes(cls, data, num_classes):
    del data, num_classes
    return {"boxes": ((1, 4), np.float32), "box_label": ((1,), np.int32), "box_count": ((), np.int32)}


class Scorer(nn.Module):
  """The mean colour inside of every box, and a linear score of it."""

  dtype: type | None = None
  inputs: ClassVar = ("video", "boxes")

  def site_names(self):
    return ()

  @nn.compact
  def __call__(self, video, boxes, train=False):
    del train
    frame = video[:, video.shape[1] // 2]
    y, x = (jnp.arange(n) + 0.5 for n in frame.shape[1:3])
    inside = ((x > boxes[..., :1]) & (x < boxes[..., 2:3]))[:, :, None] & (
        (y > boxes[..., 1:2]) & (y < boxes[..., 3:]))[..., None]
    area = jnp.maximum(inside.sum((-1, -2)), 1)[..., None]
    mean = jnp.einsum("bnhw,bhwc->bnc", inside.astype(frame.dtype), frame) / area
    return {"scores": nn.Dense(1)(nn.relu(nn.Dense(8)(mean)))[..., 0]}


@dataclasses.dataclass(frozen=True)
class BoxTask(base.Task):
  """Binary cross entropy over live boxes."""

  best_metric: ClassVar[str] = "box accuracy"
  targets: ClassVar = {}
  inputs: ClassVar = ("box_label", "box_count")

  def loss(self, outputs, batch):
    live = (batch["box_label"] >= 0).astype(jnp.float32)
    each = optax.sigmoid_binary_cross_entropy(outputs["scores"], jnp.maximum(batch["box_label"], 0)) * live
    loss = each.sum(-1) / jnp.maximum(live.sum(-1), 1)
    return loss, {"boxes": loss}

  def predict(self, outputs, batch):
    del batch
    return {"box_scores": jax.nn.sigmoid(outputs["scores"])}

  def ragged(self, key):
    return "box_count" if key in ("box_scores", "box_label") else None

  def metrics(self, predictions):
    right = [(s > 0.5) == (y > 0) for s, y in zip(predictions["box_scores"], predictions["box_label"])]
    return {"box accuracy": 100 * float(np.concatenate(right).mean())}
