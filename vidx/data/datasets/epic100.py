"""EPIC-KITCHENS-100: 97 verbs and 300 nouns in segments of kitchen videos.

  root/EPIC_100_{train,validation,test_timestamps}.csv   also below annotations/
  root/EPIC_100_{verb,noun}_classes.csv                  noun_classes_v2: its ids from 300 on are left out
  root/EPIC_100_video_info.csv                           video_id,duration,fps,resolution
  root/EPIC_100_tail_{verbs,nouns}.csv, EPIC_100_unseen_participant_ids_{validation,test}.csv
  root/EPIC_100_uda_{source,target}_{train,val,test}*.csv    for `subset`
  root/P01/videos/P01_01.MP4, root/P01/rgb_frames/P01_01/frame_0000000001.jpg; see `Videos`

Damen et al.: "Rescaling Egocentric Vision: Collection, Pipeline and Challenges for
EPIC-KITCHENS-100", 2022.
"""

import os

from vidx import errors
from vidx.data.datasets import common, egocentric, places
from vidx.data.records import Dataset, Record

_FOLDERS = ("", "annotations", "epic-kitchens-100-annotations", "EPIC_100_annotations")
MARKS = places.marks(_FOLDERS, "EPIC_100_*.csv")
_WORDS = {"train": "train", "val": "validation", "test": "test_timestamps"}
_UDA = {"train": "train", "val": "val", "test": "test_timestamps"}
_NEEDED = ("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp")


def read(root: str, split: str, file: str = "", subset: str = "", nouns: int = 300, detections: str = "detections",
         ) -> Dataset:
  """Reads one split; the test split has no labels.

  Records say in `extra` what metrics take apart: 'unseen' (a participant of whom
  training knows nothing), 'tail_verb' and 'tail_noun'.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    file: csv of the split, below the root unless absolute; "{split}" in it stands for the split.
    subset: "source" or "target" of unsupervised domain adaptation; "": all.
    nouns: classes of nouns, of a class file that may have more.
    detections: folder of detections below the root.
  """
  if subset not in ("", "source", "target"):
    raise errors.ConfigError(f"data.dataset.subset='{subset}': source, target, or nothing.")
  find = lambda *names: places.annotation(root, names, _FOLDERS)
  usual = f"EPIC_100_uda_{subset}_{_UDA[split]}.csv" if subset else f"EPIC_100_{_WORDS[split]}.csv"
  path = common.inside(root, file.replace("{split}", split)) if file else find(usual)
  verb_file = find("EPIC_100_verb_classes.csv")
  noun_file = find("EPIC_100_noun_classes.csv", "EPIC_100_noun_classes_v2.csv")
  verb_names = egocentric.read_class_file(verb_file, ("id", "key"))
  noun_names = egocentric.read_class_file(noun_file, ("id", "key"), nouns)
  info = find("EPIC_100_video_info.csv")
  rates = egocentric.read_rates(info, ("video_id", "fps"))
  unseen = _column(find(f"EPIC_100_unseen_participant_ids_{'test' if split == 'test' else 'validation'}.csv"),
                   "participant_id") if split != "train" else set()
  tail = {k: _column(find(f"EPIC_100_tail_{k}s.csv"), k) for k in ("verb", "noun")}
  videos = egocentric.Videos(root, {v: fps for v, (fps, _) in rates.items()}, info, detections)
  labels_of = lambda line, row, at: tuple(
      egocentric.class_of(row.get(f"{k}_class", ""), names, f"{k}_class", at, line, source)
      for k, names, source in (("verb", verb_names, verb_file), ("noun", noun_names, noun_file)))
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, row in common.read_table(path, _NEEDED):
    name, video = row["narration_id"], row["video_id"]
    common.not_twice(name, seen, path, line)
    labels = dict(zip(("verb", "noun"), labels_of(line, row, path)))
    span = egocentric.span(row, rates.get(video, (0, float("inf")))[1], video, path, line)
    media = videos.find(video, row["participant_id"])
    if media is None:
      missing.append(f"{video}.MP4")
      continue
    extra = {"video": f"{row['participant_id']}/{video}", "narration": row.get("narration", ""),
             "unseen": row["participant_id"] in unseen, "tail_verb": str(labels["verb"]) in tail["verb"],
             "tail_noun": str(labels["noun"]) in tail["noun"]}
    records.append(Record(name, media, span=span, extra=extra, labels=labels, companions=videos.companions(video)))
  trained = find(f"EPIC_100_uda_{subset}_train.csv" if subset else "EPIC_100_train.csv")
  pairs = None
  if os.path.isfile(trained):
    pairs = egocentric.pairs_of((labels_of(line, row, trained) for line, row in common.read_table(trained, _NEEDED)),
                                verb_names, noun_names)
  return egocentric.dataset("epic100", split, records, verb_names, noun_names, missing, pairs, seen)


def _column(path: str, name: str) -> set[str]:
  """Values of a column of a file, none where it is absent."""
  return {row[name] for _, row in common.read_table(path, (name,))} if os.path.isfile(path) else set()
