"""Plans: what an epoch of training shows where that is not each record once.

A plan draws a whole epoch at once, from (seed, epoch) alone, so that a batch can be made
by itself, hosts need not agree on anything, and a run that was stopped goes on exactly. A
reader gives its data set one (`Dataset.plan`). To add a plan, write a class with

  __len__()           entries of an epoch, which need not be the number of records
  draw(seed, epoch)   (entries, 1 + k) int: the record, and k numbers that say more, such as
                      other records or a frame, which only the part that opens the media
                      understands (it is given them as `chosen`)
  fingerprint()       text that is equal where all draws are

Plans travel to decoding processes, so they hold arrays and numbers, nothing open.
"""

from collections.abc import Sequence
import functools
import hashlib
from typing import Protocol

import numpy as np

from vidx import errors
from vidx.terminal import counted


class Plan(Protocol):
  """See the head of the file."""

  def __len__(self) -> int: ...

  def draw(self, seed: int, epoch: int) -> np.ndarray: ...

  def fingerprint(self) -> str: ...


class Shuffled:
  """Every entry once, in an order of its own in each epoch; what data sets without a plan do with their records.

  Args:
    entries: (M,) records, or (M, 1 + k) with what is to be said of them.
  """

  def __init__(self, entries: np.ndarray):
    self.entries = _rows(entries)

  def __len__(self) -> int:
    return len(self.entries)

  def draw(self, seed: int, epoch: int) -> np.ndarray:
    """(M, 1 + k) int32."""
    return self.entries[np.random.default_rng((seed, epoch, len(self))).permutation(len(self))]

  def fingerprint(self) -> str:
    """Of the entries."""
    return _hash("shuffled", self.entries)


class Balanced:
  """Draws of the cell that was drawn least in this epoch, by chance among equals, and in it of any entry.

  After any number of draws the counts of two cells differ by one at most; cells without
  entries take no part. An entry may come twice in an epoch, and another not at all.

  Args:
    entries: (M,) records, or (M, 1 + k) with what is to be said of them.
    cell: (M,) int, such as classes, or pairs of clusters.
    length: draws of an epoch; 0: as many as there are entries.

  Raises:
    DataError: there are no entries.
  """

  def __init__(self, entries: np.ndarray, cell: np.ndarray, length: int = 0):
    if not len(entries):
      raise errors.DataError("nothing to draw from: a plan has no entries.")
    by_cell = np.argsort(cell, kind="stable")
    self.entries = _rows(entries)[by_cell]
    _, self._first, self._size = np.unique(np.asarray(cell)[by_cell], return_index=True, return_counts=True)
    self.length = length or len(self.entries)

  def __len__(self) -> int:
    return self.length

  def draw(self, seed: int, epoch: int) -> np.ndarray:
    """(length, 1 + k) int32."""
    rng = np.random.default_rng((seed, epoch, self.length))
    cells = len(self._first)
    rounds = -(-self.length // cells)  # to take the least drawn cell again and again is to take each once a round
    cell = np.concatenate([rng.permutation(cells) for _ in range(rounds)])[:self.length]
    return self.entries[self._first[cell] + (rng.random(self.length) * self._size[cell]).astype(np.int64)]

  def fingerprint(self) -> str:
    """Of entries, cells and length."""
    return _hash("balanced", self.length, self.entries, self._first)


class Mixture:
  """Entries of several plans in turn: `counts[0]` of the first, `counts[1]` of the second, ..., and again.

  The records of a plan are counted on behind those of the plans before it, as in the data
  set that has them all one behind the other. An epoch is one of the first plan, its last turn
  filled from its next epoch; the others go on from epoch to epoch where they were, so that
  all of what they draw is seen. Numbers of which a plan has fewer than another are -1.

  Args:
    plans: one per data set.
    records: how many records each data set has.
    counts: entries of a turn, such as the examples that a batch has of each.

  Raises:
    ConfigError: plans, records and counts are not equally many, or a count is below 1.
  """

  def __init__(self, plans: Sequence[Plan], records: Sequence[int], counts: Sequence[int]):
    if not len(plans) == len(records) == len(counts) or min(counts, default=0) < 1:
      raise errors.ConfigError(f"a mixture of {counted(len(plans), 'set')} takes as many whole numbers from 1 on, not"
                               f" {tuple(counts)}.")
    self.plans, self.counts = tuple(plans), tuple(counts)
    self._offsets = np.cumsum([0, *records[:-1]])
    self._turns = -(-len(self.plans[0]) // self.counts[0])

  def __len__(self) -> int:
    return self._turns * sum(self.counts)

  def draw(self, seed: int, epoch: int) -> np.ndarray:
    """(turns x sum of counts, 1 + k) int32, with the largest k of the plans."""
    each = []
    for number, (plan, count, offset) in enumerate(zip(self.plans, self.counts, self._offsets)):
      need = self._turns * count
      rows = _stretch(plan, seed + 7919 * number, epoch * need, need)
      rows = rows + np.asarray([offset, *[0] * (rows.shape[1] - 1)], np.int32)
      each.append(rows.reshape(self._turns, count, -1))
    width = max(rows.shape[-1] for rows in each)
    each = [np.pad(rows, [(0, 0), (0, 0), (0, width - rows.shape[-1])], constant_values=-1) for rows in each]
    return np.concatenate(each, 1).reshape(len(self), width).astype(np.int32)

  def fingerprint(self) -> str:
    """Of all plans and counts."""
    return _hash("mixture", self.counts, *(plan.fingerprint() for plan in self.plans))


def _stretch(plan: Plan, seed: int, start: int, count: int) -> np.ndarray:
  """`count` entries from position `start` of the stream of a plan's epochs."""
  first, skipped = divmod(start, len(plan))
  last = (start + count - 1) // len(plan)
  return np.concatenate([plan.draw(seed, e) for e in range(first, last + 1)])[skipped:skipped + count]


def _rows(entries: np.ndarray) -> np.ndarray:
  """(M,) or (M, 1 + k) as int32 (M, 1 + k)."""
  entries = np.asarray(entries, np.int32)
  return entries[:, None] if entries.ndim == 1 else entries


def _hash(*parts: object) -> str:
  digest = hashlib.sha256()
  for part in parts:
    digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
  return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def drawn(plan: Plan, seed: int, epoch: int) -> np.ndarray:
  """`plan.draw(seed, epoch)`, kept for the batches of that epoch."""
  return np.asarray(plan.draw(seed, epoch))
