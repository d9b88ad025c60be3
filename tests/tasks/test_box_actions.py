import csv
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import tasks
from vidx.data import frame_boxes as fb
from vidx.data.records import Dataset, Media, Record
from vidx.metrics import ava
from vidx.tasks import box_actions

CLASSES = ("stand", "talk to", "eat")


def record(second, people, proposals):
  """People are (box, actions), proposals (box, score)."""
  hot = np.array([[c in actions for c in range(3)] for _, actions in people], bool).reshape(-1, 3)
  truth = fb.frame_boxes([box for box, _ in people], hot)
  found = fb.frame_boxes([box for box, _ in proposals], np.full(len(proposals), -1), score=[s for _, s in proposals])
  return Record(f"m,{second:04d}", Media("m.mp4"), tuple(np.flatnonzero(hot.any(0))), (second, second),
                {"video": "m", "second": second, fb.TRUTH: truth, fb.PROPOSED: found})


LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)
RECORDS = (record(1, [(LEFT, (0, 1)), (RIGHT, (2,))], [(LEFT, 0.9), ((0.6, 0.0, 0.95, 1.0), 0.9)]),
           record(2, [(LEFT, (1,))], [(RIGHT, 0.9), (LEFT, 0.8)]), record(3, [], [(LEFT, 0.95)]))
DATASET = Dataset("ava", "val", RECORDS, CLASSES, multilabel=True,
                  facts={"action_ids": (1, 3, 4), "evaluated": (1, 2)})
SCORES = np.array([[[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]], [[0.2, 0.6, 0.3], [0.3, 0.9, 0.8]],
                   [[0.5, 0.85, 0.2], [9, 9, 9]]], np.float32)
PREDICTIONS = {"box_scores": SCORES, "box_seen": np.array([[1, 1], [1, 1], [1, 0]], np.float32), "index": np.arange(3)}


def test_names_agree_with_those_of_the_data():
  assert (box_actions.TRUTH, box_actions.PROPOSED) == (fb.TRUTH, fb.PROPOSED)


def test_map_is_that_of_the_csv_that_it_writes(tmp_path):
  task = tasks.get("box_actions").for_dataset(DATASET)
  text, = task.files(PREDICTIONS, DATASET).values()
  rows = list(csv.reader(text.splitlines()))
  assert len(rows) == 5 * 2 and rows[0][:2] == ["m", "0001"] and {row[6] for row in rows} == {"3", "4"}
  (tmp_path / "found.csv").write_text(text)
  (tmp_path / "truth.csv").write_text("".join(
      f"m,{r.extra['second']:04d},{','.join(map(str, box))},{(1, 3, 4)[c]},0\n" for r in RECORDS
      for box, hot in zip(r.extra[fb.TRUTH].box, r.extra[fb.TRUTH].label) for c in np.flatnonzero(hot)))
  (tmp_path / "list.pbtxt").write_text('item { name: "talk to" id: 3 } item { name: "eat" id: 4 }')
  expected = ava.evaluate(*(tmp_path / name for name in ("truth.csv", "found.csv", "list.pbtxt")))
  assert task.metrics(PREDICTIONS)["mAP"] == pytest.approx(expected["mAP"])
  details = task.details(PREDICTIONS)
  assert details["count"].tolist() == [1, 2, 1] and math.isnan(details["ap"][0])
  np.testing.assert_allclose(details["ap"][1:], [expected["AP/talk to"], expected["AP/eat"]])
  assert 0 < expected["AP/talk to"] < 100 and 0 < expected["AP/eat"] < 100


def test_precisions_are_made_once_for_metrics_and_details(monkeypatch):
  task, made, each = tasks.get("box_actions").for_dataset(DATASET), [], ava.average_precisions
  monkeypatch.setattr(ava, "average_precisions", lambda *a: made.append(a) or each(*a))
  metrics, details = task.figures(PREDICTIONS)
  assert len(made) == 1 and metrics["mAP"] == pytest.approx(np.nanmean(details["ap"]))


def test_perfect_scores_have_100_and_nothing_found_is_0():
  sure = np.zeros((3, 2, 3), np.float32)
  sure[0, 0, :2] = sure[0, 1, 2] = sure[1, 1, 1] = 1
  task = tasks.get("box_actions").for_dataset(DATASET)
  assert task.metrics({**PREDICTIONS, "box_scores": sure})["mAP"] == pytest.approx(100)
  assert task.metrics({**PREDICTIONS, "box_seen": np.zeros((3, 2))})["mAP"] == 0


def test_views_of_a_box_are_joined_over_those_that_show_it():
  halves = {**PREDICTIONS, "box_scores": SCORES / 2, "box_seen": PREDICTIONS["box_seen"] / 2}
  task = tasks.get("box_actions").for_dataset(DATASET)
  assert task.metrics(halves) == task.metrics(PREDICTIONS)
  np.testing.assert_allclose(task.describe(halves, 0, DATASET)["people"][0]["actions"][0]["score"], 0.9, rtol=1e-6)


def test_people_are_described_with_their_best_actions():
  task = tasks.get("box_actions")
  people = task.describe(PREDICTIONS, 0, DATASET, 2)["people"]
  assert people[0]["box"] == [0.0, 0.0, 0.4, 1.0] and people[0]["score"] == 0.9
  assert [a["label"] for a in people[0]["actions"]] == ["stand", "talk to"]
  (_, sample), *_ = task.samples(PREDICTIONS, DATASET, 3)
  assert sample["truth"][0]["actions"] == ["stand", "talk to"] and task.nothing == {"people": []}


def batch():
  rois = jnp.array([[[0, 0, 4, 8], [6, 0, 10, 8], [0, 0, 0, 0]], [[0, 0, 10, 8], [1, 0, 4, 8], [5, 5, 6, 6]]],
                   jnp.float32)
  return {"rois": rois, "roi_mask": jnp.array([[1, 1, 0], [1, 1, 1.0]]),
          "boxes": jnp.array([[[0, 0, 4, 8], [6, 0, 10, 8]], [[0, 0, 4, 8], [0, 0, 0, 0]]], jnp.float32),
          "box_label": jnp.array([[[1, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]], jnp.float32),
          "box_mask": jnp.array([[1, 1], [1, 0.0]]), "weight": jnp.ones(2)}


def test_the_loss_is_the_mean_over_boxes_each_of_the_person_whom_it_overlaps():
  logits = jax.random.normal(jax.random.PRNGKey(0), (2, 3, 3))
  task, given = tasks.get("box_actions"), batch()
  loss, terms = task.loss({"logits": logits}, given)
  label = np.array([[[1, 1, 0], [0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]]])
  p = 1 / (1 + np.exp(-np.asarray(logits)))
  each = -(label * np.log(p) + (1 - label) * np.log(1 - p)).mean(-1) * np.asarray(given["roi_mask"])
  np.testing.assert_allclose(loss, each.sum(1), rtol=1e-5)
  np.testing.assert_array_equal(task.labelled(given), [2, 3])
  assert set(terms) == {"cross_entropy"}
  bare = {k: v for k, v in given.items() if not k.startswith("box")}
  assert not task.labelled(bare).any() and not task.loss({"logits": logits}, bare)[0].any()


def test_boxes_that_are_padding_change_nothing_and_half_precision_is_scored_in_full():
  task, given = tasks.get("box_actions"), batch()
  logits = jax.random.normal(jax.random.PRNGKey(0), (2, 3, 3), jnp.bfloat16)
  grad = jax.grad(lambda x: task.loss({"logits": x}, given)[0].sum())(logits)
  assert not grad[0, 2].any() and np.asarray(grad[0, :2], np.float32).any()
  out = jax.jit(task.predict)({"logits": logits}, given)
  assert out["box_scores"].dtype == jnp.float32 and not out["box_scores"][0, 2].any()
