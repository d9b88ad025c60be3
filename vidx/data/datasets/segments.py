"""A folder of features and one of labels: your own long videos.

  root/features/<video>.npy   frames x features, or the reverse
  root/labels/<video>.npy     class ids of the frames, or
  root/labels/<video>.txt     a class name per frame, or lines `start-end name` (frames from 1 on),
                              or in place of labels
  root/transcripts/<video>.txt  a class name per segment, in order; where only the set is known, in any order
  root/classes.txt            a class name per line, or root/mapping.txt with `id name`
  root/{train,val,test}.txt   a video per line; without them a fifth is for validation
"""

import os
import re

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, places, sequences, tables
from vidx.data.records import Dataset

SPLITS = ("train", "val", "test")


def read(root: str, split: str, features: str = "features", labels: str = "labels") -> Dataset:
  """Reads one split.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    features: folder of the features below the root.
    labels: folder of the labels below the root.
  """
  names = places.annotation(root, ("classes.txt", "mapping.txt"))
  mapped = os.path.basename(names) == "mapping.txt"
  classes = sequences.read_mapping(names) if mapped else common.read_classes(names)
  ids = {c: i for i, c in enumerate(classes)}
  if len(ids) < len(classes):
    raise errors.DataError(f"{names}: a class stands twice.")
  lists = {s: places.annotation(root, (f"{s}.txt",), ("", "splits")) for s in SPLITS}
  if any(os.path.isfile(p) for p in lists.values()):
    videos = sequences.split_lists(lists, split)
  else:
    at = os.path.join(root, features)
    stems = [f.removesuffix(".npy") for f in media_files.names(at) if f.endswith(".npy")]
    videos = [v for v in stems if tables.hashed_split(v) == split]

  def annotate(video):
    array, text = (os.path.join(root, labels, video + ending) for ending in (".npy", ".txt"))
    if os.path.isfile(array):
      return sequences.annotation(sequences.labels_of_array(array, len(classes)))
    if os.path.isfile(text) and re.match(r"\s*\d+-\d+\s+\S", common.read_text(text)):
      runs = sequences.runs_of_spans(text, ids, names)
      return sequences.Annotation(runs, tuple(c for c, _ in runs))
    order = os.path.join(root, "transcripts", f"{video}.txt")
    if os.path.isfile(order) and not os.path.isfile(text):
      return sequences.Annotation((), tuple(sequences.labels_of_text(order, ids, names).tolist()))
    return sequences.annotation(sequences.labels_of_text(text, ids, names))

  return sequences.collect("segments", split, videos, classes, lambda v: os.path.join(root, features, f"{v}.npy"),
                           annotate, 0)
