"""What readers share: tables with line numbers, JSON, classes, labels, folds."""

from collections.abc import Iterator, Sequence
import csv
import io
import json
import math
import operator
import os
from typing import Any

from vidx import errors, reading
from vidx.terminal import counted

MOST_CLASSES = 1_000_000  # without names: a slip of a digit shall not make a list of a hundred million


def read_text(path: str) -> str:
  """All of a text file.

  Raises:
    AbsentError: there is no such file.
    DataError: it is no text.
  """
  try:
    reading.regular(path)
    with open(path, encoding="utf-8-sig") as f:
      return f.read()
  except FileNotFoundError:
    raise errors.AbsentError(f"annotation file {path} does not exist.") from None
  except (OSError, ValueError) as e:
    raise errors.DataError(f"annotation file {path} cannot be read as text ({reading.reason(e)}).") from e


def read_lines(path: str) -> list[str]:
  """Lines of a text file without their ends; raises as `read_text` does."""
  lines = read_text(path).split("\n")  # names may hold other ends of lines, U+2028 for one
  return lines if lines[-1] else lines[:-1]


def read_json(path: str) -> Any:
  """The content of a JSON file.

  Raises:
    AbsentError: there is no such file.
    DataError: it is no JSON.
  """
  with reading.boundary(f"{path}: no JSON"):  # nested too deeply, or a number of too many digits
    try:
      return json.loads(read_text(path))
    except json.JSONDecodeError as e:
      raise errors.DataError(f"{path}, line {e.lineno}: no JSON ({e.msg}).") from None


def read_columns(path: str, needed: Sequence[str], text: str | None = None
                 ) -> tuple[Sequence[int], dict[str, list[str]]]:
  """A csv file with a header: the line number of each row, and {column: the text of each row}.

  Args:
    path: of the file.
    needed: columns that it must have.
    text: of the file, where it is read.

  Raises:
    DataError: a needed column is absent, a column is named twice, a line has
      another number of columns, or nothing in a needed one.
  """
  lines, found = _rows(path, read_text(path) if text is None else text)
  header = [c.strip() for c in found[0]] if found else []
  twice = next((c for i, c in enumerate(header) if c and c in header[:i]), None)
  if twice is not None:
    raise errors.DataError(f"{path}, line 1: two columns are named '{twice}'.")
  for column in needed:
    if column not in header:
      parted = next((sign for sign in (";", "\t") if sign in "".join(header)), "")
      if parted:
        raise errors.DataError(f"{path}, line 1: its columns are parted by {parted!r}; write it with commas.")
      raise errors.DataError(f"{path}, line 1: no column '{column}'{errors.hint(column, header)};"
                             f" the header must name {', '.join(needed)}.")
  lines, found = lines[1:], found[1:]
  if not all(found):  # empty lines
    lines = [line for line, row in zip(lines, found) if row]
    found = list(filter(None, found))
  if set(map(len, found)) - {len(header)}:
    line, row = next((line, row) for line, row in zip(lines, found) if len(row) != len(header))
    raise errors.DataError(f"{path}, line {line}: {counted(len(row), 'column')}, but the header has {len(header)}.")
  columns = {name: list(map(str.strip, map(operator.itemgetter(i), found))) for i, name in enumerate(header)}
  bare = [(lines[columns[name].index("")], i, name) for i, name in enumerate(needed) if "" in columns[name]]
  if bare:
    line, _, name = min(bare)
    raise errors.DataError(f"{path}, line {line}: nothing in column '{name}'.")
  return lines, columns


def read_table(path: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
  """Rows of a csv file with a header, as (line number, {column: text}); raises as `read_columns`."""
  lines, columns = read_columns(path, needed)
  for line, *row in zip(lines, *columns.values()):
    yield line, dict(zip(columns, row))


def _rows(path: str, text: str) -> tuple[Sequence[int], list[list[str]]]:
  """The rows of a csv file, empty ones too, and the number of the line that each ends with."""
  rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
  try:
    if '"' not in text:  # so that each row is a line
      found = list(rows)
      return range(1, len(found) + 1), found
    pairs = [(rows.line_num, row) for row in rows]
  except csv.Error as e:
    raise errors.DataError(f"{path}, line {rows.line_num}: no csv ({e}).") from None
  return [line for line, _ in pairs], [row for _, row in pairs]


def as_int(text: str, what: str, path: str, line: int) -> int:
  try:
    return int(text)
  except ValueError:
    raise errors.DataError(f"{path}, line {line}: {what} '{text}' is not a whole number.") from None


def as_number(text: str, what: str, path: str, line: int) -> float:
  try:
    number = float(text)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise errors.DataError(f"{path}, line {line}: {what} '{text}' is not a number.")
  return number


def not_twice(name: str, seen: dict[str, int], path: str, line: int) -> None:
  """Notes where a name stands; raises DataError where it stands already."""
  if name in seen:
    raise errors.DataError(f"{path}, line {line}: '{name}' stands already in line {seen[name]}.")
  seen[name] = line


def read_classes(path: str) -> tuple[str, ...]:
  """Class names by id, one per line; a name may stand twice, as in the map of Gym99."""
  return tuple(line.strip() for line in read_lines(path) if line.strip())


def class_id(label: str, ids: dict[str, int], path: str, line: int, source: str) -> int:
  """The id of a label given by name, or by id where no class has that name.

  Raises:
    DataError: neither; the nearest class is named.
  """
  if label in ids:
    return ids[label]
  if label.isdecimal() and int(label) < len(ids):
    return int(label)
  raise errors.DataError(f"{path}, line {line}: label '{label}' is not one of the {counted(len(ids), 'class')} of"
                         f" {source}{errors.hint(label, ids)}.")


def check_id(number: int, where: str) -> None:
  """Raises DataError for the id of a class, which nothing names, from which on there would be far too many classes."""
  if number >= MOST_CLASSES:
    raise errors.DataError(f"{where}: label {number} would be one of {counted(number + 1, 'class')}, and at most"
                           f" {MOST_CLASSES:,} go without a file that names them.")


def folds(value: Any, what: str) -> frozenset[int]:
  """Folds of '0,1', '0', 0 or (0, 1).

  Raises:
    ConfigError: something else.
  """
  parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (tuple, list)) else (value,)
  try:
    return frozenset(int(str(p)) for p in parts if str(p).strip())
  except ValueError:
    raise errors.ConfigError(f"{what}={value!r}: write folds as numbers, such as 0,1.") from None


def natural(labels: Sequence[str]) -> list[str]:
  """Distinct labels in order: as numbers where all are, else as text."""
  distinct = sorted(set(labels))
  return sorted(distinct, key=int) if all(x.isdecimal() for x in distinct) else distinct


def inside(root: str, path: str) -> str:
  """A path of an annotation, below the root unless it is absolute."""
  return path if os.path.isabs(path) else os.path.join(root, path)
