"""Sentences compared with references: BLEU of a whole split.

Papineni et al.: "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, as `sacrebleu` counts without
tokenization of its own and with smoothing 'none'; the reference nearest in length counts, the shorter of two.
"""

from collections import Counter
from collections.abc import Sequence
import math
import re

ORDERS = 4
WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str, lower: bool = True) -> list[str]:
  """Runs of letters and digits, and signs, each alone."""
  return WORD.findall(text.lower() if lower else text)


def bleu(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], orders: int = ORDERS) -> float:
  """Corpus BLEU of words.

  Args:
    said: words of each sentence.
    references: of each sentence those that are right, words of each; a sentence without any is left out.
    orders: longest runs of words that count.

  Returns:
    Percent; 0 where no run of some length is shared.
  """
  right, total, length, wanted = [0] * orders, [0] * orders, 0, 0
  for own, others in zip(said, references, strict=True):
    if not others:
      continue
    length += len(own)
    wanted += min((len(o) for o in others), key=lambda n: (abs(n - len(own)), n))
    for n in range(orders):
      most: Counter = Counter()
      for other in others:
        most |= _runs(other, n + 1)
      found = _runs(own, n + 1)
      right[n] += sum((found & most).values())
      total[n] += sum(found.values())
  if not all(right):
    return 0.0
  precision = sum(math.log(r / t) for r, t in zip(right, total)) / orders
  return 100 * math.exp(precision + min(0.0, 1 - wanted / length))


def _runs(sentence: Sequence[str], n: int) -> Counter:
  return Counter(tuple(sentence[i:i + n]) for i in range(len(sentence) - n + 1))
