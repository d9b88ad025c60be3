"""Something-Something V2: 174 classes, 220,847 videos as webm files.

  root/<id>.webm                                          also below 20bn-something-something-v2/ or videos/
  root/something-something-v2-labels.json                 {"Approaching something with your camera": "0", ...}
  root/something-something-v2-{train,validation}.json     [{"id", "label", "template", "placeholders"}, ...]
  root/something-something-v2-test.json                   [{"id"}, ...]

A template marks what stands for things with brackets, as in "Holding [something]
next to [something]"; class names have none.
"""

import json
from typing import Any

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_FOLDERS = ("", "annotations", "labels")
MARKS = places.marks(_FOLDERS, "something-something-v2-*")
_MEDIA = ("20bn-something-something-v2", "", "videos")


def read(root: str, split: str) -> Dataset:
  """Reads one split; the test split has no labels.

  Args:
    root: the folder.
    split: "train", "val" or "test".
  """
  word = "validation" if split == "val" else split
  source = places.annotation(root, ("something-something-v2-labels.json", "labels.json"), _FOLDERS)
  path = places.annotation(root, (f"something-something-v2-{word}.json", f"{word}.json"), _FOLDERS)
  classes = _classes(source)
  ids = {c: i for i, c in enumerate(classes)}
  disk = places.Places(root, _MEDIA)
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, entry in _entries(path):
    if not isinstance(entry, dict) or "id" not in entry:
      raise errors.DataError(f"{path}, line {line}: an entry without 'id'.")
    name = str(entry["id"])
    common.not_twice(name, seen, path, line)
    if split != "test" and not entry.get("template"):
      raise errors.DataError(f"{path}, line {line}: video {name} has no 'template'.")
    template = str(entry.get("template", "")).replace("[", "").replace("]", "")
    label = common.class_id(template, ids, path, line, source) if template else -1
    found = disk.find(f"{name}.webm")
    if found:
      extra = {k: entry[k] for k in ("label", "placeholders") if k in entry}
      records.append(Record(name, Media(found), label, extra=extra))
    else:
      missing.append(f"{name}.webm")
  return Dataset("ssv2", split, tuple(records), classes, missing=tuple(missing))


def _classes(path: str) -> tuple[str, ...]:
  """Names in the order of their ids."""
  found = common.read_json(path)
  if not isinstance(found, dict) or not all(str(v).isdigit() for v in found.values()):
    raise errors.DataError(f"{path}: expected {{\"label\": \"id\"}} for every class.")
  order = sorted(found, key=lambda c: int(found[c]))
  if [int(found[c]) for c in order] != list(range(len(order))):
    raise errors.DataError(f"{path}: the ids of the {counted(len(order), 'class')} are not 0 to {len(order) - 1}.")
  return tuple(order)


def _entries(path: str) -> list[tuple[int, Any]]:
  """(line number, entry) of a JSON list."""
  text = common.read_text(path)
  decoder, entries = json.JSONDecoder(), []
  at, line, counted = _skip(text, 0, " \t\n"), 1, 0
  if text[at:at + 1] != "[":
    raise errors.DataError(f"{path}, line 1: expected a JSON list.")
  at = _skip(text, at + 1, " \t\n,")
  while text[at:at + 1] != "]":
    line, counted = line + text.count("\n", counted, at), at
    try:
      entry, at = decoder.raw_decode(text, at)
    except json.JSONDecodeError as e:
      raise errors.DataError(f"{path}, line {e.lineno}: no JSON ({e.msg}).") from None
    entries.append((line, entry))
    at = _skip(text, at, " \t\n,")
  return entries


def _skip(text: str, at: int, what: str) -> int:
  while at < len(text) and text[at] in what:
    at += 1
  return at
