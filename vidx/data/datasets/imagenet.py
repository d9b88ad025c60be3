"""ImageNet, and other images in a folder per class, as videos of one frame.

  root/{train,val,test}/<class>/*.JPEG        as the usual script sorts them; classes in the order of their names,
                                              which of ImageNet are those of WordNet, as its weights have them
  root/Data/CLS-LOC/...                       the same inside of the archive of the challenge
  root/{val,test}/*.JPEG                      with root/LOC_{val,test}_solution.csv, `ImageId,PredictionString`, as
                                              there; the first word of a prediction is the class
  root/LOC_synset_mapping.txt                 `n01440764 tench, Tinca tinca`: names of classes, where it is there

Deng et al.: "ImageNet: A Large-Scale Hierarchical Image Database", 2009.
"""

import os

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record

_MAPPING = "LOC_synset_mapping.txt"


def read(root: str, split: str) -> Dataset:
  """Reads one split.

  Args:
    root: folder of the splits, or of Data/CLS-LOC with them.
    split: "train", "val" or "test".

  Raises:
    AbsentError: there is no such split.
    DataError: images of unknown classes.
  """
  inner = os.path.join(root, "Data", "CLS-LOC")
  base = inner if os.path.isdir(inner) else root
  folder = os.path.join(base, split)
  words = media_files.folders(os.path.join(base, "train")) or media_files.folders(folder)
  if not os.path.isdir(folder) or not words:
    raise errors.AbsentError(f"split '{split}' of {root}: {folder} has no folder per class, nor has"
                             f" {os.path.join(base, 'train')}.")
  ids = {word: i for i, word in enumerate(words)}
  found = _sorted(folder, ids) if media_files.folders(folder) else _listed(root, folder, split, ids)
  records = tuple(Record(name, Media(os.path.join(folder, name), "still"), label) for name, label in found)
  if not records:
    raise errors.DataError(f"{folder} holds no images.")
  return Dataset("imagenet", split, records, _names(root, words))


def _sorted(folder: str, ids: dict[str, int]) -> list[tuple[str, int]]:
  """(path below the split, class) of images in a folder per class."""
  found = []
  for word in media_files.folders(folder):
    if word not in ids:
      raise errors.DataError(f"folder {word} of {folder} is no class of the training images{errors.hint(word, ids)}.")
    found += [(os.path.join(word, name), ids[word]) for name in media_files.images(os.path.join(folder, word))]
  return found


def _listed(root: str, folder: str, split: str, ids: dict[str, int]) -> list[tuple[str, int]]:
  """The same of images in one folder, whose classes a table has; those that it has not are unlabelled."""
  path = os.path.join(root, f"LOC_{split}_solution.csv")
  if not os.path.isfile(path) and split != "test":
    raise errors.DataError(f"{folder} has no folder per class, and there is no {path} that tells the classes of its"
                           " images.")
  labels = {}
  for line, row in common.read_table(path, ("ImageId", "PredictionString")) if os.path.isfile(path) else ():
    word = row["PredictionString"].split(" ")[0]
    if word not in ids:
      raise errors.DataError(f"{path}, line {line}: '{word}' is no class of the training images"
                             f"{errors.hint(word, ids)}.")
    labels[row["ImageId"]] = ids[word]
  return [(name, labels.get(os.path.splitext(name)[0], -1)) for name in media_files.images(folder)]


def _names(root: str, words: list[str]) -> tuple[str, ...]:
  """What classes are called: the name of a folder, with what it stands for where a file says so."""
  path = os.path.join(root, _MAPPING)
  told = {}
  for line in common.read_classes(path) if os.path.isfile(path) else ():
    word, _, meaning = line.partition(" ")
    told[word] = f"{word} {meaning.split(',')[0]}"
  return tuple(told.get(word, word) for word in words)
