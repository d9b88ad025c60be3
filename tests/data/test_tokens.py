import numpy as np
import pytest

from vidx import errors
from vidx.data import tokens

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "run", "##s", ",", "cafe"]


@pytest.fixture
def vocabulary(tmp_path):
  path = tmp_path / "vocab.txt"
  path.write_text("\n".join(WORDS) + "\n")
  return str(path)


def test_words_are_numbered_by_their_lines(vocabulary):
  ids, mask = tokens.Tokenizer(vocabulary, "words", 8)("A dog, a cat")
  assert ids.tolist() == [2, 4, 5, 8, 4, 1, 3, 0] and ids.dtype == np.int32
  assert mask.tolist() == [1] * 7 + [0] and mask.dtype == np.float32


def test_an_empty_text_is_its_marks_and_a_long_one_keeps_its_last(vocabulary):
  tokenizer = tokens.Tokenizer(vocabulary, "words", 4)
  assert tokenizer("")[0].tolist() == [2, 3, 0, 0]
  assert tokenizer("dog dog dog dog")[0].tolist() == [2, 5, 5, 3]
  assert [tokenizer.beyond(text) for text in ("", "dog dog", "dog dog dog dog")] == [0, 0, 2]


def test_word_pieces_are_those_of_bert(vocabulary):
  pytest.importorskip("tokenizers", reason="word pieces need the extra 'text'")
  tokenizer = tokens.Tokenizer(vocabulary, "wordpiece", 8)
  assert tokenizer("A dog runs, Café xyz")[0].tolist() == [2, 4, 5, 6, 7, 8, 9, 3]
  assert tokenizer("")[0].tolist() == [2, 3, 0, 0, 0, 0, 0, 0]
  assert tokenizer("dog " * 20)[0].tolist() == [2, 5, 5, 5, 5, 5, 5, 3]
  assert [tokenizer.beyond("dog " * count) for count in (0, 6, 7, 20)] == [0, 0, 1, 14]


@pytest.mark.parametrize("kind, length, message", [("bpe", 8, "'bpe' is not one of wordpiece, words"),
                                                   ("words", 2, "at least")])
def test_what_a_tokenizer_cannot_be_is_named(vocabulary, kind, length, message):
  with pytest.raises(errors.ConfigError, match=message):
    tokens.Tokenizer(vocabulary, kind, length)


def test_a_vocabulary_without_its_marks_or_with_a_token_twice_is_named(tmp_path):
  path = tmp_path / "vocab.txt"
  path.write_text("[PAD]\n[UNK]\na\n")
  with pytest.raises(errors.DataError, match=r"lacks \[CLS\], \[SEP\]"):
    tokens.read_vocabulary(str(path))
  path.write_text("a\nb\na\n")
  with pytest.raises(errors.DataError, match="line 3: 'a' stands already in line 1"):
    tokens.read_vocabulary(str(path))
