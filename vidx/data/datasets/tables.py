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

from collections.abc import Callable, Mapping, Sequence
import csv
import io
import os
import re
from typing import Any, NamedTuple
import zlib

import numpy as np

from vidx import errors
from vidx.data import media_files, packed_records, record_table
from vidx.data.datasets import common
from vidx.data.records import Dataset
from vidx.terminal import counted

VAL_SHARE = 0.2
COLUMNS = ("path", "label", "split", "fold", "group", "start", "end")
_VIDEO = re.compile(rf"(.*(?:{'|'.join(map(re.escape, media_files.VIDEOS))}))\s+(\S.*)", re.IGNORECASE)
_INDIRECT = ("//", "/./", "/../", "/\n", "/.\n", "/..\n", "\n./", "\n../")  # in paths that may be written shorter
_WORDS = {"validation": "val", "valid": "val", "testing": "test", "training": "train"}
_MOST_TABLES = 16
_labels: dict[tuple[Any, ...], tuple[str, ...]] = {}  # by file and version of it


class Rows(NamedTuple):
  """A table: the line number of each row, and {column: the text of each row}."""

  lines: Sequence[int]
  columns: dict[str, list[str]]


def beside(root: str) -> list[str]:
  """Names in a folder that may be those of tables or lists, clips.csv first."""
  found = [n for n in media_files.names(root) if n.lower().endswith((".csv", ".txt", ".tsv"))]
  return sorted((n for n in found if n != "classes.txt"), key=lambda n: n != "clips.csv")


def how(file: str) -> str:
  """How a table of a name is read, for a message."""
  return (f"is read under that name with --config.data.dataset.name=csv --config.data.dataset.file={file}"
          f" (--dataset=csv file={file} for vidx data check)")


def rows(path: str, root: str) -> Rows:
  """The rows of a table, or of a list without a header, whose paths are below a root."""
  text = common.read_text(path)
  first = next(filter(str.strip, io.StringIO(text, newline="\n")), "").rstrip("\n")
  if not {"path", "label"} & set(_words(first)):
    found = _pair(first, root)
    if found and _is_media(found[0], root):
      return _pairs(path, text.split("\n"), root)
  return Rows(*common.read_columns(path, ("path", "label"), text))  # says which column lacks, too


def labels(path: str, root: str, found: Rows | None = None) -> tuple[str, ...]:
  """The distinct labels of a table in order, of its rows where they are read; remembered while the file is the same."""
  of = os.stat(path)
  key = path, root, of.st_ino, of.st_size, of.st_mtime_ns
  if key not in _labels:
    if len(_labels) >= _MOST_TABLES:
      _labels.clear()
    _labels[key] = tuple(common.natural((found or rows(path, root)).columns["label"]))
  return _labels[key]


def read(name: str, table: str, root: str, split: str, given: tuple[str, ...], names: str, *, train_folds: Any = "",
         val_folds: Any = "", group: str = "group", first_id: int = 0, whole: bool = False,
         found: Rows | None = None, others: Sequence[str] = ()) -> Dataset:
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
    found: its rows, where they are read.
    others: labels of the data set's other tables, which show how ids count.

  Raises:
    DataError: a line that cannot be used, or a video that stands twice.
  """
  lines, columns = rows(table, root) if found is None else found
  if len(columns.keys() & {"start", "end"}) == 1:
    raise errors.DataError(f"{table}: 'start' and 'end' go together, in seconds; it has only one of the two.")
  source = names if given else table
  own = common.natural(columns["label"])
  order = given or tuple(own)
  ids = {c: i for i, c in enumerate(order)}
  notes = _check_ids([*own, *others], ids, table, source, first_id) if given else []
  if unknown := sorted(columns.keys() - {*COLUMNS, group}):
    notes.append(f"{table}: columns not used: {', '.join(unknown)}; {', '.join(COLUMNS)} are")

  def class_id(label: str, line: int) -> int:
    if given and label not in ids and label.isdecimal():
      label = str(int(label) - first_id)
    return common.class_id(label, ids, table, line, source)

  paths = columns["path"]
  spans = _spans(columns, table, lines)
  files = record_table.look_at(root, paths)
  _check_twice(paths, spans, files, table, lines)
  classes = _by_text(columns["label"], lines, class_id)
  told = bool(columns.keys() & {"split", "fold"})
  if whole and not told:
    mine = np.ones(len(lines), bool)
  else:
    mine = np.array([s == split for s in _splits(columns, group, table, lines, train_folds, val_folds)], bool)
  by_hash = not (whole or told or split == "test")
  bare = sorted(set(classes) - {classes[i] for i in np.flatnonzero(mine)}) if by_hash else []
  if bare:
    notes.append(f"{table}: no record of {len(bare)} of its classes ({media_files.listed([order[c] for c in bare])})"
                 f" comes into split '{split}', as hashes of paths decide; give it a column 'split'")
  missing = [paths[i] for i in np.flatnonzero(mine & ~files.there)]
  chosen = np.flatnonzero(mine & files.there)
  of = lambda column: column if len(chosen) == len(column) else [column[i] for i in chosen]
  records = record_table.of_videos(
      root, of(paths), files[chosen], of(classes), None if spans is None else of(spans),
      {name: of(column) for name, column in columns.items() if name not in COLUMNS or name == "group"})
  return Dataset(name, split, records if len(records) >= packed_records.LEAST else tuple(records), order,
                 missing=tuple(missing), notes=tuple(notes))


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


def _after_ending(line: str) -> Sequence[str]:
  """A line up to where a name of a video ends, and what follows."""
  found = _VIDEO.match(line.strip())
  return found.groups() if found else ()


_READINGS = (_words, _after_ending, lambda line: line.rsplit(maxsplit=1), lambda line: line.rsplit(maxsplit=2))


def _pair(line: str, root: str) -> tuple[str, str] | None:
  """Path and label of a line; the reading whose path is a video or folder of frames comes first."""
  first = None
  for read_as in _READINGS:
    words = read_as(line)
    if len(words) == 3 and words[1].isdecimal():
      words = words[::2]
    if len(words) == 2 and all(words):
      found = words[0].strip(), words[1].strip()
      if _is_media(found[0], root):
        return found
      first = first or found
  return first


def _pairs(path: str, lines: Sequence[str], root: str) -> Rows:
  numbers, found = [], []
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    pair = _pair(line, root)
    if pair is None:
      raise errors.DataError(f"{path}, line {number}: '{line.strip()}' is not a path and a label as the first line is.")
    numbers.append(number)
    found.append(pair)
  return Rows(numbers, {"path": [path for path, _ in found], "label": [label for _, label in found]})


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
    raise errors.DataError(f"{table}: its ids count from 1 to {high}, those of the {counted(len(ids), 'class')} of"
                           f" {source} from 0; add --config.data.dataset.first_id=1 (first_id=1 for vidx data check).")
  if first_id == 1 and low == 0:
    raise errors.DataError(f"{table}: a label is 0, but with first_id=1 ids count from 1.")
  if first_id == 0 and low == 1:
    return [f"{table}: no label is 0, which is '{next(iter(ids))}' of {source}; if its ids count from 1, add"
            " --config.data.dataset.first_id=1 (first_id=1 for vidx data check)"]
  return []


def _spans(columns: Mapping[str, Sequence[str]], table: str, lines: Sequence[int]
           ) -> list[record_table.Span | None] | None:
  """What part of its video each row means, None for all of it; None where no row says so."""
  if "start" not in columns or not any(map(any, zip(columns["start"], columns["end"]))):
    return None
  return [_span(*row, table, line) for *row, line in zip(columns["start"], columns["end"], lines)]


def _span(start: str, end: str, table: str, line: int) -> record_table.Span | None:
  if not (start or end):
    return None
  first, last = common.as_number(start, "start", table, line), common.as_number(end, "end", table, line)
  if not 0 <= first < last:
    raise errors.DataError(f"{table}, line {line}: from {first:g} to {last:g} s is no part of a video.")
  return first, last


def _check_twice(paths: Sequence[str], spans: Sequence[record_table.Span | None] | None, files: record_table.Files,
                 table: str, lines: Sequence[int]) -> None:
  """Raises DataError for a part of a video that stands twice, under one name or under two."""
  lines_of_paths = "\n".join(("", *paths, ""))
  names = list(map(os.path.normpath, paths)) if any(part in lines_of_paths for part in _INDIRECT) else paths
  media: Sequence[Any] = files.identities()
  if spans is not None:
    names, media = list(map(record_table.named, names, spans)), list(zip(media, spans))
  if not files.there.all():
    media = [one if there else i for i, (one, there) in enumerate(zip(media, files.there.tolist()))]
  if len(set(names)) == len(names) and len(set(media)) == len(media):
    return
  seen: dict[Any, int] = {}
  for name, one, path, line in zip(names, media, paths, lines):
    common.not_twice(name, seen, table, line)
    before = seen.setdefault((one,), line)
    if before != line:
      raise errors.DataError(f"{table}, line {line}: '{path}' is the file of line {before} under another name;"
                             " leave one of them out.")


def _by_text(texts: Sequence[str], lines: Sequence[int], read_one: Callable[[str, int], Any]) -> list[Any]:
  """What each text of a column means, asked once per text, with the line where it stands first."""
  known: dict[str, Any] = {}
  for text, line in zip(texts, lines):
    if text not in known:
      known[text] = read_one(text, line)
  return [known[text] for text in texts]


def _hashed(paths: Sequence[str], groups: Sequence[str]) -> list[str]:
  """The splits of a table that names none, by paths.

  Of an absolute path those last parts are hashed that tell it from all others, so that
  it counts for nothing where the files lie; groups come into one split as a whole.
  """
  keys = {path: os.path.normpath(path) for path in paths}
  far = {p: n.split(os.sep) for p, n in keys.items() if os.path.isabs(n)}
  if far:
    longest = max(map(len, far.values()))
    count = next(k for k in range(1, longest + 1) if k == longest or len({tuple(w[-k:]) for w in far.values()}) ==
                 len(set(map(tuple, far.values()))))
    keys.update((p, "/".join(words[-count:])) for p, words in far.items())
  if not any(groups):
    of = {path: hashed_split(key) for path, key in keys.items()}
    return [of[path] for path in paths]
  own: dict[str, str] = {}
  for path, group in zip(paths, groups):  # a path that stands twice, with two spans, keeps its first group
    own.setdefault(path, group or keys[path])
  val = fifth(list(own.values()))
  return ["val" if own[path] in val else "train" for path in paths]


def _splits(columns: Mapping[str, Sequence[str]], group: str, table: str, lines: Sequence[int], train_folds: Any,
            val_folds: Any) -> list[str]:
  """The split of each row: by the column `split`, by its fold, or by a hash."""
  if "split" in columns:
    return _by_text(columns["split"], lines, lambda text, line: _split(text, table, line))
  if "fold" in columns:
    folds = _by_text(columns["fold"], lines, lambda text, line: common.as_int(text, "fold", table, line))
    of = _splits_of_folds(sorted(set(folds)), table, train_folds, val_folds)
    return [of[fold] for fold in folds]
  return _hashed(columns["path"], columns.get(group, ()))


def _split(text: str, table: str, line: int) -> str:
  found = _WORDS.get(text, text)
  if found not in ("train", "val", "test"):
    raise errors.DataError(f"{table}, line {line}: split '{text}' is none of train, val, test.")
  return found


def _splits_of_folds(own: Sequence[int], table: str, train_folds: Any, val_folds: Any) -> dict[int, str]:
  """The split of each fold that a table has."""
  train, val = common.folds(train_folds, "train_folds"), common.folds(val_folds, "val_folds")
  if not train or not val:
    some, last = ",".join(map(str, own[:-1] or own)), own[-1]
    raise errors.ConfigError(f"{table} has folds: choose them with --config.data.train_folds={some}"
                             f" --config.data.val_folds={last}, or in vidx data check and build with"
                             f" train_folds={some} val_folds={last}.")
  if train & val:
    raise errors.ConfigError(f"train_folds and val_folds share {sorted(train & val)}.")
  if strange := sorted((train | val) - set(own)):
    raise errors.ConfigError(f"no line of {table} is of fold {strange[0]}, which train_folds or val_folds name; its"
                             f" folds are {', '.join(map(str, own))}.")
  return {fold: "train" if fold in train else "val" if fold in val else "test" for fold in own}
