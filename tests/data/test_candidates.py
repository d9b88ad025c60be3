import cv2
import numpy as np
import pytest

from vidx import errors
from vidx.data import clips, frame_tools
from vidx.data.candidates import Candidates
from vidx.data.decode import open_video
from vidx.data.records import Dataset, Media, Record
from vidx.data.toybox.write import write_video
from vidx.train import config as config_lib

N, M, LENGTH, SIDE, CROP, SMALL = 6, 2, 13, 48, 32, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Two videos, one that is broken, and a folder of jpeg images."""
  root = tmp_path_factory.mktemp("videos")
  rng = np.random.default_rng(0)
  for name in ("a", "b"):
    coarse = rng.integers(256, size=(LENGTH, 6, 8, 3), dtype=np.uint8)
    write_video(str(root / f"{name}.mp4"), np.stack([cv2.resize(f, (96, 72)) for f in coarse]), 10.0)
  (root / "broken.mp4").write_text("no video")
  (root / "images").mkdir()
  for i, image in enumerate(rng.integers(256, size=(LENGTH, 6, 8, 3), dtype=np.uint8)):
    cv2.imwrite(str(root / f"images/{i:05d}.jpg"), cv2.resize(image, (128, 96)))
  return root


def config(consecutive=1):
  c = config_lib.base()
  c.data.update(frames=N, consecutive=consecutive, sampler="segments", short_side=SIDE, crop=CROP, workers=0)
  return c


def split(*paths):
  return Dataset("paths", "predict", tuple(Record(str(p), Media(str(p))) for p in paths), ("x", "y", "z"))


def test_frames_can_be_held_and_converted_later(folder):
  indices = [7, 0, 7, 12, 3]
  for path in (folder / "a.mp4", folder / "images"):
    with open_video(str(path)) as video:
      held = video.hold(indices)
      np.testing.assert_array_equal(held(range(5)), video.frames(indices))
      np.testing.assert_array_equal(held([4, 1]), video.frames([3, 0]))
      wanted = video.frames([12, 7], short_side=SMALL).astype(int)
      found = held([3, 2], SMALL)
      assert found.shape == wanted.shape and np.abs(found - wanted).mean() < (1 if path.suffix else 6)
      with pytest.raises(IndexError, match="frame 13 is not one of its 13"):
        video.hold([13])


def test_jpeg_images_are_decoded_no_larger_than_needed(folder, monkeypatch):
  decoded = []
  monkeypatch.setattr(frame_tools, "to_rgb", lambda frame, *rest: decoded.append(frame.height) or
                      np.zeros((rest[2], rest[1], 3), np.uint8))
  with open_video(str(folder / "images")) as video:
    for side in (96, 49, 48, 12):
      video.hold([1, 2])([1], side)
  assert decoded == [96, 96, 96, 48, 12]  # the first one tells the size of the images


def test_only_chosen_frames_are_converted_at_full_size(folder, monkeypatch):
  sizes, convert = [], frame_tools.to_rgb
  monkeypatch.setattr(frame_tools, "to_rgb", lambda frame, how, width, height: sizes.append(height) or
                      convert(frame, how, width, height))
  record = split(folder / "a.mp4").records[0]
  with Candidates(record, config().data, SMALL) as found:
    assert found.small.shape == (N, SMALL, SMALL, 3)
    full = found.full(np.asarray([4, 1]))
  assert sizes == [SIDE * SMALL // CROP] * N + [SIDE] * M
  with open_video(record.media.path) as video:
    whole = video.frames(found.index[[4, 1], 0], short_side=SIDE)
  np.testing.assert_array_equal(full[:, 0], whole[:, 8:40, 16:48])


def test_of_clips_the_others_are_not_decoded_but_for_their_middle(folder):
  record = split(folder / "b.mp4").records[0]
  with Candidates(record, config(3).data, SMALL) as found, open_video(record.media.path) as video:
    clip = found.full(np.asarray([2]))
    np.testing.assert_array_equal(clip[0], video.frames(found.index[2], short_side=SIDE)[:, 8:40, 16:48])
    assert found.small.shape == (N, SMALL, SMALL, 3) and found.index.shape == (N, 3)


@pytest.mark.parametrize("only_enlarge", [False, True])
@pytest.mark.parametrize("consecutive", [1, 3])
def test_chosen_frames_are_those_that_evaluation_shows(folder, consecutive, only_enlarge):
  record, data = split(folder / "a.mp4").records[0], config(consecutive).data
  data.only_enlarge = only_enlarge
  wanted = clips.Clips(data).evaluate(record)[0].reshape(N, consecutive, CROP, CROP, 3)
  with Candidates(record, data) as same, Candidates(record, data, SMALL) as found:
    np.testing.assert_array_equal(same.full(np.arange(N)), wanted)
    np.testing.assert_array_equal(found.full(np.arange(N)), wanted)
    with open_video(record.media.path) as video:
      small = video.frames(found.index[:, consecutive // 2], short_side=36 if only_enlarge else 24)
    x, y = (small.shape[2] - SMALL) // 2, (small.shape[1] - SMALL) // 2
    np.testing.assert_array_equal(found.small, small[:, y:y + SMALL, x:x + SMALL])


def test_whole_frames_are_refused(folder):
  data = config().data
  data.whole = (48, 64)
  with pytest.raises(errors.ConfigError, match=r"data.whole=\(48, 64\): frames that a system chooses are crops"):
    Candidates(split(folder / "a.mp4").records[0], data)
