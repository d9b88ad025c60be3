"""`vidx data experts`: published features of experts as a folder per expert (see vidx/data/experts.py).

  features.<name>.pkl, mmt_feats/features.<name>_agg.pkl   a dict of (tokens, features) by video, not a number where
                                                           an expert is missing (Liu et al. 2019)
  **/<video>.h5 with features.<name>                       a file per video (Gabeur et al. 2020)

Pickles are read without running anything in them, one at a time. Captions in such files are passed over.
"""

from collections.abc import Iterator
import os
import re
from typing import Any

import numpy as np

from vidx import errors, reading, writing
from vidx.data import experts, media_files, plain_pickle

_PICKLE = re.compile(r"(?:features|raw)[.-](\w+?)(?:_agg)?\.(?:pkl|pickle)$")
_PASSED = ("raw_captions", "captions")


def convert(root: str, out: str, names: str = "") -> dict[str, Any]:
  """Writes OUT/NAME/<video>.npy for all experts and videos.

  Args:
    root: a file or folder.
    out: folder to write.
    names: only these experts, as 'rgb,audio'; empty: all.

  Returns:
    {'experts': {name: videos that it saw something in}, 'missing': {name: videos that it did not}}.

  Raises:
    DataError: nothing of the kind is there, or a file cannot be read.
  """
  if not out:
    raise errors.ConfigError("no folder to write: add --out=FOLDER.")
  if not os.path.exists(root):
    raise errors.DataError(f"{root} does not exist: name a folder of experts' features (--root=PATH).")
  wanted = {n.strip() for n in names.split(",") if n.strip()}
  files = [os.path.join(at, n) for at, inside in media_files.walk(root) for n in inside] if os.path.isdir(root) else [
      root]
  seen: dict[str, int] = {}
  missing: dict[str, int] = {}
  for name, video, values in _found(files, wanted):
    if experts.is_missing(values):
      missing[name] = missing.get(name, 0) + 1
      continue
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.dtype.kind not in "fiu":
      raise errors.DataError(f"expert '{name}' of video '{video}' is {values.dtype} {values.shape}, not numbers of"
                             " (tokens, features).")
    writing.write_array(os.path.join(out, name, f"{video}.npy"), np.ascontiguousarray(values, np.float32))
    seen[name] = seen.get(name, 0) + 1
  if not seen:
    raise errors.DataError(f"{root} holds no features of experts: features.<name>.pkl, or .h5 with features.<name>.")
  return {"experts": seen, "missing": missing}


def _found(files: list[str], wanted: set[str]) -> Iterator[tuple[str, str, np.ndarray]]:
  """(expert, video, features) of all files."""
  keep = lambda name: name not in _PASSED and (not wanted or name in wanted)
  for path in files:
    match = _PICKLE.search(os.path.basename(path))
    if match and keep(match[1]):
      content = _pickled(path)
      for video, values in content.items():
        yield match[1], str(video), np.asarray(values)
    elif path.lower().endswith(experts.H5):
      video = os.path.splitext(os.path.basename(path))[0]
      for name, values in experts.all_of(path).items():
        if keep(name):
          yield name, video, values


def _pickled(path: str) -> dict[str, Any]:
  with reading.boundary(f"{path} is no pickle of arrays"):
    content = plain_pickle.load(path)
  if not isinstance(content, dict):
    raise errors.DataError(f"{path} holds {type(content).__name__}, not a dict of features by video.")
  return content
