"""Detection: losses against a loop, predictions against the truth, and proposals that find what they are told."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx import errors, tasks
from vidx.nn import boxes as boxes_lib, region_proposals
from vidx.tasks import detection

TINY = dict(num_classes=3, trunk="resnet_50", stages=(1, 1, 1, 2), width=4, inner=6, features=8)
RPN = dict(proposals="rpn", rpn=dict(features=8, sizes=(16, 32), ratios=(1,), count=6, before=20))
TRUTH = np.array([[[[4, 4, 30, 30], [20, 30, 60, 62]], [[8, 4, 34, 30], [0, 0, 0, 0]]]], "f")


def batch(**more):
  return {"video": np.random.default_rng(0).normal(size=(1, 2, 64, 64, 3)).astype("f"), "boxes": TRUTH,
          "box_label": np.array([[[1, 2], [1, -1]]], np.int32), "box_mask": np.array([[[1, 1], [1, 0]]], "f"),
          "extent": np.array([[64, 64]], "f"), "weight": np.ones(1, "f"), **more}


@functools.cache
def made(name, **fields):
  model = vidx.create_model(name, **TINY, **{k: v for k, v in fields.items() if k != "rpn"}, **(
      RPN if fields.get("rpn") else {}))
  given = [batch(rois=TRUTH, roi_mask=np.ones((1, 2, 2), "f"))[k] for k in model.inputs]
  return model, model.init(jax.random.PRNGKey(0), *given)


def called(name, train, **fields):
  model, variables = made(name, **fields)
  own = batch(rois=TRUTH + [2, -1, 3, 2], roi_mask=np.ones((1, 2, 2), "f"))
  out = model.apply(variables, *(own[k] for k in model.inputs), train=train, rngs={"dropout": jax.random.PRNGKey(1)})
  return out, own


def perfect(boxes=TRUTH, label=((1, 2), (1, 0)), classes=3):
  """Outputs that say of each box what it is."""
  logits = 20.0 * np.eye(classes + 1)[np.array([label]) + 1]
  return {"rois": jnp.asarray(boxes), "roi_mask": jnp.asarray(batch()["box_mask"]), "logits": jnp.asarray(logits, "f"),
          "deltas": jnp.zeros(boxes.shape, "f")}


def test_training_looks_at_the_truth_behind_the_proposals():
  for rpn in (False, True):
    out, own = called("rfcn", True, rpn=rpn)
    n = 6 if rpn else 2
    assert out["logits"].shape == (1, 2, n + 2, 4) and out["rois"].shape == (1, 2, n + 2, 4)
    np.testing.assert_array_equal(out["rois"][:, :, n:], TRUTH)
    loss, terms = tasks.get("detection", sample=4).loss(out, own)
    assert set(terms) == {"class", "box", *(("anchor", "anchor_box") if rpn else ())}
    assert loss.shape == (1,) and np.isfinite(loss).all()
    evaluated, _ = called("rfcn", False, rpn=rpn)
    assert evaluated["logits"].shape[2] == n and "key" not in evaluated


def test_the_loss_of_what_is_right_is_none_and_that_of_all_boxes_is_the_mean():
  task = tasks.get("detection", mining="random", share=1.0)
  loss, _ = task.loss(perfect(), batch())
  np.testing.assert_allclose(loss, 0, atol=1e-6)
  moved = perfect(TRUTH + np.array([1, 0, 1, 0], "f"))
  _, terms = task.loss(moved, batch())
  goal = boxes_lib.encode(moved["rois"], TRUTH) / np.array([0.1, 0.1, 0.2, 0.2])
  each = np.abs(np.asarray(goal))
  each = np.where(each < 1, each ** 2 / 2, each - 0.5).sum(-1)[0]
  np.testing.assert_allclose(terms["box"], (each[0].mean() + each[1, 0]) / 2, rtol=1e-5)


def test_perfect_boxes_have_an_average_precision_of_100_and_others_less():
  task = tasks.get("detection", names=("a", "b", "c"))
  found = jax.jit(task.predict)(perfect(), batch())
  arrays = {k: np.asarray(v)[:, None] for k, v in found.items()}
  assert task.metrics(arrays)["mAP"] == pytest.approx(100)
  details = task.details(arrays)
  assert task.figures(arrays)[0] == task.metrics(arrays)
  assert details["count"].tolist() == [0, 2, 1] and np.isnan(details["ap"][0])
  wrong = {k: np.asarray(v)[:, None] for k, v in task.predict(perfect(label=((2, 1), (2, 0))), batch()).items()}
  assert task.metrics(wrong)["mAP"] == 0
  shown = task.describe({**arrays, "index": np.arange(1)}, 0, type("d", (), dict(classes=("a", "b", "c"))))
  assert shown["boxes"][0]["label"] == "b" and shown["boxes"][0]["score"] > 0.99


def test_boxes_of_a_class_suppress_each_other_and_those_of_others_do_not():
  task = tasks.get("detection", suppress=0.3)
  same = np.array([[[[0, 0, 20, 20], [1, 1, 21, 21]], [[0, 0, 20, 20], [1, 1, 21, 21]]]], "f")
  out = perfect(same, ((1, 1), (1, 2)))
  out["roi_mask"] = jnp.ones((1, 2, 2))
  found = task.predict(out, batch())
  assert ((found["found_score"] > 0.5).sum(-1)).tolist() == [[1, 2]]


def test_frames_without_labels_have_predictions_and_no_loss():
  out, own = called("rfcn", False, rpn=True)
  bare = {k: own[k] for k in ("video", "extent", "weight")}
  task = tasks.get("detection")
  assert float(task.loss(out, bare)[0][0]) == 0 and set(task.predict(out, bare)) == set(detection.FOUND)


def test_anchors_become_objects_where_they_overlap_most_and_nothing_outside_of_the_image():
  anchors = boxes_lib.anchors(4, 4, 16, (16, 32), (1,))
  targets = region_proposals.anchor_targets(anchors, TRUTH, batch()["box_mask"], jnp.full((1, 2, 2), 48.0))
  overlap = np.asarray(boxes_lib.iou(anchors, TRUTH))
  live = np.asarray(region_proposals.inside(anchors, jnp.array([48.0, 48.0])))
  for t in range(2):
    for g in range(2 - t):
      best = np.where(live, overlap[0, t, :, g], -1).argmax()
      assert targets.label[0, t, best] == 1
  assert (np.asarray(targets.label)[..., ~live] == -1).all() and (np.asarray(targets.label) == 0).any()
  back = boxes_lib.decode(anchors, targets.deltas[0, 1])[np.asarray(targets.label[0, 1]) > 0]
  np.testing.assert_allclose(back, np.broadcast_to(TRUTH[0, 1, 0], back.shape), atol=1e-3)


def test_proposals_are_the_best_that_do_not_overlap_inside_of_the_image():
  net = region_proposals.RegionProposals(count=5, before=30, sizes=(16, 32), ratios=(1,))
  anchors = net.anchors(4, 4)
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, len(anchors))))
  rois, mask = net.best(logits, jnp.zeros((2, len(anchors), 4)), anchors, jnp.array([[64.0, 64], [30, 40]]))
  assert rois.shape == (2, 5, 4) and mask[0].all()
  assert (np.asarray(rois[1][..., 2]) <= 40).all() and (np.asarray(rois[1][..., 3]) <= 30).all()
  overlap = np.array(boxes_lib.iou(rois[0], rois[0]))
  np.fill_diagonal(overlap, 0)
  assert overlap.max() <= 0.7 + 1e-6


@pytest.mark.parametrize("fields, words", [
    (dict(mining="hard"), "task.mining 'hard'"), (dict(rule="coco"), "task.rule 'coco'"), (dict(keep=0), "keep=0"),
    (dict(delta_std=(1, 1)), "four numbers")])
def test_a_wrong_field_is_one_line(fields, words):
  with pytest.raises(errors.ConfigError, match=words) as e:
    tasks.get("detection", **fields)
  assert "\n" not in str(e.value)
