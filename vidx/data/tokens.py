"""Texts as numbers of words or word pieces, from a vocabulary file of one token a line.

The file is that of BERT, vocab.txt: the number of a token is its line, from 0 on, and
[PAD], [UNK], [CLS] and [SEP] are among them. A text is [CLS] tokens [SEP] and padding; of
one that is too long the first tokens are kept, and [SEP].
"""

from collections.abc import Sequence
import functools
import os

import numpy as np

from vidx import errors
from vidx.data.datasets import common
from vidx.metrics import sentences

KINDS = ("wordpiece", "words")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def read_vocabulary(path: str) -> dict[str, int]:
  """Numbers by token.

  Raises:
    AbsentError: there is no such file.
    DataError: a token stands twice, or one of SPECIAL is not there.
  """
  found: dict[str, int] = {}
  seen: dict[str, int] = {}
  for number, token in enumerate(common.read_lines(path)):
    common.not_twice(token, seen, path, number + 1)
    found[token] = number
  lacking = [token for token in SPECIAL if token not in found]
  if lacking:
    raise errors.DataError(f"{path} is no vocabulary of one token a line: it lacks {', '.join(lacking)}.")
  return found


class Tokenizer:
  """Makes numbers of texts.

  Attributes:
    vocabulary: numbers by token.
    length: of a text, [CLS] and [SEP] included.
  """

  def __init__(self, path: str, kind: str = "wordpiece", length: int = 37, lower: bool = True):
    """
    Args:
      path: of the vocabulary.
      kind: "wordpiece", as BERT has them (needs the extra `text`), or "words": runs of letters and digits, and signs.
      length: L.
      lower: whether letters become small, and of word pieces accents are taken off.

    Raises:
      ConfigError: another kind, a length under 3, or a library that is not installed.
      DataError: no vocabulary at `path`.
    """
    errors.check_choice("data.text.tokenizer", kind, KINDS)
    if length < 3:
      raise errors.ConfigError(f"data.text.length={length}: a text has at least [CLS], a word and [SEP].")
    self.vocabulary, self.length, self._lower = read_vocabulary(path), length, lower
    self._pieces = _pieces(path, lower, length) if kind == "wordpiece" else None

  def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    """A text -> int32 (L,) numbers and float32 (L,) 1 for live ones; an empty text is [CLS] [SEP]."""
    ids = self._pieces.encode(text).ids if self._pieces is not None else self._words(text)
    numbers = np.full(self.length, self.vocabulary["[PAD]"], np.int32)
    numbers[:len(ids)] = ids
    return numbers, (np.arange(self.length) < len(ids)).astype(np.float32)

  def beyond(self, text: str) -> int:
    """How many words or pieces at the end of a text there is no room for."""
    if self._pieces is None:
      return max(0, len(sentences.words(text, self._lower)) - (self.length - 2))
    return sum(1 - special for more in self._pieces.encode(text).overflowing for special in more.special_tokens_mask)

  def _words(self, text: str) -> list[int]:
    number, unknown = self.vocabulary.get, self.vocabulary["[UNK]"]
    words = sentences.words(text, self._lower)[:self.length - 2]
    return [number("[CLS]"), *(number(w, unknown) for w in words), number("[SEP]")]


def _pieces(path: str, lower: bool, length: int):
  """The word pieces of the library `tokenizers`."""
  try:
    import tokenizers
  except ImportError:
    raise errors.ConfigError("data.text.tokenizer='wordpiece' needs the library tokenizers: pip install vidx[text], or"
                             " set it to 'words'.") from None
  found = tokenizers.BertWordPieceTokenizer(path, lowercase=lower)
  found.enable_truncation(length)
  return found


def path_of(data) -> str:
  """The vocabulary file of a config's section `data`."""
  return common.inside(data.root, data.text.vocab)


@functools.lru_cache(maxsize=4)
def _opened(path: str, kind: str, length: int, lower: bool, changed: float) -> Tokenizer:
  del changed
  return Tokenizer(path, kind, length, lower)


def open_tokenizer(data) -> Tokenizer:
  """The tokenizer of a config's section `data`, kept open in this process; raises as `Tokenizer`."""
  path, text = path_of(data), data.text
  changed = os.path.getmtime(path) if os.path.exists(path) else 0.0
  try:
    return _opened(path, text.tokenizer, int(text.length), bool(text.lower), changed)
  except errors.AbsentError:
    raise errors.DataError(f"there is no vocabulary at {path}: set data.text.vocab to a file of one token a line, such"
                           " as the vocab.txt of BERT.") from None


def joined(texts: Sequence[str]) -> str:
  """The sentences of a video as one text."""
  return " ".join(t.strip() for t in texts)
