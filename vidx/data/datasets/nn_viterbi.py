"""Breakfast and Hollywood Extended as released with NeuralNetwork-Viterbi and action sets.

  root/features/<video>.npy       (64, T)
  root/transcripts/<video>.txt    a class name per segment
  root/groundTruth/<video>.txt    a class name per frame, may be left out
  root/mapping.txt                id name
  root/splitN.{train,test}        a video per line

Without lists (Hollywood Extended) there are ten folds by the last digit of the
videos' names. Richard et al.: "NeuralNetwork-Viterbi: A Framework for Weakly
Supervised Video Learning", CVPR 2018.
"""

import glob
import os

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import sequences
from vidx.data.records import Dataset

MARKS = ("transcripts", "groundTruth")


def read(root: str, split: str, fold: int = 1, features: str = "features") -> Dataset:
  """Reads one split; "val" and "test" are both the test list.

  Args:
    root: folder of one data set.
    split: "train", "val" or "test".
    fold: which pair of lists, from 1 on.
    features: folder of the features below the root.
  """
  mapping = os.path.join(root, "mapping.txt")
  classes = sequences.read_mapping(mapping)
  ids = {c: i for i, c in enumerate(classes)}
  part = "train" if split == "train" else "test"
  if glob.glob(os.path.join(glob.escape(root), "split*.t*")):
    videos = sequences.split_lists({s: os.path.join(root, f"split{fold}.{s}") for s in ("train", "test")}, part)
  else:
    videos = _by_last_digit(os.path.join(root, features), fold, part)

  def annotate(video):
    frames, order = (os.path.join(root, folder, f"{video}.txt") for folder in ("groundTruth", "transcripts"))
    found = sequences.Annotation((), ())
    if os.path.isfile(frames):
      found = sequences.annotation(sequences.labels_of_text(frames, ids, mapping))
    if os.path.isfile(order) or not found.runs:
      found = found._replace(transcript=tuple(sequences.labels_of_text(order, ids, mapping).tolist()))
    return found

  return sequences.collect("nn_viterbi", split, videos, classes, lambda v: os.path.join(root, features, f"{v}.npy"),
                           annotate, 1)


def _by_last_digit(folder: str, fold: int, part: str) -> list[str]:
  """Names in a folder of features; those that end in the digit fold - 1 are for the test."""
  if not 1 <= fold <= 10:
    raise errors.ConfigError(f"data.dataset.fold={fold!r}: without split files there are the folds 1 to 10.")
  names = [f.removesuffix(".npy") for f in media_files.names(folder) if f.endswith(".npy")]
  odd = next((n for n in names if not n[-1].isdecimal()), None)
  if odd is not None:
    raise errors.DataError(f"{folder}: no split files beside it, and '{odd}' ends in no digit to give its fold.")
  return [n for n in names if (int(n[-1]) == fold - 1) == (part == "test")]
