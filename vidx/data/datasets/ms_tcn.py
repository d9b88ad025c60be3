"""Breakfast, 50Salads and GTEA as released with MS-TCN: I3D features and frame labels.

  root/features/<video>.npy               (2048, T)
  root/groundTruth/<video>.txt            a class name per frame
  root/mapping.txt                        id name
  root/splits/{train,test}.splitN.bundle  <video>.txt per line

Farha and Gall: "MS-TCN: Multi-Stage Temporal Convolutional Network for Action
Segmentation", CVPR 2019.
"""

import os

from vidx.data.datasets import places, sequences
from vidx.data.records import Dataset

MARKS = ("groundTruth",)


def read(root: str, split: str, fold: int = 1, features: str = "features") -> Dataset:
  """Reads one split; "val" and "test" are both the released test list.

  Args:
    root: folder of one data set.
    split: "train", "val" or "test".
    fold: which pair of bundles, from 1 on.
    features: folder of the features below the root.
  """
  mapping = places.annotation(root, ("mapping.txt",), ("", "splits"))
  classes = sequences.read_mapping(mapping)
  ids = {c: i for i, c in enumerate(classes)}
  lists = {s: places.annotation(root, (f"{s}.split{fold}.bundle",), ("splits", "")) for s in ("train", "test")}
  videos = sequences.split_lists(lists, "train" if split == "train" else "test")

  def annotate(video):
    path = os.path.join(root, "groundTruth", f"{video}.txt")
    return sequences.annotation(sequences.labels_of_text(path, ids, mapping))

  return sequences.collect("ms_tcn", split, videos, classes, lambda v: os.path.join(root, features, f"{v}.npy"),
                           annotate, 1)
