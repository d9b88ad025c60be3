"""Boxes over time: a tiny R-FCN trains, goes on exactly, and an STMN starts from it; both are evaluated and predict."""

import csv
import json
import pathlib
import types

import numpy as np
import pytest

from tests.conftest import line
from tests.system.conftest import goes_on_exactly
from vidx import cli, errors
from vidx.data import decode, toybox
from vidx.infer import detect, evaluate, load, predict_boxes
from vidx.show import report
from vidx.train import config, loop

pytestmark = pytest.mark.usefixtures("plain_convolutions")

FRAMES, SIZE = 6, (48, 64)
RPN = dict(features=8, sizes=(16, 28), ratios=(1,), count=8, before=24)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  out = tmp_path_factory.mktemp("tracks")
  toybox.build(str(out), labels="tracks", split=(6, 2, 0), size=SIZE, frames=FRAMES, workers=1)
  return out


def recipe(root, name, frames, runs=""):
  c = config.base()
  c.system = dict(name=name, trunk="resnet_18", stages=(1, 2), strides=(4, 1), width=4, inner=8, features=8, frozen="",
                  proposals="rpn", rpn=dict(RPN))
  c.task = dict(name="detection", sample=8, anchor_sample=16, keep=6)
  c.data.update(root=str(root), dataset=dict(name="imagenet_vid"), frames=frames, sampler="stride", stride=1,
                short_side=48, sizes=(SIZE,), workers=0)
  c.optimizer.update(name="adamw", clip_norm=1.0)
  c.schedule.update(peak=0.003, epochs=4.0 if name == "rfcn" else 2.0)
  c.train.update(batch_size=3)
  c.eval.update(batch_size=2, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  if runs:
    c.train.init_from = (("", f"{config.RUNS}/rfcn"),)
  return c


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs")
  loop.train(recipe(root, "rfcn", 1), str(folder / "rfcn"))
  loop.train(recipe(root, "stmn", 3, runs=True), str(folder / "stmn"), runs=str(folder))
  return folder


def test_it_goes_on_exactly_where_it_stopped(runs, root, capsys):
  goes_on_exactly(recipe(root, "rfcn", 1), runs / "rfcn", capsys, at=6, steps=8)


def test_the_memory_starts_from_the_kernels_of_the_swap_layer(runs):
  [made] = json.loads((runs / "stmn" / "init.json").read_text()).values()
  assert sorted(made["made of another"]) == [f"params/swap/{way}/input/{leaf}" for way in ("backward", "forward")
                                             for leaf in ("bias", "kernel")]
  assert not made["other shape"] and not made["not used"] and "params/rpn/cls/kernel" in made["loaded"]
  assert {p.split("/")[1] for p in made["not in the checkpoint"]} == {"swap"}


@pytest.mark.parametrize("name", ["rfcn", "stmn"])
def test_clips_are_evaluated_and_the_report_shows_each_class(runs, name):
  result = evaluate.evaluate_workdir(str(runs / name))
  assert result["headline"] == "mAP" and 0 <= result["metrics"]["mAP"] <= 100 and np.isfinite(result["metrics"]["loss"])
  assert result["evaluated"] == 2 and [row["name"] for row in result["per_class"]] == list(toybox.classes_of("tracks"))
  page = pathlib.Path(report.write_report(str(runs / name))).read_text()
  assert "mAP" in page and "circle" in page


@pytest.mark.parametrize("name, windows", [
    ("rfcn", "center_overlap"), ("stmn", "center_overlap,size=3"), ("stmn", "long,size=2,link=dt_link,passes=1")])
def test_all_frames_of_a_split_are_measured(runs, name, windows, capsys):
  found = predict_boxes.evaluate(str(runs / name), windows=windows)
  said, size = capsys.readouterr().out, found["protocol"]["frames of a window"]
  assert f", windows of {size} frames ({windows.partition(',')[0]}): 2 of 2 videos" in said and "crop" not in said
  assert {"mAP", "mAP_slow", "mAP_medium", "mAP_fast"} == set(found["metrics"]) and found["evaluated"] == 2
  mode = windows.partition(",")[0]
  [path] = (runs / name / "eval").glob(f"val-{mode}-*.json")
  assert json.loads(path.read_text())["protocol"]["linking"] == ("dt_link" if "dt_link" in windows else "seqnms")


def test_two_scales_are_measured_beside_one_and_predict(runs, root, tmp_path, capsys):
  windows = f"center_overlap,size=2,scales=32,48,still={runs / 'rfcn'}"
  assert cli.main(["eval", f"--workdir={runs / 'stmn'}", f"--windows={windows}"]) == 0
  found = json.loads((runs / "stmn/eval/val-center_overlap-2-32-48-still=rfcn.json").read_text())
  assert found["protocol"]["scales"] == [32, 48] and found["evaluated"] == 2 and 0 <= found["metrics"]["mAP"] <= 100
  assert predict_boxes.evaluate(str(runs / "stmn"), windows="size=2")["protocol"]["scales"] == [48]
  assert not (runs / "stmn/eval/val-center_overlap-2-48.json").exists()
  folder = str(next((root / "Data/VID/val").iterdir()))
  flags = [f"--workdir={runs / 'stmn'}", f"--windows={windows}", "--threshold=0.001"]
  assert cli.main(["predict", *flags, f"--out={tmp_path / 'found.json'}", folder]) == 0
  [entry] = json.loads((tmp_path / "found.json").read_text())
  boxes = np.array([b["box"] for f in entry["frames"] for b in f["boxes"]])
  assert len(boxes) > 0 and (boxes >= 0).all() and (boxes <= np.tile(SIZE[::-1], 2) + 0.01).all()


def test_the_detector_of_frames_takes_all_scales(runs, root):
  folder, loaded = next((root / "Data/VID/val").iterdir()), load.load_checkpoint(str(runs / "rfcn"))
  with decode.open_video(str(folder)) as video:
    take = lambda text: [len(boxes) for _, boxes, _ in detect.make(loaded, detect.how(text)).frames(video)]
    both, one, other = (take(f"scales={s}") for s in ("32,48", "32", "48"))
    beside = take(f"scales=32,48,still={runs / 'rfcn'}")
  assert both == [a + b for a, b in zip(one, other)] and beside == [2 * n for n in both] and min(one + other) > 0


def test_a_detector_of_frames_is_added_and_memory_is_bounded(runs, root):
  loaded = load.load_checkpoint(str(runs / "stmn"))
  folder = next((root / "Data/VID/val").iterdir())
  detector = detect.make(loaded, detect.how(f"size=2,step=1,still={runs / 'rfcn'}"))
  with decode.open_video(str(folder)) as video:
    with_still = list(detector.frames(video))
    assert [number for number, *_ in with_still] == list(range(FRAMES)) and detector.held <= 3
    alone = list(detect.make(loaded, detect.how("size=2,step=1")).frames(video))
  assert all(len(a[1]) > len(b[1]) for a, b in zip(with_still, alone))
  for _, boxes, scores in with_still:
    assert boxes.shape[1:] == (4,) and scores.shape == (len(boxes), 8) and (boxes[:, 2] <= SIZE[1] + 1e-3).all()


def test_boxes_are_written_as_json_and_csv_and_drawn(runs, root, tmp_path, capsys):
  folder = str(next((root / "Data/VID/val").iterdir()))
  flags = [f"--workdir={runs / 'stmn'}", "--windows=center_overlap,size=3", "--threshold=0.001"]
  assert cli.main(["predict", *flags, f"--out={tmp_path / 'found.json'}", folder]) == 0
  assert cli.main(["predict", *flags, f"--out={tmp_path / 'alone.csv'}", folder]) == 0
  assert not (tmp_path / "alone.json").exists()
  assert (tmp_path / "alone.csv").read_text() == (tmp_path / "found.csv").read_text()
  [entry] = json.loads((tmp_path / "found.json").read_text())
  assert entry["count"] == FRAMES and entry["size"] == list(SIZE) and entry["error"] is None
  rows = list(csv.DictReader((tmp_path / "found.csv").open()))
  assert len(rows) == sum(len(f["boxes"]) for f in entry["frames"]) > 0
  assert set(rows[0]) == {"path", "frame", "track", "label", "score", "x0", "y0", "x1", "y1"}
  assert any(int(row["track"]) >= 0 for row in rows)
  assert cli.main(["predict", *flags, "--show=boxes,memory", folder]) == 0
  [film] = (runs / "stmn" / "maps").glob("*.mp4")
  with decode.open_video(str(film)) as video:
    assert video.num_frames == FRAMES and video.width > 2 * video.height
  assert "frames of" in (runs / "stmn" / "maps" / "index.html").read_text()
  assert cli.main(["predict", *flags, "--show=gates", folder]) == 2
  assert "the kinds of runs that find boxes are boxes, memory" in capsys.readouterr().err
  alone = ["predict", f"--workdir={runs / 'rfcn'}", "--show=boxes, memory", folder]
  assert cli.main(alone) == 2
  assert "'rfcn' looks at each frame alone and remembers nothing" in line(capsys)
  (tmp_path / "people.csv").touch()
  assert cli.main(["predict", *flags, f"--boxes={tmp_path / 'people.csv'}", folder]) == 2
  assert "system 'stmn' takes no boxes of people: leave --boxes out" in line(capsys)


def test_a_detector_of_frames_that_finds_no_boxes_is_named(monkeypatch):
  of = lambda task: types.SimpleNamespace(config=types.SimpleNamespace(task=types.SimpleNamespace(name=task)))
  monkeypatch.setattr(load, "load_checkpoint", lambda workdir: of("retrieval"))
  with pytest.raises(errors.ConfigError, match="still=ranks is a run of task 'retrieval'"):
    detect.make(of("detection"), detect.how("still=ranks"))


@pytest.mark.parametrize("windows, words", [("sideways", "windows: mode 'sideways'"), ("size=0", "size=0"),
                                            ("link=none,width=2", "--windows"), ("passes=3", "passes=3")])
def test_windows_that_cannot_be_are_one_line(windows, words):
  with pytest.raises(errors.ConfigError) as e:
    detect.how(windows)
  assert words in str(e.value) and "\n" not in str(e.value)
