"""EPIC-KITCHENS-100 for retrieval: segments of kitchen videos, and the sentences that tell of them.

  root/EPIC_100_retrieval_{train,test}.csv              segments with their narration; also below annotations/
  root/EPIC_100_retrieval_{train,test}_sentence.csv     the sentences, each once
  root/experts/...                                      features by narration_id, or files by video_id

Several segments share a sentence, so `extra` has its number as 'sentence', and each is one
text when they are ranked: 3,842 sentences of 9,668 segments. 'val' and 'test' are the test split.

Damen et al.: "Rescaling Egocentric Vision", 2022.
"""

from collections.abc import Mapping

from vidx import errors
from vidx.data.datasets import captions as captions_lib
from vidx.data.datasets import common, egocentric, places
from vidx.data.records import Dataset

_NEEDED = ("narration_id", "video_id", "narration", "start_timestamp", "stop_timestamp")
_FOLDERS = ("", "annotations", "epic-kitchens-100-annotations", "retrieval_annotations")
MARKS = places.marks(_FOLDERS, "EPIC_100_retrieval_*.csv")


def read(root: str, split: str, media: str = "experts", experts: str = "experts") -> Dataset:
  """Reads one split; raises DataError for a line that cannot be used.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    media: "experts" or "video".
    experts: folder of features below the root.
  """
  word = "train" if split == "train" else "test"
  find = lambda ending: places.annotation(root, (f"EPIC_100_retrieval_{word}{ending}.csv",), _FOLDERS)
  listed, path = find("_sentence"), find("")
  rows = list(common.read_table(path, _NEEDED))
  sentences, known = _sentences(listed, {row["narration_id"]: row for _, row in rows})
  seen: dict[str, int] = {}
  found = []
  for line, row in rows:
    common.not_twice(row["narration_id"], seen, path, line)
    number = next((known[key] for key in _keys(row) if key in known), None)
    if number is None:
      raise errors.DataError(f"{path}, line {line}: sentence '{row['narration']}' is not one of the {len(sentences)} of"
                             f" {listed}{errors.hint(row['narration'], sentences)}.")
    span = egocentric.span(row, float("inf"), row["video_id"], path, line)
    found.append((row["narration_id"], (sentences[number],),
                  {"span": span, "media": row["video_id"], "sentence": number}))
  return captions_lib.dataset("epic_retrieval", root, split, found, media, experts)


def _keys(row: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
  """What a segment is known by, the closest first: itself, its words and classes, its words."""
  words = captions_lib.cleaned(row["narration"])
  return (row["narration_id"],), (words, row.get("verb_class", ""), row.get("all_noun_classes", "")), ("", words)


def _sentences(path: str, segments: Mapping[str, Mapping[str, str]]
               ) -> tuple[list[str], dict[tuple[str, ...], int]]:
  """The sentences in their order, and the number of each by what a segment may be known by.

  A few sentences are of equal words; their classes are those of the segment that they are named after.
  """
  texts: list[str] = []
  known: dict[tuple[str, ...], int] = {}
  for _, row in common.read_table(path, ("narration_id", "narration")):
    of = segments.get(row["narration_id"], {})
    for key in _keys({**of, **row}):
      known.setdefault(key, len(texts))
    texts.append(captions_lib.cleaned(row["narration"]))
  return texts, known
