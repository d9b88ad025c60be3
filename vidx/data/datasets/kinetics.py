"""Kinetics: the official csv files with trimmed clips, or lists of frame folders.

  root/{train,val,test}.csv    label,youtube_id,time_start,time_end,split[,is_cc]; the test file may lack labels
  root/**/<id>_<start>_<end>.mp4                    in class folders or in one folder, seconds in six digits
  root/{train,val}_videofolder.txt                  `path num_frames label`, as TSM and TSN publish them

Kay et al.: "The Kinetics Human Action Video Dataset", 2017.
"""

import dataclasses
import os

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_FOLDERS = ("", "annotations", "labels")
_WORDS = {"train": ("train", "training"), "val": ("val", "validate", "validation"), "test": ("test", "testing")}
_PREFIXES = ("", "kinetics_", "kinetics400_", "kinetics600_", "kinetics700_", "kinetics-400_", "kinetics-600_",
             "kinetics-700_")


# Classes that can be heard: those of the Kinetics-Sounds of Arandjelovic and Zisserman, "Look, Listen and Learn", 2017,
# that are left in Kinetics-400.
SOUNDS = (
    "blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing",
    "mowing lawn", "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet",
    "playing drums", "playing guitar", "playing harmonica", "playing keyboard", "playing organ", "playing piano",
    "playing saxophone", "playing trombone", "playing trumpet", "playing violin", "playing xylophone",
    "ripping paper", "shoveling snow", "shuffling cards", "singing", "stomping grapes", "strumming guitar",
    "tap dancing", "tapping guitar", "tapping pen", "tickling")


def read(root: str, split: str, file: str = "", classes: str = "", pattern: str = "img_{:05d}.jpg",
         subset: str = "") -> Dataset:
  """Reads one split.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    file: csv or txt file, below the root unless absolute; "{split}" in it stands
      for the split. Empty: by its usual name.
    classes: file of class names; root/classes.txt or root/kinetics_label_map.txt
      where there is one, else the sorted labels of the training file.
    pattern: file names in frame folders.
    subset: 'sounds' keeps the videos of the 32 classes of Kinetics-Sounds. Classes stay those of all, and accuracy is
      told among the 32 as well.

  Raises:
    ConfigError: an unknown subset, or class names that lack one of its.
  """
  dataset = _read(root, split, file, classes, pattern)
  if not subset:
    return dataset
  errors.check_choice("data.dataset.subset", subset, ("sounds",))
  ids = {_plain(name): i for i, name in enumerate(dataset.classes)}
  absent = [name for name in SOUNDS if name not in ids]
  if absent:
    raise errors.ConfigError(f"data.dataset.subset='sounds': the classes have no '{absent[0]}'"
                             f"{errors.hint(absent[0], ids)}, which belongs to it.")
  kept = tuple(ids[name] for name in SOUNDS)
  return dataclasses.replace(dataset, records=tuple(r for r in dataset.records if r.label in kept),
                             facts={**dataset.facts, "among": ("Kinetics-Sounds", kept)})


def _plain(name: str) -> str:
  return name.lower().replace("_", " ").strip()


def _read(root, split, file, classes, pattern) -> Dataset:
  path = _file(root, split, file)
  names = common.inside(root, classes) if classes else places.annotation(
      root, ("classes.txt", "kinetics_label_map.txt"), _FOLDERS)
  given = common.read_classes(names) if classes or os.path.exists(names) else ()
  others = [p for s in _WORDS if os.path.exists(p := _file(root, s, file))]
  if path.endswith(".csv"):
    return _clips(root, split, path, given, names, [p for p in others if p.endswith(".csv")])
  return _frames(root, split, path, given, names, [p for p in others if not p.endswith(".csv")], pattern)


def _file(root: str, split: str, file: str) -> str:
  if file:
    return common.inside(root, file.replace("{split}", split))
  return places.annotation(
      root, [f"{prefix}{word}{ending}" for ending in (".csv", "_videofolder.txt") for prefix in _PREFIXES
             for word in _WORDS[split]], _FOLDERS)


def _clips(root, split, path, given, names, others) -> Dataset:
  """The split of a csv; classes come from the training file, which is read first where it exists."""
  if not given:
    names = next((p for p in others if _labels(p)), path)
    given = tuple(sorted(_labels(names)))
  ids = {c: i for i, c in enumerate(given)}
  videos = places.by_stem(root)
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, row in common.read_table(path, ("youtube_id", "time_start", "time_end")):
    start = common.as_number(row["time_start"], "time_start", path, line)
    end = common.as_number(row["time_end"], "time_end", path, line)
    name, found = places.trimmed(videos, row["youtube_id"], start, end)
    common.not_twice(name, seen, path, line)
    label = common.class_id(row["label"], ids, path, line, names) if row.get("label") else -1
    if row.get("split") and row["split"] not in _WORDS[split]:
      if not any(row["split"] in words for words in _WORDS.values()):
        raise errors.DataError(f"{path}, line {line}: split '{row['split']}' is none of train, validate, test.")
      continue
    if found:
      extra = {"youtube_id": row["youtube_id"], "start": start, "end": end}
      records.append(Record(name, Media(found), label, extra=extra))
    else:
      missing.append(name)
  return Dataset("kinetics", split, tuple(records), given, missing=tuple(missing))


def _labels(path: str) -> set[str]:
  return {row["label"] for _, row in common.read_table(path, ("youtube_id",)) if row.get("label")}


def _frames(root, split, path, given, names, others, pattern) -> Dataset:
  """The split of a list of frame folders; without class names the ids are the names."""
  rows = _rows(path)
  if not given:
    last, where = max(((label, f"{p}, line {line}") for p in others or [path] for line, _, _, label in _rows(p)),
                      default=(-1, ""))
    common.check_id(last, where)
    given = tuple(str(i) for i in range(last + 1))
  disk = places.Places(root, ("", "frames", "images", "videos"))
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, name, frames, label in rows:
    common.not_twice(name, seen, path, line)
    if not 0 <= label < len(given):
      raise errors.DataError(f"{path}, line {line}: label {label} is not one of the {counted(len(given), 'class')} of"
                             f" {names}.")
    found = disk.find(name)
    if not found:
      missing.append(name)
    elif os.path.isdir(found):
      records.append(Record(name, Media(found, "frames", pattern=pattern), label, extra={"num_frames": frames}))
    else:
      records.append(Record(name, Media(found), label))
  return Dataset("kinetics", split, tuple(records), given, missing=tuple(missing))


def _rows(path: str) -> list[tuple[int, str, int, int]]:
  """(line, path, number of frames, label) of a list; paths may hold spaces."""
  rows = []
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    parts = text.strip().rsplit(None, 2)
    if len(parts) != 3:
      raise errors.DataError(f"{path}, line {line}: {counted(len(parts), 'column')}, expected `path num_frames label`.")
    rows.append((line, parts[0], common.as_int(parts[1], "num_frames", path, line),
                 common.as_int(parts[2], "label", path, line)))
  return rows
