"""Parts of speech of words: 20 coarse groups of those of the Penn Treebank, from a file or by a few rules.

The file has a word and its group a line, apart by a tab. Where there is none, words of closed classes are known and
the others told by their endings; a word has one group, whatever stands beside it.
"""

from collections.abc import Mapping
import functools
import re

from vidx import errors
from vidx.data.datasets import common

GROUPS = ("noun", "plural", "name", "verb", "verb_s", "gerund", "past", "modal", "adjective", "comparative", "adverb",
          "preposition", "to", "determiner", "pronoun", "possessive", "conjunction", "question", "number", "other")
END, START = len(GROUPS), len(GROUPS) + 1
RULES = "rules"
_CLOSED: Mapping[str, str] = {
    "modal": "can could may might must shall should will would",
    "preposition": "about above across after against along among around at before behind below beneath beside between"
                   " by down during for from in inside into near of off on onto out outside over through toward towards"
                   " under up upon with within without",
    "to": "to", "determiner": "a an the this that these those some any each every no another all both",
    "pronoun": "i you he she it we they me him us them someone somebody something himself herself itself themselves",
    "possessive": "my your his her its our their", "conjunction": "and or but nor so yet while as because if than",
    "question": "who whom whose which what when where why how",
    "number": "one two three four five six seven eight nine ten first second third",
    "verb_s": "is has does goes", "past": "was were had did went made said been shown seen",
    "verb": "be are am have do go make say show",
    "adverb": "not very then there here also too together away back just now quickly",
    "plural": "people men women children", "comparative": "more most less least better best"}
_GROUP_OF = {word: group for group, known in _CLOSED.items() for word in known.split()}
_ENDINGS = ((r"ing$", "gerund"), (r"ed$", "past"), (r"ly$", "adverb"), (r"(ful|ous|ive|able|al|ish)$", "adjective"),
            (r"iest$|ier$", "comparative"), (r"(ss|us|is)$", "noun"), (r"s$", "plural"))


def by_rules(word: str) -> str:
  """The group of a word."""
  word = word.lower()
  if word in _GROUP_OF:
    return _GROUP_OF[word]
  if re.fullmatch(r"\d+", word):
    return "number"
  if not word.isalpha():
    return "other"
  return next((group for ending, group in _ENDINGS if len(word) > 4 and re.search(ending, word)), "noun")


@functools.lru_cache(maxsize=2)
def _read(path: str) -> Mapping[str, str]:
  found = {}
  for line, text in enumerate(common.read_lines(path), 1):
    word, tab, group = text.strip("\r\n").partition("\t")
    if not word:
      continue
    if not tab or group not in GROUPS:
      raise errors.DataError(f"{path}, line {line}: '{group}' is none of the parts of speech {', '.join(GROUPS)}"
                             f"{errors.hint(group, GROUPS)}.")
    found[word] = group
  return found


def of_vocabulary(vocabulary: Mapping[str, int], source: str) -> dict[int, int]:
  """The number of the group of each word by the word's own number; [CLS] is START, [SEP] END and [PAD] -1.

  Args:
    vocabulary: numbers by word.
    source: RULES, or a file; words that it lacks are told by the rules.

  Raises:
    DataError: a line without a group, or with an unknown one.
  """
  known = {} if source == RULES else _read(source)
  special = {"[CLS]": START, "[SEP]": END, "[PAD]": -1}
  return {number: special[word] if word in special else GROUPS.index(known.get(word) or by_rules(word))
          for word, number in vocabulary.items()}
