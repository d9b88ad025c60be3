"""Boxes with what is said of them: lines that hide no others, inside of the picture."""

import types

import numpy as np
import pytest

from vidx.infer import predict, predict_boxes
from vidx.show import boxes, clips, drawn, maps, people, tracks, tubes

ROOM = (320, 240)


def overlap(a, b):
  return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def placed(around, size, room=ROOM):
  taken = []
  for box in around:
    left, top = boxes.place(box, size, room, taken)
    taken.append((left, top, left + size[0], top + size[1]))
  return taken


def test_lines_go_above_their_box_or_below_where_there_is_no_room():
  assert placed([(50, 60, 90, 120)], (70, 12)) == [(50, 48, 120, 60)]
  assert placed([(50, 3, 90, 120)], (70, 12)) == [(50, 120, 120, 132)]
  assert placed([(0, 0, 320, 240)], (70, 12)) == [(0, 0, 70, 12)]


@pytest.mark.parametrize("seed", range(4))
def test_lines_of_boxes_over_one_another_never_meet_and_stay_in_the_picture(seed):
  rng = np.random.default_rng(seed)
  corner = rng.integers(-5, 30, (8, 2)) + (270, 200) * (rng.random((8, 1)) < 0.4)
  around = np.concatenate([corner, corner + rng.integers(20, 90, (8, 2))], 1).tolist()
  found = placed(around, (80, 13))
  assert all(0 <= x0 and x1 <= 320 and 0 <= y0 and y1 <= 240 for x0, y0, x1, y1 in found)
  assert all(not overlap(a, b) for i, a in enumerate(found) for b in found[:i])


def test_where_there_is_no_room_left_lines_cover_the_least():
  assert len(placed([(0, 0, 40, 24)] * 6, (40, 12), (40, 24))) == 6


def test_lines_wider_than_the_picture_are_written_smaller():
  picture = np.zeros((60, 90, 3), np.uint8)
  boxes.draw(picture, [boxes.Box((10, 30, 40, 50), (200, 0, 0), 1, ("a name that is far too long for it",))], 0.4)
  assert (picture[20:30, -1] == (200, 0, 0)).all(-1).sum() <= 10 and picture.any()


def test_scores_are_written_alike_in_all_pictures(monkeypatch):
  said = []
  monkeypatch.setattr(boxes, "draw", lambda picture, marked, scale: said.extend(x for b in marked for x in b.lines))
  frame = np.zeros((48, 64, 3), np.uint8)
  tracks.drawn(frame, [{"label": "car", "score": 0.873, "track": 3, "box": [1, 2, 30, 40]},
                       {"label": "dog", "score": 0.4, "track": -1, "box": [1, 2, 30, 40]}], (48, 64))
  people.drawn(frame, [{"box": [0.1, 0.1, 0.5, 0.9], "actions": [{"label": "sit", "score": 0.9}]}])
  maps.candidates(np.array([[[2, 2, 20, 20, 0.5]]], np.float32), frame[None])
  tubes.draw(frame[None], np.array([[[2, 2, 20, 20]], [[3, 3, 20, 20]]]))
  assert said == ["car #3 87%", "dog 40%", "sit 90%", "50%", "1", "2"]


@pytest.mark.parametrize("show, memory", [("boxes,memory", True), ("boxes, memory", True), (" memory ,", True),
                                          ("boxes", False)])
def test_what_is_remembered_is_drawn_where_it_is_asked_for_with_spaces_too(show, memory, monkeypatch):
  asked = {}
  monkeypatch.setattr(predict_boxes, "applies", lambda loaded: True)
  monkeypatch.setattr(predict, "predict_loaded", lambda loaded, paths, **options: asked.update(options) or [])
  monkeypatch.setattr(drawn, "write", lambda *args: "a page")
  loaded = types.SimpleNamespace(config=types.SimpleNamespace(system=types.SimpleNamespace(name="stmn")), step=1)
  assert drawn.main(loaded, ["a.mp4"], show=show) == 0 and asked["memory"] == memory


@pytest.mark.parametrize("drawing, entry, said", [
    (people, {"problems": ["line 2: no box"],
              "frames": [{"at": 0.1, "second": 0, "people": [{"box": [0.1, 0.1, 0.5, 0.9],
                                                              "actions": [{"label": "sit", "score": 0.9}]}]}]},
     "Left out: line 2: no box"),
    (tracks, {"count": 6, "fps": 10.0, "size": (48, 64), "memory": np.ones((6, 3, 4), np.float32),
              "frames": [{"frame": 2, "boxes": [{"label": "car", "score": 0.9, "track": 3, "box": [1, 2, 30, 40]}]}]},
     "Boxes with class, track")])
def test_a_page_holds_the_pictures_and_the_film_of_every_video_and_names_those_that_cannot_be_read(tmp_path, drawing,
                                                                                                  entry, said):
  film = tmp_path / "a.mp4"
  film.write_bytes(clips.encode_mp4(np.zeros((6, 48, 64, 3), np.uint8), 10.0))
  found = [{"path": str(film), "error": None, **entry}, {"path": "b.mp4", "error": "it is empty"}]
  path = drawn.write(found, drawing, str(tmp_path / "maps"), "Some")
  assert {p.name for p in (tmp_path / "maps").iterdir()} == {"index.html", "a.png", "a.mp4"}
  html = open(path, encoding="utf-8").read()
  assert said in html and "Cannot be read: it is empty" in html and html.count("<video") == 1
