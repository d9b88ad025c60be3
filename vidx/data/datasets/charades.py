"""Charades: 157 actions in 9,848 videos of 30 s, several in each.

  root/Charades_v1_{train,test}.csv     id,...,actions,length; actions `c092 11.90 21.20;c147 0.00 12.60`, in seconds
  root/Charades_v1_classes.txt          `c000 Holding some clothes`
  root/**/<id>.mp4

The label of a video is all of its actions; data.clip_labels trains clips on those in their time.
The test list is validation too, as in papers.

Sigurdsson et al.: "Hollywood in Homes: Crowdsourcing Data Collection for Activity
Understanding", 2016.
"""

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record

_FOLDERS = ("", "Charades", "annotations")
MARKS = places.marks(_FOLDERS, "Charades_v1_*")


def read(root: str, split: str, file: str = "") -> Dataset:
  """Reads one split; "val" and "test" are both the official test list.

  Args:
    root: folder of annotations and videos.
    split: "train", "val" or "test".
    file: csv file, below the root unless absolute; "{split}" in it stands for train or test. Empty: by its usual name.

  Raises:
    DataError: a file or line that cannot be used.
  """
  word = "train" if split == "train" else "test"
  path = (common.inside(root, file.replace("{split}", word)) if file else
          places.annotation(root, (f"Charades_v1_{word}.csv",), _FOLDERS))
  source = places.annotation(root, ("Charades_v1_classes.txt",), _FOLDERS)
  classes, ids = _classes(source)
  videos = places.by_stem(root)
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, row in common.read_table(path, ("id",)):
    common.not_twice(row["id"], seen, path, line)
    spans = []
    for text in filter(None, (t.strip() for t in row.get("actions", "").split(";"))):
      parts = text.split()
      if len(parts) != 3:
        raise errors.DataError(f"{path}, line {line}: '{text}' is not an action with the seconds of its start and end.")
      if parts[0] not in ids:
        raise errors.DataError(f"{path}, line {line}: action '{parts[0]}' is not one of the {len(ids)} of {source}"
                               f"{errors.hint(parts[0], ids)}.")
      times = [common.as_number(t, "a time of an action", path, line) for t in parts[1:]]
      spans.append((ids[parts[0]], *times))
    if row["id"] in videos:
      records.append(Record(row["id"], Media(videos[row["id"]]), tuple(sorted({s[0] for s in spans})),
                            extra={"actions": tuple(spans)}))
    else:
      missing.append(row["id"])
  return Dataset("charades", split, tuple(records), classes, multilabel=True, missing=tuple(missing))


def _classes(path: str) -> tuple[tuple[str, ...], dict[str, int]]:
  """Names, and ids by code."""
  names, ids = [], {}
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    code, _, name = text.strip().partition(" ")
    if not name:
      raise errors.DataError(f"{path}, line {line}: '{text}' is not a code and the name of an action.")
    if code in ids:
      raise errors.DataError(f"{path}, line {line}: '{code}' stands already above.")
    ids[code] = len(names)
    names.append(name.strip())
  return tuple(names), ids
