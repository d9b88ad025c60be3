import json

import pytest

from vidx import errors
from vidx.data import decode
from vidx.bench import input_speed


@pytest.fixture(scope="module")
def rows():
  pytest.importorskip("decord", reason="decord, the other side of the measurement, is not installed")
  return input_speed.bench_input(videos=1, repeats=1, processes=1, frames=60)


def test_both_sides_are_measured_on_raw_and_on_prepared_files(rows):
  assert [(r["name"], r["files"], r["threads"]) for r in rows] == [
      (name, files, threads) for files in ("raw", "prepared") for name in ("decord", "vidx") for threads in (1, "auto")]
  assert all(r["clips_per_s"] > 0 and r["cpu_ms"] > 0 for r in rows)
  assert max(r["ratio"] for r in rows[:2]) == max(r["cpu_ratio"] for r in rows[:2]) == 1


def test_frames_are_identical_to_decord_s(rows):
  assert [r["max_difference"] for r in rows] == [0] * 8


def test_the_table_and_json_hold_every_row(rows):
  table = input_speed.to_table([{**r, "load": 99.0} for r in rows])
  assert table.count("identical") == 8 and "load 99.0" in table
  assert json.loads(json.dumps(rows)) == rows


def test_test_files_are_ten_seconds_of_x264(tmp_path):
  input_speed.write_video(str(tmp_path / "a.mp4"), seed=3, frames=20)
  with decode.open_video(tmp_path / "a.mp4") as video:
    assert (video.num_frames, video.width, video.height, video.fps) == (20, 340, 256, 30)
  assert input_speed.FRAMES == 10 * input_speed.RATE


def test_too_few_videos_are_refused():
  with pytest.raises(errors.ConfigError, match="videos=0"):
    input_speed.bench_input(videos=0)
