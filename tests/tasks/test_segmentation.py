
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Dataset
from vidx.metrics import segments

DATA = Dataset("toy", "train", (), ("rest", "reach", "hold"), multilabel=True)


def ragged(*rows):
  made = np.empty(len(rows), object)
  for i, row in enumerate(rows):
    made[i] = np.array(row)
  return made


TRUTH = ragged([0, 0, 1, 1, 1, 2], [0, 1, 1, 0])
PREDICTED = ragged([0, 1, 1, 1, 1, 2], [0, 1, 1, 1])


def test_the_loss_is_the_sum_of_the_systems_and_nothing_without_targets():
  task = tasks.get("segmentation")
  batch = {"length": jnp.array([5, 6]), "transcript": jnp.array([[0, 1, -1], [2, -1, -1]])}
  parts = {"set": jnp.array([1.0, 2.0]), "region": jnp.array([0.5, 0.25])}
  loss, terms = task.loss({"losses": parts, "stats": {"regions": jnp.array([3.0, 4.0])}}, batch)
  np.testing.assert_allclose(loss, [1.5, 2.25])
  assert list(terms) == ["set", "region", "regions"]
  np.testing.assert_array_equal(task.loss({"losses": {}}, batch)[0], [0, 0])
  np.testing.assert_array_equal(task.loss({"losses": parts}, {"length": batch["length"]})[0], [0, 0])


@pytest.mark.parametrize("targets, labelled", [
    (("label",), [1, 0, 0, 0]), (("transcript",), [0, 1, 0, 0]), (("frame_label",), [0, 0, 1, 0]),
    (("transcript", "frame_label"), [0, 1, 1, 0]), ((), [0, 0, 0, 0])])
def test_a_video_is_labelled_where_a_target_of_the_system_is_known(targets, labelled):
  batch = {"length": jnp.full(4, 3), "label": jnp.array([[0, 1.0]] + [[0, 0]] * 3),
           "transcript": jnp.array([[-1, -1], [0, -1], [-1, -1], [-1, -1]]),
           "frame_label": jnp.array([[-1] * 3, [-1] * 3, [-1, 0, 0], [-1] * 3])}
  np.testing.assert_array_equal(tasks.get("segmentation").labelled(batch, targets), labelled)


def test_the_first_read_out_is_the_main_one():
  outputs = {"predictions": {"y": jnp.ones((1, 3)), "a": jnp.zeros((1, 3))}, "confidence": jnp.ones((1, 3))}
  found = tasks.get("segmentation").predict(outputs, {"frame_label": jnp.ones((1, 3))})
  assert set(found) == {"frames/predicted", "frames/predicted/a", "frames/confidence", "frames/truth"}
  assert found["frames/predicted"].all() and not found["frames/predicted/a"].any()
  assert "frames/truth" not in tasks.get("segmentation").predict(outputs, {})


def test_metrics_are_those_of_segments_for_every_read_out():
  task = tasks.from_config(dict(name="segmentation", background="rest", average="video"), DATA)
  found = task.metrics({"frames/predicted": PREDICTED, "frames/predicted/s": TRUTH, "frames/truth": TRUTH})
  wanted = segments.evaluate(PREDICTED, TRUTH, (), "video", (0,))
  assert {k: found[k] for k in wanted} == wanted and found["mof"] == 80
  assert found["s/mof"] == 100 and len(found) == 2 * len(wanted)
  ignored = tasks.from_config(dict(name="segmentation", ignore=("rest",)), DATA)
  found = ignored.metrics({"frames/predicted": PREDICTED, "frames/truth": TRUTH})
  assert ignored.ignore == (0,) and found["edit"] == segments.evaluate(PREDICTED, TRUTH, (0,))["edit"]


def test_videos_of_unknown_labels_are_left_out():
  task = tasks.from_config(dict(name="segmentation"), DATA)
  truth = ragged([-1] * 6, TRUTH[1])
  found = task.metrics({"frames/predicted": PREDICTED, "frames/truth": truth})
  assert found["mof"] == 75
  assert np.isnan(task.metrics({"frames/predicted": PREDICTED})["mof"])
  assert task.details({"frames/predicted": PREDICTED}) == {}


def test_details_count_frames():
  task = tasks.from_config(dict(name="segmentation"), DATA)
  found = task.details({"frames/predicted": PREDICTED, "frames/truth": TRUTH, "label": np.zeros((2, 3))})
  np.testing.assert_array_equal(found["confusion"], [[2, 2, 0], [0, 5, 0], [0, 0, 1]])
  np.testing.assert_array_equal(found["count"], [4, 5, 1])
  np.testing.assert_allclose(found["accuracy"], [50, 100, 100])


def test_names_that_are_no_class_are_errors():
  with pytest.raises(errors.ConfigError, match="task.background: 'rets' is no class of data set 'toy'.*'rest'"):
    tasks.from_config(dict(name="segmentation", background="rets"), DATA)
  with pytest.raises(errors.ConfigError, match="task.average 'all'"):
    tasks.get("segmentation", average="all")
