import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.data import tiny
from tests.infer import standins as s
from vidx import tasks, writing
from vidx.data import batch as batch_lib, datasets
from vidx.nn import tracing
from vidx.tasks import classification
from vidx.train import config, evaluator as evaluator_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(batches, dataset, task=None, **kwargs):
  return s.evaluate(task or tasks.get("classification"), batches, dataset, s.mesh(data=1), **kwargs)


@pytest.mark.parametrize("batch_size, view_batch", [(13, None), (4, None), (4, 9), (4, 12), (5, 1000), (20, None)])
def test_scores_equal_the_loop_over_views_for_any_batch(batch_size, view_batch):
  dataset, clips = s.split(), s.videos()
  found, failures = run(s.batches(dataset, clips, batch_size), dataset, view_batch=view_batch)
  np.testing.assert_allclose(found["scores"], s.scores_by_loops(s.variables(), clips), atol=1e-5)
  np.testing.assert_array_equal(found["index"], np.arange(s.VIDEOS))
  np.testing.assert_array_equal(found["label"], [r.label for r in dataset.records])
  assert failures == {} and found["scores"].dtype == np.float32


def test_the_forward_pass_is_traced_for_the_devices_that_a_batch_is_spread_over(monkeypatch):
  monkeypatch.setattr(evaluator_lib.sharding, "parts", lambda mesh: 3)
  seen = []

  class Spy(s.Tiny):

    def __call__(self, video, train=False):
      seen.append(tracing.spread())
      return {"logits": video.mean(axis=(1, 2, 3))}

  forward = evaluator_lib.make_forward(Spy(), tasks.get("classification"), mesh=s.mesh(data=1), mean=s.MEAN, std=s.STD,
                                       dtype=np.float32)
  (batch,) = s.batches(s.split(), s.videos(), s.VIDEOS)[:1]
  forward.eval_shape({}, {k: x for k, x in batch.items() if k != "id"})
  assert seen == [3]


def test_padding_and_repeated_videos_count_once():
  dataset, clips = s.split(), s.videos()
  batches = s.batches(dataset, clips, 4)
  again = s.Batches([*batches, batches[0]])
  np.testing.assert_array_equal(run(batches, dataset)[0]["scores"], run(again, dataset)[0]["scores"])


def test_the_loss_is_the_mean_over_videos_and_views():
  dataset, clips = s.split(), s.videos(views=1)
  found, _ = run(s.batches(dataset, clips, 4), dataset)
  scores = s.scores_by_loops(s.variables(), clips)
  expected = -np.log([scores[i, r.label] for i, r in enumerate(dataset.records)])
  np.testing.assert_allclose(found["loss"], expected, rtol=1e-3, atol=1e-5)
  assert evaluator_lib.summary(tasks.get("classification"), found)["loss"] == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize("name, fields", [("classification", {}), ("classification", dict(label_smoothing=0.2)),
                                          ("multilabel", {}), ("multilabel", dict(activation="softmax"))])
@pytest.mark.parametrize("batch_size", [13, 4])
def test_the_loss_is_the_mean_over_the_labelled_videos(name, fields, batch_size):
  dataset, clips = s.split(multilabel=name == "multilabel"), s.videos()
  tagged = [r if r.label != () else dataclasses.replace(r, label=(0,)) for r in dataset.records]
  half = dataclasses.replace(dataset, records=tuple(
      r if i % 2 else dataclasses.replace(r, label=-1) for i, r in enumerate(tagged)))
  task = tasks.get(name, **fields)
  found, _ = run(s.batches(half, clips, batch_size), half, task)
  all_of_it, _ = run(s.batches(dataclasses.replace(dataset, records=tuple(tagged)), clips, 13), dataset, task)
  result = evaluator_lib.EvalResult(half, found, evaluator_lib.summary(task, found), {})
  assert result.metrics["loss"] == pytest.approx(all_of_it["loss"][1::2].mean(), rel=1e-5)
  assert result.labelled == 6 and result.evaluated == 13


@pytest.mark.parametrize("name", ["classification", "multilabel"])
def test_the_loss_of_a_split_without_labels_is_not_defined(name):
  dataset, clips = s.split(5, multilabel=name == "multilabel"), s.videos(5)
  bare = dataclasses.replace(dataset, records=tuple(dataclasses.replace(r, label=-1) for r in dataset.records))
  task = tasks.get(name)
  metrics = evaluator_lib.summary(task, run(s.batches(bare, clips, 4), bare, task)[0])
  assert all(np.isnan(value) for value in metrics.values()) and "loss" in metrics
  assert writing.figure("loss", writing.number(metrics["loss"])) == "not defined"


def test_the_loss_of_lists_with_bare_rows_is_that_of_the_labelled(case, tmp_path):
  for file in case(12).glob("*.csv"):
    (tmp_path / file.name).write_text(file.read_text())
    for name in re.findall(r"(?:A|B)0{9}\d", file.read_text()):
      tiny.write_video(tmp_path / f"{name}_000000_000010.mp4", 4, seed=int(name[-1]))
  c = config.base()
  c.data.update(root=str(tmp_path), dataset=dict(name="kinetics"), frames=2, short_side=16, crop=16, workers=0)
  model = s.Tiny(num_classes=2)
  variables = jax.tree.map(np.zeros_like, s.variables(model))
  evaluator = evaluator_lib.Evaluator(model, tasks.get("classification"), mesh=s.mesh(data=1), config=c,
                                      dtype=np.float32)
  val = evaluator(variables, datasets.load("kinetics", str(tmp_path), "val"), batch_size=3)
  assert val.metrics["loss"] == pytest.approx(np.log(2), rel=1e-5) and (val.evaluated, val.labelled) == (4, 2)
  test = evaluator(variables, datasets.load("kinetics", str(tmp_path), "test"), batch_size=3)
  assert np.isnan(test.metrics["loss"]) and (test.evaluated, test.labelled) == (4, 0)


def test_a_video_that_cannot_be_decoded_is_left_out_and_named():
  dataset, clips = s.split(), s.videos()
  found, failures = run(s.batches(dataset, clips, 4, broken=(2, 12)), dataset)
  assert failures == {"v02": "broken", "v12": "broken"}
  kept = [i for i in range(s.VIDEOS) if i not in (2, 12)]
  np.testing.assert_array_equal(found["index"], kept)
  np.testing.assert_allclose(found["scores"], s.scores_by_loops(s.variables(), clips)[kept], atol=1e-5)


def test_a_split_without_one_readable_video_gives_nan_and_not_a_crash():
  dataset, clips = s.split(3), s.videos(3)
  found, failures = run(s.batches(dataset, clips, 2, broken=(0, 1, 2)), dataset)
  assert len(failures) == 3 and np.isnan(evaluator_lib.summary(tasks.get("classification"), found)["top-1"])


def test_a_lost_video_is_never_silent():
  dataset, clips = s.split(), s.videos()
  with pytest.raises(RuntimeError, match="12 of the 13 videos"):
    run(s.batches(s.split(12), clips, 4), dataset)


def test_multilabel_scores_are_means_of_sigmoids():
  dataset, clips = s.split(multilabel=True), s.videos()
  task = tasks.from_config({"name": "multilabel"}, dataset)
  found, _ = run(s.batches(dataset, clips, 4), dataset, task)
  assert found["label"].shape == (s.VIDEOS, s.CLASSES)
  metrics = evaluator_lib.summary(task, found)
  assert set(metrics) == {"mAP", "loss"} and 0 < metrics["mAP"] <= 100


SCRIPT = """
import numpy as np
from tests.infer import standins as s
from vidx import tasks
from vidx.data.records import Dataset, Media, Record
from vidx.train import evaluator as evaluator_lib
import dataclasses
dataset, clips = s.split(), s.videos()
half = dataclasses.replace(dataset, records=tuple(
    r if i % 3 else dataclasses.replace(r, label=-1) for i, r in enumerate(dataset.records)))
task = tasks.get("classification")
for data, fsdp in ((8, 1), (4, 2)):
  mesh = s.mesh(data, fsdp)
  size = evaluator_lib.fitting(5, mesh)
  assert size == 8
  found, _ = s.evaluate(task, s.batches(dataset, clips, size), dataset, mesh)
  np.testing.assert_array_equal(found["index"], np.arange(s.VIDEOS))
  np.testing.assert_allclose(found["scores"], s.scores_by_loops(s.variables(), clips), atol=1e-5)
  some, _ = s.evaluate(task, s.batches(half, clips, size), half, mesh)
  kept = [i for i in range(s.VIDEOS) if i % 3]
  np.testing.assert_allclose(evaluator_lib.summary(task, some)["loss"], found["loss"][kept].mean(), rtol=1e-5)
print("equal")
"""


def test_eight_devices_give_the_same_predictions():
  env = dict(os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS="--xla_force_host_platform_device_count=8",
             PYTHONPATH=str(ROOT))
  done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, cwd=ROOT, timeout=120)
  assert done.stdout.strip() == "equal", done.stderr[-3000:]


@dataclasses.dataclass(frozen=True)
class Merging(classification.Classification):
  """Scores joined in one way."""

  how: str = "mean"

  def merge(self, key):
    return self.how


def each_view(clips):
  """(N, V, C): the softmax of every view."""
  return np.stack([s.scores_by_loops(s.variables(), clips[:, v:v + 1]) for v in range(clips.shape[1])], 1)


@pytest.mark.parametrize("how, joined", [
    ("mean", lambda x: x.mean(1)), ("max", lambda x: x.max(1)), ("first", lambda x: x[:, 0]), ("none", lambda x: x)])
@pytest.mark.parametrize("view_batch", [None, 8])
def test_a_task_says_how_views_join(how, joined, view_batch):
  dataset, clips = s.split(), s.videos()
  found, _ = run(s.batches(dataset, clips, 4), dataset, Merging(how=how), view_batch=view_batch)
  np.testing.assert_allclose(found["scores"], joined(each_view(clips)), atol=1e-5)


@pytest.mark.parametrize("how, joined", [
    ("mean", lambda x: x.mean(0)), ("max", lambda x: x.max(0)), ("first", lambda x: x[0])])
@pytest.mark.parametrize("view_batch", [None, 8])
def test_views_that_a_video_does_not_have_change_nothing(how, joined, view_batch):
  dataset, clips = s.split(), s.videos()
  counts = [1 + i % s.VIEWS for i in range(s.VIDEOS)]
  made = s.Batches()
  for first in range(0, s.VIDEOS, 4):
    rows = range(first, min(first + 4, s.VIDEOS))
    made.append(tiny.pad(batch_lib.stack([
        {"video": clips[i, :counts[i]], "view_weight": np.ones(counts[i], np.float32), "weight": np.float32(1),
         "label": np.int32(dataset.records[i].label), "index": np.int32(i), "id": ""} for i in rows]), 4))
  found, _ = run(made, dataset, Merging(how=how), view_batch=view_batch)
  expected = [joined(x[:n]) for x, n in zip(each_view(clips), counts)]
  np.testing.assert_allclose(found["scores"], expected, atol=1e-5)
  assert "view_weight" not in found
