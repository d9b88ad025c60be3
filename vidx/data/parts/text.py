"""The part of texts: the captions of a video as word pieces."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import parts as parts_lib
from vidx.data import pos_tags
from vidx.data import tokens
from vidx.data.datasets import common
from vidx.data.records import Dataset

CAPTIONS = ("one", "joined")


class Text(parts_lib.OneShape):
  """`text` and `text_mask`, in training of one caption, in evaluation of all, which `text_count` counts.

  The captions of a record are in its `extra`; of a split all have room for as many as
  one of them has at most. `tags` are parts of speech (`data.text.tags`), `references` captions of a video beside the
  one that was drawn (`data.text.references`), in training alone.
  """

  keys = ("text", "text_mask", "text_count", "tags", "references", "references_mask")

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del clips, crops, seed, timed
    check(data)
    self._dataset, self._data, self._training = dataset, data, training
    self._length, self._table = int(data.text.length), None
    self._room = 1 if data.text.captions == "joined" else max(
        (len(r.extra.get("captions", ())) for r in dataset.records), default=1)

  @property
  def size(self) -> int:
    """Bytes of an example of texts alone."""
    return 8 * self._length * (1 if self._training else max(1, self._room))

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """One caption, drawn anew in every epoch, all joined, or (in evaluation) all."""
    del cut
    example = self.blank(index, room)
    captions = self._dataset.records[index].extra.get("captions", ())
    if self._data.text.captions == "joined" and captions:
      captions = (tokens.joined(captions),)
    if not captions:
      return example, None
    tokenizer = tokens.open_tokenizer(self._data)
    if self._training:
      example["text"], example["text_mask"] = tokenizer(captions[int(rng.integers(len(captions)))])
      for i, caption in enumerate(captions[:int(self._data.text.references)]):
        example["references"][i], example["references_mask"][i] = tokenizer(caption)
    else:
      for i, caption in enumerate(captions):
        example["text"][i], example["text_mask"][i] = tokenizer(caption)
    example["text_count"] = np.int32(1 if self._training else len(captions))
    if self._data.text.tags:
      example["tags"] = np.where(example["text_mask"] > 0, self._groups(tokenizer)[example["text"]], -1)
    return example, None

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No caption."""
    del index, room
    shape = (self._length,) if self._training else (max(1, self._room), self._length)
    found = {"text": np.zeros(shape, np.int32), "text_mask": np.zeros(shape, np.float32), "text_count": np.int32(0)}
    if self._data.text.tags:
      found["tags"] = np.full(shape, -1, np.int32)
    if self._training and self._data.text.references:
      several = (int(self._data.text.references), self._length)
      found |= {"references": np.zeros(several, np.int32), "references_mask": np.zeros(several, np.float32)}
    return found

  def _groups(self, tokenizer: tokens.Tokenizer) -> np.ndarray:
    """The part of speech of each token, by number."""
    if self._table is None:
      source = self._data.text.tags
      source = source if source == pos_tags.RULES else common.inside(self._data.root, source)
      groups = pos_tags.of_vocabulary(tokenizer.vocabulary, source)
      self._table = np.array([groups.get(i, -1) for i in range(max(groups) + 1)], np.int32)
    return self._table

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of one caption."""
    del num_classes
    check(data)
    length = int(data.text.length)
    found = {"text": ((length,), np.int32), "text_mask": ((length,), np.float32), "text_count": ((), np.int32)}
    return {**found, "tags": ((length,), np.int32)} if data.text.tags else found


def check(data: ConfigDict) -> None:
  """Raises ConfigError for what captions cannot be."""
  errors.check_choice("data.text.captions", data.text.captions, CAPTIONS)
