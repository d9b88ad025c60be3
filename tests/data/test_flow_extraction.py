"""Images of flow from videos: what they hold, what a second call does, and what cannot be done."""

import os
import re

import cv2
import numpy as np
import pytest

from tests.data import tiny
from tests.data.test_optical_flow import textured
from vidx import cli, errors
from vidx.data import datasets, flow_extraction, flow_frames, optical_flow

SHIFT = np.array([3, 2])  # pixels to the right and down, from frame to frame


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """Two classes of videos: one of frames that shift, one of a file, and one that is none."""
  root = tmp_path_factory.mktemp("videos")
  frames = root / "jump" / "shifted"
  frames.mkdir(parents=True)
  for t in range(40):  # more than are decoded at once
    image = np.roll(textured(), (t * SHIFT[1], t * SHIFT[0]), (0, 1))
    cv2.imwrite(str(frames / f"{t + 1:05d}.png"), image[..., ::-1])
  tiny.write_video(root / "run" / "square.mp4", frames=5)
  (root / "run" / "text.mp4").write_text("no video")
  return root


def extract(root, out, **options):
  return flow_extraction.extract([str(root)], out, workers=1, progress=lambda *_: None, **options)


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
  out = tmp_path_factory.mktemp("flow") / "out"
  return out, extract(root, out)


def test_a_shift_is_what_the_reader_of_flow_reads(root, made):
  out, summary = made
  assert {k: summary[k] for k in ("videos", "written", "kept")} == {"videos": 3, "written": 2, "kept": 0}
  for record in datasets.load("folder", str(root), "train").records + datasets.load("folder", str(root), "val").records:
    if "text" in record.id:
      continue
    flow_frames.check(summary["data.flow"])
    with flow_frames.FlowFrames(summary["data.flow"], record.id) as flow:
      assert flow.num_frames == (39 if "shifted" in record.id else 4)
      found = flow.frames(range(flow.num_frames))
    assert found.shape[1:] == ((64, 80, 2) if "shifted" in record.id else (48, 64, 2))
    if "shifted" in record.id:
      pixels = np.median(found.reshape(len(found), -1, 2), 1) / 255 * 40 - 20
      np.testing.assert_allclose(pixels, np.broadcast_to(SHIFT, pixels.shape), atol=0.3)
  assert sorted(os.listdir(out)) == ["flow.json", "jump", "run"] and os.listdir(out / "run") == ["square"]


def test_smaller_frames_move_by_fewer_pixels(root, tmp_path):
  flow_extraction.write(str(root / "jump" / "shifted"), str(tmp_path / "a"), flow_extraction.Settings("dis", 32, 10))
  with flow_frames.FlowFrames(str(tmp_path / "{id}" / "flow_{axis}_{index}.jpg"), "a.mp4") as flow:
    found = flow.frames([3])
  assert found.shape == (1, 32, 40, 2)
  np.testing.assert_allclose(np.median(found.reshape(-1, 2), 0) / 255 * 20 - 10, SHIFT / 2, atol=0.3)


def test_bytes_are_those_of_the_field():
  flow = np.array([-30, -20, 0, 1, 20, 25], "f")
  np.testing.assert_array_equal(flow_frames.as_bytes(flow), [0, 0, 128, 134, 255, 255])


def test_a_second_call_does_what_is_left(root, made):
  out, first = made
  kept = out / "jump" / "shifted" / "flow_x_00001.jpg"
  before = kept.stat().st_mtime_ns
  (out / "run" / "square" / "flow_y_00002.jpg").unlink()
  (out / "run" / "other.vidx-part").mkdir()
  again = extract(root, out)
  assert {k: again[k] for k in ("videos", "written", "kept")} == {"videos": 3, "written": 1, "kept": 1}
  assert list(again["bad"]) == [str(root / "run" / "text.mp4")] == list(first["bad"])
  assert kept.stat().st_mtime_ns == before and os.listdir(out / "run") == ["square"]
  assert len(os.listdir(out / "run" / "square")) == 8
  with pytest.raises(errors.DataError, match=r"was made with another bound \(20.0, now 10\);"):
    extract(root, out, bound=10)


def test_a_video_that_breaks_off_leaves_nothing(tmp_path):
  frames = tiny.write_frames(tmp_path / "frames")
  (frames / "00004.jpg").write_bytes(b"no image")
  with pytest.raises(errors.DecodeError, match="00004"):
    flow_extraction.write(str(frames), str(tmp_path / "out"), flow_extraction.Settings())
  with pytest.raises(errors.DecodeError, match="flow is between two"):
    flow_extraction.write(str(tiny.write_video(tmp_path / "one.mp4", frames=1)), str(tmp_path / "out"),
                          flow_extraction.Settings())
  assert sorted(os.listdir(tmp_path)) == ["frames", "one.mp4"]


@pytest.mark.parametrize("flags, words", [
    ([], "no videos"), (["none.mp4"], "no out"), (["none.mp4", "--out=o"], "no video in none.mp4"),
    (["a.mp4", "--out=o", "--method=tvl2"], "method.*tvl1"), (["a.mp4", "--out=o", "--bound=0"], "bound=0"),
    (["a.mp4", "--out=o", "--short_side=4"], "short_side=4"), (["a.mp4", "b/a.avi", "--out=o"], "both would become a"),
])
def test_what_cannot_be_done_is_said_in_a_line(tmp_path, monkeypatch, capsys, flags, words):
  monkeypatch.chdir(tmp_path)
  for name in ("a.mp4", "b/a.avi"):
    tiny.write_video(tmp_path / name, frames=2)
  assert cli.main(["data", "flow", *flags]) == 2
  said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vidx: ")]
  assert len(said) == 1
  assert re.search(words, said[0]), said[0]
  assert not (tmp_path / "o").exists()


def test_tvl1_needs_the_contributed_modules(root, tmp_path):
  frames = [textured(48, 48), np.roll(textured(48, 48), tuple(SHIFT[::-1]), (0, 1))]
  if not hasattr(cv2, "optflow"):
    with pytest.raises(errors.ConfigError, match="opencv-contrib-python-headless"):
      extract(root, tmp_path / "out", method="tvl1")
    assert not (tmp_path / "out").exists()
    pytest.skip("this OpenCV has no optflow")
  flow = next(optical_flow.tvl1_flow(frames))
  np.testing.assert_allclose(np.median(flow.reshape(-1, 2), 0), SHIFT, atol=0.2)
