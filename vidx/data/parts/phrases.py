"""The part of phrases: those of the tree of a caption in training, those that are to be found in evaluation."""

from collections.abc import Mapping, Sequence
import hashlib
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import phrase_codes, tokens, trees
from vidx.data.records import Dataset, Record

NODES = ("tree", "leaves")
CAPTIONS = ("one", "all")
SIDES = frozenset(("left", "right"))  # words that a mirrored image makes wrong


class Phrases:
  """`phrases` and `phrase_mask`, or `phrase_codes` where `data.phrases.codes` keeps them; parents, names and count.

  In training they are those of one caption, drawn anew in every epoch, or of all, from the root of
  the tree on as many as `data.phrases.nodes` has room for. Of a mirrored image no caption is
  taken that names left or right; where all do, it has no phrases. In evaluation they are the
  record's `phrases`, or those of its first caption.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del clips, crops, seed, timed
    check(data)
    self._dataset, self._data, self._training = dataset, data, training
    self._codes = phrase_codes.Codes(data.phrases.codes) if data.phrases.codes else None
    self._room = data.phrases.nodes if training else max(
        (len(r.extra["phrases"]) if "phrases" in r.extra else data.phrases.nodes for r in dataset.records), default=1)

  @property
  def keys(self) -> tuple[str, ...]:
    return (*(("phrase_codes",) if self._codes else ("phrases", "phrase_mask")), "phrase_parent", "phrase_name",
            "phrase_count")

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """The phrases of a record.

    Raises:
      DecodeError: `data.phrases.codes` lacks one.
    """
    flipped = cut is not None and cut.geometry[0].flipped
    record = self._dataset.records[index]
    found = of_record(record, self._data.phrases, rng, flipped) if self._training else evaluated(
        record, self._data.phrases)
    example = self.blank(index, room)
    for i, (text, parent) in enumerate(found[:self._room]):
      example["phrase_parent"][i], example["phrase_name"][i] = parent, name_of(text)
      if self._codes is not None:
        example["phrase_codes"][i] = self._codes[text]
      else:
        example["phrases"][i], example["phrase_mask"][i] = numbered(text, self._data)
    example["phrase_count"] = np.int32(min(len(found), self._room))
    return example, None

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No phrase."""
    del index, room
    shape, length = (max(1, self._room),), length_of(self._data)
    said = {"phrase_codes": np.zeros((*shape, self._codes.width), np.float32)} if self._codes is not None else {
        "phrases": np.zeros((*shape, length), np.int32), "phrase_mask": np.zeros((*shape, length), np.float32)}
    return {**said, "phrase_parent": np.full(shape, -1, np.int32), "phrase_name": np.full(shape, -1, np.int32),
            "phrase_count": np.int32(0)}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of the phrases of training."""
    del num_classes
    check(data)
    nodes, length = data.phrases.nodes, length_of(data)
    return {"phrases": ((nodes, length), np.int32), "phrase_mask": ((nodes, length), np.float32),
            "phrase_parent": ((nodes,), np.int32), "phrase_name": ((nodes,), np.int32), "phrase_count": ((), np.int32)}


def check(data: ConfigDict) -> None:
  """Raises ConfigError for what phrases cannot be."""
  errors.check_choice("data.phrases.take", data.phrases.take, NODES)
  errors.check_choice("data.phrases.captions", data.phrases.captions, CAPTIONS)
  if data.phrases.nodes < 1:
    raise errors.ConfigError(f"data.phrases.nodes={data.phrases.nodes}: write how many phrases an image may have.")


def length_of(data: ConfigDict) -> int:
  """Tokens of a phrase: those of a text but its end, so that the last one is its last word."""
  return int(data.text.length) - 1


def words_of(data: ConfigDict) -> int:
  """Words of a phrase, at most; a longer one of a tree keeps its first ones."""
  return length_of(data) - 1


def numbered(text: str, data: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
  """A phrase as int32 (L,) numbers, [CLS] and its words, and float32 (L,), 1 for live ones."""
  ids, mask = tokens.open_tokenizer(data)(text)
  count = int(mask.sum()) - 1  # without [SEP]
  live = (np.arange(len(ids) - 1) < count).astype(np.float32)
  return np.where(live > 0, ids[:-1], 0).astype(np.int32), live


def name_of(text: str) -> int:
  """A number for a phrase, not negative, equal for equal ones."""
  return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") >> 1


def trees_of(record: Record) -> list[trees.Node]:
  """The trees of a record's captions: as they were given, or cut by rules; captions without a word have none."""
  given = record.extra.get("trees") or (None,) * len(record.extra.get("captions", ()))
  said = record.extra.get("captions", ())
  return [trees.parse(tree) if tree else trees.chunk(caption) for tree, caption in zip(given, said)
          if tree or trees.plain(caption)]


def of_tree(tree: trees.Node, phrases: ConfigDict) -> list[tuple[str, int]]:
  """(phrase, its parent's place) of a tree, or of its nouns alone."""
  if phrases.take == "leaves":
    return [(noun, -1) for noun in trees.leaves(tree)[:phrases.nodes]]
  return [(p.text, p.parent) for p in trees.phrases(tree, phrases.nodes)]


def of_record(record: Record, phrases: ConfigDict, rng: np.random.Generator | None = None, flipped: bool = False
              ) -> list[tuple[str, int]]:
  """(phrase, its parent's place) of one caption of a record, drawn by `rng` or the first, or of all."""
  found = trees_of(record)
  if flipped:
    found = [t for t in found if not SIDES & {w.word.lower() for w in t.words()}]
  if found and phrases.captions == "one":
    found = [found[int(rng.integers(len(found))) if rng is not None else 0]]
  joined: list[tuple[str, int]] = []
  for tree in found:
    first = len(joined)
    joined += [(text, parent + first if parent >= 0 else -1) for text, parent in of_tree(tree, phrases)]
  return joined[:phrases.nodes]


def evaluated(record: Record, phrases: ConfigDict) -> list[tuple[str, int]]:
  """What is to be found in a record's image."""
  if "phrases" in record.extra:
    return [(text, -1) for text in record.extra["phrases"]]
  return of_record(record, phrases)


def all_of(splits: Sequence[Dataset], phrases: ConfigDict) -> list[str]:
  """All phrases that training on the first split and evaluation on the others may meet, each once."""
  found: dict[str, None] = {}
  for i, dataset in enumerate(splits):
    for record in dataset.records:
      if i:
        found.update((text, None) for text, _ in evaluated(record, phrases))
      else:
        found.update((text, None) for tree in trees_of(record) for text, _ in of_tree(tree, phrases))
  return list(found)
