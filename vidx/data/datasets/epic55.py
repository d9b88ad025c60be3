"""EPIC-KITCHENS-55: 125 verbs and 352 nouns in segments of kitchen videos.

  root/EPIC_train_action_labels.csv              all that is labelled; training and validation by participant
  root/EPIC_test_{s1,s2}_timestamps.csv          seen and unseen kitchens, without labels
  root/EPIC_{verb,noun}_classes.csv              verb_id,class_key,verbs
  root/EPIC_video_info.csv                       video,resolution,duration,fps
  root/EPIC_many_shot_{verbs,nouns}.csv          verb_class and noun_class of the classes that averages are over
  root/P01/videos/P01_01.MP4, root/P01/rgb_frames/P01_01/frame_0000000001.jpg; see `Videos`

Damen et al.: "Scaling Egocentric Vision: The EPIC-KITCHENS Dataset", 2018. The split by
participants is that of Baradel et al. and of the public code of Wu et al. 2019.
"""

import math
import os
import re

from vidx import errors
from vidx.data.datasets import common, egocentric, places
from vidx.data.records import Dataset, Record

_FOLDERS = ("", "annotations", "epic-kitchens-55-annotations")
MARKS = places.marks(_FOLDERS, "EPIC_*.csv")
_NEEDED = ("uid", "participant_id", "video_id", "start_timestamp", "stop_timestamp")
_FPS = 60.0  # of the frames that the release holds


def read(root: str, split: str, participants: int = 25, test: str = "s1", fps: float = 0.0,
         detections: str = "detections") -> Dataset:
  """Reads one split.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    participants: those up to this number are trained on, the others validate; 0: training on all.
    test: kitchens of the test split, "s1" (seen) or "s2" (unseen).
    fps: of frame folders; 0: as the file of videos says, or 60 where there is none.
    detections: folder of detections below the root.
  """
  if test not in ("s1", "s2"):
    raise errors.ConfigError(f"data.dataset.test='{test}': s1 (seen kitchens) or s2 (unseen).")
  find = lambda name: places.annotation(root, (name,), _FOLDERS)
  path = find(f"EPIC_test_{test}_timestamps.csv" if split == "test" else "EPIC_train_action_labels.csv")
  verb_file, noun_file = find("EPIC_verb_classes.csv"), find("EPIC_noun_classes.csv")
  verbs = egocentric.read_class_file(verb_file, ("verb_id", "class_key"))
  nouns = egocentric.read_class_file(noun_file, ("noun_id", "class_key"))
  info = find("EPIC_video_info.csv")
  rates = egocentric.read_rates(info, ("video", "fps"))
  seen: dict[str, int] = {}
  records, missing, asked = [], [], []
  videos = egocentric.Videos(root, _Rates(fps, {v: rate for v, (rate, _) in rates.items()}), info, detections)
  trained, labels_of = [], lambda line, row, at: tuple(
      egocentric.class_of(row.get(f"{k}_class", ""), names, f"{k}_class", at, line, source)
      for k, names, source in (("verb", verbs, verb_file), ("noun", nouns, noun_file)))
  wanted = lambda person: split == "test" or (not participants and split == "train") or (
      participants and (person <= participants) == (split == "train"))
  for line, row in common.read_table(path, _NEEDED):
    name, video = row["uid"], row["video_id"]
    common.not_twice(name, seen, path, line)
    person, labels = _person(row["participant_id"], path, line), labels_of(line, row, path)
    if split != "test" and person <= (participants or person):
      trained.append(labels)
    if not wanted(person):
      continue
    asked.append(name)
    span = egocentric.span(row, rates.get(video, (0, float("inf")))[1], video, path, line)
    media = videos.find(video, row["participant_id"])
    if media is None:
      missing.append(f"{video}.MP4")
      continue
    extra = {"video": f"{row['participant_id']}/{video}", "narration": row.get("narration", "")}
    if split == "test":
      extra["unseen"] = test == "s2"
    records.append(Record(name, media, span=span, extra=extra, labels=dict(zip(("verb", "noun"), labels)),
                          companions=videos.companions(video)))
  labelled = find("EPIC_train_action_labels.csv")
  if split == "test" and os.path.isfile(labelled):
    trained = [labels_of(line, row, labelled) for line, row in common.read_table(labelled, _NEEDED)
               if _person(row["participant_id"], labelled, line) <= (participants or math.inf)]
  return egocentric.dataset("epic55", split, records, verbs, nouns, missing,
                            egocentric.pairs_of(trained, verbs, nouns), asked)


def _person(text: str, path: str, line: int) -> int:
  """The number of P01."""
  found = re.fullmatch(r"P(\d+)", text)
  if not found:
    raise errors.DataError(f"{path}, line {line}: participant_id '{text}' is not of the form P01.")
  return int(found[1])


class _Rates(dict):
  """Frames per second by video: one number for all, what is listed, or 60."""

  def __init__(self, fps: float, listed: dict[str, float]):
    super().__init__(listed)
    self._fps = fps

  def get(self, key, default=None):
    del default
    return self._fps or super().get(key, _FPS)
