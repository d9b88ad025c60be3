import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Dataset

OUTPUTS = {
    "turn": jnp.asarray([[4.0, 0, 0, 0], [0, 0, 4, 0], [0, 4, 0, 0]]), "turned": jnp.asarray([0, 1, 1]),
    "distance": {"res3": jnp.asarray([0.1, 0.7, 0.3]), "res4": jnp.asarray([0.3, 0.7, 0.3])},
    "distance_neg": {"res3": jnp.asarray([0.9, 0.6, 0.0]), "res4": jnp.asarray([0.9, 0.6, 0.0])},
    "tells": jnp.asarray([1.0, 1, 0]), "losses": {"avs": jnp.asarray([0.5, 0.25, 0.0])},
}
BATCH = {"weight": jnp.ones(3)}


def test_the_loss_is_that_of_the_turns_and_what_the_system_adds():
  loss, terms = tasks.get("audiovisual").loss(OUTPUTS, BATCH)
  wrong, right = np.log(np.exp(4) + 3), np.log(np.exp(4) + 3) - 4
  np.testing.assert_allclose(terms["turns"], [right, wrong, right], rtol=1e-5)
  np.testing.assert_allclose(loss, terms["turns"] + OUTPUTS["losses"]["avs"], rtol=1e-6)


def test_metrics_count_pairs_that_tell_and_turns_that_are_told():
  task = tasks.get("audiovisual")
  found = {k: np.asarray(v) for k, v in task.predict(OUTPUTS, BATCH).items()}
  metrics = task.metrics(found)
  assert metrics == pytest.approx({"in step": 75, "own sound": 50, "other sound": 100, "closer": 50, "turns": 200 / 3})
  assert task.best_metric in metrics and set(task.headlines) <= set(metrics)
  none = task.metrics({**found, "tells": np.zeros(3)})
  assert np.isnan(none["in step"]) and none["turns"] > 0
  described = task.describe(found, 0, Dataset("none", "val", ()))
  assert described["distance"] == pytest.approx(0.2) and described["turn"] > 0.9


def test_either_half_can_be_left_out_and_what_a_system_lacks_is_named():
  turns = tasks.get("audiovisual", sync=False)
  assert turns.best_metric == "turns" and set(turns.metrics(
      {k: np.asarray(v) for k, v in turns.predict(OUTPUTS, BATCH).items()})) == {"turns"}
  loss, terms = tasks.get("audiovisual", rotation=False).loss(OUTPUTS, BATCH)
  assert set(terms) == {"avs"} and loss.shape == (3,)
  with pytest.raises(errors.ConfigError, match="nothing to learn"):
    tasks.get("audiovisual", sync=False, rotation=False)
  with pytest.raises(errors.ConfigError, match="system.rotation=True"):
    tasks.get("audiovisual").loss({}, BATCH)
  with pytest.raises(errors.ConfigError, match="system.score_sync=True"):
    tasks.get("audiovisual").predict({k: v for k, v in OUTPUTS.items() if k != "distance_neg"}, BATCH)


def test_scores_of_views_are_joined_as_the_task_says():
  assert tasks.get("multilabel").merge("scores") == "mean" and tasks.get("multilabel", views="max").merge("scores") == "max"
  with pytest.raises(errors.ConfigError, match="task.views"):
    tasks.get("multilabel", views="median")


def test_accuracy_among_some_classes_is_told_beside_that_among_all():
  dataset = Dataset("none", "val", (), tuple("abcd"), facts={"among": ("letters", (1, 3))})
  task = tasks.get("classification").for_dataset(dataset)
  scores = np.array([[0.5, 0.3, 0.1, 0.1], [0.6, 0.0, 0.1, 0.3], [0.1, 0.5, 0.2, 0.2], [0.9, 0.1, 0, 0]])
  found = task.metrics({"scores": scores, "label": np.array([1, 3, 3, 0])})
  assert found["top-1"] == 25 and found["top-1 among letters"] == pytest.approx(200 / 3)
