import csv
import json
import types

import av
import cv2
import numpy as np
import pytest

from tests.infer import standins as s
from vidx import cli, errors, tasks
from vidx.infer import load, predict, predict_people
from vidx.show import told
from vidx.train import config as config_lib


def write_video(path, colour, frames=6):
  """A small video of one colour."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
    for _ in range(frames):
      picture = np.broadcast_to(np.array(colour, np.uint8), (24, 32, 3))
      container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
    container.mux(stream.encode())
  return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  root = tmp_path_factory.mktemp("videos")
  for i, name in enumerate(("b.mp4", "deep/a.mkv", "deep/er/C.MP4")):
    write_video(root / name, (40 * i + 30, 200 - 50 * i, 90))
  (root / "deep" / "notes.txt").write_text("not a video")
  (root / "broken.mp4").write_text("not a video")
  return root


@pytest.fixture(scope="module")
def loaded():
  config = config_lib.base()
  config.data.update(frames=2, short_side=8, crop=4)
  return load.Loaded(s.Tiny(), s.variables(), config, s.split().classes, tasks.get("classification"), 1, np.float32)


def test_bad_files_get_an_error_and_the_others_their_classes_in_order(files, loaded):
  paths = [files / "deep", files / "broken.mp4", files / "gone.mp4", files / "b.mp4"]
  found = predict.predict_loaded(loaded, paths, top=2, batch_size=2)
  assert [f["path"].removeprefix(f"{files}/") for f in found] == [
      "deep/a.mkv", "deep/er/C.MP4", "broken.mp4", "gone.mp4", "b.mp4"]
  assert [bool(f["error"]) for f in found] == [False, False, True, True, False]
  for f in found:
    assert len(f["predictions"]) == (0 if f["error"] else 2)
    scores = [p["score"] for p in f["predictions"]]
    assert scores == sorted(scores, reverse=True)
  alone = predict.predict_loaded(loaded, files / "b.mp4", top=2)
  assert alone[0]["predictions"][0]["score"] == pytest.approx(found[-1]["predictions"][0]["score"], abs=1e-6)


def test_a_folder_of_frames_is_predicted_like_its_video(files, loaded, tmp_path, capsys):
  with av.open(str(files / "b.mp4")) as source:
    frames = [f.to_ndarray(format="bgr24") for f in source.decode(video=0)]
  (tmp_path / "deep" / "frames").mkdir(parents=True)
  for i, frame in enumerate(frames):
    cv2.imwrite(str(tmp_path / "deep" / "frames" / f"img_{i:05d}.png"), frame)
  (tmp_path / "deep" / "frames" / "._img_00000.png").write_bytes(b"\0\5\x16\7")
  (tmp_path / "notes").mkdir()
  (tmp_path / "notes" / "a.txt").touch()
  folder = str(tmp_path / "deep" / "frames")
  paths = [folder, str(tmp_path / "deep"), str(files / "b.mp4"), str(tmp_path / "notes")]
  found = predict.predict_loaded(loaded, paths)
  assert [f["path"] for f in found] == [folder, str(files / "b.mp4")] and not found[0]["error"]
  assert found[0]["predictions"][0]["label"] == found[1]["predictions"][0]["label"]
  assert found[0]["predictions"][0]["score"] == pytest.approx(found[1]["predictions"][0]["score"], abs=0.02)
  assert f"no video in {tmp_path / 'notes'}" in capsys.readouterr().err


def test_all_scores_sum_to_one_over_any_number_of_views(files, loaded):
  for clips, crops in ((1, 1), (2, 3)):
    found = predict.predict_loaded(loaded, files / "b.mp4", clips=clips, crops=crops, top=99)
    assert sum(p["score"] for p in found[0]["predictions"]) == pytest.approx(1, abs=1e-5)


def test_fewer_classes_than_one_are_refused(files, loaded):
  with pytest.raises(errors.ConfigError, match="top=0: at least 1"):
    predict.predict_loaded(loaded, files / "b.mp4", top=0)


FOUND = [{"path": "a.mp4", "predictions": [{"label": "wave", "score": 0.75}, {"label": "jump", "score": 0.25}],
          "error": None}, {"path": "b [x].mp4", "predictions": [], "error": "b [x].mp4: truncated"}]


def test_the_table_shows_classes():
  table = predict.to_table(FOUND, width=120)
  assert "wave" in table and "75.0 %" in table and "jump 25.0 %" in table
  assert "b [x].mp4" not in table


def test_the_table_has_a_row_for_each_target():
  ranked = [{"label": "open", "score": 0.5}, {"label": "close", "score": 0.25}]
  found = [{"path": "a.mp4", "error": None, "verb": ranked, "noun": [{"label": "tap", "score": 1.0}], "sound": True},
           {"path": "b.mp4", "error": "truncated", "verb": [], "noun": []}]
  table = predict.to_table(found, width=120)
  rows = [line.split() for line in table.splitlines()]
  assert ["a.mp4", "verb:", "open", "50.0", "%", "close", "25.0", "%"] in rows
  assert ["noun:", "tap", "100.0", "%"] in rows
  assert "truncated" not in table and "sound" not in table


def test_json_reads_back(tmp_path):
  assert json.loads(predict.to_json(FOUND)) == FOUND
  predict.write(FOUND, str(tmp_path / "deep" / "out.json"))
  assert json.loads((tmp_path / "deep" / "out.json").read_text()) == FOUND


@pytest.mark.parametrize("name, made", [("out.json", {"out.json", "out.csv"}), ("out.csv", {"out.csv"}),
                                        ("out.CSV", {"out.CSV"})])
def test_a_file_holds_what_its_ending_says(name, made, tmp_path):
  found = [{"path": "a.npy", "error": None, "caption": "a dog runs"}]
  predict.write(found, str(tmp_path / name))
  assert {p.name for p in tmp_path.iterdir()} == made
  for path in tmp_path.iterdir():
    assert path.read_text().startswith("[" if path.suffix == ".json" else "path,caption")


SCORED = [{"label": 'say "yes", no', "score": 0.75}, {"label": "jump", "score": 0.25}]


@pytest.mark.parametrize("task, told_of, rows", [
    ("classification", {"predictions": SCORED}, ["label"]),
    ("multilabel", {"predictions": SCORED, "tags": {"all": SCORED}}, ["label"]),
    ("verb_noun", {"noun": SCORED, "verb": SCORED, "action": SCORED}, ["verb", "noun", "action"])])
def test_classes_become_a_row_per_video_target_and_rank(task, told_of, rows, tmp_path):
  nothing = tasks.get(task).nothing
  found = [{"path": "a, b.mp4", "error": None, **told_of}, {"path": "c.mp4", "error": "truncated", **nothing}]
  predict.write(found, str(tmp_path / "p.csv"))
  with open(tmp_path / "p.csv", newline="", encoding="utf-8") as f:
    read = list(csv.reader(f))
  assert read == [["path", "target", "rank", "label", "score"], *(
      ["a, b.mp4", target, *row] for target in rows
      for row in (["1", 'say "yes", no', "0.750000"], ["2", "jump", "0.250000"]))]
  predict.write(found[1:], str(tmp_path / "p.csv"))
  assert (tmp_path / "p.csv").read_text() == "path,target,rank,label,score\n"


def test_whether_a_task_has_a_table_is_known_before_anything_is_predicted():
  assert {name for name in tasks.names() if predict.has_table(tasks.get(name))} == {
      "classification", "joint", "multilabel", "tags_and_class", "verb_noun", "segmentation"}


@pytest.mark.parametrize("task, refused", [("matching", True), ("retrieval", True), ("classification", False)])
def test_a_csv_is_refused_of_a_run_that_tells_no_table_before_it_predicts(files, monkeypatch, capsys, task, refused):
  config = config_lib.base()
  config.system.name, config.task = "some", {"name": task}
  one = types.SimpleNamespace(config=config, task=tasks.get(task), model=types.SimpleNamespace(inputs=("video",)))
  monkeypatch.setattr(load, "load_checkpoint", lambda *_: one)
  monkeypatch.setattr(predict, "predict_loaded", lambda *_, **__: FOUND)
  monkeypatch.setattr(predict, "write", lambda found, path: print(f"wrote {path}"))
  status = cli.main(["predict", "--workdir=run", "--out=p.csv", str(files / "b.mp4")])
  said = capsys.readouterr()
  assert status == (2 if refused else 1) and ("tells is no table" in said.err) == refused
  assert ("wrote p.csv" in said.out) != refused


@pytest.mark.parametrize("errors_of, status, lines", [([None, None], 0, 0), ([None, "a0.mp4: cut off\nin two"], 1, 1),
                                                      (["no such file", "cut off"], 2, 2)])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_read_has_a_line_each_and_is_the_status(errors_of, status, lines, as_json, capsys):
  found = [{"path": f"a{i}.mp4", "error": e, "predictions": [] if e else [{"label": "wave", "score": 1.0}]}
           for i, e in enumerate(errors_of)]
  assert told.tell(found, json=as_json) == status
  said = capsys.readouterr()
  rows = said.err.splitlines()
  assert len(rows) == lines and all(row.startswith("cannot be read: a") for row in rows)
  assert "a0.mp4: a0.mp4" not in said.err and ("wave" in said.out) == (status < 2)
  assert not as_json or json.loads(said.out) == found


@pytest.mark.parametrize("task", ["box_actions", "detection", "captioning"])
def test_views_of_what_is_seen_whole_are_refused(task):
  c = config_lib.base()
  c.task.name, c.system.name = task, "some"
  with pytest.raises(errors.ConfigError, match="clips=10 and crops=3 change nothing for system 'some': leave them out"):
    predict.predict_loaded(types.SimpleNamespace(config=c), ["v.mp4"], clips=10, crops=3)


def test_people_that_are_too_unsure_are_told_from_people_of_other_videos(tmp_path):
  loaded = types.SimpleNamespace(config=config_lib.base())
  boxes = tmp_path / "boxes.csv"
  boxes.write_text("a,0001,0,0,1,1,,0.3\nb,0001,0,0,1,1,,0.9\n")
  for file, said in (("a.mp4", "the people of a all have scores below 0.8"),
                     ("c.mp4", "no person of c; it names 1 key")):
    with pytest.raises(errors.DataError, match=said):
      predict_people.predict(loaded, [file], boxes=str(boxes))


def test_what_cannot_be_read_of_a_video_is_told_and_counts(capsys):
  found = [{"path": "b.mp4", "error": None, "frames": [], "problems": ["8 s: cut off", "99 s: after the end"]}]
  assert told.tell(found, json=True) == 1
  assert "cannot be read: b.mp4: 8 s: cut off; 99 s: after the end\n" == capsys.readouterr().err


def test_a_video_that_is_not_ranked_is_told_and_counts(capsys):
  found = [{"text": "a dog", "error": None, "found": [], "failures": {"b.mp4": "cut off"}}]
  assert told.tell(found, json=True) == 1 and "cannot be read: b.mp4: cut off" in capsys.readouterr().err
