
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Dataset, Media, Record, Target

LOGITS = np.random.default_rng(0).normal(size=(4, 5)).astype("f") * 3
BATCH = {"label": jnp.eye(5)[:4], "length": jnp.full(4, 9), "weight": jnp.ones(4)}
HOT = np.asarray([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], np.float32)
UNLABELLED = [  # task, fields, labels of three videos
    ("classification", {}, np.array([2, 0, 4], np.int32)),
    ("classification", dict(label_smoothing=0.1), np.array([2, 0, 4], np.int32)),
    ("joint", {}, np.array([2, 0, 4], np.int32)),
    ("multilabel", {}, HOT),
    ("multilabel", dict(reduction="sum"), HOT),
    ("multilabel", dict(activation="softmax"), HOT[[0, 2, 2]]),
]


def log_softmax(x):
  return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_cross_entropy_of_ids_and_of_their_targets_agree():
  task, label = tasks.get("classification"), jnp.array([0, 3, 4, 1])
  loss, terms = task.loss({"logits": LOGITS}, {"label": label})
  np.testing.assert_allclose(loss, [-log_softmax(LOGITS)[i, y] for i, y in enumerate([0, 3, 4, 1])], rtol=1e-5)
  soft, _ = task.loss({"logits": LOGITS}, {"label": task.target(label, 5)})
  np.testing.assert_array_equal(loss, soft)
  assert list(terms) == ["cross_entropy"]


def test_label_smoothing_spreads_its_share_evenly():
  task, label = tasks.get("classification", label_smoothing=0.1), np.array([0, 3, 4, 1])
  target = np.full((4, 5), 0.02) + 0.9 * np.eye(5)[label]
  loss, _ = task.loss({"logits": LOGITS}, {"label": label})
  np.testing.assert_allclose(loss, -(target * log_softmax(LOGITS)).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_unlabelled_example_has_no_loss_and_no_part_in_the_metrics(smoothing):
  task = tasks.get("classification", label_smoothing=smoothing)
  loss, _ = task.loss({"logits": LOGITS}, {"label": np.array([-1, 0, 1, 2])})
  assert loss[0] == 0 and np.all(loss[1:] > 0)
  metrics = task.metrics({"scores": np.eye(3), "label": np.array([0, 1, -1])})
  assert metrics == {"top-1": 100, "mean class": 100}  # of three classes all are among five


@pytest.mark.parametrize("given", ["balanced", (2.0, 0.5, 1.0, 0.0)])
def test_class_weights_scale_the_losses_of_their_classes(given):
  labels = (0, 1, 1, 1, 1, 1, 3, 3)
  records = tuple(Record(str(i), Media(str(i)), y) for i, y in enumerate(labels))
  data = Dataset("none", "train", records, tuple("abcd"))
  task = tasks.from_config(dict(name="classification", class_weights=given), data)
  weights = given
  if given == "balanced":
    weights = [8 / 3 / n if n else 0.0 for n in (1, 5, 0, 2)]
    assert sum(weights[y] for y in labels) == pytest.approx(len(labels))
  label = np.array([0, 1, 3, -1])
  plain, _ = tasks.get("classification").loss({"logits": LOGITS[:, :4]}, {"label": label})
  found, _ = task.loss({"logits": LOGITS[:, :4]}, {"label": label})
  np.testing.assert_allclose(found, plain * np.array([*(weights[y] for y in label[:3]), 1.0]), rtol=1e-5)
  assert np.isfinite(task.loss({"logits": LOGITS}, {"label": label})[0]).all()  # a head with a spare class


@pytest.mark.parametrize("given, message", [
    ("balance", "'balanced', or a number"), ((1.0, -1.0), "a number from 0 on per class"),
    ((1.0,), "are 1, and the data has 2"),
])
def test_wrong_class_weights_are_refused(given, message):
  data = Dataset("none", "train", (Record("a", Media("a"), 0), Record("b", Media("b"), 1)), ("x", "y"))
  with pytest.raises(errors.ConfigError, match=message):
    tasks.from_config(dict(name="classification", class_weights=given), data)


@pytest.mark.parametrize("name, fields, label", UNLABELLED)
def test_the_loss_of_an_unlabelled_video_is_zero_and_those_of_the_others_are_what_they_are_without_it(
    name, fields, label):
  task = tasks.get(name, **fields)
  unknown = np.full((1, *label.shape[1:]), -1, label.dtype)
  energy = {"losses": {"enopr": jnp.arange(1.0, 5.0)}}
  batch = {"label": jnp.asarray(np.concatenate([label, unknown]))}
  np.testing.assert_array_equal(task.labelled(batch), [1, 1, 1, 0])
  found, terms = task.loss({"logits": LOGITS, **energy}, batch)
  alone, _ = task.loss({"logits": LOGITS[:3], "losses": {"enopr": energy["losses"]["enopr"][:3]}}, {"label": label})
  np.testing.assert_array_equal(found[:3], alone)
  assert found[3] == 0 and all(values[3] == 0 for values in terms.values())
  gradient = jax.grad(lambda x: task.loss({"logits": x}, batch)[0].sum())(jnp.asarray(LOGITS))
  assert not gradient[3].any() and gradient[:3].any()


def test_a_video_without_tags_is_labelled_where_each_tag_is_a_decision_and_not_where_they_are_one_distribution():
  batch = {"label": jnp.zeros((2, 5))}
  np.testing.assert_array_equal(tasks.get("multilabel").labelled(batch), [1, 1])
  np.testing.assert_array_equal(tasks.get("multilabel", activation="softmax").labelled(batch), [0, 0])


def test_unlabelled_videos_have_no_part_in_mean_average_precision():
  scores, label = np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.9]]), np.array([[1, 0], [0, 1], [-1, -1]], "f")
  task = tasks.get("multilabel")
  assert task.metrics({"scores": scores, "label": label}) == {"mAP": 100}
  np.testing.assert_array_equal(task.details({"scores": scores, "label": label})["count"], [1, 1])


def test_a_mixed_target_gives_the_mixed_loss():
  task = tasks.get("classification")
  a, b = task.target(jnp.array([0, 1, 2, 3]), 5), task.target(jnp.array([4, 4, 4, 4]), 5)
  loss = lambda label: task.loss({"logits": LOGITS}, {"label": label})[0]
  np.testing.assert_allclose(loss(0.3 * a + 0.7 * b), 0.3 * loss(a) + 0.7 * loss(b), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_binary_cross_entropy_equals_the_formula(reduction):
  task = tasks.get("multilabel", reduction=reduction)
  y = np.random.default_rng(1).integers(2, size=(4, 5))
  p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
  each = -(y * np.log(p) + (1 - y) * np.log(1 - p))
  loss, _ = task.loss({"logits": LOGITS}, {"label": y})
  np.testing.assert_allclose(loss, getattr(np, reduction)(each, axis=1), rtol=1e-4)
  np.testing.assert_allclose(task.predict({"logits": LOGITS}, {})["scores"], p, rtol=1e-5)


@pytest.mark.parametrize("positives", ["sum", "first", "normalised"])
def test_softmax_cross_entropy_of_several_classes_equals_the_formula(positives):
  task = tasks.get("multilabel", activation="softmax", positives=positives)
  y = np.asarray([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], np.float32)
  x = LOGITS.astype(np.float64)
  log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
  expected = [{"sum": sum, "first": lambda c: c[0] if c else 0, "normalised": lambda c: sum(c) / max(len(c), 1)}[
      positives]([-log_p[i, c] for c in np.flatnonzero(row)]) for i, row in enumerate(y)]
  np.testing.assert_allclose(task.loss({"logits": LOGITS}, {"label": y})[0], expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(task.predict({"logits": LOGITS}, {})["scores"], np.exp(log_p), rtol=1e-5)


def test_scores_are_float32_probabilities_also_for_half_precision_logits():
  scores = tasks.get("classification").predict({"logits": jnp.asarray(LOGITS, jnp.bfloat16)}, {})["scores"]
  assert scores.dtype == jnp.float32
  np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


def test_losses_of_the_system_are_added_as_terms():
  extra = {"order": jnp.arange(4.0)}
  for name, label in (("classification", jnp.zeros(4, int)), ("multilabel", jnp.zeros((4, 5)))):
    plain, _ = tasks.get(name).loss({"logits": LOGITS}, {"label": label})
    total, terms = tasks.get(name).loss({"logits": LOGITS, "losses": extra}, {"label": label})
    np.testing.assert_allclose(total, plain + extra["order"], rtol=1e-6)
    assert "order" in terms


def test_the_default_objective_trains_everything_on_the_loss():
  task = tasks.get("classification")
  (objective,) = task.objectives
  assert objective.pattern == ".*" and task.combine == "sum" and task.best_metric == "top-1"
  batch = {"label": jnp.array([0, 1, 2, 3])}
  np.testing.assert_array_equal(objective.loss({"logits": LOGITS}, batch)[0], task.loss({"logits": LOGITS}, batch)[0])


# What tasks take that has a shape of its own.
OWN = {
    "affinity": lambda x: {"features": jnp.stack([x, x[::-1], x + 1], 1)},  # of triplets
    "captioning": lambda x: {"logits": jnp.stack([x] * 5, 1)},  # after each of five words
    "tagging": lambda x: {"logits": jnp.stack([x] * 5, 1)},
    "next_word": lambda x: {"logits": jnp.stack([x] * 5, 1)},
    "grounding": lambda x: {"score": x, "drawn": x[::-1], "there": jnp.ones(x.shape),
                            "masks": jax.nn.sigmoid(x)[..., None, None] * jnp.ones((3, 3))},
}


def test_tasks_are_hashable_and_their_losses_jit():
  for name in tasks.names():
    task = tasks.get(name)
    assert hash(task) == hash(tasks.get(name))
    heads = list(task.targets) if any(k != "label" for k in task.targets) else []
    outputs = lambda x: {"logits": dict.fromkeys(heads, x) if heads else x, "features": x, "match": x[:, :2],
                         "mismatch": x[:, 2:4], "paired": jnp.ones(4), "turn": x[:, :4], "turned": jnp.arange(4),
                         "image": x[:, None, None, :3], "text/local": x[:, None], "video/local": x[:, None],
                         **OWN.get(name, lambda x: {})(x)}
    batch = {**BATCH, "video": jnp.zeros((4, 3, 1, 1, 3)), "text_mask": jnp.ones((4, 6)), "index": jnp.arange(4),
             "text_count": jnp.ones(4, int), "text": jnp.ones((4, 6), int), "tags": jnp.ones((4, 6), int),
             "phrase_name": jnp.arange(5) * jnp.ones((4, 1), int), "phrase_parent": jnp.array([[-1, 0, 0, 1, 1]] * 4),
             **{f"label/{k}": jnp.array([0, 1, 2, -1]) for k in task.targets if k != "label"}}
    grad = jax.jit(jax.grad(lambda x: task.loss(outputs(x), batch)[0].sum()))(LOGITS)
    assert np.isfinite(grad).all()


def test_map_by_category_comes_from_the_field_or_from_the_data_set():
  scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.3]])
  predictions = {"scores": scores, "label": np.array([[1, 0, 1], [0, 1, 0]], "f")}
  expected = {"mAP": 87.5, "mAP/scene": 100, "mAP/action": 75, "mAP over classes": pytest.approx(100 * 2.5 / 3)}
  categories = {"scene": (0,), "action": (1, 2)}
  assert tasks.get("multilabel", categories=categories).metrics(predictions) == expected
  dataset = Dataset("tags", "train", (), ("a", "b", "c"), multilabel=True, categories=categories)
  assert tasks.from_config({"name": "multilabel"}, dataset).metrics(predictions) == expected


def test_a_task_that_does_not_fit_the_labels_names_the_one_that_does():
  dataset = Dataset("tags", "train", (), ("a", "b"), multilabel=True)
  with pytest.raises(errors.ConfigError, match="set task.name='multilabel'"):
    tasks.from_config({"name": "classification"}, dataset)


def test_a_task_whose_target_the_data_lacks_names_both():
  dataset = Dataset("kitchen", "train", (), named={"verb": Target(("cut",))})
  with pytest.raises(errors.ConfigError, match="target 'label', which data set 'kitchen' lacks: it has verb"):
    tasks.from_config({"name": "classification"}, dataset)


@pytest.mark.parametrize("call, message", [
    (lambda: tasks.get("clasification"), "nearest: 'classification'"),
    (lambda: tasks.get("classification", label_smooting=0.1), "nearest: 'label_smoothing'"),
    (lambda: tasks.get("classification", label_smoothing=1.5), "not in"),
    (lambda: tasks.get("multilabel", reduction="men"), "nearest: 'mean'"),
])
def test_a_wrong_name_field_or_value_is_one_clear_line(call, message):
  with pytest.raises(errors.ConfigError, match=message) as e:
    call()
  assert "\n" not in str(e.value)
