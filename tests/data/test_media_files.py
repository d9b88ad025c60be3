import os

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


def link(root, name, to):
  (root / name).parent.mkdir(parents=True, exist_ok=True)
  os.symlink(to, root / name)


def paths(root, folder="", **options):
  return [os.path.relpath(p, root) for p in media_files.find(str(root / folder), **options)]


CIRCLES = [[("a/up", "..")], [("a/x", "."), ("a/y", ".")], [("a/x", "../b"), ("b/y", "../a")], [("a/self", "self")]]


@pytest.mark.parametrize("links", CIRCLES)
def test_a_circle_of_links_is_gone_round_once(tmp_path, links):
  touch(tmp_path, "a/1.mp4", "b/2.mp4")
  for name, to in links:
    link(tmp_path, name, to)
  assert [f.path for f in media_files.walk(str(tmp_path))] == [str(tmp_path / p) for p in ("", "a", "b")]
  files = [str(tmp_path / p) for p in ("a/1.mp4", "b/2.mp4")]
  assert media_files.find(str(tmp_path)) == media_files.find(f"{tmp_path}/**/*.mp4") == files


def test_a_linked_folder_is_searched_and_one_that_lies_here_keeps_its_place(tmp_path):
  touch(tmp_path, "elsewhere/3.mp4", "set/b/2.mp4")
  link(tmp_path, "set/a/aside", "../b")
  link(tmp_path, "set/a/far", "../../elsewhere")
  assert paths(tmp_path, "set") == ["set/a/far/3.mp4", "set/b/2.mp4"]


@pytest.mark.parametrize("name", ["._a.mp4", ".DS_Store", ".trash/a.mp4", "deep/._b.MOV"])
def test_names_that_begin_with_a_dot_are_passed_over(tmp_path, name):
  touch(tmp_path, "a.mp4", name)
  assert paths(tmp_path) == ["a.mp4"]
  assert media_files.below(str(tmp_path)).others == []
  assert [os.path.basename(p) for p in media_files.find([f"{tmp_path}/*", f"{tmp_path}/**"])] == ["a.mp4"]


TYPESCRIPT = "import {a} from './b';\nexport const c = a;\n"


@pytest.mark.parametrize("content, text", [
    (TYPESCRIPT.encode(), True), ("\ufeff// caf\u00e9".encode(), True), (TYPESCRIPT.encode("utf-16"), True),
    (b"\x47\x40\x00\x10\x00" + bytes(183), False), (bytes(4) + b"\x47\x40\x00\x10" + bytes(184), False),
    (b"", False)])
def test_typescript_is_no_transport_stream(tmp_path, content, text):
  lines = []
  for name in ("a.ts", "b.MTS", "c.mp4"):
    (tmp_path / name).write_bytes(content)
  assert paths(tmp_path, say=lines.append) == (["c.mp4"] if text else ["a.ts", "b.MTS", "c.mp4"])
  assert len(lines) == text and all("2 text files with" in line and "a.ts, b.MTS" in line for line in lines)
  assert media_files.find(str(tmp_path / "a.ts"))  # what is named is taken as it is named


def test_folders_of_frames_are_media(tmp_path):
  touch(tmp_path, *(f"one/img_{i:05d}.jpg" for i in range(3)), *(f"deep/two/{i}.PNG" for i in range(2)),
        "deep/v.mp4", "deep/cover1.jpg", "deep/cover2.jpg", "photo/single1.jpg", "f/flow_x_1.jpg", "f/flow_x_2.jpg")
  assert paths(tmp_path) == ["deep/two", "deep/v.mp4", "one"]
  assert paths(tmp_path, "one") == ["one"] and paths(tmp_path, "photo") == ["photo"]
  assert media_files.find([str(tmp_path / "on*")]) == [str(tmp_path / "one")]


def test_a_path_that_means_no_video_beside_others_is_said(tmp_path):
  touch(tmp_path, "a.mp4", "notes/a.txt")
  lines = []
  assert media_files.find([str(tmp_path / p) for p in ("a.mp4", "notes", "*.none")], say=lines.append) == [
      str(tmp_path / "a.mp4")]
  assert lines == [f"no video in {tmp_path}/{p}" for p in ("notes", "*.none")]


def test_a_glob_matches_what_globs_match(tmp_path):
  touch(tmp_path, "a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.avi")
  found = lambda pattern: [os.path.relpath(p, tmp_path) for p in media_files.find(f"{tmp_path}/{pattern}")]
  assert found("**") == found("**/*") == ["a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.avi"]
  assert found("x/**/*.mp4") == ["x/b.mp4", "x/y/c.mp4"] and found("**/y/*.avi") == ["x/y/d.avi"]
  assert found("?.mp4") == ["a.mp4"] and found("*/*.mp4") == ["x/b.mp4"]


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path, monkeypatch):
  touch(tmp_path, "a/1.mp4")
  scandir = os.scandir

  def closed(path):
    if str(path).endswith("a"):
      raise PermissionError(13, "Permission denied")
    return scandir(path)

  monkeypatch.setattr(os, "scandir", closed)
  with pytest.raises(errors.DataError, match="a cannot be listed"):
    media_files.find(str(tmp_path))
