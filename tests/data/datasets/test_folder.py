"""Class folders: which files of them are videos, and what is said of the others."""

import os

import pytest

from vidx import errors
from vidx.data import datasets


def touch(root, *paths):
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()
  return root


def ids(root, *splits):
  found = []
  for split in splits or ("train", "val"):
    found += [r.id for r in datasets.read("folder", str(root), split).records]
  return sorted(found)


@pytest.mark.parametrize("ending", ["ts", "MTS", "m2ts", "ogv", "gif", "flv", "3gp", "wmv", "mpg", "MP4"])
def test_every_ending_of_a_video_makes_a_record(tmp_path, ending):
  touch(tmp_path, f"a/1.{ending}", f"a/2.{ending}", "b/1.mp4")
  assert ids(tmp_path) == [f"a/1.{ending}", f"a/2.{ending}", "b/1.mp4"]
  assert datasets.read("folder", str(tmp_path), "train").notes == ()


def test_hidden_files_are_no_videos_and_nothing_is_said_of_them(tmp_path):
  touch(tmp_path, "a/1.mp4", "a/._1.mp4", "a/.DS_Store", ".trash/x.mp4", "b/.hidden/2.mp4", "b/1.mp4", "._c")
  assert ids(tmp_path) == ["a/1.mp4", "b/1.mp4"]
  assert datasets.read("folder", str(tmp_path), "train").notes == ()


def test_what_is_left_out_is_said(tmp_path):
  touch(tmp_path, "a/1.mp4", "a/notes.txt", "a/2.m4x", "c/only.txt")
  (tmp_path / "a" / "app.ts").write_text("export const a = 1;\n")
  classes, left, few = datasets.read("folder", str(tmp_path), "val").notes
  assert few == "a fifth of the videos of each class is for validation, of a single one none"
  assert "1 of 2 classes without a video (c)" in classes
  for words in ("left out 4 files beside", "2 .txt", "1 text that ends like a video", "1 .m4x", "a/app.ts"):
    assert words in left or words == "1 .m4x" and ".m4x" in left
  assert ids(tmp_path) == ["a/1.mp4"]


def test_a_split_that_is_empty_says_what_there_was_instead(tmp_path):
  touch(tmp_path, "a/1.m4x", "b/2.m4x")
  with pytest.raises(errors.AbsentError, match="is empty.*left out 2 file.*2 .m4x") as e:
    datasets.load("folder", str(tmp_path), "train")
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("base", ["", "train/"])
def test_folders_of_frames_are_videos_of_their_class(tmp_path, base):
  touch(tmp_path, *(f"{base}{c}/clip{k}/img_{i:05d}.jpg" for c in "ab" for k in range(2) for i in range(3)),
        f"{base}a/v.mp4")
  splits = ("train",) if base else ("train", "val")
  assert ids(tmp_path, *splits) == ["a/clip0", "a/clip1", "a/v.mp4", "b/clip0", "b/clip1"]
  kinds = {r.id: r.media.kind for r in datasets.read("folder", str(tmp_path), "train").records}
  assert all(kind == ("video" if name.endswith(".mp4") else "frames") for name, kind in kinds.items())


def test_a_class_that_is_itself_a_folder_of_frames_is_left_out_and_said(tmp_path):
  touch(tmp_path, *(f"a/{i}.jpg" for i in range(3)), "b/1.mp4")
  assert ids(tmp_path) == ["b/1.mp4"]
  assert "folders of frames that are a class" in " ".join(datasets.read("folder", str(tmp_path), "train").notes)


def test_links_lead_a_video_into_no_second_class(tmp_path):
  touch(tmp_path, "a/1.mp4", "b/2.mp4", "far/3.mp4")
  os.symlink("..", tmp_path / "a" / "up")
  os.symlink("../b", tmp_path / "a" / "aside")
  os.rename(tmp_path / "far", tmp_path.parent / f"{tmp_path.name}-far")
  os.symlink(f"../../{tmp_path.name}-far", tmp_path / "b" / "far")
  assert ids(tmp_path) == ["a/1.mp4", "b/2.mp4", "b/far/3.mp4"]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_second_name_in_a_class_is_left_out_and_in_two_classes_refused(tmp_path, link):
  touch(tmp_path, "a/1.mp4", "b/2.mp4")
  link(tmp_path / "a/1.mp4", tmp_path / "a/again.mp4")
  assert ids(tmp_path) == ["a/1.mp4", "b/2.mp4"]
  assert "second names" in datasets.read("folder", str(tmp_path), "train").notes[0]
  link(tmp_path / "a/1.mp4", tmp_path / "b/again.mp4")
  with pytest.raises(errors.DataError, match="one file in two classes"):
    datasets.read("folder", str(tmp_path), "train")


def test_folders_beside_split_folders_are_named(tmp_path):
  touch(tmp_path, "train/a/1.mp4", "val/a/2.mp4", "other/a/3.mp4")
  note, = datasets.read("folder", str(tmp_path), "train").notes
  assert "beside train, val not read: other" in note


def test_what_is_easily_taken_for_a_class_or_lost_is_told(tmp_path):
  touch(tmp_path, *(f"{c}/{i}.mp4" for c in "ab" for i in range(5)))
  notes = lambda split: datasets.read("folder", str(tmp_path), split).notes
  assert notes("train") == notes("val") == ()
  os.symlink(tmp_path / "gone", tmp_path / "c")
  touch(tmp_path, "b/clips.csv")
  astray, inner, rest = notes("train")
  assert astray == f"{tmp_path}: left out 1 link to nowhere (c)"
  assert inner == (f"{tmp_path}: b/clips.csv is taken for a file of a class; if that folder is the data set, name it as"
                   " the root")
  assert "1 .csv (b/clips.csv)" in rest


def test_a_split_that_is_empty_for_want_of_videos_is_told(tmp_path):
  touch(tmp_path, "a/1.mp4", "b/2.mp4")
  with pytest.raises(errors.AbsentError, match="split 'val' .* is empty .*a fifth of the videos of each class is for"
                     " validation, of a single one none"):
    datasets.load("folder", str(tmp_path), "val")


def test_inputs_that_once_failed(case):
  assert ids(case(5) / "mac") == ["a/testsrc_0.mp4", "b/testsrc2_0.mp4"]
  assert ids(case(6) / "tshalf") == [*(f"a/testsrc_{i}.mp4" for i in range(4)), "b/1.ts", "b/2.ts"]
  assert ids(case(13) / "ff2") == ["a/testsrc0", "b/testsrc20"]


@pytest.mark.parametrize("inside, said", [
    ("Data/VID/train/a/0.mp4", "Data/VID, as of 'imagenet_vid'"), ("triplets/a.mp4", "triplets, as of 'triplets'"),
    ("annotations/ava_train_v2.2.csv", "annotations/ava_train_v2.2.csv, as of 'ava'"),
    ("transcripts/a.txt", "transcripts, as of 'nn_viterbi' and 'mucon'")])
def test_a_root_that_looks_like_that_of_another_reader_is_told(tmp_path, inside, said):
  touch(tmp_path, inside)
  assert said in datasets.of_others("folder", str(tmp_path)) and not datasets.of_others("mucon", str(tmp_path))
  (tmp_path / "classes.txt").write_text("dog\ncat\n")
  touch(tmp_path, "cow/1.mp4")
  with pytest.raises(errors.DataError, match=f"is not one of the classes of .* The root has .*{said}"):
    datasets.read("folder", str(tmp_path), "train")
  touch(tmp_path, "clips.csv")
  assert not datasets.of_others("folder", str(tmp_path))
