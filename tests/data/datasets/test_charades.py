import numpy as np
import pytest

from tests.data import videos
from vidx import errors
from vidx.data import clips, datasets, examples
from vidx.data.datasets import kinetics
from vidx.data.records import Dataset
from vidx.train import config

HEADER = "id,subject,scene,actions,length"


def charades(root, *rows):
  (root / "Charades_v1_classes.txt").write_text("c000 Holding some clothes\nc001 Putting clothes somewhere\nc002 Taking\n")
  (root / "Charades_v1_train.csv").write_text("\n".join((HEADER, *rows)) + "\n")
  (root / "Charades_v1_test.csv").write_text(f"{HEADER}\n46GP8,H,Kitchen,c002 0.00 12.60,24.8\n")
  (root / "Charades_v1_480").mkdir()
  for name in ("YSKX3", "7UPGT", "46GP8"):
    (root / "Charades_v1_480" / f"{name}.mp4").write_bytes(b"0")
  return str(root)


def test_a_video_has_all_of_its_actions(tmp_path):
  root = charades(tmp_path, "YSKX3,A,Home,c001 11.90 21.20;c000 0.00 12.60;c001 22.00 24.00,30", "7UPGT,B,Home,,31",
                  "GONE1,B,Home,c000 1 2,31")
  train = datasets.load("charades", root, "train", max_missing=0.5)
  assert train.multilabel and train.classes == ("Holding some clothes", "Putting clothes somewhere", "Taking")
  assert [r.label for r in train.records] == [(0, 1), ()] and train.missing == ("GONE1",)
  assert train.records[0].extra["actions"] == ((1, 11.9, 21.2), (0, 0.0, 12.6), (1, 22.0, 24.0))
  assert [r.id for r in datasets.load("charades", root, "val").records] == ["46GP8"]


@pytest.mark.parametrize("row, words", [
    ("YSKX3,A,Home,c009 1 2,30", r"line 2: action 'c009' is not one of the 3"), ("YSKX3,A,Home,c001 1,30", "line 2: 'c001 1'"),
    ("YSKX3,A,Home,c001 a 2,30", "'a' is not a number"),
])
def test_a_broken_line_is_named(tmp_path, row, words):
  with pytest.raises(errors.DataError, match=words):
    datasets.load("charades", charades(tmp_path, row), "train")


def test_kinetics_sounds_are_32_classes_of_kinetics_400(tmp_path, real_data):
  assert len(set(kinetics.SOUNDS)) == 32
  maps = [p for p in real_data("annotations").rglob("*") if "k400" in p.name.lower() or "kinetics400" in p.name.lower()
          or "kinetics_400" in p.name.lower()]
  known = {line.strip().lower().replace("_", " ").strip('"') for p in maps if p.is_file() for line in
           p.read_text(errors="ignore").splitlines()}
  if not known:
    pytest.skip("no label map of Kinetics-400 is there")
  absent = [name for name in kinetics.SOUNDS if not any(name in line for line in known)]
  assert absent == []


def test_a_subset_keeps_videos_and_all_classes(tmp_path):
  names = [*kinetics.SOUNDS, "abseiling"]
  (tmp_path / "classes.txt").write_text("\n".join(sorted(names)))
  rows = ["label,youtube_id,time_start,time_end,split", "singing,aaa,0,10,val", "abseiling,bbb,0,10,val"]
  (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
  for name in ("aaa", "bbb"):
    (tmp_path / f"{name}_000000_000010.mp4").write_bytes(b"0")
  kept = datasets.load("kinetics", str(tmp_path), "val", subset="sounds")
  assert [r.id for r in kept.records] == ["aaa_000000_000010.mp4"] and len(kept.classes) == 33
  assert kept.facts["among"][0] == "Kinetics-Sounds" and len(kept.facts["among"][1]) == 32
  with pytest.raises(errors.ConfigError, match="subset"):
    datasets.load("kinetics", str(tmp_path), "val", subset="sound")
  (tmp_path / "classes.txt").write_text("singing\nabseiling")
  with pytest.raises(errors.ConfigError, match="have no 'blowing nose'"):
    datasets.load("kinetics", str(tmp_path), "val", subset="sounds")


def test_a_clip_is_trained_on_the_actions_in_its_time_and_a_video_is_scored_on_all(tmp_path):
  root = charades(tmp_path, "YSKX3,A,Home,c001 0.00 1.00;c000 0.90 2.00;c002 3.00 4.00,4")
  videos.write(tmp_path / "Charades_v1_480" / "YSKX3.mp4", videos.pictures(40, 32, 24), rate=10)
  train, c = datasets.load("charades", root, "train"), config.base()
  c.data.update(frames=8, sampler="stride", short_side=24, crop=24, crop_mode="random", workers=0, clip_labels=True)
  made = examples.make(train, c.data, training=True, wanted=("video",))
  seen = set()
  for seed in range(24):
    rng = np.random.default_rng(seed)
    first = clips.Clips(c.data, timed=True).cut(train.records[0], np.random.default_rng(seed)).seconds[0, 0]
    label = made.train(0, rng, 0)["label"]
    last = first + 0.7
    expected = [0.9 <= last and 2 >= first, first <= 1.0, last >= 3.0]
    np.testing.assert_array_equal(label, np.array(expected, np.float32))
    seen.add(tuple(label))
  assert len(seen) > 2
  np.testing.assert_array_equal(examples.make(train, c.data, training=False).evaluate(0, 0)["label"], [1, 1, 1])
  with pytest.raises(errors.ConfigError, match="data.clip_labels: data set 'none'"):
    examples.make(Dataset("none", "train", ()), c.data, training=True)
