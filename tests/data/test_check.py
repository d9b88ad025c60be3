import io
import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from tests.data import sounds, tiny, videos
from vidx import cli, errors
from vidx.data import build, check, datasets


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """Class folders with good files and bad ones of every kind."""
  root = tiny.folder(tmp_path_factory.mktemp("set"), train=6, val=2)
  (root / "train/jump/empty.mp4").write_bytes(b"")
  (root / "train/run/text.mp4").write_text("not a video")
  whole = (root / "train/run/train1.mp4").read_bytes()
  (root / "val/run/cut.mp4").write_bytes(whole[:len(whole) // 2])
  return root


@pytest.fixture(scope="module")
def result(root):
  return check.check("folder", str(root), workers=2)


def test_every_bad_file_is_named_once_with_its_reason(root, result):
  assert [(b["split"], os.path.relpath(b["path"], root)) for b in result["bad"]] == [
      ("train", "train/jump/empty.mp4"), ("train", "train/run/text.mp4"), ("val", "val/run/cut.mp4")]
  assert all(b["reason"] and "\n" not in b["reason"] and b["path"] not in b["reason"] for b in result["bad"])
  assert "empty" in result["bad"][0]["reason"]


def test_counts_durations_rates_sizes_and_labels(result):
  train = result["splits"]["train"]
  assert (train["records"], train["videos"], train["bad"], train["missing"]) == (8, 8, 2, [])
  assert train["labels"] == {"jump": 4, "run": 4} and train["unlabelled"] == 0 and train["with_sound"] == 0
  assert train["frames"] == {"total": 72, "min": 12, "median": 12, "max": 12}
  assert train["seconds"]["total"] == pytest.approx(6 * 12 / 25)
  assert train["fps"] == {"25": 6} and train["sizes"] == {"64x48": 6}
  assert list(result["splits"]) == ["train", "val"] and list(result["absent"]) == ["test"]


def test_tables_and_lists_say_it_all(result):
  out = io.StringIO()
  check.show(result, Console(file=out, width=60))
  text = out.getvalue()
  for b in result["bad"]:
    assert f"bad ({b['split']}): {b['path']}: {b['reason']}\n" in text
  assert "64x48 (6)" in text and "jump" in text and "passed over" in text


def test_brackets_in_class_names_are_shown(result):
  changed = {**result, "classes": ["[red]", "b"], "bad": [], "splits": {
      "val": {**result["splits"]["val"], "labels": {"[red]": 1, "b": 2}, "missing": ["[x].mp4"]}}}
  out = io.StringIO()
  check.show(changed, Console(file=out, width=60))
  assert "[red]" in out.getvalue() and "missing (val): [x].mp4" in out.getvalue() and "no bad files" in out.getvalue()


def test_damage_in_the_middle_is_found_when_all_frames_are_decoded(tmp_path):
  path = tiny.write_video(tmp_path / "train/a/damaged.mp4", frames=60)
  tiny.write_video(tmp_path / "train/a/good.mp4")
  data = bytearray(path.read_bytes())
  start = data.index(b"mdat") + 4
  middle = start + (len(data) - start) // 3
  data[middle:middle + 400] = bytes(400)
  path.write_bytes(bytes(data))
  result = check.check("folder", str(tmp_path), "train", full=True, workers=1)
  assert [b["id"] for b in result["bad"]] == ["a/damaged.mp4"]


def test_missing_files_are_listed_and_pass_up_to_a_share(tmp_path, capsys):
  tiny.write_video(tmp_path / "a.mp4")
  (tmp_path / "train.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
  assert check.check("csv", str(tmp_path))["splits"]["train"]["missing"] == ["b.mp4"]
  assert check.main("csv", str(tmp_path), max_missing=0.5) == 0
  assert check.main("csv", str(tmp_path)) == 1
  assert "missing (train): b.mp4\n" in capsys.readouterr().out
  os.remove(tmp_path / "a.mp4")
  assert check.check("csv", str(tmp_path))["splits"]["train"]["missing"] == ["a.mp4", "b.mp4"]
  assert check.main("csv", str(tmp_path), max_listed=1) == 1
  assert "missing (train): 1 more" in capsys.readouterr().out


def test_frame_folders_are_checked(tmp_path):
  tiny.write_frames(tmp_path / "v/one", frames=6)
  tiny.write_frames(tmp_path / "v/two", frames=6)
  for name in ("one", "two"):
    for f in (tmp_path / "v" / name).iterdir():
      f.rename(f.with_name(f"img_{f.name}"))
  (tmp_path / "v/two/img_00006.jpg").write_text("not a picture")
  (tmp_path / "train_videofolder.txt").write_text("v/one 6 0\nv/two 6 1\n")
  result = check.check("kinetics", str(tmp_path))
  assert [b["id"] for b in result["bad"]] == ["v/two"]
  assert result["splits"]["train"]["frames"]["total"] == 6


def test_features_of_experts_are_checked_by_the_command_that_a_split_with_missing_ones_names(tmp_path, capsys):
  names = ("good", "text", "hole", "gone")
  (tmp_path / "MSRVTT_data.json").write_text(json.dumps({
      "videos": [{"video_id": n, "split": "validate"} for n in names],
      "sentences": [{"video_id": n, "caption": "a dog runs"} for n in names]}))
  (tmp_path / "experts").mkdir()
  np.savez(tmp_path / "experts/good.npz", rgb=np.ones((4, 3)), audio=np.ones((2, 2)))
  np.savez(tmp_path / "experts/hole.npz", rgb=np.array([[1, np.inf]]))
  (tmp_path / "experts/text.npz").write_text("no features")
  with pytest.raises(errors.DataError, match="1 of the 4 media .* missing") as e:
    datasets.load("msrvtt", str(tmp_path), "val", protocol="full")
  command = shlex.split(str(e.value).split("`")[1])
  assert command[:3] == ["vidx", "data", "check"] and cli.main(command[1:]) == 1
  out = capsys.readouterr().out
  assert "missing (val): gone\n" in out and "good.npz" not in out
  assert "hole.npz: expert 'rgb' holds what is no number" in out and "text.npz: no features of experts" in out
  val = check.check("msrvtt", str(tmp_path), "val", protocol="full")["splits"]["val"]
  assert val["frames"]["total"] == 4 and val["sizes"] == {"5x1": 1} and val["bad"] == 2


def test_a_broken_annotation_is_no_absent_split(tmp_path):
  tiny.write_video(tmp_path / "a.mp4")
  (tmp_path / "classes.txt").write_text("x\n")
  (tmp_path / "train.csv").write_text("path,label\na.mp4,x\n")
  (tmp_path / "val.csv").write_text("path,label\na.mp4\n")
  with pytest.raises(errors.DataError, match="val.csv, line 2: 1 column"):
    check.check("csv", str(tmp_path))


def test_the_verb_ends_with_the_status(root, tmp_path, capsys):
  tiny.folder(tmp_path, train=2, val=2)
  assert cli.main(["data", "check", f"--root={tmp_path}", "full=true"]) == 0
  assert cli.main(["data", "check", f"--root={root}", "--split=train", "workers=1"]) == 1
  assert cli.main(["data", "check", f"--root={root}", "--split=test"]) == 2
  assert cli.main(["data", "check", f"--root={root}", "frames=0"]) == 2
  assert cli.main(["data", "check", f"--root={root}", "ful=1"]) == 2
  split, frames, option = capsys.readouterr().err.splitlines()
  assert "has folders for train, val and none for split 'test'" in split
  assert "frames=0" in frames and "data.dataset.ful" in option


def test_examples_of_a_file_of_several_are_called_by_their_own_names(tmp_path, capsys):
  tiny.folder(tmp_path / "in", train=2, val=2)
  rows = ["train/run/train1.mp4,a,train,50,60", "train/jump/train0.mp4,b,train,0,90", "val/run/val1.mp4,a,val,0,0.4"]
  (tmp_path / "in" / "clips.csv").write_text("\n".join(["path,label,split,start,end", *rows]))
  build.build("folder", str(tmp_path / "in"), str(tmp_path / "out"))
  assert cli.main(["data", "check", "--dataset=array_record", f"--root={tmp_path / 'out'}"]) == 1
  said = capsys.readouterr().out
  shard = tmp_path / "out" / "videos-train.array_record-00000-of-00001"
  assert f"bad (train): train/run/train1.mp4 at 50 to 60 in {shard}: the span" in said
  assert f"such as train/jump/train0.mp4 at 0 to 90 in {shard}: 0 to 90 s of" in said


def test_checking_imports_no_jax():
  code = "import sys; import vidx.data.check; sys.exit('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_videos_without_sound_and_with_damaged_sound_are_counted_in_a_line_each(tmp_path, capsys):
  for name, label in (("good", "x"), ("bare", "x"), ("spoilt", "y")):
    path = tmp_path / f"{label}/{name}.mp4"
    path.parent.mkdir(exist_ok=True)
    if name == "bare":
      videos.write(path, sounds.clip(25), rate=25)
    else:
      sounds.write(path, sounds.tones(1.0, 16000), 16000, frames=sounds.clip(25))
  sounds.damage(tmp_path / "y/spoilt.mp4")
  (tmp_path / "clips.csv").write_text(
      "path,label,split\nx/good.mp4,x,train\nx/bare.mp4,x,train\ny/spoilt.mp4,y,train\n")
  assert check.main("folder", str(tmp_path), "train") == 0
  said = capsys.readouterr().out
  assert "without sound (train): 1 of 3 videos" in said and "bare.mp4" in said
  assert "damaged sound (train): 1 of 3 videos, such as" in said and "spoilt.mp4: its sound cannot be decoded" in said
  assert check.check("folder", str(tmp_path), full=True)["splits"]["train"]["sound"]["damaged"]


def test_copies_under_other_names_and_spans_beyond_the_end_are_told(tmp_path):
  root = tiny.folder(tmp_path, train=3, val=0)
  tiny.write_video(root / "val/run/own.mp4", seed=9)
  for split, name in (("val", "copy"), ("train", "again")):  # copies inside of a split are its own affair
    (root / split / f"run/{name}.mp4").write_bytes((root / "train/run/train1.mp4").read_bytes())
  (root / "val/run/empty.mp4").write_bytes(b"")
  (root / "train/run/empty.mp4").write_bytes(b"")
  copies = [note for note in check.check("folder", str(root))["notes"] if "are copies" in note]
  assert len(copies) == 1 and copies[0].startswith("1 of the 2 files of split 'val' are copies of files of 'train'")
  assert f"{root}/val/run/copy.mp4 is {root}/train/run/again.mp4" in copies[0]

  (root / "clips.csv").write_text("path,label,split,start,end\n" + "".join(
      f"train/run/train1.mp4,run,train,{start},{end}\n" for start, end in ((0, 0.4), (0.1, 1.4), (0.2, 60))))
  notes = check.check("csv", str(root), "train", file="clips.csv")["notes"]
  assert [note for note in notes if "spans" in note] == [
      "split 'train': 1 of its 3 spans end after their video and are cut at its end, such as"
      f" {root}/train/run/train1.mp4: 0.2 to 60 s of 0.48 s"]
