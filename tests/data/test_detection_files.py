import json
import pickle

import numpy as np
import pytest

from vidx import errors
from vidx.data import detection_files, detections

ROW = {"video_id": "P01_01", "frame": 30, "bbox": [64, 48, 32, 24], "score": 0.5, "feature": [1, 2, 3]}


def convert(root, tmp_path, **options):
  return detection_files.convert(str(root), str(tmp_path / "out"), **options)


def store(tmp_path, video="P01_01"):
  return detections.Store(str(tmp_path / "out" / f"{video}.npz"))


def test_results_of_a_detector_become_a_store_per_video(tmp_path):
  rows = [ROW, {**ROW, "score": 0.9, "bbox": [0, 0, 128, 96]}, {**ROW, "video_id": "P02_01", "frame": 0}]
  videos = {v: {"width": 128, "height": 96, "fps": 60} for v in ("P01_01", "P02_01")}
  (tmp_path / "d.json").write_text(json.dumps({"detections": rows, "videos": videos}))
  assert convert(tmp_path / "d.json", tmp_path, count=3) == {"videos": 2, "frames": 2, "detections": 3, "features": 3}
  found = store(tmp_path)
  np.testing.assert_allclose(found.boxes[0, :2], [[0, 0, 1, 1], [0.5, 0.5, 0.75, 0.75]])
  np.testing.assert_allclose(found.time_s, [0.5])
  np.testing.assert_array_equal(found.scores[0] > 0, [True, True, False])


@pytest.mark.parametrize("kind", ["npz", "pkl"])
def test_arrays_of_a_video_become_its_store(tmp_path, kind):
  content = dict(boxes=np.array([[[10, 10, 20, 20.0]], [[0, 0, 100, 50.0]]]), scores=np.array([[0.7], [0.8]]),
                 features=np.ones((2, 1, 4)), frames=np.array([0, 12]), width=100, height=50, fps=24)
  (tmp_path / "in").mkdir()
  if kind == "npz":
    np.savez(tmp_path / "in/P01_01.npz", **content)
  else:
    (tmp_path / "in/P01_01.pkl").write_bytes(pickle.dumps(content))
  convert(tmp_path / "in", tmp_path)
  np.testing.assert_allclose(store(tmp_path).boxes[:, 0], [[0.1, 0.2, 0.2, 0.4], [0, 0, 1, 1]], rtol=1e-6)
  np.testing.assert_allclose(store(tmp_path).time_s, [0, 0.5])


def test_boxes_of_epic_become_stores_without_features(tmp_path):
  (tmp_path / "EPIC_train_object_labels.csv").write_text(
      'noun_class,noun,participant_id,video_id,frame,bounding_boxes\n'
      '20,bag,P01,P01_01,60,"[(540, 0, 270, 480)]"\n3,door,P01,P01_01,60,[]\n')
  convert(tmp_path, tmp_path, width=1920, height=1080, size=8)
  np.testing.assert_allclose(store(tmp_path).boxes[0, 0], [0, 0.5, 0.25, 0.75])
  assert store(tmp_path).feats.shape[-1] == 8 and store(tmp_path).time_s.tolist() == [1.0]


class Harmful:

  def __reduce__(self):
    return print, ("harm",)


@pytest.mark.parametrize("content, options, words", [
    ([{**ROW, "bbox": [1, 2, 3]}], {}, ["entry 1", "'bbox'"]),
    ([ROW], {}, ["entry 1", "frames per second", "'P01_01'", "fps="]),
    ([ROW], dict(fps=60), ["d.json", "in pixels", "width="]),
    ([{**ROW, "bbox": [100, 48, 64, 24]}], dict(fps=60, width=128, height=96), ["d.json, video 'P01_01', frame 0 (at ", "outside"]),
    ([{**ROW, "bbox": [10, 48, 0, 24]}], dict(fps=60, width=128, height=96), ["s), box 0", "no area"]),
    ([ROW, {**ROW, "feature": [1]}], dict(fps=60, width=128, height=96), ["1 feature, others have 3"]),
    ({"a": 1}, {}, ["expected a list"])])
def test_a_bad_file_is_one_line_that_names_it(tmp_path, content, options, words):
  (tmp_path / "d.json").write_text(json.dumps(content))
  with pytest.raises(errors.DataError) as e:
    convert(tmp_path / "d.json", tmp_path, **options)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
  assert not (tmp_path / "out" / "P01_01.npz").exists()


def test_a_pickle_runs_nothing(tmp_path, capsys):
  (tmp_path / "v.pkl").write_bytes(pickle.dumps({"boxes": Harmful()}))
  with pytest.raises(errors.DataError, match="v.pkl holds no detections.*print"):
    convert(tmp_path / "v.pkl", tmp_path)
  assert "harm" not in capsys.readouterr().out


def test_nothing_to_convert_is_one_clear_line(tmp_path):
  (tmp_path / "in").mkdir()
  for root, words in (("in", "holds no detections"), ("none", "does not exist")):
    with pytest.raises(errors.DataError, match=words):
      convert(tmp_path / root, tmp_path)
