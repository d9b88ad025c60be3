"""Vocabularies of words from the captions of a data set, as vidx/data/tokens.py reads them."""

from collections import Counter
from collections.abc import Iterable
import os
from typing import Any

from vidx import errors, writing
from vidx.data import datasets, tokens, trees
from vidx.data.records import Dataset
from vidx.metrics import sentences


def words(texts: Iterable[str], least: int = 1, most: int = 0) -> list[str]:
  """The special tokens, then the words of texts, the most frequent first.

  Args:
    texts: sentences; signs are no words and capitals are small letters.
    least: how often a word has to occur.
    most: of all tokens; 0: no limit.
  """
  return _ranked((w for text in texts for w in trees.plain(text).split()), least, most)


def from_captions(dataset: Dataset, least: int = 1, most: int = 20_000, lower: bool = True) -> list[str]:
  """The special tokens, then words and signs of the captions that training sees, the most frequent first.

  Args:
    dataset: the training split.
    least: how often a word has to occur.
    most: of all tokens.
    lower: whether letters become small.

  Raises:
    DataError: there are no captions.
  """
  said = _captions(dataset)
  if not said:
    raise errors.DataError(f"split '{dataset.split}' of data set '{dataset.name}' has no captions to take words from:"
                           " set data.text.vocab to a file of one token a line.")
  return _ranked((w for text in said for w in sentences.words(text, lower)), least, most)


def _captions(dataset: Dataset) -> list[str]:
  return [text for record in dataset.records for text in record.extra.get("captions", ())]


def _ranked(found: Iterable[str], least: int, most: int) -> list[str]:
  """The special tokens and words in the order of how often they occur, of equal ones in that of the alphabet."""
  counts = Counter(found)
  ranked = [w for w, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= least]
  return [*tokens.SPECIAL, *ranked][:most or None]


def build(name: str, root: str, out: str = "", split: str = "train", least: int = 5, most: int = 10_000, **options: Any
          ) -> dict[str, Any]:
  """Writes the vocabulary of a data set's captions.

  Args:
    name: of a reader whose records have captions, such as coco or texts.
    root: folder that it reads.
    out: file to write; '': vocab.txt in the root.
    split: of the data set.
    least: see `words`.
    most: see `words`.
    **options: of the reader.

  Returns:
    {'vocabulary': its path, 'captions', 'words'}.

  Raises:
    DataError: the data set has no captions, or the file cannot be written.
  """
  if name == "coco":
    options = {"media": "text", **options}  # no image is needed
  dataset = datasets.load(name, root, split, max_missing=1.0, **options)
  said = _captions(dataset)
  if not said:
    raise errors.DataError(f"data set '{name}' at {root} has no captions in split '{split}'.")
  found, path = words(said, least, most), out or os.path.join(root, "vocab.txt")
  try:
    writing.write_lines(path, found)
  except OSError as e:
    raise errors.DataError(f"{path} cannot be written ({e.strerror or e}).") from e
  return {"vocabulary": path, "captions": len(said), "words": len(found) - len(tokens.SPECIAL)}
