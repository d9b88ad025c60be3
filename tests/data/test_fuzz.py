import json

import numpy as np
import pytest

from vidx import cli, errors
from vidx.data import decode
from vidx.data import fuzz
from vidx.data import fuzz_judge
from vidx.data import fuzz_videos


def test_spoilt_files_give_the_same_frames_or_are_refused(tmp_path, capsys):
  assert cli.main(["data", "fuzz", "--minutes=0.01", "--seed=3", f"--out={tmp_path}",
                   "--files=mpeg4.avi,h264.mp4"]) == 0
  text = capsys.readouterr().out
  found = json.loads((tmp_path / "fuzz.json").read_text())
  assert found["intact"] == 2 and found["failures"] == [] and f"2 intact files and {found['mutants']} mutants" in text
  assert sum(found["verdicts"].values()) == found["intact"] + found["mutants"]


def test_a_reader_that_is_one_frame_off_is_found(monkeypatch):
  (_, data), = fuzz_videos.intact(np.random.default_rng(0), "h264_plain.mp4")
  assert fuzz_judge.judge(data, np.random.default_rng(0)) == ("same", "")
  frames = decode.VideoReader.frames
  monkeypatch.setattr(decode.VideoReader, "frames", lambda self, i: frames(self, np.maximum(np.asarray(i) - 1, 0)))
  verdict, detail = fuzz_judge.judge(data, np.random.default_rng(0))
  assert verdict == "different" and "frame" in detail


def test_a_reader_that_breaks_is_found(monkeypatch):
  (_, data), = fuzz_videos.intact(np.random.default_rng(0), "mjpeg.avi")
  monkeypatch.setattr(decode.VideoReader, "each", lambda self: 1 / 0)
  assert fuzz_judge.judge(data, np.random.default_rng(0)) == ("crashed", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("name", fuzz_videos.MUTATIONS)
def test_mutations_follow_from_their_seed_and_change_the_file(name):
  (_, data), = fuzz_videos.intact(np.random.default_rng(0), "h264.mp4")
  one, two = (fuzz_videos.MUTATIONS[name](data, np.random.default_rng(5)) for _ in range(2))
  assert one == two != data


def test_what_cannot_be_tried_is_said(tmp_path):
  with pytest.raises(errors.ConfigError, match="kinds=videos is not one of video, .*results .nearest: 'video'"):
    fuzz.fuzz(0.1, kinds="videos")
  with pytest.raises(errors.ConfigError, match="minutes=0"):
    fuzz.fuzz(0)
  with pytest.raises(errors.ConfigError, match="files=h265"):
    fuzz.fuzz(0.1, files="h265*")
