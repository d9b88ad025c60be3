"""EGTEA Gaze+: 19 verbs and 51 nouns in trimmed clips, or in segments of the uncut videos.

  root/{train,test}_split{1,2,3}.txt    clip action verb noun ..., ids from 1 on; also below action_annotation/
  root/{verb,noun}_idx.txt              name id, may be left out
  root/cropped_clips/<video>/<clip>.mp4 or root/<clip>.mp4, also folders of frames
  root/videos/<video>.mp4               where there are no clips

A clip is called <video>-<start ms>-<end ms>-F<first frame>-F<last frame>, its video
<subject>-<recipe>, as in P21-R04-ContinentalBreakfast. Nouns that no list uses are left out.

Li, Liu, Rehg: "In the Eye of Beholder: Joint Learning of Gaze and Actions in First Person Video", 2018.
"""

import os
import re
from typing import Any

from vidx import errors
from vidx.data.datasets import common, egocentric, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_FOLDERS = ("", "action_annotation", "annotations")
MARKS = places.marks(_FOLDERS, "train_split*.txt")
_FPS = 24.0
_CLIP = re.compile(r"(?P<video>.+)-(?P<start>\d+)-(?P<end>\d+)-F\d+-F\d+")


def read(root: str, split: str, fold: int = 1, detections: str = "detections") -> Dataset:
  """Reads one split; "val" and "test" are the same.

  Args:
    root: folder of lists and media.
    split: "train", "val" or "test".
    fold: 1, 2 or 3.
    detections: folder of detections below the root.
  """
  if fold not in (1, 2, 3):
    raise errors.ConfigError(f"data.dataset.fold={fold!r}: EGTEA Gaze+ has the splits 1 to 3.")
  lists = {part: places.annotation(root, (f"{part}_split{fold}.txt",), _FOLDERS) for part in ("train", "test")}
  rows = {part: _rows(path) for part, path in lists.items()}
  both = rows["train"] + rows["test"]
  ids = {key: sorted({row[key] for row in both}) for key in ("verb", "noun")}
  names = {key: _names(root, key, ids[key]) for key in ids}
  disk = places.Places(root, ("cropped_clips", "", "clips", "frames"))
  videos = egocentric.Videos(root, dict.fromkeys({row["video"] for row in both}, _FPS), lists["train"], detections)
  records, missing = [], []
  for row in rows["train" if split == "train" else "test"]:
    clip, video = row["clip"], row["video"]
    labels = {key: ids[key].index(row[key]) for key in ids}
    extra = {"video": clip, "action": row["action"] - 1}
    found = next((p for name in (f"{video}/{clip}", clip) for form in (f"{name}.mp4", name) if (p := disk.find(form))),
                 None)
    if found:
      media = Media(found, "frames", fps=_FPS) if os.path.isdir(found) else Media(found)
      records.append(Record(clip, media, extra=extra, labels=labels, companions=videos.companions(clip)))
      continue
    media = videos.find(video, "")
    if media is None:
      missing.append(f"{clip}.mp4")
    else:
      records.append(Record(clip, media, span=(row["start"], row["end"]), extra={**extra, "video": video},
                            labels=labels, companions=videos.companions(video)))
  pairs = egocentric.pairs_of(((ids["verb"].index(row["verb"]), ids["noun"].index(row["noun"])) for row in both),
                              names["verb"], names["noun"])  # of all clips: the 106 actions, for task.prior='known'
  return egocentric.dataset("egtea", split, records, names["verb"], names["noun"], missing, pairs)


def _rows(path: str) -> list[dict[str, Any]]:
  """Clip, video, start and end in seconds, action, verb and first noun of the lines of a list."""
  found = []
  seen: dict[str, int] = {}
  for line, text in enumerate(common.read_lines(path), 1):
    parts = text.split()
    if not parts:
      continue
    if len(parts) < 4:
      raise errors.DataError(f"{path}, line {line}: {counted(len(parts), 'column')}, expected `clip action verb noun`.")
    name = _CLIP.fullmatch(parts[0])
    if not name:
      raise errors.DataError(f"{path}, line {line}: clip '{parts[0]}' is not named <video>-<start>-<end>-F..-F...")
    common.not_twice(parts[0], seen, path, line)
    ids = [common.as_int(text, what, path, line) for text, what in zip(parts[1:4], ("action", "verb", "noun"))]
    if min(ids) < 1:
      raise errors.DataError(f"{path}, line {line}: id {min(ids)}; ids start with 1.")
    start, end = int(name["start"]) / 1000, int(name["end"]) / 1000
    if end <= start:
      raise errors.DataError(f"{path}, line {line}: the clip ends at {end:g} s and starts at {start:g} s.")
    found.append(dict(clip=parts[0], video=name["video"], start=start, end=end, action=ids[0], verb=ids[1],
                      noun=ids[2]))
  return found


def _names(root: str, key: str, ids: list[int]) -> tuple[str, ...]:
  """Names of ids, from verb_idx.txt or noun_idx.txt, or the ids themselves."""
  path = places.annotation(root, (f"{key}_idx.txt",), _FOLDERS)
  if not os.path.isfile(path):
    return tuple(map(str, ids))
  listed = {}
  for line, text in enumerate(common.read_lines(path), 1):
    if text.strip():
      name, _, number = text.strip().rpartition(" ")
      listed[common.as_int(number, f"id of {key}", path, line)] = name.strip()
  for number in ids:
    if number not in listed:
      raise errors.DataError(f"{path}: no {key} {number}, which the lists of clips use.")
  return tuple(listed[number] for number in ids)
