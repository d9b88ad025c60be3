"""Codes of phrases, kept once on disk: a language encoder that stays as it is reads no phrase twice.

A folder has keys.npy, sorted 64-bit digests of the phrases, codes.npy, a row for each, and
codes.json, by which weights they were made. `vidx/train/phrase_codes.py` writes them.
"""

from collections.abc import Iterable, Sequence
import hashlib
import json
import os
from typing import Any

import numpy as np

from vidx import errors, reading, writing

SETTINGS = "codes.json"


def digests(texts: Iterable[str]) -> np.ndarray:
  """uint64 (N,), a number for each text."""
  return np.array([int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "little") for t in texts],
                  np.uint64)


class Codes:
  """Codes by phrase, read from a folder as they are asked for.

  Attributes:
    width: d of a code.
  """

  def __init__(self, folder: str):
    """
    Raises:
      DataError: the folder holds none, or damaged ones.
    """
    self._folder = folder
    try:
      self._keys = np.load(os.path.join(folder, "keys.npy"), mmap_mode="r")
      self._codes = np.load(os.path.join(folder, "codes.npy"), mmap_mode="r")
      if self._codes.ndim != 2 or len(self._keys) != len(self._codes):
        raise ValueError("keys and codes differ in number")
    except FileNotFoundError:
      raise errors.DataError(f"data.phrases.codes={folder} holds no codes; training with it makes them.") from None
    except (OSError, ValueError) as e:
      raise errors.DataError(f"data.phrases.codes={folder} is damaged ({' '.join(str(e).split())}); remove it, and it"
                             " is made again.") from e
    self.width = int(self._codes.shape[1])

  def __getitem__(self, text: str) -> np.ndarray:
    """float32 (d,).

    Raises:
      DecodeError: there is no code of this phrase.
    """
    key = digests([text])[0]
    row = int(np.searchsorted(self._keys, key))
    if row == len(self._keys) or self._keys[row] != key:
      raise errors.DecodeError(f"data.phrases.codes={self._folder} has no code of '{text}'.")
    return np.asarray(self._codes[row], np.float32)

  def lacking(self, texts: Sequence[str]) -> list[str]:
    """Those of some phrases of which it has no code."""
    return [t for t, there in zip(texts, np.isin(digests(texts), self._keys)) if not there]

  def all(self) -> tuple[np.ndarray, np.ndarray]:
    """Digests (N,) and codes (N, d)."""
    return np.asarray(self._keys), np.asarray(self._codes)


def write(folder: str, texts: Sequence[str], codes: np.ndarray, how: dict[str, Any], before: Codes | None = None
          ) -> None:
  """Writes codes (N, d) of phrases beside those that were there before, the settings last."""
  keys = digests(texts)
  if before is not None:
    keys, codes = (np.concatenate(both) for both in zip(before.all(), (keys, codes)))
  order = np.argsort(keys)
  writing.write_array(os.path.join(folder, "codes.npy"), codes[order].astype(np.float32))
  writing.write_array(os.path.join(folder, "keys.npy"), keys[order])
  writing.write_json(os.path.join(folder, SETTINGS), how)


def settings(folder: str) -> dict[str, Any] | None:
  """How a folder's codes were made, None where there are none that are whole."""
  try:
    with reading.open_text(os.path.join(folder, SETTINGS)) as f:
      return json.load(f)
  except (OSError, ValueError):
    return None
