"""UCF101: 101 actions, 13,320 clips, three pairs of a training and a test list.

  root/UCF-101/<Class>/v_<Class>_gXX_cYY.avi
  root/ucfTrainTestlist/{classInd,trainlist0N,testlist0N}.txt

Soomro, Zamir, Shah: "UCF101: A Dataset of 101 Human Actions Classes From Videos in
The Wild", 2012.
"""

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_LISTS = ("ucfTrainTestlist", "", "annotations", "splits")
MARKS = places.marks(_LISTS, "classInd.txt")


def read(root: str, split: str, fold: int = 1) -> Dataset:
  """Reads one split; "val" and "test" are both the official test list.

  Class folders are found whatever the case of their letters: the lists say
  HandstandPushups and the files HandStandPushups.

  Args:
    root: folder that holds UCF-101/, or its class folders.
    split: "train", "val" or "test".
    fold: which pair of lists, 1 to 3.
  """
  if fold not in (1, 2, 3):
    raise errors.ConfigError(f"data.dataset.fold={fold!r}: UCF101 has the lists 1, 2 and 3.")
  index = places.annotation(root, ("classInd.txt",), _LISTS)
  path = places.annotation(root, (f"{'train' if split == 'train' else 'test'}list{fold:02d}.txt",), _LISTS)
  classes = _classes(index)
  ids = {c: i for i, c in enumerate(classes)}
  disk = places.Places(root, ("UCF-101", "", "videos"))
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    name, *number = text.split()
    if len(number) > 1 or "/" not in name:
      raise errors.DataError(f"{path}, line {line}: expected `Class/video.avi` or `Class/video.avi label`,"
                             f" not '{text}'.")
    common.not_twice(name, seen, path, line)
    label = common.class_id(name.split("/")[0], ids, path, line, index)
    if number and common.as_int(number[0], "label", path, line) != label + 1:
      raise errors.DataError(f"{path}, line {line}: label {number[0]}, but {index} gives"
                             f" {classes[label]} the number {label + 1}.")
    found = disk.find(name)
    if found:
      records.append(Record(name, Media(found), label))
    else:
      missing.append(name)
  return Dataset("ucf101", split, tuple(records), classes, missing=tuple(missing))


def _classes(path: str) -> tuple[str, ...]:
  """Names of a file of lines `1 ApplyEyeMakeup`, numbers from 1 on."""
  classes = []
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    parts = text.split()
    if len(parts) != 2:
      raise errors.DataError(f"{path}, line {line}: {counted(len(parts), 'column')}, expected `number Class`.")
    if common.as_int(parts[0], "class number", path, line) != len(classes) + 1:
      raise errors.DataError(f"{path}, line {line}: class number {parts[0]}, expected {len(classes) + 1}.")
    classes.append(parts[1])
  return tuple(classes)
