"""Files written in one piece: readers see the old or the new one, never half of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import csv
import json
import math
import os
from typing import Any

import numpy as np


@contextlib.contextmanager
def whole(path: str | os.PathLike, suffix: str = ".tmp") -> Iterator[str]:
  """A name to write to, `path` with a suffix; it becomes `path` in the end, or is removed after an error.

  The folder is made where there is none.
  """
  path = os.fspath(path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  temporary = path + suffix
  try:
    yield temporary
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file in one piece."""
  with whole(path) as temporary, open(temporary, "wb") as f:
    f.write(content)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file in one piece."""
  write_bytes(path, text.encode())


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
  """Writes a text file of these lines in one piece."""
  write_text(path, "".join(f"{line}\n" for line in lines))


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
  """Writes a .npy file in one piece."""
  with whole(path) as temporary, open(temporary, "wb") as f:
    np.save(f, array)


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a .npz file in one piece."""
  with whole(path) as temporary, open(temporary, "wb") as f:
    np.savez(f, **arrays)


def write_table(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
  """Writes a csv file in one piece."""
  with whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
    writer = csv.writer(f)
    writer.writerow(header)
    writer.writerows(rows)


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes a JSON file in one piece; what JSON does not know is written as text."""
  write_text(path, json.dumps(value, indent=2, default=str))


def figure(name: str, value: float | None) -> str:
  """A metric for people; None is one that no video defines."""
  digits = {"loss": 4, **dict.fromkeys(("lpips", "identity score", "pose score"), 3), "fid": 2}.get(name, 1)
  return "not defined" if value is None else f"{value:.{digits}f}"


def number(value: float) -> float | None:
  """JSON has no nan: None stands for it."""
  return float(value) if math.isfinite(value) else None
