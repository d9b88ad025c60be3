import pytest

from vidx import errors
from vidx.data import datasets


def touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"")


def test_all_videos_below_a_folder_are_split_by_their_names_and_have_no_labels(tmp_path):
  names = [f"{'abc'[i % 3]}/{i}.mp4" for i in range(60)]
  touch(tmp_path, *names, "a/notes.txt", "loose.webm")
  parts = {split: datasets.load("videos", str(tmp_path), split) for split in ("train", "val")}
  ids = {split: {r.id for r in part.records} for split, part in parts.items()}
  assert not ids["train"] & ids["val"] and ids["train"] | ids["val"] == {*names, "loose.webm"}
  assert 0.1 < len(ids["val"]) / 61 < 0.35
  assert all(r.label == -1 for r in parts["train"].records) and not parts["train"].classes


def test_folders_named_after_splits_are_the_splits(tmp_path):
  touch(tmp_path, "train/a/1.mp4", "train/2.mp4", "val/3.mp4")
  assert [r.id for r in datasets.load("videos", str(tmp_path), "train").records] == ["2.mp4", "a/1.mp4"]
  assert [r.id for r in datasets.load("videos", str(tmp_path), "val").records] == ["3.mp4"]
  with pytest.raises(errors.AbsentError, match="none for split 'test'"):
    datasets.load("videos", str(tmp_path), "test")
