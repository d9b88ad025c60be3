import json

import numpy as np
import pytest

from tests.infer import standins as s
from vidx import tasks, writing
from vidx.infer import results
from vidx.train import config, evaluator


def result_of(dataset, scores, failures=()):
  task = tasks.from_config({"name": "multilabel" if dataset.multilabel else "classification"}, dataset)
  hot = lambda y: np.isin(np.arange(s.CLASSES), y).astype("f")
  rows = [i for i, r in enumerate(dataset.records) if r.id not in failures]
  label = np.array([hot(dataset.records[i].label) if dataset.multilabel else dataset.records[i].label for i in rows])
  predictions = {"scores": scores[rows], "label": label, "index": np.array(rows), "loss": np.ones(len(rows), "f"),
                 "labelled": np.ones(len(rows), "f")}
  return evaluator.EvalResult(dataset, predictions, evaluator.summary(task, predictions), dict(failures)), task


def described(dataset, failures=()):
  scores = np.random.default_rng(3).random((len(dataset), s.CLASSES)).astype("f")
  result, task = result_of(dataset, scores, dict(failures))
  how = results.protocol(config.base(), dataset, clips=2, crops=3, dtype=np.float32)
  return results.describe(result, task, how, step=7)


def test_the_file_states_protocol_counts_failures_and_tables(tmp_path):
  found = described(s.split(), {"v03": "v03.mp4: truncated"})
  path = results.write(found, str(tmp_path))
  assert path.endswith("eval/val-2x3.json")
  read = json.loads(open(path).read())
  assert (read["videos"], read["evaluated"], read["step"]) == (13, 12, 7)
  assert read["failures"] == [{"id": "v03", "reason": "v03.mp4: truncated"}]
  assert read["protocol"]["views"] == "2x3" and read["protocol"]["sampler"] == "uniform"
  assert np.sum(read["confusion"]) == 12 == sum(c["n"] for c in read["per_class"])
  assert set(read["metrics"]) == {"top-1", "mean class", "loss"}  # of five classes
  assert len(read["samples"]) == 12 and len(read["samples"][0]["top"]) == 5


def test_a_class_without_videos_is_null_and_the_file_is_strict_json():
  text = json.dumps(described(s.split(2)), allow_nan=False)
  assert any(c["accuracy"] is None for c in json.loads(text)["per_class"])


def test_multilabel_tables_hold_average_precisions():
  found = described(s.split(multilabel=True))
  assert "confusion" not in found and all("ap" in c for c in found["per_class"])
  assert isinstance(found["samples"][0]["truth"], list)


def test_printed_lines_have_one_decimal_and_name_the_failures():
  lines = results.lines(described(s.split(), {"v03": "v03.mp4: truncated"}))
  assert "  v03: v03.mp4: truncated" in lines
  top = next(x for x in lines if x.startswith("top-1: "))
  assert len(top.split(".")[1]) == 1
  assert any(x.startswith("mean class: ") for x in lines)


def test_too_many_samples_keep_the_most_confident_mistakes():
  dataset = s.split(200)
  scores = np.random.default_rng(3).random((200, s.CLASSES)).astype("f")
  result, task = result_of(dataset, scores)
  kept = results.samples(result, task, limit=20)
  assert len(kept) == 20
  wrong = [r for r in results.samples(result, task) if not r["right"]]
  worst = max(wrong, key=lambda r: r["top"][0]["score"])
  assert worst["id"] in {k["id"] for k in kept} and any(k["right"] for k in kept)


@pytest.mark.parametrize("value, expected", [(float("nan"), None), (float("inf"), None), (np.float32(2), 2.0)])
def test_numbers_that_json_does_not_know_are_null(value, expected):
  assert writing.number(value) == expected
