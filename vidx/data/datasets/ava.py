"""AVA: what people do, in boxes, at one frame of every second of a movie.

  root/annotations/ava_{train,val}_v2.2.csv            video,second,x0,y0,x1,y1,action,person; corners in 0..1
  root/annotations/ava_action_list_v2.2.pbtxt          items of name and id: all actions
  root/annotations/ava_action_list_v2.2_for_activitynet_2019.pbtxt   those that are scored
  root/annotations/ava_{train,val}_excluded_timestamps_v2.2.csv      video,second
  root/annotations/ava_{train,val,test}_predicted_boxes.csv          video,second,x0,y0,x1,y1,action,score: people
  root/{videos_15min,videos}/<video>.mp4, root/{frames,rawframes}/<video>/*.jpg, sound of frames root/audio/<video>.wav

A record is a key frame: a point of time in the video, with the boxes of all people. Files may
lie in the root as well. Actions count from the first id of their list on.

Gu et al.: "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions", 2018.
"""

from collections.abc import Mapping, Set
import os
from typing import Any

import numpy as np

from vidx import errors, reading
from vidx.data import plain_pickle
from vidx.data.datasets import common, places
from vidx.data.frame_boxes import PROPOSED, TRUTH, FrameBoxes, frame_boxes
from vidx.data.records import Dataset, Media, Record, media_of
from vidx.metrics import ava

KeyFrame = tuple[str, int]  # video, second
Proposals = dict[KeyFrame, tuple[list[tuple[float, ...]], list[float]]]  # boxes and scores, the best first

_FOLDERS = ("annotations", "", "ava", "ava_v2.2")
MARKS = places.marks(_FOLDERS, "ava_*.csv")
_MEDIA = {"videos_15min": 900, "frames": 900, "rawframes": 900, "videos": 0, "": 0}  # where the files begin
_FORM = "video, second, x0, y0, x1, y1, [action,] score"
_ROOM = 1e-2  # by which a box may leave the frame; what is outside is cut off


def read(root: str, split: str, version: str = "v2.2", file: str = "", actions: str = "", evaluated: str = "",
         excluded: str = "", boxes: str = "", score: float = 0.8, begins: float = -1.0, fps: float = 30.0) -> Dataset:
  """Reads one split; of "test" only boxes of people are known.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    version: of the annotation, a part of the names of its files.
    file: csv of the annotation, below the root unless absolute; "{split}" in it is the split. Empty: by its usual
      name, as with the four that follow.
    actions: list of all actions.
    evaluated: list of those that are scored; where there is none, all are.
    excluded: csv of seconds that are left out.
    boxes: csv of people that a detector found, or MMAction2's pickle of them. Where there is none, the true boxes
      stand for them, which promises too much.
    score: from which on a person counts.
    begins: second of the movie at which the files begin; -1: 900 in the folders that hold 15 minutes of each movie,
      videos_15min, frames and rawframes, and 0 in the others.
    fps: of folders of frames.

  Raises:
    DataError: a file or line that cannot be used.
  """
  words = {"split": split, "version": version}
  named = lambda given, *usual: (common.inside(root, given.replace("{split}", split)) if given else places.annotation(
      root, [u.format(**words) for u in usual], _FOLDERS))
  path = named(file, "ava_{split}_{version}.csv")
  source = named(actions, "ava_action_list_{version}.pbtxt", "ava_action_list_{version}_for_activitynet_2019.pbtxt",
                 "ava_action_list_{version}_for_activitynet_2018.pbtxt")
  scored = named(evaluated, "ava_action_list_{version}_for_activitynet_2019.pbtxt",
                 "ava_action_list_{version}_for_activitynet_2018.pbtxt")
  out = named(excluded, "ava_{split}_excluded_timestamps_{version}.csv")
  found = named(boxes, "ava_{split}_predicted_boxes.csv", "ava_{split}_predicted_boxes_{version}.csv")
  for given, at in ((file, path), (True, source), (evaluated, scored), (excluded, out), (boxes, found)):
    if given and not os.path.isfile(at):
      raise errors.AbsentError(f"annotation file {at} does not exist.")
  names = ava.read_action_list(source)
  people = read_proposals(found, score) if os.path.isfile(found) else None
  if not os.path.isfile(path) and (split != "test" or people is None):
    raise errors.AbsentError(f"annotation file {path if split != 'test' else found} does not exist.")
  left_out = ava.read_excluded(out) if os.path.isfile(out) else set()
  truth = _truth(path, names, source, left_out) if os.path.isfile(path) else None
  keys = list(truth) if truth is not None else [key for key in people if key not in left_out]
  if split == "train":
    keys = [key for key in keys if truth[key]]
  if truth is not None and people is not None and split != "train":
    keys += [key for key in people if key not in truth and key not in left_out]
  keys.sort()
  media, notes = _Found(root, begins, fps), []
  if people is None and split == "val":
    notes.append(f"split 'val': no file {os.path.basename(found)} says where a detector found people, so the true boxes"
                 " are scored: figures promise too much")
  records, missing = [], []
  for key in keys:
    there = media.find(key[0])
    if there is None:
      missing.append(f"{key[0]}.mp4 at {key[1]} s")
    else:
      records.append(_record(key, there, tuple(names), truth, people, path))
  ids = tuple(names)
  only = ava.read_action_list(scored) if os.path.isfile(scored) else names
  strange = next((i for i in only if i not in names), None)
  if strange is not None:
    raise errors.DataError(f"{scored}: action {strange} is not one of the {len(names)} of {source}.")
  return Dataset("ava", split, tuple(records), tuple(names.values()), multilabel=True, missing=tuple(missing),
                 facts={"action_ids": ids, "evaluated": tuple(ids.index(i) for i in sorted(only))}, notes=tuple(notes))


def read_proposals(path: str, least: float = 0.0) -> Proposals:
  """People that a detector found, by key frame, each box once, the best first.

  Args:
    path: csv of `video, second, x0, y0, x1, y1, [action,] score`, or a pickle {'video,second': (N, 5)}.
    least: score from which on one counts.

  Raises:
    DataError: the file cannot be read, or a row is none of these.
  """
  found: dict[KeyFrame, dict[tuple[float, ...], float]] = {}
  for where, video, second, box, score in (_pickled if path.endswith(".pkl") else _listed)(path):
    if not 0 <= score <= 1:
      raise errors.DataError(f"{where}: score {score:g} of a person is not in 0..1.")
    _inside(box, where)
    if score >= least:
      own = found.setdefault((video, second), {})
      own[box] = max(score, own.get(box, 0.0))
  ranked = {key: sorted(own.items(), key=lambda item: -item[1]) for key, own in found.items()}
  return {key: ([box for box, _ in own], [score for _, score in own]) for key, own in ranked.items()}


def _listed(path: str):
  for where, row in ava.rows(path, (7, 8), _FORM):
    score, = ava.numbers_of(row[-1:], where)
    yield where, row[0], ava.second_of(row[1], where), ava.box_of(row[2:6], where), score


def _pickled(path: str):
  with reading.boundary(f"{path} holds no boxes of key frames"):
    content = plain_pickle.load(path)
    rows = [(key, np.asarray(value, np.float64).reshape(-1, 5)) for key, value in content.items()]
  for key, boxes in rows:
    video, _, second = str(key).rpartition(",")
    where = f"'{path}', key frame '{key}'"
    for row in boxes:
      box = ava.box_of([repr(float(x)) for x in row[:4]], where)
      yield where, video, ava.second_of(second, where), box, float(row[4])


def _truth(path: str, names: Mapping[int, str], source: str, left_out: Set[KeyFrame]
           ) -> dict[KeyFrame, dict[tuple[float, ...], set[int]]]:
  """Actions by box by key frame, without those that are left out."""
  found: dict[KeyFrame, dict[tuple[float, ...], set[int]]] = {}
  for where, row in ava.rows(path, (2, 7, 8), ava.ROW + " and perhaps a person"):
    key = row[0], ava.second_of(row[1], where)
    if key in left_out:
      continue
    people = found.setdefault(key, {})
    if len(row) == 2:
      continue
    box = ava.box_of(row[2:6], where)
    _inside(box, where)
    action, = ava.numbers_of(row[6:7], where)
    if action not in names:
      raise errors.DataError(f"{where}: action '{row[6]}' is not one of the {len(names)} of {source}; name the list of"
                             " all actions by actions=FILE.")
    people.setdefault(box, set()).add(int(action))
  return found


def _inside(box: tuple[float, ...], where: str) -> None:
  if min(box) < -_ROOM or max(box) > 1 + _ROOM:
    raise errors.DataError(f"{where}: the box {list(box)} leaves the frame; corners are parts of it, 0..1.")


class _Found:
  """The media of movies: (Media, second at which they begin, companions)."""

  def __init__(self, root: str, begins: float, fps: float):
    if fps <= 0:
      raise errors.ConfigError(f"data.dataset.fps={fps:g}: write frames per second.")
    self._begins, self._fps, self._known = begins, fps, {}
    self._places = {folder: places.Places(root, (folder,)) for folder in _MEDIA}
    self._sounds = places.Places(root, ("audio", "videos_15min"))

  def find(self, video: str) -> tuple[Media, float, dict[str, Media]] | None:
    if video not in self._known:
      self._known[video] = self._find(video)
    return self._known[video]

  def _find(self, video):
    for folder, begins in _MEDIA.items():
      path = self._places[folder].find(f"{video}.mp4") or self._places[folder].find(video)
      if not path:
        continue
      begins = begins if self._begins < 0 else self._begins
      if not os.path.isdir(path):
        return Media(path), begins, {}
      sound = self._sounds.find(f"{video}.wav") or self._sounds.find(f"{video}.mp4")
      return Media(path, "frames", fps=self._fps), begins, {"audio": media_of(sound)} if sound else {}
    return None


def _record(key: KeyFrame, there: tuple[Media, float, dict[str, Media]], ids: tuple[int, ...], truth: Any, people: Any,
            path: str) -> Record:
  """A key frame."""
  (video, second), (media, begins, companions) = key, there
  at = second - begins
  if at < 0:
    raise errors.DataError(f"{path}: the key frame of '{video}' at {second} s lies before its file begins, at"
                           f" {begins:g} s; say when files begin by begins=SECOND.")
  extra, label = {"video": video, "second": second}, -1
  if truth is not None:
    own = truth.get(key, {})
    hot = np.array([[i in actions for i in ids] for actions in own.values()], bool).reshape(len(own), len(ids))
    extra[TRUTH] = frame_boxes(list(own), hot, source=f"{path}, '{video}' at {second} s")
    label = tuple(np.flatnonzero(hot.any(0)).tolist())
  if people is not None:
    boxes, scores = people.get(key, ([], []))
    extra[PROPOSED] = proposed(boxes, scores, f"'{video}' at {second} s")
  else:
    extra[PROPOSED] = extra[TRUTH]
  return Record(f"{video},{second:04d}", media, label, (at, at), extra, companions=companions)


def proposed(boxes: Any, scores: Any, source: str) -> FrameBoxes:
  """Boxes of people of a key frame as a record's extra PROPOSED."""
  return frame_boxes(boxes, np.full(len(boxes), -1), score=np.asarray(scores, np.float32), source=source)
