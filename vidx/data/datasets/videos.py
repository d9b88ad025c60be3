"""Videos without any annotation: all below a folder, wherever they lie.

  root/{train,val,test}/**/*.mp4    split by folder, where there is a folder `train` or `val`
  root/**/*.mp4                     otherwise; a fifth, by a hash of the name, is for validation
"""

import os

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import tables
from vidx.data.records import Dataset, Record, media_of


def read(root: str, split: str) -> Dataset:
  """Reads one split; its records have no labels and it has no classes.

  Args:
    root: the folder.
    split: "train", "val" or "test".
  """
  by_folder = any(os.path.isdir(os.path.join(root, name)) for name in ("train", "val"))
  base = os.path.join(root, split) if by_folder else root
  if not os.path.isdir(base):
    raise errors.AbsentError(f"{root} has folders for other splits and none for split '{split}'.")
  files = [os.path.relpath(path, base) for path in media_files.below(base).media]
  if not by_folder:
    files = [f for f in files if tables.hashed_split(f) == split]
  return Dataset("videos", split, tuple(Record(f, media_of(os.path.join(base, f))) for f in files), ())
