import dataclasses

import numpy as np
import pytest

from tests.infer import standins as s
from vidx import errors
from vidx.data import records
from vidx.infer import fuse
from vidx.train.evaluator import EvalResult

SCORES = {"scores": "label"}


def run(dataset, left_out=(), seed=0):
  rows = [i for i in range(len(dataset)) if i not in left_out]
  scores = np.random.default_rng(seed).dirichlet(np.ones(s.CLASSES), len(dataset)).astype("f")[rows]
  label = np.array([dataset.records[i].label for i in rows], np.int32)
  loss = -np.log(scores[np.arange(len(rows)), label])
  failures = {dataset.records[i].id: "broken" for i in left_out}
  predictions = dict(scores=scores, label=label, index=np.array(rows, np.int32), loss=loss, labelled=np.ones(len(rows)))
  return EvalResult(dataset, predictions, {}, failures)


def test_scores_are_the_weighted_mean_of_the_runs_video_by_video():
  dataset = s.split()
  a, b = run(dataset, (2,)), run(dataset, (5,), seed=1)
  found = fuse.fused([a, b], (1.0, 3.0), SCORES)
  both = [i for i in range(s.VIDEOS) if i not in (2, 5)]
  np.testing.assert_array_equal(found.predictions["index"], both)
  at = lambda r, i: r.predictions["scores"][list(r.predictions["index"]).index(i)]
  np.testing.assert_allclose(found.predictions["scores"], [(at(a, i) + 3 * at(b, i)) / 4 for i in both], rtol=1e-6)
  np.testing.assert_array_equal(found.predictions["label"], [dataset.records[i].label for i in both])
  assert found.failures == {"v02": "broken", "v05": "broken"} and found.evaluated == s.VIDEOS - 2


def test_classes_and_videos_may_be_in_another_order_but_not_others():
  dataset = s.split()
  back = dataset.classes[::-1]
  moved = records.aligned(dataset, {"label": back})
  moved = dataclasses.replace(moved, records=moved.records[::-1])
  a = run(dataset)
  same = dict(a.predictions, scores=a.predictions["scores"][::-1, ::-1], loss=a.predictions["loss"][::-1],
              label=np.array([r.label for r in moved.records]))
  b = EvalResult(moved, same, {}, {})
  found = fuse.fused([a, b], (1, 1), SCORES).predictions
  for key, value in a.predictions.items():
    np.testing.assert_allclose(found[key], value, rtol=1e-6)
  with pytest.raises(errors.DataError, match="other videos"):
    fuse.fused([a, run(s.split(5))], (1, 1), SCORES)
  with pytest.raises(errors.DataError, match="classes"):
    fuse.fused([a, run(dataclasses.replace(dataset, classes=tuple("abcde")))], (1, 1), SCORES)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -1.0), (0.0, 0.0)])
def test_weights_that_make_no_mean_are_refused(weights):
  with pytest.raises(errors.ConfigError, match="--weights"):
    fuse.evaluate_fused(["a", "b"], weights)
