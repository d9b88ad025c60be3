"""ArrayRecord folders, as `vidx data build` writes them: records in a list, media by random access."""

import functools
import json
import os
from typing import Any

import numpy as np

from vidx import errors, reading
from vidx.data import packed_records, record_table
from vidx.data.records import Dataset, Media, Record, Target

MARKS = ("records-*.jsonl",)


def read(root: str, split: str) -> Dataset:
  """The records of a split; media stay in the shards until they are decoded.

  Args:
    root: folder that `vidx data build` wrote.
    split: such as "train".
  """
  path = os.path.join(root, f"records-{split}.jsonl")
  if not os.path.isfile(path):
    have = sorted(f[len("records-"):-len(".jsonl")] for f in os.listdir(root)
                  if f.startswith("records-") and f.endswith(".jsonl"))
    raise errors.AbsentError(
        f"{root} has no split '{split}': " + (f"it has {', '.join(have)}." if have else
                                               "`vidx data build` did not write it."))
  with reading.boundary(f"{path} is damaged"):
    with reading.open_text(path) as f:
      texts = f.readlines()
    header, *lines = json.loads(f"[{','.join(texts)}]")  # two thirds of the time that line by line takes
    if len(lines) != len(texts) - 1:
      raise ValueError("a line holds more than one record")
    return _dataset(root, split, header, lines)


def _dataset(root: str, split: str, header: dict[str, Any], lines: list[dict[str, Any]]) -> Dataset:
  return Dataset(
      name=header["name"], split=split,
      records=(len(lines) >= packed_records.LEAST and _table(root, lines)) or tuple(_record(root, x) for x in lines),
      classes=tuple(header["classes"]), multilabel=header["multilabel"],
      categories={k: tuple(v) for k, v in header["categories"].items()},
      named={k: Target(tuple(t["classes"]), t["several"]) for k, t in header.get("named", {}).items()},
      facts={k: _fact(v) for k, v in header.get("facts", {}).items()})


def _fact(value: Any) -> Any:
  """A fact as it was: a list stands for a tuple, and a mapping for an array."""
  if isinstance(value, list):
    return tuple(map(_fact, value))
  return np.asarray(value["array"], value["dtype"]) if isinstance(value, dict) else value


def _table(root: str, lines: list[dict[str, Any]]) -> record_table.RecordTable | None:
  """The records by columns, where all have one label each and texts for the same extra fields; else None."""
  column = lambda key: [line[key] for line in lines]
  extras, first = column("extra"), lines[0]["extra"]
  if (any(line.get("labels") for line in lines) or set(map(type, column("label"))) != {int} or
      any(extra.keys() != first.keys() for extra in extras) or
      any(type(value) is not str for extra in extras for value in extra.values()) or
      any(type(second) is not float for line in lines for second in line["span"] or ())):
    return None
  return record_table.of_shards(root, column("id"), column("shard"), column("index"), column("label"),
                                [tuple(span) if span else None for span in column("span")],
                                [float(line.get("fps", 0.0)) for line in lines],
                                {name: [extra[name] for extra in extras] for name in first})


def _record(root: str, line: dict[str, Any]) -> Record:
  span, value = line["span"], lambda label: tuple(label) if isinstance(label, list) else label
  return Record(
      id=line["id"],
      media=Media(os.path.join(root, line["shard"]), "array_record", line["index"], fps=float(line.get("fps", 0.0))),
      label=value(line["label"]), span=tuple(span) if span else None, extra=line["extra"],
      labels={k: value(v) for k, v in line.get("labels", {}).items()})


def read_media(media: Media) -> tuple[str, list[bytes]]:
  """Kind ("video" or "frames") and encoded bytes of one example.

  Raises:
    DecodeError: the file or the place in it does not exist.
  """
  from vidx.data.tfds import features
  with reading.boundary(f"{media.path}[{media.index}] is damaged", errors.DecodeError):
    reader = _reader(media.path)
    if not 0 <= media.index < reader.num_records():
      raise errors.DecodeError(f"{media.path}: no record {media.index} among {reader.num_records()}.")
    return features.media_of(reader.read([media.index])[0])


def open_media(media: Media, threads: int = 1) -> Any:
  """A reader of the frames of one example, as vidx/data/decode.py gives for a file."""
  from vidx.data import decode, stored_frames
  kind, parts = read_media(media)
  name = f"{media.path}[{media.index}]"
  if kind == "frames":
    return stored_frames.StoredFrames(parts, name, media.fps)
  try:
    return decode.open_video(parts[0], threads=threads)
  except errors.DecodeError as e:
    raise errors.DecodeError(f"{name}: {e}") from e


def close() -> None:
  """Closes all open shards of this process."""
  _reader.cache_clear()


@functools.lru_cache(maxsize=64)
def _reader(path: str) -> Any:
  """One open file per shard and process; reads of different records may overlap."""
  return shard(path)


def shard(path: str) -> Any:
  """A new reader of an ArrayRecord file, for random access.

  Raises:
    DecodeError: there is no such file, or it is damaged.
  """
  from array_record.python import array_record_module
  if not os.path.isfile(path):  # the reader itself finds an absent file empty
    raise errors.DecodeError(f"{path}: no such file.")
  with reading.boundary(f"{path} is damaged", errors.DecodeError):
    return array_record_module.ArrayRecordReader(path, "readahead_buffer_size:0")
