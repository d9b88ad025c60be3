import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.test_retrieval import embeddings
from tests.tasks import retrieval_step
from vidx import errors, tasks
from vidx.data.records import Dataset, Media, Record
from vidx.metrics import retrieval
from vidx.nn import ranking


ROOT = pathlib.Path(__file__).parents[2]


def outputs(seed=0, count=6):
  text, video = embeddings(np.random.default_rng(seed), texts=count, videos=count)
  video["available"][0, 0] = 1
  found = {**{f"text/{k}": v for k, v in text.items()}, **{f"video/{k}": v for k, v in video.items()}}
  return {k: jnp.asarray(v, jnp.float32) for k, v in found.items()}


def batch(count=6, **changes):
  return {"weight": np.ones(count, "f"), "index": np.arange(count), "text_count": np.ones(count, int),
          "text_mask": np.ones((count, 4)), **changes}


@pytest.mark.parametrize("which", ranking.LOSSES)
def test_padding_and_the_same_video_are_no_negatives(which):
  task = tasks.get("retrieval", loss_over=which, margin=0.3)
  whole, terms = task.loss(outputs(), batch())
  scores = ranking.scores(*({k.split("/")[1]: v for k, v in outputs().items() if k.startswith(s)}
                            for s in ("text", "video")))
  np.testing.assert_allclose(whole, ranking.margin_loss(scores, 0.3, which), rtol=1e-5)
  assert set(terms) == {"ranking", "gap"}
  padded, _ = task.loss(outputs(), batch(weight=np.float32([1, 1, 1, 1, 0, 0])))
  np.testing.assert_allclose(padded[:4], ranking.margin_loss(scores[:4, :4], 0.3, which), rtol=1e-5)
  assert not np.any(padded[4:])
  again, _ = task.loss(outputs(), batch(index=np.array([0, 0, 1, 2, 3, 4])))
  assert which == "hard" or np.abs(np.asarray(again - whole)).max() > 1e-4


@pytest.mark.parametrize("which", ranking.LOSSES)
def test_videos_with_the_same_sentence_are_no_negatives_of_each_other(which):
  task = tasks.get("retrieval", loss_over=which, margin=0.3)
  shared = dataclasses.replace(task, sentences=np.array([4, 4, 7, 5, 6, 8]))
  found = outputs()
  for side in ("text", "video"):  # two videos alike
    found |= {k: v.at[1].set(v[0]) for k, v in found.items() if k.startswith(side)}
  np.testing.assert_allclose(shared.loss(found, batch())[0],
                             task.loss(found, batch(index=np.array([0, 0, 1, 2, 3, 4])))[0], rtol=1e-5)
  assert which == "hard" or np.abs(task.loss(found, batch())[0] - shared.loss(found, batch())[0])[:2].min() > 1e-3
  reversed_rows = batch(index=np.arange(6)[::-1])
  assert (shared.loss(found, reversed_rows)[0] == task.loss(found, reversed_rows)[0])[:2].all()


@functools.cache
def on_one_device():
  return retrieval_step.step()


@pytest.mark.parametrize("processes, devices", [(1, 8), (2, 4)])
def test_loss_gradient_and_statistics_of_a_batch_on_eight_devices_are_those_on_one(processes, devices, tmp_path):
  path = tmp_path / "found.npz"
  done = subprocess.run([sys.executable, str(ROOT / "launch" / "local_cluster.py"), f"--processes={processes}",
                         f"--devices={devices}", "--", sys.executable, "-m", "tests.tasks.retrieval_step", str(path)],
                        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                        timeout=300)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
  assert done.stdout.count(f"{processes} processes, {processes * devices} devices") == processes
  with np.load(path) as f:
    eight = list(f.values())
  one = on_one_device()
  assert len(one) == len(eight) > 50 and one[0] > 0.01
  for a, b in zip(one, eight):
    np.testing.assert_allclose(a, b, atol=1e-5)


def predictions(task, counts=(1, 2, 3, 1, 1)):
  rng = np.random.default_rng(3)
  text, video = embeddings(rng, texts=sum(counts), videos=len(counts))
  ends = np.cumsum(counts)
  found = {f"video/{k}": v for k, v in video.items()}
  for key, value in text.items():
    rows = np.empty(len(counts), object)
    for i, (end, count) in enumerate(zip(ends, counts)):
      rows[i] = value[end - count:end]
    found[f"text/{key}"] = rows
  return {**found, "text_count": np.array(counts), "index": np.arange(len(counts))}, text, video


def test_metrics_are_those_of_all_captions_over_all_videos():
  task = tasks.get("retrieval")
  found, text, video = predictions(task)
  owner = np.array([0, 1, 1, 2, 2, 2, 3, 4])
  assert task.metrics(found) == retrieval.evaluate(retrieval.similarity(text, video), owner)
  local = tasks.get("retrieval", parts="local").metrics(found)
  assert local == retrieval.evaluate(retrieval.similarity(text, video, ("local",)), owner)


def test_shared_sentences_are_one_text_each():
  records = tuple(Record(str(i), Media("v.npz", "experts"), extra={"captions": ("x",), "sentence": n})
                  for i, n in enumerate((0, 1, 0, 2, 1)))
  task = tasks.from_config({"name": "retrieval"}, Dataset("d", "test", records))
  found, text, video = predictions(task, (1,) * 5)
  similarity = retrieval.similarity({k: v[[0, 1, 3]] for k, v in text.items()}, video)
  assert task.metrics(found) == retrieval.evaluate(similarity, np.arange(3), np.array([0, 1, 0, 2, 1]))


def test_samples_are_texts_with_what_was_found_for_them():
  task = tasks.get("retrieval")
  found, text, video = predictions(task)
  records = tuple(Record(f"v{i}", Media("v.npz", "experts"), extra={"captions": (f"text {i}",)}) for i in range(5))
  shown = task.samples(found, Dataset("d", "test", records), 3)
  assert [s["query"] for _, s in shown] == ["text 0", "text 2", "text 4"]
  for row, sample in shown:
    assert sample["right"] == (sample["rank"] == 1) == (sample["found"][0]["id"] == f"v{row}")
  assert task.describe(found, 1, Dataset("d", "test", records))["captions"] == ["text 1"]


def test_half_precision_and_several_captions_are_kept_as_asked():
  task = tasks.get("retrieval", half=True)
  kept = task.predict(outputs(), batch())
  assert kept["text/local"].dtype == jnp.float16 and kept["text/local"].shape[:2] == (6, 1)
  several = {k: v[:, None].repeat(2, 1) if k.startswith("text/") else v for k, v in outputs().items()}
  many = batch(text_mask=np.ones((6, 2, 4)))
  assert task.predict(several, many)["text/local"].shape[:2] == (6, 2)
  np.testing.assert_allclose(task.loss(several, many)[0], task.loss(outputs(), batch())[0], rtol=1e-6)


@pytest.mark.parametrize("fields, message", [(dict(loss_over="hardest"), "loss_over"), (dict(parts="both"), "parts"),
                                             (dict(margin=0.0), "not above 0")])
def test_a_wrong_field_is_one_line(fields, message):
  with pytest.raises(errors.ConfigError, match=message):
    tasks.get("retrieval", **fields)
