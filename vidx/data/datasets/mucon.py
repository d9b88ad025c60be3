"""Breakfast as released with MuCon: everything but the names in arrays.

  root/features/<video>.npy      (T, 2048)
  root/labels/<video>.npy        (T,) class ids, may be left out
  root/transcripts/<video>.npy   (N,) class ids of the segments
  root/lengths/<video>.npy       (N,) frames of the segments, may be left out
  root/mapping.txt               id name
  root/splitN.{train,test}       a video per line

Souri et al.: "Fast Weakly Supervised Action Segmentation Using Mutual Consistency", 2021.
"""

import os

from vidx import errors
from vidx.data.datasets import sequences
from vidx.data.records import Dataset
from vidx.terminal import counted

MARKS = ("transcripts",)


def read(root: str, split: str, fold: int = 1, features: str = "features") -> Dataset:
  """Reads one split; "val" and "test" are both the test list.

  Args:
    root: folder of the data set.
    split: "train", "val" or "test".
    fold: which pair of lists, from 1 on.
    features: folder of the features below the root.
  """
  classes = sequences.read_mapping(os.path.join(root, "mapping.txt"))
  lists = {s: os.path.join(root, f"split{fold}.{s}") for s in ("train", "test")}
  videos = sequences.split_lists(lists, "train" if split == "train" else "test")

  def annotate(video):
    labels, order, lengths = (os.path.join(root, f, f"{video}.npy") for f in ("labels", "transcripts", "lengths"))
    of_frames = sequences.Annotation((), ())
    if os.path.isfile(labels):
      of_frames = sequences.annotation(sequences.labels_of_array(labels, len(classes)))
      if not os.path.isfile(order):
        return of_frames
    transcript = tuple(sequences.labels_of_array(order, len(classes)).tolist())
    if not os.path.isfile(lengths):
      return of_frames._replace(transcript=transcript)
    frames = sequences.whole_numbers(lengths).tolist()
    if len(frames) != len(transcript):
      raise errors.DataError(f"{lengths}: {counted(len(frames), 'length')} for the"
                             f" {counted(len(transcript), 'segment')} of {order}.")
    runs = tuple(zip(transcript, frames))
    if of_frames.runs and runs != of_frames.runs:
      raise errors.DataError(f"{lengths}: its segments are not those of {labels}.")
    return sequences.Annotation(runs, transcript)

  return sequences.collect("mucon", split, videos, classes, lambda v: os.path.join(root, features, f"{v}.npy"),
                           annotate, 0)
