"""People in boxes on Toybox `acts`: from rendered files to frame mAP, predictions and pictures, killed in between."""

import csv
import json
import pathlib

import numpy as np
import pytest

from tests.system.conftest import ROOT, goes_on_exactly
from vidx import cli, errors
from vidx.data import toybox
from vidx.infer import evaluate, load, predict
from vidx.metrics import ava
from vidx.show import drawn, report
from vidx.train import config, loop

pytestmark = pytest.mark.usefixtures("plain_convolutions")


@pytest.fixture(scope="module")
def acts(tmp_path_factory):
  root = tmp_path_factory.mktemp("acts")
  toybox.build(str(root), labels="acts", split=(8, 4, 0), size=(32, 32), frames=24, fps=12.0, workers=1)
  return root


def tiny(acts):
  c = config.load_file(str(ROOT / "configs/toybox/avslowfast_ava.py"))
  c.data.update(root=str(acts), stride=1, short_side=32, crop=32, whole=(32, 32))
  c.data.audio.update(rows=16, mels=8)
  c.system.update(stages=(1,), width=8, strides=(1,), dilations=(2,), slow_temporal=(1,), fast_temporal=(3,),
                  fs_stages=(1,), afs_stages=(1,), inner=4)
  c.schedule.update(epochs=2.0, warmup_epochs=0.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=1)
  return c


@pytest.fixture(scope="module")
def run(acts, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "acts"
  loop.train(tiny(acts), str(workdir))
  return workdir


def test_a_run_goes_on_exactly(acts, run, capsys):
  goes_on_exactly(tiny(acts), run, capsys, at=1, steps=2)


def test_evaluation_writes_a_file_of_which_ava_s_own_measure_says_the_same_and_a_report(acts, run, capsys):
  result = evaluate.evaluate_workdir(str(run))
  assert result["evaluated"] == 4 and result["headline"] == "mAP"
  assert result["sound"] == {"with": 4, "without": 0, "damaged": 0}
  path = run / "eval/val-1x1.csv"
  assert str(path) in capsys.readouterr().out
  notes = acts / "annotations"
  again = ava.evaluate(notes / "ava_val_v2.2.csv", path, notes / "ava_action_list_v2.2_for_activitynet_2019.pbtxt")
  assert result["metrics"]["mAP"] == pytest.approx(again["mAP"]) and 0 <= again["mAP"] <= 100
  of_class = {row["name"]: row for row in result["per_class"]}
  assert of_class["stand"]["ap"] is None
  for name, row in of_class.items():
    if row["ap"] is not None:
      assert row["ap"] == pytest.approx(again[f"AP/{name}"])
  assert len({tuple(row[:6]) for row in csv.reader(path.open())}) == sum(len(s["people"]) for s in result["samples"])
  page = pathlib.Path(report.write_report(str(run))).read_text()
  assert "mAP" in page and "toyval00001,0001" in page


def test_people_of_new_videos_are_told_what_they_do_and_drawn(acts, run, tmp_path, capsys):
  boxes, films = str(acts / "annotations/ava_val_predicted_boxes.csv"), [
      str(acts / f"videos/toyval0000{i}.mp4") for i in range(2)]
  bad = tmp_path / "bad.mp4"
  bad.write_bytes(b"no video")
  with open(tmp_path / "people.csv", "w") as f:
    f.write(open(boxes).read() + "bad,0001,0,0,1,1,,0.9\ntoyval00000,0009,0,0,1,1,,0.9\n")
  out = tmp_path / "found.json"
  words = [f"--workdir={run}", f"--boxes={tmp_path / 'people.csv'}", "--top=2"]
  assert cli.main(["predict", *words, f"--out={out}", *films, str(bad)]) == 1
  said, failed = capsys.readouterr()
  first, second, third = json.loads(out.read_text())
  assert first["error"] is None and third["error"] and third["frames"] == []
  assert [f["second"] for f in first["frames"]] == [1] and "9 s" in first["problems"][0]
  person = first["frames"][0]["people"][0]
  assert len(person["actions"]) == 2 and person["score"] >= 0.8
  rows = list(csv.reader(out.with_suffix(".csv").open()))
  assert rows[0][:2] == ["toyval00000", "0001"] and len(rows[0]) == 8
  assert len(rows) == sum(6 * len(f["people"]) for f in (*first["frames"], *second["frames"]))
  assert person["actions"][0]["label"] in said and f"cannot be read: {bad}: " in failed
  assert cli.main(["predict", *words, "--show=people", f"--out={tmp_path / 'pictures'}", *films]) == 1
  assert f"cannot be read: {films[0]}: 9 s: " in capsys.readouterr().err
  assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
      "toyval00000.png", "toyval00000.mp4", "toyval00001.png", "toyval00001.mp4", "index.html"}


def test_without_boxes_of_people_or_with_another_picture_it_says_what_to_do(acts, run, tmp_path):
  film = str(acts / "videos/toyval00000.mp4")
  loaded = load.load_checkpoint(str(run))
  with pytest.raises(errors.ConfigError, match="--boxes=FILE"):
    predict.predict_loaded(loaded, [film])
  (tmp_path / "other.csv").write_text("another,0001,0,0,1,1,,0.9\n")
  with pytest.raises(errors.DataError, match="no person of toyval00000"):
    predict.predict_loaded(loaded, [film], boxes=str(tmp_path / "other.csv"))
  with pytest.raises(errors.ConfigError, match="--show=gradcam: .* the kinds of people in --boxes are people"):
    drawn.main(loaded, [film], show="gradcam")


def test_scores_of_a_person_do_not_depend_on_who_else_is_there(acts, run, tmp_path):
  film, loaded = str(acts / "videos/toyval00000.mp4"), load.load_checkpoint(str(run))
  rows = "toyval00000,1,0.1,0.2,0.4,0.9,,0.9\n", "toyval00000,1,0.5,0.1,0.9,0.9,,0.95\n"
  (tmp_path / "one.csv").write_text(rows[0])
  (tmp_path / "two.csv").write_text("".join(rows))
  found = [predict.predict_loaded(loaded, [film], boxes=str(tmp_path / name))[0]["frames"][0]["people"]
           for name in ("one.csv", "two.csv")]
  scores = [{a["label"]: a["score"] for a in people[-1]["actions"]} for people in found]
  assert len(found[1]) == 2 and found[1][0]["score"] == pytest.approx(0.95)
  np.testing.assert_allclose(list(scores[0].values()), [scores[1][k] for k in scores[0]], rtol=1e-4)
