import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data import coco_masks
from vidx.data.records import Dataset, Media, Record
from vidx.nn import phrase_structure

B, N = 3, 4
NAMES = np.array([[1, 2, 3, -1], [4, 5, -1, -1], [6, 7, 8, 9]], np.int32)
PARENT = np.array([[-1, 0, 0, -1], [-1, 0, -1, -1], [-1, 0, 0, 0]], np.int32)


def made(seed=0):
  rng = np.random.default_rng(seed)
  outputs = {"score": rng.normal(size=(B, N)), "drawn": rng.normal(size=(B, N)), "there": (NAMES >= 0) * 1.0,
             "masks": rng.uniform(size=(B, N, 3, 3))}
  batch = {"phrase_parent": PARENT, "phrase_name": NAMES, "weight": np.ones(B), "phrase_count": (NAMES >= 0).sum(1)}
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32 if x.dtype == float else None), (outputs, batch))


def stepped(task, outputs, batch):
  """The loss of a step."""
  return float((task.loss(outputs, batch)[0] * batch["weight"]).sum() / batch["weight"].sum())


def test_the_loss_of_a_step_is_the_one_of_the_equations():
  outputs, batch = made()
  sigmoid = lambda x: 1 / (1 + np.exp(-np.asarray(x, np.float64)))
  valid = NAMES >= 0
  expected = -sigmoid(outputs["score"])[valid].mean() + sigmoid(outputs["drawn"])[valid].mean()
  assert stepped(tasks.get("grounding", pc=0.0, sib=0.0), outputs, batch) == pytest.approx(expected, abs=1e-5)
  apart, parents = phrase_structure.parent_child(outputs["masks"], PARENT, valid)
  overlap, sets = phrase_structure.siblings(outputs["masks"], PARENT, valid)
  assert parents.sum() == 3 and sets.sum() == 2
  expected += 0.01 * float(apart.sum()) / 3 + 0.1 * float(overlap.sum()) / 2
  assert stepped(tasks.get("grounding", pc=0.01, sib=0.1), outputs, batch) == pytest.approx(expected, abs=1e-5)


def test_thesis_weights_are_the_defaults_and_terms_that_weigh_nothing_are_none():
  task = tasks.get("grounding")
  assert (task.pc, task.sib, task.pairs) == (0.01, 1e-4, True)
  assert set(tasks.get("grounding", pc=0.0, sib=0.0).loss(*made())[1]) == {"own", "drawn", "mask mean", "mask max"}
  assert {"pc", "sib"} < set(task.loss(*made())[1])


def test_turning_the_scores_and_their_sides_round_turns_the_sign():
  outputs, batch = made()
  task = tasks.get("grounding", pc=0.0, sib=0.0)
  other = {**outputs, "score": outputs["drawn"], "drawn": outputs["score"]}
  assert stepped(task, other, batch) == pytest.approx(-stepped(task, outputs, batch), abs=1e-6)
  assert abs(stepped(task, outputs, batch)) < 1


def test_examples_that_do_not_count_and_images_without_phrases_change_nothing():
  outputs, batch = made()
  task = tasks.get("grounding", pc=0.1, sib=0.1)
  whole = stepped(task, *jax.tree.map(lambda x: x[:2], (outputs, batch)))
  padded = {**batch, "weight": batch["weight"].at[2].set(0)}
  assert stepped(task, outputs, padded) == pytest.approx(whole, abs=1e-5)
  none = {**batch, "phrase_name": jnp.full_like(batch["phrase_name"], -1)}
  assert stepped(task, outputs, none) == 0


def image(size=(6, 8), **extra):
  return Record("a", Media("a.png", "still"), extra={"size": size, **extra})


def masks_at(*places):
  masks = np.full((len(places), 3, 4), 0.1, np.float32)
  for mask, (x, y) in zip(masks, places):
    mask[y, x] = 0.9
  return masks


def scored(records, masks, **fields):
  task = tasks.get("grounding", **fields).for_dataset(Dataset("none", "val", tuple(records)))
  row = np.empty(len(records), object)
  row[:] = masks
  return task, {"index": np.arange(len(records)), "masks": row, "score": [np.zeros(len(m)) for m in masks]}


def test_points_are_counted_over_all_phrases_of_all_images():
  records = [image(phrases=("a", "b"), boxes=((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.5))), image(phrases=("c",),
                                                                                    boxes=((0.5, 0.5, 1, 1),))]
  task, predictions = scored(records, [masks_at((0, 0), (3, 2)), masks_at((3, 2))])
  found = task.metrics(predictions)
  assert found["pointing"] == pytest.approx(200 / 3) and abs(found["pointing/random"] - 25) < 12
  assert set(found) == {"pointing", "pointing/random"}
  shown = task.describe(predictions, 0, Dataset("none", "val", tuple(records)))
  assert shown["phrases"][1] == {"phrase": "b", "score": 0.0, "point": [7, 5], "hit": False}


def test_regions_are_scored_by_their_masks_and_by_images_without_the_category():
  corner = {"counts": [0, 2, 4, 2, 40], "size": [6, 8]}
  there, absent = coco_masks.Things((corner,)), coco_masks.Things(())
  records = [image(phrases=("dog", "cat"), categories=(0, 1), segments=(there, absent)),
             image(phrases=("dog", "cat"), categories=(0, 1), segments=(there, there))]
  task, predictions = scored(records, [masks_at((0, 0), (3, 2)), masks_at((3, 2), (0, 0))])
  found = task.metrics(predictions)
  assert found["pointing"] == pytest.approx(200 / 3)  # of what is there
  assert found["mAP@0.3/present"] >= found["mAP@0.3"]
  assert found["mAP"] == pytest.approx(np.mean([found[f"mAP@{t}"] for t in (0.3, 0.4, 0.5)]))


def test_where_nothing_is_known_of_images_no_figure_is_defined():
  task, predictions = scored([image(captions=("a b",))], [masks_at((0, 0))])
  assert np.isnan(task.metrics(predictions)["pointing"])
  assert task.describe(predictions, 0, Dataset("none", "val", (image(captions=("a b",)),))) == {"captions": ["a b"]}


@pytest.mark.parametrize("field, value, words", [("threshold", "half", "middle, printed"), ("pc", -1.0, "below 0")])
def test_a_wrong_field_is_one_clear_line(field, value, words):
  with pytest.raises(errors.ConfigError, match=words):
    tasks.get("grounding", **{field: value})


def test_next_words_cost_by_the_word_and_are_counted_over_the_split():
  task = tasks.get("next_word")
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(2, 4, 6)), jnp.float32)
  text, mask = jnp.asarray(rng.integers(0, 6, (2, 5))), jnp.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], jnp.float32)
  batch = {"text": text, "text_mask": mask, "weight": jnp.ones(2)}
  nats = -np.asarray(jax.nn.log_softmax(logits))[np.arange(2)[:, None], np.arange(4), np.asarray(text)[:, 1:]]
  live = np.asarray(mask)[:, 1:]
  assert stepped(task, {"logits": logits}, batch) == pytest.approx((nats * live).sum() / 5, rel=1e-5)
  found = task.metrics(task.predict({"logits": logits}, batch))
  assert found["perplexity"] == pytest.approx(np.exp((nats * live).sum() / 5), rel=1e-4)
  hits = (np.asarray(logits).argmax(-1) == np.asarray(text)[:, 1:]) * live
  assert found["next word"] == pytest.approx(100 * hits.sum() / 5)
  several = {k: v[:, None] if k != "weight" else v for k, v in batch.items()}
  np.testing.assert_allclose(task.predict({"logits": logits[:, None]}, several)["nats"],
                             task.predict({"logits": logits}, batch)["nats"])
  none = {**batch, "text_mask": jnp.zeros((2, 5))}
  assert stepped(task, {"logits": logits}, none) == 0
  assert np.isnan(task.metrics(task.predict({"logits": logits}, none))["perplexity"])
