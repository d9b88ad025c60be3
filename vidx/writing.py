"""Files written in one piece: readers see the old or the new one, never half of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import csv
import json
import math
import os
import re
import secrets
from typing import Any

import numpy as np

from vidx import errors

_STRANGE = "backslashreplace"  # of names that are not UTF-8


@contextlib.contextmanager
def whole(path: str | os.PathLike, suffix: str = "") -> Iterator[str]:
  """A name to write to, `path` with a suffix; it becomes `path` in the end, or is removed after an error.

  The folder is made where there is none. By default no two writers have the same suffix: of those that write one file
  at once, the last gives it its content.
  """
  path, suffix = os.fspath(path), suffix or f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  temporary = path + suffix
  try:
    yield temporary
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise


def check_place(path: str | os.PathLike, folder: bool = False) -> None:
  """Raises ConfigError where nothing can be written: better before the work than after it.

  Args:
    path: the file that is to be written, or with `folder` the folder.
    folder: which of the two it is.
  """
  path = os.fspath(path)
  if os.path.isdir(path) and not folder:
    raise errors.ConfigError(f"{path} is a folder; name a file in it.")
  at = os.path.abspath(path) if folder else os.path.dirname(os.path.abspath(path))
  while not os.path.lexists(at):
    at = os.path.dirname(at)
  if not os.path.isdir(at):
    raise errors.ConfigError(f"{path} cannot be written: {at} is no folder.")
  if not os.access(at, os.W_OK | os.X_OK):
    raise errors.ConfigError(f"{path} cannot be written: nothing may be written to {at}.")


def file_names(paths: Sequence[str]) -> Iterator[str]:
  """A file name without extension for each path, no two alike."""
  taken: set[str] = set()
  for path in paths:
    stem = re.sub(r"[^\w.-]+", "_", os.path.splitext(os.path.basename(path))[0]) or "video"
    tries = (stem if i == 1 else f"{stem}-{i}" for i in range(1, len(paths) + 1))
    taken.add(name := next(t for t in tries if t not in taken))
    yield name


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file in one piece."""
  with whole(path) as temporary, open(temporary, "wb") as f:
    f.write(content)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file in one piece; bytes of names that are not UTF-8 become escapes, as JSON has them."""
  write_bytes(path, text.encode("utf-8", _STRANGE))


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
  with whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8", errors=_STRANGE) as f:
    writer = csv.writer(f)
    writer.writerow(header)
    writer.writerows(rows)


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes a JSON file in one piece; what JSON does not know is written as text."""
  write_text(path, json.dumps(value, indent=2, default=str))


#: (unit, digits behind the point) of metrics, by the last part of their names; of all others "%" and 1.
_FORMS = {"loss": ("", 4), "perplexity": ("", 1), "MdR": ("", 1), "MnR": ("", 1), "psnr": ("dB", 1), "lpips": ("", 3),
          "fid": ("", 2), "identity score": ("", 3), "pose score": ("", 3)}


def _form(name: str) -> tuple[str, int]:
  return _FORMS.get(name.split("/")[-1], ("%", 1))


def unit(name: str) -> str:
  """What a metric is in: '%' unless it is one of few others."""
  return _form(name)[0]


def figure(name: str, value: float | None) -> str:
  """A metric for people; None is one that no video defines."""
  return "not defined" if value is None else f"{value:.{_form(name)[1]}f}"


def number(value: float) -> float | None:
  """JSON has no nan: None stands for it."""
  return float(value) if math.isfinite(value) else None
