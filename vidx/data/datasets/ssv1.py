"""Something-Something V1: 174 classes, 108,499 videos as folders of frames.

  root/<id>/00001.jpg                                     also below 20bn-something-something-v1/, frames/ or videos/
  root/something-something-v1-labels.csv                  a label per line
  root/something-something-v1-{train,validation}.csv      `id;label`
  root/something-something-v1-test.csv                    `id`

Goyal et al.: "The 'Something Something' Video Database for Learning and
Evaluating Visual Common Sense", 2017.
"""

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_FOLDERS = ("", "annotations", "labels")
MARKS = places.marks(_FOLDERS, "something-something-v1-*")
_MEDIA = ("20bn-something-something-v1", "", "frames", "videos")


def read(root: str, split: str, pattern: str = "{:05d}.jpg") -> Dataset:
  """Reads one split; the test split has no labels.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    pattern: file names of frames.
  """
  word = "validation" if split == "val" else split
  source = places.annotation(root, ("something-something-v1-labels.csv",), _FOLDERS)
  path = places.annotation(root, (f"something-something-v1-{word}.csv",), _FOLDERS)
  classes = tuple(sorted(common.read_classes(source)))  # class ids count in the order of the alphabet
  ids = {c: i for i, c in enumerate(classes)}
  disk = places.Places(root, _MEDIA)
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    name, *label = (part.strip() for part in text.split(";"))
    if len(label) > 1 or not (label or split == "test"):
      raise errors.DataError(f"{path}, line {line}: {counted(1 + len(label), 'column')}, expected `id;label`.")
    common.not_twice(name, seen, path, line)
    label = common.class_id(label[0], ids, path, line, source) if label else -1
    found = disk.find(name)
    if found:
      records.append(Record(name, Media(found, "frames", pattern=pattern), label))
    else:
      missing.append(name)
  return Dataset("ssv1", split, tuple(records), classes, missing=tuple(missing))
