"""HMDB51: 51 actions, 6,766 clips, three splits of 70 training and 30 test clips per class.

  root/<action>/<name>.avi                      also below hmdb51_org/ or videos/, or all in one folder
  root/testTrainMulti_7030_splits/<action>_test_split{1,2,3}.txt

Kuehne, Jhuang, Garrote, Poggio, Serre: "HMDB: A Large Video Database for Human
Motion Recognition", 2011.
"""

import glob
import os

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_LISTS = ("testTrainMulti_7030_splits", "", "splits", "annotations")
MARKS = places.marks(_LISTS, "*_test_split*.txt")


def read(root: str, split: str, fold: int = 1) -> Dataset:
  """Reads one split; "val" and "test" are both the official test list.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    fold: which of the three splits, 1 to 3.
  """
  if fold not in (1, 2, 3):
    raise errors.ConfigError(f"data.dataset.fold={fold!r}: HMDB51 has the splits 1, 2 and 3.")
  ending = f"_test_split{fold}.txt"
  lists = next(filter(None, (sorted(glob.glob(os.path.join(glob.escape(root), folder, "*" + ending)))
                             for folder in _LISTS)), [])
  if not lists:
    raise errors.AbsentError(f"{root} holds no <action>{ending}, nor does {_LISTS[0]}/ below it.")
  classes = tuple(os.path.basename(p).removesuffix(ending) for p in lists)
  wanted = "1" if split == "train" else "2"
  disk = places.Places(root, ("", "hmdb51_org", "videos", "hmdb51"))
  seen: dict[str, int] = {}
  records, missing = [], []
  for label, (path, action) in enumerate(zip(lists, classes)):
    for line, text in enumerate(common.read_lines(path), 1):
      if not text.strip():
        continue
      parts = text.split()
      if len(parts) != 2:
        raise errors.DataError(f"{path}, line {line}: {counted(len(parts), 'column')}, expected `name.avi 0|1|2`.")
      if parts[1] not in ("0", "1", "2"):
        raise errors.DataError(f"{path}, line {line}: '{parts[1]}' is none of 0 (unused), 1 (training), 2 (test).")
      name = f"{action}/{parts[0]}"
      common.not_twice(name, seen, path, line)
      if parts[1] != wanted:
        continue
      found = disk.find(name) or disk.find(parts[0])
      if found:
        records.append(Record(name, Media(found), label))
      else:
        missing.append(name)
  return Dataset("hmdb51", split, tuple(records), classes, missing=tuple(missing))
