import csv
import shutil

import cv2
import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import clips, datasets
from vidx.data.datasets import egocentric
from vidx.train import config as config_lib

HEADER = ("narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
          "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes").split(",")
OLD = ("uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,"
       "noun,noun_class,all_nouns,all_noun_classes").split(",")


def write_csv(path, header, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w", newline="") as f:
    csv.writer(f).writerows([header, *rows])


def row(name, start="00:00:00.00", stop="00:00:01.00", verb=0, noun=1, person="P01", video="P01_01"):
  return [name, person, video, start, start, stop, 1, 60, "take cup", "take", verb, "cup", noun, "['cup']", f"[{noun}]"]


def frames(folder, count):
  """Images numbered from 1 on, as EPIC-KITCHENS ships them."""
  folder.mkdir(parents=True)
  for i, picture in enumerate(tiny.pictures(count, 0), 1):
    cv2.imwrite(str(folder / f"frame_{i:010d}.jpg"), picture)


@pytest.fixture
def epic(tmp_path):
  root = tmp_path / "epic"
  write_csv(root / "EPIC_100_verb_classes.csv", ["id", "key", "instances", "category"],
            [[0, "take", "['take']", "x"], [1, "put", "['put']", "x"]])
  write_csv(root / "EPIC_100_noun_classes_v2.csv", ["id", "key", "instances", "category"],
            [[i, f"n{i}", "[]", "x"] for i in range(305)])
  write_csv(root / "EPIC_100_video_info.csv", ["video_id", "duration", "fps", "resolution"],
            [["P01_01", 4, 12, "64x48"], ["P18_03", 3, 5, "64x48"]])
  write_csv(root / "EPIC_100_train.csv", HEADER, [row("P01_01_0"), row("P01_01_1", noun=2)])
  write_csv(root / "EPIC_100_validation.csv", HEADER,
            [row("P01_01_2"), row("P18_03_0", "00:00:00.40", "00:00:01.40", 1, 299, "P18", "P18_03")])
  write_csv(root / "EPIC_100_test_timestamps.csv", HEADER[:8], [row("P01_01_9")[:8]])
  write_csv(root / "EPIC_100_tail_nouns.csv", ["noun"], [[299]])
  write_csv(root / "EPIC_100_unseen_participant_ids_validation.csv", ["participant_id"], [["P18"]])
  (root / "P01" / "videos").mkdir(parents=True)
  tiny.write_video(root / "P01/videos/P01_01.MP4", 48, fps=12)
  frames(root / "P18/rgb_frames/P18_03", 15)
  return root


def load(root, split="val", name="epic100", **options):
  return datasets.load(name, str(root), split, **options)


def test_a_split_has_verbs_nouns_and_what_metrics_take_apart(epic):
  dataset = load(epic)
  assert len(dataset.targets["noun"].classes) == 300 and dataset.targets["verb"].classes == ("take", "put")
  first, second = dataset.records
  assert second.labels == {"verb": 1, "noun": 299} and second.span == (0.4, 1.4)
  assert (first.extra["unseen"], second.extra["unseen"], second.extra["tail_noun"]) == (False, True, True)
  assert dataset.facts["pairs"].sum() == 2 and dataset.facts["pairs"][0, 2] == 1
  assert load(epic, "test").records[0].labels == {"verb": -1, "noun": -1}


def test_frame_folders_are_cut_by_the_seconds_of_their_own_video(epic):
  record = load(epic).records[1]
  assert (record.media.kind, record.media.fps) == ("frames", 5)
  data = config_lib.base().data
  data.update(frames=5, sampler="consecutive", short_side=48, crop=48)
  cut = clips.Clips(data, timed=True).cut(record)
  np.testing.assert_array_equal(cut.indices, [[2, 3, 4, 5, 6]])
  np.testing.assert_allclose(cut.seconds[0], np.arange(2, 7) / 5)


def test_images_of_flow_are_cut_alike(epic):
  for axis in "uv":
    frames(epic / f"P18/flow_frames/P18_03/{axis}", 8)
  data = config_lib.base().data
  data.update(root=str(epic), flow="{folder}/flow_frames/{name}/{axis}/frame_{index}.jpg", flow_stride=2, frames=2,
              sampler="consecutive", short_side=48, crop=48)
  cut = clips.Clips(data, timed=True).cut(load(epic).records[1])
  np.testing.assert_array_equal(cut.indices, [[1, 2]])


def test_detections_stand_beside_every_record_where_there_is_a_folder_of_them(epic):
  assert not load(epic).records[0].companions
  (epic / "detections").mkdir()
  assert load(epic).records[0].companions["detections"].path.endswith("detections/P01_01.npz")


@pytest.mark.parametrize("bad, words", [
    (row("P01_01_5", verb=2), ["line 2", "verb_class 2", "2 of", "verb_classes.csv"]),
    (row("P01_01_5", noun=300), ["line 2", "noun_class 300", "300 of"]),
    (row("P01_01_5", start="00:00:01.5"), ["line 2", "ends at 1 s and starts at 1.5 s"]),
    (row("P01_01_5", start="0:61:0"), ["line 2", "start_timestamp '0:61:0' is no time"]),
    (row("P01_01_5", start="00:00:05.0", stop="00:00:06.0"), ["line 2", "starts at 5 s", "'P01_01' ends at 4 s"]),
])
def test_a_bad_row_is_one_line_that_names_it(epic, bad, words):
  write_csv(epic / "EPIC_100_validation.csv", HEADER, [bad])
  with pytest.raises(errors.DataError) as e:
    load(epic)
  assert all(w in str(e.value) for w in ["EPIC_100_validation.csv", *words]) and "\n" not in str(e.value)


def test_frames_of_a_video_of_unknown_rate_are_one_clear_line(epic):
  write_csv(epic / "EPIC_100_video_info.csv", ["video_id", "duration", "fps", "resolution"], [["P01_01", 4, 12, "x"]])
  with pytest.raises(errors.DataError, match="video_info.csv: nothing says how many frames per second video 'P18_03'"):
    load(epic)
  write_csv(epic / "EPIC_100_video_info.csv", ["video_id", "duration", "fps", "resolution"], [["P01_01", 4, 0, "x"]])
  with pytest.raises(errors.DataError, match="line 2: fps '0' is not above 0"):
    load(epic)


def test_missing_videos_are_named(epic):
  shutil.rmtree(epic / "P18")
  with pytest.raises(errors.DataError, match="1 of the 2 media.*P18_03.MP4"):
    load(epic)
  assert load(epic, max_missing=1.0).facts["ids"] == ("P01_01_2", "P18_03_0")  # a submission needs them all


def old(name, person, verb=0, noun=1):
  return [name, person, f"{person}_01", "take cup", "00:00:00.00", "00:00:01.00", 1, 60, "take", verb, "cup", noun,
          "['cup']", f"[{noun}]"]


def test_epic_55_is_split_by_participants(tmp_path):
  root = tmp_path
  write_csv(root / "EPIC_verb_classes.csv", ["verb_id", "class_key", "verbs"], [[0, "take", "[]"], [1, "put", "[]"]])
  write_csv(root / "EPIC_noun_classes.csv", ["noun_id", "class_key", "nouns"], [[i, f"n{i}", "[]"] for i in range(352)])
  write_csv(root / "EPIC_train_action_labels.csv", OLD,
            [old(0, "P01"), old(1, "P25", 1, 351), old(2, "P26", 1, 3), old(3, "P01", 0, 1)])
  write_csv(root / "EPIC_test_s2_timestamps.csv", [OLD[i] for i in (0, 1, 2, 4, 5, 6, 7)],
            [[9, "P09", "P09_01", "00:00:00.00", "00:00:01.00", 1, 60]])
  for person in ("P01", "P25", "P26", "P09"):
    frames(root / f"{person}/rgb_frames/{person}_01", 2)
  train, val = (load(root, s, "epic55") for s in ("train", "val"))
  assert ([r.id for r in train.records], [r.id for r in val.records]) == (["0", "1", "3"], ["2"])
  assert len(train.targets["noun"].classes) == 352 and train.records[1].labels["noun"] == 351
  assert val.records[0].media.fps == 60
  assert val.facts["pairs"][0, 1] == 2 and val.facts["pairs"].sum() == 3
  assert len(load(root, "train", "epic55", participants=0)) == 4
  test = load(root, "test", "epic55", test="s2")
  assert test.records[0].extra["unseen"] and test.facts["pairs"].sum() == 3


@pytest.fixture
def egtea(tmp_path):
  lines = {"train": ["P01-R01-Eggs-1000-2000-F24-F48 1 2 3", "P01-R01-Eggs-3000-4000-F72-F96 2 1 5 3"],
           "test": ["P02-R01-Eggs-500-1500-F12-F36 1 2 3"]}
  (tmp_path / "cropped_clips").mkdir()
  for part, rows in lines.items():
    (tmp_path / f"{part}_split1.txt").write_text("\n".join(rows) + "\n")
    for text in rows:
      tiny.write_video(tmp_path / "cropped_clips" / f"{text.split()[0]}.mp4", 4)
  (tmp_path / "noun_idx.txt").write_text("egg shell 3\npan 5\nknife 4\n")
  return tmp_path


def test_egtea_counts_the_nouns_in_use_from_zero(egtea):
  dataset = load(egtea, "train", "egtea")
  assert dataset.targets["noun"].classes == ("egg shell", "pan") and dataset.targets["verb"].classes == ("1", "2")
  assert [r.labels for r in dataset.records] == [{"verb": 1, "noun": 0}, {"verb": 0, "noun": 1}]
  assert (load(egtea, "val", "egtea").facts["pairs"] > 0).sum() == 2


def test_egtea_is_cut_from_whole_videos_where_there_are_no_clips(egtea):
  shutil.rmtree(egtea / "cropped_clips")
  (egtea / "videos").mkdir()
  tiny.write_video(egtea / "videos/P02-R01-Eggs.mp4", 4)
  record, = load(egtea, "test", "egtea").records
  assert record.span == (0.5, 1.5) and record.media.path.endswith("videos/P02-R01-Eggs.mp4")


@pytest.mark.parametrize("text, words", [
    ("clip 1 2 3", ["line 1", "'clip' is not named"]), ("A-R-1-2-F1-F2 1 2", ["line 1", "3 columns"]),
    ("A-R-1-2-F1-F2 1 0 2", ["line 1", "id 0", "start with 1"]),
    ("A-R-2-1-F1-F2 1 1 2", ["line 1", "ends at 0.001 s"])])
def test_a_bad_line_of_egtea_is_one_line_that_names_it(egtea, text, words):
  (egtea / "test_split1.txt").write_text(text + "\n")
  with pytest.raises(errors.DataError) as e:
    load(egtea, "test", "egtea")
  assert all(w in str(e.value) for w in ["test_split1.txt", *words])


def test_class_files_have_ids_without_gaps(tmp_path):
  write_csv(tmp_path / "v.csv", ["id", "key"], [[0, "a"], [2, "b"]])
  with pytest.raises(errors.DataError, match="line 3: id 2 follows 0"):
    egocentric.read_class_file(str(tmp_path / "v.csv"), ("id", "key"))


def test_the_published_files_are_read(real_data, tmp_path):
  source = real_data("annotations/epic100")
  for path in source.glob("*.csv"):
    (tmp_path / path.name).symlink_to(path)
  found = datasets.read("epic100", str(tmp_path), "val", subset="")
  assert not found.records and len(found.missing) == 138
  assert len(found.targets["verb"].classes) == 97 and len(found.targets["noun"].classes) == 300
  pairs = datasets.read("epic100", str(tmp_path), "val", subset="source").facts["pairs"]
  assert (pairs.sum(), (pairs > 0).sum()) == (16_115, 1_663)
