"""YouCook2: clips of cooking videos, each with the sentence of a recipe that it shows.

  root/training_youcook.csv, root/validation_youcook.csv    end,start,task,text,video_id; seconds
  root/experts/...                                          features by <video_id>_<start>_<end>, or files by video_id

'val' and 'test' are the validation clips, as Miech et al. 2020 test on them. One of them has two
sentences, and is two of the 3,350 there.

Zhou et al.: "Towards Automatic Learning of Procedures from Web Instructional Videos", 2018.
"""

from vidx import errors
from vidx.data.datasets import captions as captions_lib
from vidx.data.datasets import common, places
from vidx.data.records import Dataset

_FOLDERS = ("", "annotations")
MARKS = places.marks(_FOLDERS, "*_youcook.csv")
_FILES = {"train": ("training_youcook.csv", "train_youcook.csv"), "val": ("validation_youcook.csv",),
          "test": ("validation_youcook.csv",)}


def read(root: str, split: str, file: str = "", media: str = "experts", experts: str = "experts") -> Dataset:
  """Reads one split; raises DataError for a line that cannot be used.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    file: of the split, below the root; empty: the usual one.
    media: "experts" or "video".
    experts: folder of features below the root.
  """
  path = places.annotation(root, (file,) if file else _FILES[split], _FOLDERS)
  seen: dict[str, int] = {}
  found = []
  for line, row in common.read_table(path, ("start", "end", "text", "video_id")):
    start, end = (common.as_number(row[k], k, path, line) for k in ("start", "end"))
    if end <= start:
      raise errors.DataError(f"{path}, line {line}: the clip ends at {end:g} s and starts at {start:g} s.")
    name = f"{row['video_id']}_{start:g}_{end:g}"
    seen[name] = seen.get(name, 0) + 1
    found.append((f"{name}_{seen[name]}" if seen[name] > 1 else name, (captions_lib.cleaned(row["text"]),),
                  {"span": (start, end), "media": row["video_id"], "features": name, "task": row.get("task", "")}))
  return captions_lib.dataset("youcook2", root, split, found, media, experts)
