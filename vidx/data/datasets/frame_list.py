"""Lists of frame folders, one line per video: ActivityNet, FCVID and Mini-Kinetics as AR-Net lays them out.

  root/actnet_{split}_split.txt      path,num_frames,label[,label...]; -1 for no further label
  root/mini_{split}_videofolder.txt  path num_frames label
  root/classInd.txt                  one class per line, by id
  root/frames/<path>/image_00001.jpg

Meng et al.: "AR-Net: Adaptive Frame Resolution for Efficient Action Recognition", 2020.
"""

import os

from vidx import errors
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted


def read(root: str, split: str, file: str = "", pattern: str = "image_{:05d}.jpg", frames: str = "frames",
         classes: str = "classInd.txt", multilabel: bool = False) -> Dataset:
  """Reads one split.

  Args:
    root: folder of lists and frames.
    split: "train", "val" or "test".
    file: the list, below the root unless absolute; "{split}" in it stands for the split.
    pattern: names of the images of a video.
    frames: folder of the folders, below the root unless absolute.
    classes: file of class names, likewise; an id may stand before a name.
    multilabel: whether all labels of a video count; otherwise the first.
  """
  if not file:
    raise errors.ConfigError("data.dataset.file: name the list, such as 'actnet_{split}_split.txt'.")
  path = common.inside(root, file.replace("{split}", split))
  names = tuple(_name(line) for line in common.read_classes(common.inside(root, classes)))
  records, missing, seen = [], [], {}
  for line, text in enumerate(common.read_lines(path), start=1):
    if not text.strip():
      continue
    name, *numbers = [part.strip() for part in (text.split(",") if "," in text else text.rsplit(maxsplit=2))]
    if len(numbers) < 2:
      raise errors.DataError(f"{path}, line {line}: '{text}' is not path, number of frames and label.")
    ids = [common.as_int(n, "label", path, line) for n in numbers[1:]]
    labels = tuple(dict.fromkeys(i for i in ids if i >= 0))
    strange = next((i for i in labels if i >= len(names)), None)
    if strange is not None or not labels:
      raise errors.DataError(f"{path}, line {line}: label {ids[0] if strange is None else strange} is none of the"
                             f" {counted(len(names), 'class')} of {classes}.")
    common.not_twice(name, seen, path, line)
    folder = os.path.join(common.inside(root, frames), name)
    if os.path.isdir(folder):
      label = tuple(sorted(labels)) if multilabel else labels[0]
      records.append(Record(name, Media(folder, "frames", pattern=pattern), label))
    else:
      missing.append(name)
  return Dataset("frame_list", split, tuple(records), names, multilabel=multilabel, missing=tuple(missing))


def _name(line: str) -> str:
  """A class name without the id before it."""
  first, _, rest = line.partition(" ")
  return rest.strip() if first.isdecimal() and rest.strip() else line
