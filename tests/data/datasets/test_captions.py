import csv
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets


def with_experts(root, names):
  folder = pathlib.Path(root) / "experts" / "rgb"
  folder.mkdir(parents=True, exist_ok=True)
  for name in names:
    np.save(folder / f"{name}.npy", np.zeros((1, 2), np.float32))


@pytest.fixture
def msrvtt(tmp_path):
  videos = [{"video_id": f"video{i}", "split": ("train", "validate", "test")[min(i // 3, 2)]} for i in range(8)]
  said = [{"sen_id": n, "video_id": f"video{n // 2}", "caption": f" caption  {n} "} for n in range(16)]
  (tmp_path / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": said}))
  (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(
      "key,vid_key,video_id,sentence\nret0,msr6,video6,a dog\nret1,msr7,video7,\"a cat, asleep\"\n")
  (tmp_path / "train_list_miech.txt").write_text("video0\nvideo1\n")
  (tmp_path / "test_list_miech.txt").write_text("video5\n")
  with_experts(tmp_path, [f"video{i}" for i in range(8)])
  return tmp_path


@pytest.mark.parametrize("protocol, split, names, captions", [
    ("1k-A", "train", [f"video{i}" for i in range(6)], ("caption 0", "caption 1")),
    ("1k-A", "test", ["video6", "video7"], ("a dog",)),
    ("1k-B", "train", ["video0", "video1"], ("caption 0", "caption 1")),
    ("1k-B", "val", ["video5"], ("caption 10",)),
    ("full", "train", ["video0", "video1", "video2"], ("caption 0", "caption 1")),
    ("full", "val", ["video3", "video4", "video5"], ("caption 6", "caption 7")),
    ("full", "test", ["video6", "video7"], ("caption 12", "caption 13"))])
def test_msrvtt_in_its_three_protocols(msrvtt, protocol, split, names, captions):
  found = datasets.load("msrvtt", str(msrvtt), split, protocol=protocol)
  assert [r.id for r in found.records] == names and found.records[0].extra["captions"] == captions


def test_videos_without_features_are_missing_and_a_caption_of_no_video_is_named(msrvtt):
  os.remove(msrvtt / "experts/rgb/video7.npy")
  assert datasets.read("msrvtt", str(msrvtt), "test").missing == ("video7",)
  content = json.loads((msrvtt / "MSRVTT_data.json").read_text())
  content["sentences"][3]["video_id"] = "video99"
  (msrvtt / "MSRVTT_data.json").write_text(json.dumps(content))
  with pytest.raises(errors.DataError, match="sentence 4: there is no video 'video99'"):
    datasets.load("msrvtt", str(msrvtt), "train")
  os.remove(msrvtt / "MSRVTT_JSFUSION_test.csv")
  with pytest.raises(errors.AbsentError, match="protocol '1k-A' tests its pairs; with protocol=full"):
    datasets.load("msrvtt", str(msrvtt), "test")
  with pytest.raises(errors.ConfigError, match="nearest: '1k-A'|not one of 1k-A"):
    datasets.load("msrvtt", str(msrvtt), "train", protocol="1k-C")


def test_captions_without_a_word_are_left_out_and_counted(msrvtt):
  content = json.loads((msrvtt / "MSRVTT_data.json").read_text())
  for number in (0, 2, 3):
    content["sentences"][number]["caption"] = " "
  (msrvtt / "MSRVTT_data.json").write_text(json.dumps(content))
  found = datasets.load("msrvtt", str(msrvtt), "train", protocol="full")
  assert {r.id: r.extra["captions"] for r in found.records} == {
      "video0": ("caption 1",), "video2": ("caption 4", "caption 5")}
  assert found.notes == ("split 'train': left out 3 captions without a word, and 1 video without others"
                         " (video1)",)
  for row in content["sentences"]:
    row["caption"] = ""
  (msrvtt / "MSRVTT_data.json").write_text(json.dumps(content))
  with pytest.raises(errors.AbsentError, match="is empty .* captions without a word"):
    datasets.load("msrvtt", str(msrvtt), "train", protocol="full")


def test_activitynet_has_its_sentences_in_the_order_of_time(tmp_path):
  (tmp_path / "val_1.json").write_text(json.dumps(
      {"v_a": {"duration": 9, "timestamps": [[4, 8], [0, 4]], "sentences": [" then b", "first a "]}}))
  with_experts(tmp_path, ["v_a"])
  record, = datasets.load("activitynet_captions", str(tmp_path), "val").records
  assert record.extra["captions"] == ("first a", "then b") and record.extra["duration"] == 9
  (tmp_path / "val_1.json").write_text('{"v_a": {"duration": 9}}')
  with pytest.raises(errors.DataError, match="entry 1: no 'duration', 'timestamps' and 'sentences'"):
    datasets.load("activitynet_captions", str(tmp_path), "val")


def test_lsmdc_leaves_out_clips_without_a_sentence(tmp_path):
  (tmp_path / "LSMDC16_annos_training.csv").write_text("a\t1\t2\t3\t4\tHe runs.\nb\t1\t2\t3\t4\t\n")
  with_experts(tmp_path, ["a", "b"])
  found = datasets.load("lsmdc", str(tmp_path), "train")
  assert [r.extra["captions"] for r in found.records] == [("He runs.",)]
  assert "1 clip without a sentence" in found.notes[0]
  (tmp_path / "LSMDC16_annos_training.csv").write_text("a\t1\t2\n")
  with pytest.raises(errors.DataError, match="line 1: 3 columns between tabs"):
    datasets.load("lsmdc", str(tmp_path), "train")


def test_the_real_lists_have_their_numbers(real_data, tmp_path):
  source = real_data("annotations")
  for path in (source / "text_video" / "msrvtt_test.csv", source / "text_video" / "validation_youcook.csv",
               source / "epic100" / "EPIC_100_retrieval_test.csv",
               source / "epic100" / "EPIC_100_retrieval_test_sentence.csv"):
    shutil.copy(path, tmp_path)
  rows = list(csv.DictReader(open(tmp_path / "validation_youcook.csv", encoding="utf-8")))
  with_experts(tmp_path, [f"video{i}" for i in range(7010, 10_000)])
  with_experts(tmp_path, {f"{r['video_id']}_{float(r['start']):g}_{float(r['end']):g}" for r in rows})
  segments = csv.DictReader(open(tmp_path / "EPIC_100_retrieval_test.csv", encoding="utf-8"))
  with_experts(tmp_path, [r["narration_id"] for r in segments])
  found = datasets.load("msrvtt", str(tmp_path), "test")
  assert len(found) == 1000 and found.records[0].extra["captions"] == ("a person is connecting something to system",)
  assert len(datasets.load("youcook2", str(tmp_path), "val")) == 3350
  epic = datasets.load("epic_retrieval", str(tmp_path), "test")
  assert len(epic) == 9668 and {r.extra["sentence"] for r in epic.records} == set(range(3842))
