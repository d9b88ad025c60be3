import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Dataset, Media, Record, Target
from vidx.tasks import categories

KINDS = {"action": (0, 1, 2), "scene": (3, 4)}
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)).astype("f") * 3
LABEL = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]])


def each(logits=LOGITS, label=LABEL):
  p = 1 / (1 + np.exp(-logits.astype(np.float64)))
  return -(label * np.log(p) + (1 - label) * np.log(1 - p))


def task(**fields):
  return tasks.get("multilabel", categories=KINDS, **fields)


def loss(of, logits=LOGITS, label=LABEL):
  return of.loss({"logits": logits}, {"label": jnp.asarray(label, jnp.float32)})


def test_the_loss_by_category_is_the_weighted_sum_of_their_means():
  found, terms = loss(task(by_category=True, weights={"scene": 0.5}))
  np.testing.assert_allclose(found, each()[:, :3].mean(1) + 0.5 * each()[:, 3:].mean(1), rtol=1e-4)
  assert set(terms) == {"binary_cross_entropy/action", "binary_cross_entropy/scene"}
  summed, _ = loss(task(by_category=True, reduction="sum"))
  np.testing.assert_allclose(summed, each().sum(1), rtol=1e-4)


def test_the_standard_loss_is_the_mean_of_the_categories_weighted_by_their_sizes():
  standard, _ = loss(task())
  _, terms = loss(task(by_category=True))
  means = [terms[f"binary_cross_entropy/{name}"] * len(ids) / 5 for name, ids in KINDS.items()]
  np.testing.assert_allclose(standard, sum(means), rtol=1e-5)


@pytest.mark.parametrize("by_category", [False, True])
def test_a_category_without_any_tag_does_not_count_where_it_is_masked(by_category):
  found, _ = loss(task(category_mask=True, by_category=by_category))
  for row, value in enumerate(found):
    parts = [each()[row, list(ids)] for ids in KINDS.values() if LABEL[row, list(ids)].any()]
    whole = sum(p.mean() for p in parts) if by_category else np.concatenate(parts or [[0]]).mean()
    assert value == pytest.approx(whole, rel=1e-4)


def test_losses_and_gradients_are_finite_for_very_sure_logits():
  sure = jnp.where(jnp.arange(30).reshape(6, 5) % 2, 50.0, -50.0)
  for of in (task(), task(by_category=True, category_mask=True)):
    value, slope = jax.jit(jax.value_and_grad(lambda x, t=of: loss(t, x)[0].sum()))(sure)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_heads_are_put_into_the_columns_of_their_classes():
  mixed = {"scene": (1, 4), "action": (3, 0, 2)}
  heads = {"scene": LOGITS[:, [1, 4]], "action": LOGITS[:, [3, 0, 2]]}
  np.testing.assert_array_equal(categories.side_by_side(heads, tuple(mixed.items())), LOGITS)
  of = tasks.get("multilabel", categories=mixed, heads=True)
  np.testing.assert_array_equal(loss(of, heads)[0], loss(of)[0])
  scores = lambda logits: of.predict({"logits": logits}, {})["scores"]
  np.testing.assert_array_equal(scores(heads), scores(LOGITS))
  assert of.num_classes({"label": 5}) == {"scene": 2, "action": 3} and task().num_classes({"label": 5}) == 5


def dataset(label=((0, 2), (3, 4), (1, 4), (), (0, 1, 2, 3, 4), (2, 3)), kinds=KINDS, **more):
  records = tuple(Record(str(i), Media(str(i)), l, **more) for i, l in enumerate(label))
  return Dataset("tags", "train", records, tuple("abcde"), multilabel=True, categories=kinds)


def test_output_biases_start_with_the_frequencies_of_classes():
  head = lambda n, extra=0: {"fc": {"kernel": np.ones((4, n)), "bias": np.zeros(n + extra)}}
  log_odds = np.log((LABEL.sum(0) + 0.5) / (6 - LABEL.sum(0) + 0.5))
  start = lambda of, params: of.for_dataset(dataset()).initial(params, dataset())
  found = start(task(), {"trunk": head(5), "head": head(5, 2)})
  np.testing.assert_allclose(found["head"]["fc"]["bias"], [*log_odds, log_odds.min(), log_odds.min()], rtol=1e-6)
  assert not found["trunk"]["fc"]["bias"].any() and (found["head"]["fc"]["kernel"] == 1).all()
  found = start(task(heads=True), {"head": {"action": {"out": head(3)}, "scene": {"out": head(2)}}})
  np.testing.assert_allclose(found["head"]["scene"]["out"]["fc"]["bias"], log_odds[3:], rtol=1e-6)
  several = {"head_label": head(5), "head_class": head(5), "head": {"label": {"out": head(5)}, "class": {"out": head(5)}}}
  found = start(task(), several)  # tags are one of several heads
  for tags, of_class in ((found["head_label"], found["head_class"]),
                         (found["head"]["label"]["out"], found["head"]["class"]["out"])):
    np.testing.assert_allclose(tags["fc"]["bias"], log_odds, rtol=1e-6)
    assert not of_class["fc"]["bias"].any()
  for of in (task(prior=False), task(activation="softmax")):
    assert not start(of, {"head": head(5)})["head"]["fc"]["bias"].any()


def predictions(scores=LOGITS):
  return {"scores": 1 / (1 + np.exp(-scores)), "label": LABEL.astype("f"), "index": np.arange(6)}


def test_the_overall_map_is_the_mean_of_the_categories_and_both_rules_can_be_asked_for():
  found = task(ap="both").metrics(predictions())
  assert found["mAP"] == pytest.approx((found["mAP/action"] + found["mAP/scene"]) / 2)
  assert found["mAP over classes"] == pytest.approx((3 * found["mAP/action"] + 2 * found["mAP/scene"]) / 5)
  assert found["trapezoid mAP"] == task(ap="trapezoid").metrics(predictions())["mAP"] != found["mAP"]


def test_tags_are_the_classes_from_the_threshold_on_by_category():
  scores = np.array([[0.9, 0.2, 0.6, 0.4, 0.1]])
  found = task().describe({"scores": scores, "index": np.zeros(1, int)}, 0, dataset())["tags"]
  assert found == {"action": [{"label": "a", "score": 0.9}, {"label": "c", "score": 0.6}], "scene": []}
  (_, sample), = task(threshold=0.3).samples({**{k: v[:1] for k, v in predictions().items()}, "scores": scores},
                                             dataset(), 5)
  assert sample["tags"]["scene"] == [{"label": "d", "score": 0.4, "right": False}]
  assert [t["right"] for t in sample["tags"]["action"]] == [True, True]


@pytest.mark.parametrize("fields, kinds, words", [
    (dict(heads=True), {}, ["task.heads needs a category", "5 classes"]),
    (dict(by_category=True), {"action": (0, 1)}, ["task.by_category", "has 2 in 1"]),
    (dict(weights={"actoin": 2.0}), KINDS, ["task.weights: 'actoin'", "nearest: 'action'"]),
    (dict(threshold=2.0), KINDS, ["task.threshold=2.0"]), (dict(ap="area"), KINDS, ["task.ap 'area'", "both"])])
def test_what_does_not_fit_the_categories_is_one_clear_line(fields, kinds, words):
  with pytest.raises(errors.ConfigError) as e:
    tasks.from_config({"name": "multilabel", **fields}, dataset(kinds=kinds))
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


# ---------------------------------------------------------------- one class beside the tags


def test_tags_and_a_class_are_learned_by_the_sum_of_their_losses():
  of = tasks.get("tags_and_class", categories=KINDS, heads=True, by_category=True)
  assert of.num_classes({"label": 5, "class": 4}) == {"action": 3, "scene": 2, "class": 4}
  logits = RNG.normal(size=(6, 4)).astype("f")
  out = {"logits": {"action": LOGITS[:, :3], "scene": LOGITS[:, 3:], "class": logits}}
  label = np.array([0, 1, 2, 3, 0, -1])
  found, terms = of.loss(out, {"label": jnp.asarray(LABEL, jnp.float32), "label/class": label})
  entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), label]
  expected = each()[:, :3].mean(1) + each()[:, 3:].mean(1) + entropy
  np.testing.assert_allclose(found[:5], expected[:5], rtol=1e-4)
  assert found[5] == 0 and len(terms) == 3


def test_a_class_and_tags_are_measured_each_in_their_way():
  of = tasks.get("tags_and_class", categories=KINDS)
  assert of.num_classes({"label": 5, "class": 4}) == {"label": 5, "class": 4}
  rows = {**predictions(), "scores/class": np.eye(4)[[0, 1, 2, 3, 0, 1]], "label/class": np.array([0, 1, 2, 3, 1, -1])}
  found = of.metrics(rows)
  assert found["top-1"] == 80 and found["top-5"] == 100 and "mAP/scene" in found
  assert of.details(rows)["class/count"].tolist() == [1, 2, 1, 1]
  data = dataclasses.replace(dataset(), named={"class": Target(tuple("wxyz"))})
  told = of.describe(rows, 1, data, top=1)
  assert told["predictions"] == [{"label": "x", "score": 1.0}] and set(told["tags"]) == set(KINDS)


def test_a_class_beside_tags_needs_data_that_has_one():
  with pytest.raises(errors.ConfigError, match="learns the target 'class', which data set 'tags' lacks: it has label"):
    tasks.from_config({"name": "tags_and_class"}, dataset())


def test_clusters_of_features_are_compared_with_classes():
  of = tasks.get("clustering", restarts=3, seeds=2)
  label = np.array([0, 1, 2, 0, 1, 2, -1])
  features = 9 * np.eye(4)[np.maximum(label, 0)] + 0.1 * RNG.normal(size=(7, 4))
  found = of.metrics({"features": features, "label": label})
  assert found == {"clustering accuracy": 100, "clustering accuracy/std": 0, "clusters": 3}
  out = {"features": jnp.ones((2, 3, 4))}
  assert of.predict(out, {})["features"].shape == (2, 4) and not of.loss(out, {})[0].any()
  with pytest.raises(errors.DataError, match="6 labelled videos cannot make 9 clusters"):
    tasks.get("clustering", clusters=9).metrics({"features": features, "label": label})
