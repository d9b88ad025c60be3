"""A system of two encoders, of clips and of words, scored by ranking all clips of a split for all texts."""

import dataclasses
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tests.system.plugins import world
from vidx.data.batch import Field
from vidx.data.parts import Row as PartRow
from vidx.backbones.table import Row
from vidx.tasks import base

FIELD = Field("(L,) numbers of words", np.int32, axes=1)
PART = PartRow("tests.system.plugins.pairs:Words", ("words",))
SYSTEM = Row("tests.system.plugins.pairs:TwoEncoders", {}, "test", ((1, 4, 16, 16, 3), (1, 2)))
TASK = ("tests.system.plugins.pairs", "Pairs")


class Words:
  """The part: what `Record.extra` says in words; zeros where nothing is known."""

  keys = ("words",)

  def __init__(self, dataset, data, training, clips, crops, seed):
    del data, training, clips, crops, seed
    self._dataset = dataset

  def make(self, index, cut, rng, room):
    del cut, rng, room
    return {"words": np.array(self._dataset.records[index].extra.get("words", (0, 0)), np.int32)}, None

  def blank(self, index, room):
    del index, room
    return {"words": np.zeros(2, np.int32)}

  @classmethod
  def shapes(cls, data, num_classes):
    del data, num_classes
    return {"words": ((2,), np.int32)}


class TwoEncoders(nn.Module):
  width: int = 8
  dtype: type | None = None
  inputs: ClassVar = ("video", "words")

  def site_names(self):
    return ()

  @nn.compact
  def __call__(self, video, words, train=False):
    del train
    seen = nn.Dense(self.width, name="video")(video.mean(axis=2).reshape(len(video), -1))
    said = nn.Embed(len(world.WORDS), self.width, name="words")(words).sum(1)
    return {"video": seen, "text": said}


@dataclasses.dataclass(frozen=True)
class Pairs(base.Task):
  """Contrastive in a batch; R@1 over the whole split."""

  best_metric: ClassVar[str] = "R@1"
  targets: ClassVar = {}

  def loss(self, outputs, batch):
    del batch
    scores = outputs["video"] @ outputs["text"].T
    loss = -jax.nn.log_softmax(scores)[jnp.arange(len(scores)), jnp.arange(len(scores))]
    return loss, {"contrast": loss}

  def predict(self, outputs, batch):
    del batch
    return {"video": outputs["video"], "text": outputs["text"]}

  def merge(self, key):
    return "first" if key == "text" else "mean"

  def metrics(self, predictions):
    scores = predictions["text"] @ predictions["video"].T
    return {"R@1": 100 * float(np.mean(scores.argmax(1) == np.arange(len(scores))))}
