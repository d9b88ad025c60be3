"""A table of videos and labels, or one per split; see vidx/data/datasets/tables.py.

  root/{train,val,test}.csv    one file per split
  file=lists/{split}.csv       the same, anywhere
  file=all.csv                 one file with a column `split` or `fold`, or without: a fifth is for validation
"""

import os
from typing import Any

from vidx import errors
from vidx.data.datasets import common, tables
from vidx.data.records import Dataset

_SPLITS = ("train", "val", "test")


def read(root: str, split: str, file: str = "", classes: str = "", train_folds: Any = "", val_folds: Any = "",
         group: str = "group", first_id: int = 0) -> Dataset:
  """Reads one split.

  Args:
    root: folder below which the paths are.
    split: "train", "val" or "test".
    file: the table, below the root unless absolute; "{split}" in it stands for the split.
    classes: file of class names; root/classes.txt where there is one, else the
      labels of all files name them.
    train_folds: folds of split "train", such as "0,1", for a table with folds.
    val_folds: folds of "val"; the other folds are "test".
    group: column of what must not come into two splits, where a hash decides.
    first_id: the id of the first class, 0 or 1, where labels are ids.
  """
  file = common.inside(root, file or "{split}.csv")
  per_split = "{split}" in file
  paths = {s: file.replace("{split}", s) for s in _SPLITS}
  there = tables.beside(root)
  if per_split and there and not any(map(os.path.exists, paths.values())):
    raise errors.DataError(f"{root} holds none of {', '.join(map(os.path.basename, paths.values()))}, but {there[0]}:"
                           f" a table of paths and labels, or a list, {tables.how(there[0])}.")
  names = classes or os.path.join(root, "classes.txt")
  given = common.read_classes(names) if classes or os.path.exists(names) else ()
  found = tables.rows(paths[split], root)
  labels = [label for s, path in paths.items() if per_split and os.path.exists(path)
            for label in tables.labels(path, root, found if s == split else None)]
  if per_split and not given:
    given, names = tuple(common.natural(labels)), file
  return tables.read("csv", paths[split], root, split, given, names, train_folds=train_folds, val_folds=val_folds,
                     group=group, first_id=first_id, whole=per_split, found=found, others=labels)
