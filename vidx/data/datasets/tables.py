"""Tables `path,label` of videos, with a header or without: what the readers `folder` and `csv` share.

With a header, these columns are read; others are kept with the record and named:

  path     of a video or a folder of frames
  label    name or id of a class
  split    train, val or test; or
  fold     a number; without both columns a fifth is for validation, by a hash of the path,
           wherever the data set lies
  group    videos of one value come into one split where the hash decides
  start, end   seconds of the part of the video that is meant

Without, each line is a path and a label with a comma or space between, as SlowFast and
VideoMAE write them, or a folder of frames, their number and a label, as MMAction2 does.
"""

from collections.abc import Iterator, Mapping, Sequence
import csv
import os
import re
from typing import Any
import zlib

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common
from vidx.data.records import Dataset, Record, media_of

VAL_SHARE = 0.2
COLUMNS = ("path", "label", "split", "fold", "group", "start", "end")
_WORDS = {"validation": "val", "valid": "val", "testing": "test", "training": "train"}

Rows = list[tuple[int, dict[str, str]]]


def rows(path: str, root: str) -> Rows:
  """(line number, {column: text}) of a table, or of a list without a header, whose paths are below a root."""
  lines = common.read_lines(path)
  first = next((line for line in lines if line.strip()), "")
  if {"path", "label"} & set(_words(first)):
    return list(common.read_table(path, ("path", "label")))
  found = _pair(first, root)
  if found and _is_media(found[0], root):
    return list(_pairs(path, lines, root))
  return list(common.read_table(path, ("path", "label")))  # says which column lacks


def labels(table: Rows) -> list[str]:
  """The labels of a table."""
  return [row["label"] for _, row in table]


def read(name: str, table: str, root: str, split: str, given: tuple[str, ...], names: str, *, train_folds: Any = "",
         val_folds: Any = "", group: str = "group", first_id: int = 0, whole: bool = False,
         others: Sequence[str] = ()) -> Dataset:
  """One split of a table.

  Args:
    name: of the data set.
    table: the file.
    root: folder below which its paths are.
    split: which split.
    given: class names by id, empty where the labels name them.
    names: the file they come from, for messages.
    train_folds: folds of split "train", such as "0,1", for a table with folds.
    val_folds: folds of "val"; the other folds are "test".
    group: column of what must not come into two splits.
    first_id: the id of the first class, where labels are ids.
    whole: whether a table without splits and folds is all of the split.
    others: labels of the data set's other tables, which show how ids count.

  Raises:
    DataError: a line that cannot be used, or a video that stands twice.
  """
  found = rows(table, root)
  columns = set(found[0][1]) if found else set()
  if len(columns & {"start", "end"}) == 1:
    raise errors.DataError(f"{table}: 'start' and 'end' go together, in seconds; it has only one of the two.")
  source = names if given else table
  order = given or tuple(common.natural(labels(found)))
  ids = {c: i for i, c in enumerate(order)}
  notes = _check_ids([*labels(found), *others], ids, table, source, first_id) if given else []
  if unknown := sorted(columns - {*COLUMNS, group}):
    notes.append(f"{table}: not used: column(s) {', '.join(unknown)}; {', '.join(COLUMNS)} are")
  keys = {} if columns & {"split", "fold"} else _hashed([row for _, row in found], group)
  seen: dict[Any, int] = {}
  records, missing = [], []
  for line, row in found:
    span = _span(row, table, line)
    path = common.inside(root, row["path"])
    common.not_twice(_name(os.path.normpath(row["path"]), span), seen, table, line)
    file = media_files.identity(path)
    before = seen.setdefault((file, span), line) if file else line
    if before != line:
      raise errors.DataError(f"{table}, line {line}: '{row['path']}' is the file of line {before} under another name;"
                             " leave one of them out.")
    label = row["label"]
    if given and label not in ids and label.isdecimal():
      label = str(int(label) - first_id)
    label = common.class_id(label, ids, table, line, source)
    if whole and not columns & {"split", "fold"}:
      own = split
    else:
      own = _split_of(row, keys, table, line, train_folds, val_folds)
    if own != split:
      continue
    if file:
      extra = {k: v for k, v in row.items() if k not in COLUMNS or k == "group"}
      records.append(Record(_name(row["path"], span), media_of(path), label, span, extra))
    else:
      missing.append(row["path"])
  return Dataset(name, split, tuple(records), order, missing=tuple(missing), notes=tuple(notes))


def hashed_split(name: str) -> str:
  """'val' for a fifth of all names, the same on every machine; 'train' for the others."""
  return "val" if zlib.crc32(os.fsencode(name)) % 1000 < 1000 * VAL_SHARE else "train"


def fifth(names: Sequence[str]) -> set[str]:
  """A fifth of some names by their hashes, at least one where there are two."""
  by_hash = sorted(set(names), key=lambda n: (zlib.crc32(os.fsencode(n)), n))
  return set(by_hash[:max(len(by_hash) > 1, round(VAL_SHARE * len(by_hash)))])


def _words(line: str) -> list[str]:
  """What stands between the commas of a line."""
  try:
    return [c.strip() for c in next(csv.reader([line], skipinitialspace=True), [])]
  except csv.Error:
    return []


def _pair(line: str, root: str) -> tuple[str, str] | None:
  """Path and label of a line; the reading whose path is a video or folder of frames comes first."""
  readings = []
  ending = re.match(rf"(.*(?:{'|'.join(map(re.escape, media_files.VIDEOS))}))\s+(\S.*)", line.strip(), re.IGNORECASE)
  for words in (_words(line), ending.groups() if ending else (), line.rsplit(maxsplit=1), line.rsplit(maxsplit=2)):
    if len(words) == 3 and words[1].isdecimal():
      words = words[::2]
    if len(words) == 2 and all(words):
      readings.append((words[0].strip(), words[1].strip()))
  return next((r for r in readings if _is_media(r[0], root)), readings[0] if readings else None)


def _pairs(path: str, lines: Sequence[str], root: str) -> Iterator[tuple[int, dict[str, str]]]:
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    found = _pair(line, root)
    if found is None:
      raise errors.DataError(f"{path}, line {number}: '{line.strip()}' is not a path and a label as the first line is.")
    yield number, dict(zip(("path", "label"), found))


def _is_media(path: str, root: str) -> bool:
  return media_files.is_video(path) or os.path.isdir(common.inside(root, path))


def _check_ids(found: Sequence[str], ids: Mapping[str, int], table: str, source: str, first_id: int) -> list[str]:
  """What is to be said where labels are ids that may not count from `first_id`.

  Raises:
    DataError: they do not.
  """
  if first_id not in (0, 1):
    raise errors.ConfigError(f"data.dataset.first_id={first_id!r}: ids of classes count from 0 or from 1.")
  if not found or not all(label.isdecimal() and label not in ids for label in found):
    return []
  low, high = (f(map(int, found)) for f in (min, max))
  if first_id == 0 and low == 1 and high == len(ids):
    raise errors.DataError(f"{table}: its ids count from 1 to {high}, those of the {len(ids)} classes of {source}"
                           " from 0; add --config.data.dataset.first_id=1 (first_id=1 for vidx data check).")
  if first_id == 1 and low == 0:
    raise errors.DataError(f"{table}: a label is 0, but with first_id=1 ids count from 1.")
  if first_id == 0 and low == 1:
    return [f"{table}: no label is 0, which is '{next(iter(ids))}' of {source}; if its ids count from 1, add"
            " --config.data.dataset.first_id=1 (first_id=1 for vidx data check)"]
  return []


def _span(row: Mapping[str, str], table: str, line: int) -> tuple[float, float] | None:
  if not (row.get("start") or row.get("end")):
    return None
  start, end = (common.as_number(row[key], key, table, line) for key in ("start", "end"))
  if not 0 <= start < end:
    raise errors.DataError(f"{table}, line {line}: from {start:g} to {end:g} s is no part of a video.")
  return start, end


def _name(path: str, span: tuple[float, float] | None) -> str:
  return path if span is None else f"{path} at {span[0]:g} to {span[1]:g}"


def _hashed(found: Sequence[Mapping[str, str]], group: str) -> dict[str, str]:
  """The split by path of a table that names none.

  Of an absolute path those last parts are hashed that tell it from all others, so that
  it counts for nothing where the files lie; groups come into one split as a whole.
  """
  paths = {row["path"]: os.path.normpath(row["path"]) for row in found}
  far = {p: n.split(os.sep) for p, n in paths.items() if os.path.isabs(n)}
  if far:
    longest = max(map(len, far.values()))
    count = next(k for k in range(1, longest + 1) if k == longest or len({tuple(w[-k:]) for w in far.values()}) ==
                 len(set(map(tuple, far.values()))))
    paths.update((p, "/".join(words[-count:])) for p, words in far.items())
  if not any(row.get(group) for row in found):
    return {path: hashed_split(key) for path, key in paths.items()}
  groups: dict[str, str] = {}
  for row in found:  # a path that stands twice, with two spans, keeps its first group
    groups.setdefault(row["path"], row.get(group) or paths[row["path"]])
  val = fifth(list(groups.values()))
  return {path: "val" if key in val else "train" for path, key in groups.items()}


def _split_of(row: Mapping[str, str], hashed: Mapping[str, str], table: str, line: int, train_folds: Any, val_folds: Any
              ) -> str:
  """The split of a row: by its column `split`, by its fold, or by a hash."""
  if "split" in row:
    found = _WORDS.get(row["split"], row["split"])
    if found not in ("train", "val", "test"):
      raise errors.DataError(f"{table}, line {line}: split '{row['split']}' is none of train, val, test.")
    return found
  if "fold" in row:
    fold = common.as_int(row["fold"], "fold", table, line)
    train, val = common.folds(train_folds, "train_folds"), common.folds(val_folds, "val_folds")
    if not train or not val:
      raise errors.ConfigError(f"{table} has folds: choose them with --config.data.train_folds=0,1"
                               " --config.data.val_folds=2, or in vidx data check and build with train_folds=0,1"
                               " val_folds=2.")
    if train & val:
      raise errors.ConfigError(f"train_folds and val_folds share {sorted(train & val)}.")
    return "train" if fold in train else "val" if fold in val else "test"
  return hashed[row["path"]]
