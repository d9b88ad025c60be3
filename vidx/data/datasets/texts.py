"""Texts alone, a sentence a line: root/train.txt, root/val.txt, root/test.txt, for models of language."""

import os

from vidx.data import trees
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted


def read(root: str, split: str) -> Dataset:
  """Reads one split; lines without a word are left out.

  Args:
    root: folder of the files.
    split: "train", "val" or "test".
  """
  path = os.path.join(root, f"{split}.txt")
  lines = [(i, trees.plain(line)) for i, line in enumerate(common.read_lines(path), 1)]
  media = Media(path, "text")
  empty = sum(not text for _, text in lines)
  return Dataset("texts", split, tuple(Record(str(i), media, extra={"captions": (text,)}) for i, text in lines if text),
                 notes=(f"left out {counted(empty, 'line')} of {split}.txt without a word",) if empty else ())
