import pytest

from vidx import errors
from vidx.data import media_files

ENDINGS = "mp4 m4v mov avi mkv webm mpg mpeg wmv asf flv 3gp 3g2 ts mts m2ts vob ogv gif".split()


def touch(root, *names):
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()
  return root


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_video_is_known_by_its_ending_in_any_case(ending):
  assert media_files.is_video(f"a.{ending}") and media_files.is_video(f"B.{ending.upper()}")
  assert not media_files.is_video(f"a{ending}") and not media_files.is_video(f"a.{ending}.txt")


def test_folders_are_searched_and_globs_expanded_and_every_file_comes_once(tmp_path):
  touch(tmp_path, "b.mp4", "deep/a.mkv", "deep/er/C.MP4", "deep/notes.txt", "broken.mp4")
  names = lambda *paths: [p.removeprefix(f"{tmp_path}/") for p in media_files.find([str(tmp_path / p) for p in paths])]
  assert names("") == ["b.mp4", "broken.mp4", "deep/a.mkv", "deep/er/C.MP4"]
  assert names("deep/a.mkv", "**/*.m*") == ["deep/a.mkv", "b.mp4", "broken.mp4"]
  assert names("deep/notes.txt", "gone.mp4") == ["deep/notes.txt", "gone.mp4"]
  assert media_files.find(tmp_path / "b.mp4") == [str(tmp_path / "b.mp4")]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
  file = tmp_path / "clip[1].mp4"
  file.touch()
  assert media_files.find([str(file)]) == [str(file)]


@pytest.mark.parametrize("path", ["gone.mp4", "*.none", "empty"])
def test_paths_that_mean_no_file_are_named(tmp_path, path):
  (tmp_path / "empty").mkdir()
  with pytest.raises(errors.DataError, match=path.replace("*", "\\*")):
    media_files.find([str(tmp_path / path)])
