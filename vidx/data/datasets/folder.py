"""A folder of videos: one folder per class, or a clips.csv.

  root/<class>/*.mp4                  split by a hash of the name: a fifth is for validation
  root/{train,val,test}/<class>/*     split by folder
  root/clips.csv                      `path,label`, and `split` or `fold`, further columns are kept;
                                      a path may be a folder of frames

Labels are names or ids. classes.txt (a name per line) fixes the order of the
classes; else it is that of the sorted labels.
"""

import os
from typing import Any
import zlib

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record

VAL_SHARE = 0.2
_COLUMNS = ("path", "label", "split", "fold")


def read(root: str, split: str, classes: str = "", train_folds: Any = "", val_folds: Any = "") -> Dataset:
  """Reads one split.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    classes: file of class names; root/classes.txt where there is one.
    train_folds: folds of split "train", such as "0,1", for a table with folds.
    val_folds: folds of "val"; the other folds are "test".
  """
  table = os.path.join(root, "clips.csv")
  names = classes or os.path.join(root, "classes.txt")
  given = common.read_classes(names) if classes or os.path.exists(names) else ()
  if os.path.exists(table):
    return read_table("folder", table, root, split, given, names, train_folds, val_folds)
  return _folders(root, split, given, names)


def read_table(name: str, table: str, root: str, split: str, given: tuple[str, ...], names: str,
               train_folds: Any = "", val_folds: Any = "", whole: bool = False) -> Dataset:
  """One split of a csv file `path,label[,split|fold]`.

  Args:
    name: of the data set.
    table: the csv file.
    root: folder below which its paths are.
    split: which split; a table without splits is hashed into train and val.
    given: class names by id, empty where the labels name them.
    names: the file they come from, for messages.
    train_folds: see `read`.
    val_folds: see `read`.
    whole: whether a table without splits and folds is all of the split.
  """
  rows = list(common.read_table(table, ("path", "label")))
  source = names if given else table
  order = given or tuple(common.natural([r["label"] for _, r in rows]))
  ids = {c: i for i, c in enumerate(order)}
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, row in rows:
    common.not_twice(os.path.normpath(row["path"]), seen, table, line)
    label = common.class_id(row["label"], ids, table, line, source)
    of_split = whole and not {"split", "fold"} & row.keys()
    if not of_split and split_of(row, table, line, train_folds, val_folds) != split:
      continue
    path = common.inside(root, row["path"])
    extra = {k: v for k, v in row.items() if k not in _COLUMNS}
    if os.path.exists(path):
      media = Media(path, "frames" if os.path.isdir(path) else "video")
      records.append(Record(row["path"], media, label, extra=extra))
    else:
      missing.append(row["path"])
  return Dataset(name, split, tuple(records), order, missing=tuple(missing))


def split_of(row: dict[str, str], table: str, line: int, train_folds: Any, val_folds: Any) -> str:
  """The split of a row: by its column `split`, by its fold, or by a hash of its path."""
  if "split" in row:
    found = {"validation": "val", "valid": "val", "testing": "test", "training": "train"}.get(
        row["split"], row["split"])
    if found not in ("train", "val", "test"):
      raise errors.DataError(f"{table}, line {line}: split '{row['split']}' is none of train, val, test.")
    return found
  if "fold" in row:
    fold = common.as_int(row["fold"], "fold", table, line)
    train, val = common.folds(train_folds, "train_folds"), common.folds(val_folds, "val_folds")
    if not train or not val:
      raise errors.ConfigError(f"{table} has folds: choose them with --config.data.train_folds=0,1"
                               " --config.data.val_folds=2.")
    if train & val:
      raise errors.ConfigError(f"train_folds and val_folds share {sorted(train & val)}.")
    return "train" if fold in train else "val" if fold in val else "test"
  return hashed_split(row["path"])


def hashed_split(name: str) -> str:
  """'val' for a fifth of all names, the same on every machine; 'train' for the others."""
  return "val" if zlib.crc32(name.encode()) % 1000 < 1000 * VAL_SHARE else "train"


def _folders(root: str, split: str, given: tuple[str, ...], names: str) -> Dataset:
  """Class folders, perhaps below split folders."""
  split_names = [d for d in ("train", "val", "test") if _holds_folders(os.path.join(root, d))]
  base = os.path.join(root, split) if split_names else root
  if split_names and split not in split_names:
    raise errors.AbsentError(f"{root} has folders for {', '.join(split_names)} and none for split '{split}'.")
  all_bases = [os.path.join(root, d) for d in split_names] or [root]
  found = sorted({d.name for b in all_bases for d in os.scandir(b) if d.is_dir() and not d.name.startswith(".")})
  if not found:
    raise errors.DataError(f"{root} holds neither a clips.csv nor a folder per class.")
  order = given or tuple(found)
  for name in found:
    if name not in order:
      raise errors.DataError(f"folder {name} of {root} is not one of the classes of {names}{errors.hint(name, order)}.")
  records = []
  for label, name in enumerate(order):
    folder = os.path.join(base, name)
    files = sorted(os.path.relpath(os.path.join(at, f), base) for at, _, fs in os.walk(folder)
                   for f in fs if media_files.is_video(f))
    if not split_names:
      files = _balanced(files, split)
    records += [Record(f, Media(os.path.join(base, f)), label) for f in files]
  return Dataset("folder", split, tuple(records), order)


def _holds_folders(path: str) -> bool:
  """Whether a folder is a split, and not a class of that name."""
  return os.path.isdir(path) and any(d.is_dir() and not d.name.startswith(".") for d in os.scandir(path))


def _balanced(files: list[str], split: str) -> list[str]:
  """The split's share of one class: a fifth, chosen by hash, so that every class of two and more has its share."""
  by_hash = sorted(files, key=lambda f: (zlib.crc32(f.encode()), f))
  val = set(by_hash[:max(len(files) > 1, round(VAL_SHARE * len(files)))])
  return [f for f in files if (f in val) == (split == "val") and split != "test"]
