"""A csv file, or one per split, of `path,label`: labels are names or ids.

  root/{train,val,test}.csv    one file per split
  file=lists/{split}.csv       the same, anywhere
  file=all.csv                 one file with a column `split` or `fold`, or without: a fifth is for validation
"""

import os
from typing import Any

from vidx.data.datasets import common, folder
from vidx.data.records import Dataset

_SPLITS = ("train", "val", "test")


def read(root: str, split: str, file: str = "", classes: str = "", train_folds: Any = "",
         val_folds: Any = "") -> Dataset:
  """Reads one split.

  Args:
    root: folder below which the paths are.
    split: "train", "val" or "test".
    file: the csv file, below the root unless absolute; "{split}" in it stands for the split.
    classes: file of class names; root/classes.txt where there is one, else the
      labels of all files name them.
    train_folds: folds of split "train", such as "0,1", for a table with folds.
    val_folds: folds of "val"; the other folds are "test".
  """
  file = common.inside(root, file or "{split}.csv")
  per_split = "{split}" in file
  tables = {s: file.replace("{split}", s) for s in _SPLITS}
  names = classes or os.path.join(root, "classes.txt")
  given = common.read_classes(names) if classes or os.path.exists(names) else ()
  if per_split and not given:
    labels = [row["label"] for path in tables.values() if os.path.exists(path)
              for _, row in common.read_table(path, ("path", "label"))]
    given, names = tuple(common.natural(labels)), file
  return folder.read_table("csv", tables[split], root, split, given, names, train_folds, val_folds, whole=per_split)
