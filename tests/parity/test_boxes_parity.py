"""Average precision of boxes as COCO's own tools compute it."""

import contextlib
import io

import numpy as np
import pytest

from vidx.metrics.boxes import Boxes, average_precisions

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")


def theirs(found, truth, classes):
  wide = lambda b: [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])]
  rows = lambda x: [dict(id=i + 1, image_id=int(x.frame[i]), category_id=int(x.label[i]) + 1, bbox=wide(x.box[i]),
                         area=float(np.prod(x.box[i, 2:] - x.box[i, :2])), iscrowd=0,
                         **({} if x.score is None else dict(score=float(x.score[i])))) for i in range(len(x))]
  with contextlib.redirect_stdout(io.StringIO()):
    data = coco.COCO()
    data.dataset = dict(images=[dict(id=i) for i in range(10)], annotations=rows(truth),
                        categories=[dict(id=c + 1) for c in range(classes)])
    data.createIndex()
    run = cocoeval.COCOeval(data, data.loadRes(rows(found)), "bbox")
    run.evaluate()
    run.accumulate()
  precision = run.eval["precision"][0, :, :, 0, 2]  # overlap 0.5, all areas, 100 detections
  return 100 * precision.mean(0)


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_at_an_overlap_of_one_half(seed):
  rng = np.random.default_rng(seed)
  start = rng.uniform(0, 60, (80, 2))
  truth = Boxes(rng.integers(0, 10, 80), np.concatenate([start, start + rng.uniform(5, 30, (80, 2))], 1),
                rng.integers(0, 3, 80))
  pick = rng.integers(0, 80, 150)
  moved = truth.box[pick] + rng.normal(0, 2, (150, 4))
  moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
  found = Boxes(truth.frame[pick], moved, truth.label[pick], rng.permutation(150) / 150)
  np.testing.assert_allclose(average_precisions(found, truth, 3, points=101), theirs(found, truth, 3), atol=1e-6)
