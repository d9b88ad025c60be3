import dataclasses
import json

import numpy as np
import pytest

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips
from vidx.data.geometry import Geometry
from vidx.data.parts import encoded
from vidx.data.records import Dataset, Media, Record
from vidx.train import config

RECORD = Record("a", Media("a.mp4"), span=(1.0, 2.0))
DATASET = Dataset("some", "train", (RECORD,))
WHERE = Geometry(32, 48, (40.0, -60.0), (-4.0, 54.0))
SECONDS = np.array([1.0, 1.5, 2.0])


def data(folder):
  d = config.base().data
  d.update(cache=str(folder), frames=3)
  return d


def part(folder, training=True, clips_=1, crops=1):
  return encoded.Encoded(DATASET, data(folder), training, clips_, crops, 0)


@pytest.fixture
def folder(tmp_path):
  (tmp_path / encoded.SETTINGS).write_text(json.dumps({"shapes": {"verb": [4], "verb_map": [1, 2, 2, 4]}}))
  cut = clips.Cut(np.zeros((1, 3, 32, 48, 3), np.uint8), np.zeros((1, 3), np.int64), (WHERE,), SECONDS[None])
  kept, _ = encoded.Cuts(DATASET, data(tmp_path), False, 1, 1, 0).make(0, cut, None, 0)
  np.savez(encoded.path_of(str(tmp_path), RECORD), verb=np.arange(4, dtype=np.float16),
           verb_map=np.ones((1, 2, 2, 4), np.float16), **kept)
  return tmp_path


@pytest.mark.parametrize("training", [True, False])
def test_what_is_kept_comes_back_with_the_cut_that_others_follow(folder, training):
  example, cut = part(folder, training).make(0, None, None, 0)
  views = () if training else (1,)
  shapes = {"encoded/verb": (*views, 4), "encoded/verb_map": (*views, 1, 2, 2, 4)}
  assert {k: x.shape for k, x in example.items()} == shapes
  assert all(x.dtype == np.float32 for x in example.values())
  assert cut.geometry == (WHERE,)
  np.testing.assert_array_equal(cut.seconds, SECONDS[None])
  blank = part(folder, training).blank(-1, 0)
  assert {k: x.shape for k, x in blank.items()} == shapes


def test_it_takes_the_place_of_the_clip():
  class Takes:
    inputs = ("video", "detections/mask")

  batch = {"encoded/verb": 1, "encoded/frame": 2, "detections/mask": 3, "label": 4}
  assert batch_lib.inputs(Takes, batch) == [{"verb": 1, "frame": 2}, 3]
  assert batch_lib.inputs(Takes, {"flow": 5, "detections/mask": 3}) == [5, 3]


def test_another_span_or_file_is_kept_apart(tmp_path):
  other = [dataclasses.replace(RECORD, span=(1.0, 2.5)), dataclasses.replace(RECORD, media=Media("b.mp4"))]
  (tmp_path / "a.mp4").write_bytes(b"other content")
  other.append(dataclasses.replace(RECORD, media=Media(str(tmp_path / "a.mp4"))))
  assert len({encoded.path_of("", r) for r in (RECORD, *other)}) == 4


@pytest.mark.parametrize("content, words", [
    (None, "a.mp4: it could not be decoded"), (b"no zip", "is damaged"), ("shape", "other shapes than encoded.json")])
def test_what_is_missing_or_damaged_is_one_line_that_names_it(folder, content, words):
  path = encoded.path_of(str(folder), RECORD)
  with np.load(path) as f:
    before = dict(f)
  if content is None:
    (folder / path).unlink()
  elif content == "shape":
    np.savez(path, **{**before, "verb": np.zeros(5)})
  else:
    (folder / path).write_bytes(content)
  with pytest.raises(errors.DecodeError, match=words) as e:
    part(folder).make(0, None, None, 0)
  assert "\n" not in str(e.value)


def test_several_views_and_an_empty_folder_are_refused(folder, tmp_path):
  with pytest.raises(errors.ConfigError, match="one view of a video, not 10x3"):
    part(folder, False, 10, 3)
  with pytest.raises(errors.DataError, match="holds no encoded.json"):
    part(tmp_path / "none")
