import base64
import io
import re

import av
import cv2
import matplotlib
import numpy as np
import pytest

from vidx.infer.explain import Explained, Map
from vidx.show import maps


def explained(frames=8, size=(24, 32), **shown):
  rng = np.random.default_rng(0)
  picture = rng.integers(256, size=(frames, *size, 3), dtype=np.uint8)
  return Explained("a/v.mp4", picture, "wave", tuple(Map(k, "res2", v) for k, v in shown.items()))


def entry(path="a/v.mp4", error=None):
  predictions = [] if error else [{"label": "wave <slowly>", "score": 0.75}, {"label": "point", "score": 0.25}]
  return {"path": path, "predictions": predictions, "error": error}


def decoded(content):
  with av.open(io.BytesIO(content)) as container:
    return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_zero_is_mid_grey_and_the_largest_magnitude_is_black_or_white():
  values = np.zeros((2, 1, 3, 3), np.float32)
  values[0, 0, 0], values[1, 0, 2] = -4.0, 2.0
  shown = maps.signed(values)
  assert shown.dtype == np.uint8 and shown.shape == (2, 1, 3, 3)
  np.testing.assert_array_equal(shown[..., 0], [[[0, 128, 128]], [[128, 128, 192]]])
  np.testing.assert_array_equal(maps.signed(7 * values), shown)
  assert maps.signed(-values)[0, 0, 0, 0] == 255
  assert (maps.signed(np.zeros((1, 2, 2, 3))) == 128).all()


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_other_channels_than_colours_are_shown_by_their_mean(channels):
  values = np.random.default_rng(0).normal(size=(2, 3, 3, channels)).astype(np.float32)
  shown = maps.signed(values)
  np.testing.assert_array_equal(shown, maps.signed(np.repeat(values.mean(-1, keepdims=True), 3, -1)))
  assert (shown == shown[..., :1]).all()


def test_a_frame_whose_heat_is_zero_stays_and_the_hottest_place_is_coloured():
  frames = np.full((4, 8, 8, 3), 100, np.uint8)
  values = np.zeros((2, 2, 2), np.float32)
  values[1, 0, 0] = 5.0
  shown = maps.heat(values, frames)
  assert shown.shape == frames.shape and (shown[:2] == 100).all()
  red = 255 * np.array(matplotlib.colormaps["turbo"](1.0)[:3])
  np.testing.assert_array_equal(shown[2, 0, 0], np.round(100 * (1 - maps.STRENGTH) + red * maps.STRENGTH))
  assert (shown[2, 7, 7] == 100).all()
  np.testing.assert_array_equal(shown[2], shown[3])
  np.testing.assert_array_equal(maps.heat(3 * values, frames), shown)
  np.testing.assert_array_equal(maps.heat(0 * values, frames), frames)


def test_what_is_kept_stays_and_what_is_dropped_is_dark():
  frames = np.full((4, 4, 6, 3), 200, np.uint8)
  values = np.zeros((2, 2, 3), np.float32)
  values[0, 1, 2], values[1] = 3.0, 1.0
  one = explained(4, (4, 6), kept=values)
  shown = maps.picture(one.maps[0], frames)
  assert (shown[2:] == 200).all() and (shown[:2, 2:, 4:] == 200).all()
  dark = shown[:2].copy()
  dark[:, 2:, 4:] = 40
  assert (dark == 40).all()
  whole = maps.kept(np.array([1.0, 0.0]).reshape(2, 1, 1), frames)
  assert (whole[:2] == 200).all() and (whole[2:] == 40).all()


def test_candidates_are_boxes_in_their_own_frames_warmer_and_thicker_with_their_weight():
  frames = np.full((2, 56, 56, 3), 90, np.uint8)
  values = np.zeros((2, 3, 5), np.float32)
  values[0, 0], values[1, 1] = (8, 8, 24, 40, 0.8), (20, 20, 40, 40, 0.1)
  one = Explained("v.mp4", frames, "", (Map("candidates", "noun", values, frames),))
  (_, clip), (heading, shown) = maps.rows(one)
  assert heading == "candidates at noun" and len(clip) == 2 and shown.shape == (2, 112, 112, 3)
  strong, weak = ([round(255 * c) for c in matplotlib.colormaps["turbo"](share)[:3]] for share in (1.0, 0.125))
  np.testing.assert_array_equal(shown[0, 60, 16], strong)  # twice as large as the frame
  np.testing.assert_array_equal(shown[0, 60, 17], strong)
  np.testing.assert_array_equal(shown[1, 60, 40], weak)
  assert (shown[1, 60, 42] == 90).all()
  inside = lambda i: (shown[i] != 90).any(-1).sum()
  assert inside(1) == 4 * 39 and inside(0) > 3 * 4 * 39 // 2  # no figure beside the weak one, nothing for no box
  assert maps.moving(one).shape[0] == 2


def test_each_map_of_a_shorter_row_stands_where_its_part_of_the_clip_begins():
  np.testing.assert_array_equal(maps.spread(2, 8), [0] * 4 + [1] * 4)
  np.testing.assert_array_equal(maps.spread(8, 4), [0, 2, 4, 6])
  one = explained(frames=4, size=(112, 112), squeezed=np.stack([np.ones((4, 4, 3)), -np.ones((4, 4, 3))]))
  sheet = maps.sheet(one)
  step, top = 112 + maps.MARGIN, maps.LINE
  middle = lambda row, column: sheet[top + row * (maps.LINE + step) + 56, maps.MARGIN + column * step + 56]
  for i in range(4):
    np.testing.assert_array_equal(middle(0, i), one.frames[i, 56, 56])
  assert [int(middle(1, i)[0]) for i in range(4)] == [255, 255, 0, 255]  # white, page, black, page
  assert sheet.shape == (2 * (maps.LINE + step) + maps.MARGIN, 4 * step + maps.MARGIN, 3)


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_sheets_and_moving_clips_of_any_length(frames):
  one = explained(frames, squeezed=np.ones((2, 6, 8, 3)), band_pass=np.zeros((0, 6, 8, 3)),
                  gradcam=np.ones((max(1, frames // 4), 2, 2)))
  assert [h for h, _ in maps.rows(one)] == ["input", "squeezed at res2", "gradcam at res2"]
  assert maps.sheet(one).shape[1] <= maps.COLUMNS * 154 + maps.MARGIN
  moving = maps.moving(one)
  assert moving.shape == (max(frames, 2), 112, 3 * 150, 3)
  np.testing.assert_array_equal(maps.sheet(one), maps.sheet(one))


def test_a_picture_comes_back_from_its_file():
  image = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
  content = maps.png(image)
  assert content == maps.png(image)
  np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), 1)[..., ::-1], image)


def test_the_page_holds_the_files_and_names_what_could_not_be_read(tmp_path):
  one = explained(squeezed=np.ones((2, 6, 8, 3)), gradcam=np.ones((8, 2, 2)))
  found = [entry("bad.mp4", "bad.mp4: truncated <here>"), entry()]
  path = maps.write([one], found, str(tmp_path / "out"), "tsm")
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["index.html", "v.mp4", "v.png"]
  html = (tmp_path / "out" / "index.html").read_text()
  uris = dict(re.findall(r'src="data:(\w+)/\w+;base64,([^"]+)"', html))
  assert base64.b64decode(uris["image"]) == (tmp_path / "out" / "v.png").read_bytes()
  assert base64.b64decode(uris["video"]) == (tmp_path / "out" / "v.mp4").read_bytes()
  assert "No sound" not in html
  maps.write([one], [{**entry(), "sound": False}], str(tmp_path / "mute"), "tsm")
  assert "No sound of it can be heard" in (tmp_path / "mute/index.html").read_text()
  assert path == str(tmp_path / "out" / "index.html") and 'src="http' not in html
  assert "input, squeezed at res2, gradcam at res2" in html and "Grad-CAM explains wave" in html
  assert "wave &lt;slowly&gt;" in html and "truncated &lt;here&gt;" in html and ":root {" in html
  assert decoded((tmp_path / "out" / "v.mp4").read_bytes()).shape == (8, 112, 450, 3)
