"""LSMDC: clips of films, each with the sentence that an audio description or script says of it.

  root/LSMDC16_annos_training.csv                   101,079 clips
  root/LSMDC16_annos_val.csv
  root/LSMDC16_challenge_1000_publictect.csv        the 1,000 clips that are tested
  root/experts/...                                  features by clip, or files of clips

Lines without a header, separated by tabs: clip, four times, sentence. Clips without a
sentence are left out.

Rohrbach et al.: "Movie Description", 2017.
"""

import dataclasses

from vidx import errors
from vidx.data.datasets import captions as captions_lib
from vidx.data.datasets import common, places
from vidx.data.records import Dataset
from vidx.terminal import counted

_FOLDERS = ("", "annotations", "task1")
MARKS = places.marks(_FOLDERS, "LSMDC16_*.csv")
_FILES = {"train": ("LSMDC16_annos_training.csv",), "val": ("LSMDC16_annos_val.csv",),
          "test": ("LSMDC16_challenge_1000_publictect.csv", "LSMDC16_challenge_1000_publictest.csv")}
_SENTENCE = 5  # its column


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
  found, silent = [], 0
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    columns = text.split("\t")
    if len(columns) <= _SENTENCE:
      raise errors.DataError(f"{path}, line {line}: {counted(len(columns), 'column')} between tabs; expected the clip,"
                             " four times and a sentence.")
    common.not_twice(columns[0].strip(), seen, path, line)
    sentence = captions_lib.cleaned(columns[_SENTENCE])
    if sentence:
      found.append((columns[0].strip(), (sentence,), {}))
    silent += not sentence
  made = captions_lib.dataset("lsmdc", root, split, found, media, experts)
  notes = (f"split '{split}': left out {counted(silent, 'clip')} without a sentence",) if silent else ()
  return dataclasses.replace(made, notes=notes)
