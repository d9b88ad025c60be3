import numpy as np
import pytest
from scipy import io

from vidx import errors
from vidx.data import datasets, feature_files, score_files


def write(folder, folds=2, videos=3):
  rng = np.random.default_rng(0)
  made = {}
  for fold in range(1, folds + 1):
    cells = {k: np.empty((1, videos), object) for k in "SY"}
    for i in range(videos):
      frames = 30 + 7 * i
      cells["S"][0, i] = rng.normal(size=(frames, 4))
      cells["Y"][0, i] = np.sort(rng.integers(0, 4, (1, frames)))
      made[f"{fold}-{i + 1:02d}"] = cells["S"][0, i], cells["Y"][0, i][0]
    io.savemat(folder / f"{fold}.mat", cells)
  return made


def test_scores_become_a_data_set_of_folds(tmp_path):
  made = write(tmp_path)
  (tmp_path / "names.txt").write_text("cut\npeel\nmix\n")
  summary = score_files.convert(str(tmp_path), str(tmp_path / "out"), str(tmp_path / "names.txt"))
  assert summary == {"folds": 2, "videos": 6, "frames": 222, "classes": 4, "features": 4}
  for fold, split in ((1, "test"), (2, "train")):
    found = datasets.load("ms_tcn", str(tmp_path / "out"), split, fold=fold)
    assert found.classes == ("background", "cut", "peel", "mix")
    assert [r.id for r in found.records] == [f"1-{i:02d}" for i in (1, 2, 3)]
    for record in found.records:
      x, labels = feature_files.load(record)
      np.testing.assert_allclose(x, made[record.id][0], rtol=1e-6)
      np.testing.assert_array_equal(labels, made[record.id][1])


def test_classes_without_names_are_numbered_and_other_files_are_errors(tmp_path):
  with pytest.raises(errors.DataError, match="holds no score files 1.mat"):
    score_files.convert(str(tmp_path), str(tmp_path / "out"))
  write(tmp_path)
  score_files.convert(str(tmp_path), str(tmp_path / "out"))
  assert (tmp_path / "out/mapping.txt").read_text() == "0 background\n1 class_1\n2 class_2\n3 class_3\n"
  (tmp_path / "names.txt").write_text("cut\n")
  with pytest.raises(errors.DataError, match="names.txt: 1 name for 3 classes"):
    score_files.convert(str(tmp_path), str(tmp_path / "out"), str(tmp_path / "names.txt"))
  (tmp_path / "1.mat").write_bytes(b"nothing")
  with pytest.raises(errors.DataError, match="1.mat is no .mat file with the cells S and Y"):
    score_files.convert(str(tmp_path), str(tmp_path / "out"))


def test_the_released_scores_of_50salads_are_read(real_data, tmp_path):
  folder = real_data("tcn_action_segmentation/predictions/50Salads/mid/mid_video_SVM")
  summary = score_files.convert(str(folder), str(tmp_path))
  assert summary == {"folds": 5, "videos": 50, "frames": 16596, "classes": 18, "features": 18}
  assert len(datasets.load("ms_tcn", str(tmp_path), "train", fold=3)) == 40
