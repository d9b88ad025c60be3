"""A tiny model, splits and batches in memory for the tests of inference."""

from flax import linen as nn
import jax
from ml_collections import ConfigDict
import numpy as np

from tests.data import tiny
from vidx.data import batch as batch_lib
from vidx.data.records import Dataset, Media, Record
from vidx.train import evaluator, sharding

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
VIDEOS, VIEWS, CLASSES = 13, 6, 5


class Tiny(nn.Module):
  """Linear in the mean colours of the frames, and nothing like linear in the views."""

  num_classes: int = CLASSES
  dtype: type | None = None
  inputs = ("video",)

  @nn.compact
  def __call__(self, video, train=False):
    features = video.mean(axis=(2, 3)).reshape(len(video), -1)
    return {"logits": nn.Dense(self.num_classes, dtype=self.dtype)(features) * 20, "features": features}


class Batches(list):
  failures: dict = {}


def mesh(data=-1, fsdp=1):
  return sharding.make_mesh(ConfigDict(dict(data=data, fsdp=fsdp, tensor=1)))


def split(videos=VIDEOS, multilabel=False):
  rng = np.random.default_rng(0)
  labels = [tuple(np.flatnonzero(rng.random(CLASSES) < 0.4).tolist()) if multilabel else int(rng.integers(CLASSES))
            for _ in range(videos)]
  records = tuple(Record(f"v{i:02d}", Media(f"v{i:02d}.mp4"), y) for i, y in enumerate(labels))
  return Dataset("memory", "val", records, tuple(f"class {c}" for c in range(CLASSES)), multilabel)


def videos(n=VIDEOS, views=VIEWS):
  return np.random.default_rng(1).integers(256, size=(n, views, 2, 4, 4, 3), dtype=np.uint8)


def batches(dataset, clips, batch_size, broken=()):
  """As the pipeline makes them: padded with weight 0, a broken video in its place with weight 0."""
  made = Batches()
  made.failures = {dataset.records[i].id: "broken" for i in broken}
  for first in range(0, len(dataset), batch_size):
    rows = range(first, min(first + batch_size, len(dataset)))
    examples = [batch_lib.blank(clips.shape[1:], dataset, i) if i in broken else
                {"video": clips[i], "label": batch_lib.label_array(dataset.records[i].label, dataset),
                 "weight": np.float32(1), "index": np.int32(i), "id": dataset.records[i].id} for i in rows]
    made.append(tiny.pad(batch_lib.stack(examples), batch_size))
  return made


def variables(model=Tiny()):
  return model.init(jax.random.PRNGKey(0), np.zeros((1, 2, 4, 4, 3), np.float32))


def scores_by_loops(weights, clips):
  """Mean over views of the softmax, one view at a time."""
  kernel, bias = (np.asarray(weights["params"]["Dense_0"][k], np.float64) for k in ("kernel", "bias"))
  scores = np.zeros((len(clips), len(bias)))
  for n, video in enumerate(clips):
    for view in video:
      features = ((view / 255 - MEAN) / STD).mean(axis=(1, 2)).reshape(-1)
      logits = (features @ kernel + bias) * 20
      e = np.exp(logits - logits.max())
      scores[n] += e / e.sum() / len(video)
  return scores


def evaluate(task, batches, dataset, mesh, dtype=np.float32, **options):
  """Predictions of `Tiny` on all batches, and the failures."""
  forward = evaluator.make_forward(Tiny(), task, mesh=mesh, mean=MEAN, std=STD, dtype=dtype)
  (predictions,), failures = evaluator.run(forward, variables(), task, batches, num_videos=len(dataset), mesh=mesh,
                                           **options)
  return predictions, failures
