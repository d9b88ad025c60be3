"""The part of videos as tokens of several experts, each with its own width and number of tokens."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import experts
from vidx.data import parts as parts_lib
from vidx.data.records import Dataset
from vidx.terminal import counted

TOKENS = ("first", "random", "even")


class Experts(parts_lib.OneShape):
  """`expert/NAME` and `expert_mask/NAME` of the experts in `data.experts`; one that saw nothing has no live token.

  Of more tokens than there is room for the first ones are kept, or ("random") in training an
  ordered choice, in evaluation the same one every time, or ("even") those of evenly spread places.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del clips, crops, seed, timed
    self._experts = wanted(data)
    self._dataset, self._training, self._how = dataset, training, data.expert_tokens

  @property
  def keys(self) -> tuple[str, ...]:
    return tuple(f"{kind}/{name}" for name, _, _ in self._experts for kind in ("expert", "expert_mask"))

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return sum(4 * tokens * (width + 1) for _, width, tokens in self._experts)

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int) -> tuple[batch_lib.Batch, None]:
    """The tokens of a record.

    Raises:
      DecodeError: its file is absent or broken, or an expert has another width.
    """
    del cut
    example = self.blank(index, room)
    media = self._dataset.records[index].media
    found = experts.read(media, [name for name, _, _ in self._experts])
    for name, width, count in self._experts:
      if name not in found:
        continue
      tokens = found[name]
      if tokens.shape[1] != width:
        raise errors.DecodeError(f"{media.path}: expert '{name}' has {counted(tokens.shape[1], 'feature')}, not {width}"
                                 " as data.experts says.")
      tokens = tokens[self._kept(len(tokens), count, rng)]
      if not np.isfinite(tokens).all():
        raise errors.DecodeError(f"{media.path}: expert '{name}' holds what is no number.")
      example[f"expert/{name}"][:len(tokens)] = tokens
      example[f"expert_mask/{name}"][:len(tokens)] = 1
    return example, None

  def _kept(self, have: int, count: int, rng: np.random.Generator | None) -> Any:
    """Which of the tokens stay."""
    if have <= count or self._how == "first":
      return slice(count)
    if self._how == "even":
      return np.arange(count) * have // count
    rng = np.random.default_rng(0) if rng is None else rng
    return np.sort(rng.permutation(have)[:count])

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Nothing seen by any expert."""
    del index, room
    example = {}
    for name, width, count in self._experts:
      example[f"expert/{name}"] = np.zeros((count, width), np.float32)
      example[f"expert_mask/{name}"] = np.zeros(count, np.float32)
    return example

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of a video.

    Raises:
      ConfigError: `data.experts` is no list of (name, features, tokens).
    """
    del num_classes
    found = {}
    for name, width, count in wanted(data):
      found[f"expert/{name}"] = ((count, width), np.float32)
      found[f"expert_mask/{name}"] = ((count,), np.float32)
    return found


def wanted(data: ConfigDict) -> tuple[tuple[str, int, int], ...]:
  """(name, features, tokens) of the experts of a config.

  Raises:
    ConfigError: there are none, or they are no such list.
  """
  errors.check_choice("data.expert_tokens", data.expert_tokens, TOKENS)
  rows = tuple(tuple(row) if isinstance(row, (list, tuple)) else (row,) for row in data.experts)
  good = lambda row: (len(row) == 3 and isinstance(row[0], str) and all(isinstance(n, int) and n > 0 for n in row[1:]))
  bad = next((row for row in rows if not good(row)), None)
  if bad is not None or not rows or len({row[0] for row in rows}) < len(rows):
    raise errors.ConfigError(f"data.experts={rows}: write (name, features of a token, tokens) of each expert, such as"
                             " (('rgb', 2048, 51), ('audio', 128, 31)).")
  return rows
