"""What a new system brings is its own files and a row in each table: two encoders of pairs, and ragged boxes."""

import json
import pathlib

import numpy as np
import pytest

from tests.system.conftest import goes_on_exactly
from tests.system.plugins import boxes, pairs, world
from vidx import systems, tasks
from vidx.data import batch as batch_lib, datasets, parts, pipeline
from vidx.infer import evaluate, predict
from vidx.show import report
from vidx.train import build, config, loop


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return world.write(tmp_path_factory.mktemp("world") / "videos")


@pytest.fixture(autouse=True)
def rows(monkeypatch):
  """A row in each table."""
  monkeypatch.setitem(datasets.READERS, "world", "tests.system.plugins.world")
  for name, plugin, fields in (("pairs", pairs, {"words": pairs.FIELD}), ("boxes", boxes, boxes.FIELDS)):
    monkeypatch.setitem(parts.PARTS, name, plugin.PART)
    monkeypatch.setitem(systems.SYSTEMS, name, plugin.SYSTEM)
    monkeypatch.setitem(tasks._TASKS, name, plugin.TASK)
    for key, field in fields.items():
      monkeypatch.setitem(batch_lib.FIELDS, key, field)


def settings(root, name):
  c = config.base()
  c.system, c.task = dict(name=name), dict(name=name)
  c.data.dataset = dict(name="world")
  c.data.update(root=str(root), frames=4, short_side=20, crop=16, crop_mode="random", flip=name == "boxes", workers=0)
  c.optimizer.update(name="adamw")
  c.schedule.update(peak=0.05 if name == "boxes" else 0.01, epochs=20.0)
  c.train.update(batch_size=6)
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=20)
  return c


@pytest.mark.parametrize("name, metric, least", [("pairs", "R@1", 50), ("boxes", "box accuracy", 90)])
def test_it_trains_resumes_evaluates_predicts_and_reports(name, metric, least, root, tmp_path, capsys):
  c = settings(root, name)
  loop.train(c, str(tmp_path / "whole"))
  goes_on_exactly(c, tmp_path / "whole", capsys, at=20, steps=40)

  result = evaluate.evaluate_workdir(str(tmp_path / "whole"), clips=2, crops=3 if name == "boxes" else 1)
  assert result["evaluated"] == 6 and result["headline"] == metric and result["metrics"][metric] >= least
  found = predict.predict(str(tmp_path / "whole"), [str(root / "clip00.mp4"), str(root / "none.mp4")])
  assert found[0]["error"] is None and found[1]["error"]
  assert set(found[0]) - {"path", "error"} == ({"video", "text"} if name == "pairs" else {"box_scores", "box_label",
                                                                                            "box_count"})
  assert "score" in predict.to_table(found, 400) or name == "pairs"
  assert json.loads(predict.to_json(found))
  page = pathlib.Path(report.write_report(str(tmp_path / "whole"))).read_text()
  assert metric in page and "clip12.mp4" in page


def test_boxes_follow_crop_and_flip_and_are_those_of_the_middle_frame(root):
  c = settings(root, "boxes")
  dataset = datasets.load("world", str(root), "train")
  wanted = batch_lib.wanted(boxes.Scorer(), boxes.BoxTask())
  flipped = 0
  with pipeline.train_batches(dataset, c.data, batch_size=12, seed=0, wanted=wanted) as batches:
    for _, batch in zip(range(4), batches):
      assert batch["boxes"].shape == (12, 3, 4) and sorted(batch["box_count"]) == [1] * 4 + [2] * 4 + [3] * 4
      for video, (x0, y0, x1, y1), name in zip(batch["video"], batch["boxes"][:, 0].round().astype(int), batch["id"]):
        middle = video[2].max(-1).astype(int)
        if min(x1 - x0, y1 - y0) < 3:
          continue  # cropped away
        assert middle[y0 + 1:y1 - 1, x0 + 1:x1 - 1].min() > 128, name
        outside = middle.copy()
        outside[max(0, y0 - 1):y1 + 1, max(0, x0 - 1):x1 + 1] = 0
        assert outside.max() < 128, name
        moved = video[3].max(-1).argmax() % 16 > video[1].max(-1).argmax() % 16
        flipped += moved != (dataset.records[int(name[4:6])].extra["words"][1] == 4)
  assert 10 < flipped < 38


def test_every_view_has_boxes_of_its_own(root):
  c = settings(root, "boxes")
  dataset = datasets.load("world", str(root), "val")
  wanted = batch_lib.wanted(boxes.Scorer(), boxes.BoxTask())
  with pipeline.eval_batches(dataset, c.data, batch_size=4, clips=2, crops=3, wanted=wanted) as batches:
    batch, last = batches
  assert batch["boxes"].shape == (4, 6, 3, 4) and last["box_count"].tolist() == [2, 3, 0, 0]
  for video, own in zip(batch["video"][0], batch["boxes"][0, :, 0].round().astype(int)):
    x0, y0, x1, y1 = own
    if min(x1 - x0, y1 - y0) >= 3:
      assert video[2].max(-1)[y0 + 1:y1 - 1, x0 + 1:x1 - 1].min() > 128


def test_a_key_that_nothing_gives_is_named(root, monkeypatch):
  monkeypatch.delitem(parts.PARTS, "pairs")
  with pytest.raises(Exception, match="takes 'words', which no data set gives"):
    build.build(settings(root, "pairs"), datasets.load("world", str(root), "train"))


def test_predictions_of_a_split_without_labels_have_no_chance_to_be_scored_as_classes(root):
  dataset = datasets.load("world", str(root), "val")
  assert dataset.targets == {} and np.all([r.value("label") == -1 for r in dataset.records])
