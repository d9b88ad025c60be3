"""Image sets that TensorFlow Datasets has prepared as ArrayRecord, ImageNet for one, as videos of one frame.

  root/dataset_info.json               format, splits, how many records a shard has; root may also be a folder above
                                       it, such as imagenet2012 for imagenet2012/5.1.0, where it is the only one below
  root/features.json                   'image', 'label', a class, and perhaps 'file_name'; others are passed over
  root/label.labels.txt                names of classes by id; without it they are numbers
  root/imagenet2012-train.array_record-00000-of-01024

The split "val" is TFDS' "validation". Images stay in the shards until they are decoded; labels are read once, through
all shards, and kept in the cache (see vidx/places.py). `tfds build NAME --file_format=array_record` prepares a set; to
read it TensorFlow is not needed.
"""

from collections.abc import Sequence
import concurrent.futures
import contextlib
import glob
import hashlib
import json
import os
import sys
from typing import Any
import zipfile

import numpy as np

from vidx import errors, places, reading, writing
from vidx.data.datasets import array_record, common
from vidx.data.records import Dataset, Media, Record
from vidx.data.tfds import features as features_lib
from vidx.terminal import counted

_INFO = "dataset_info.json"
_FORMAT = "array_record"
_SPLITS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}  # names of theirs for ours
_THREADS = 8  # shards are waited for
_FEW = 256  # records that are read about as soon as looked up
_MANY = 20_000  # records whose reading is announced
_VERSION = 1  # of what is kept: another one is another file


def read(root: str, split: str, label: str = "label") -> Dataset:
  """Reads one split.

  Args:
    root: folder of one version of a data set, or one above it.
    split: "train", "val" or "test".
    label: the feature that has the class, where there are several, such as "coarse_label".

  Raises:
    AbsentError: there is no such split.
    DataError: no such folder, another file format, no images with a class, or shards that are absent or not whole.
  """
  folder = _folder(root)
  info = common.read_json(os.path.join(folder, _INFO))
  with reading.boundary(f"{os.path.join(folder, _INFO)} is damaged"):
    shards = _shards(folder, info, split)
  features = os.path.join(folder, "features.json")
  content = common.read_json(features)
  with reading.boundary(f"{features} is damaged"):
    classes = _classes(folder, features, content, label)
  labels, names = _kept(folder, split, label, shards)
  if labels.size and labels.max() >= len(classes):
    raise errors.DataError(f"split '{split}' of {folder}: an image has label {labels.max()}, which is none of the"
                           f" {counted(len(classes), 'class')}.")
  told = [name for name in names if name]
  unique = len(set(told)) == len(told)
  media = [Media(path, "array_record", i) for path, count in shards for i in range(count)]
  records = (Record(name if unique and name else f"{os.path.basename(m.path)}[{m.index}]", m, value)
             for m, value, name in zip(media, np.maximum(labels, -1).tolist(), names))
  return Dataset("tfds", split, tuple(records), classes)


def _folder(root: str) -> str:
  """The one folder at or below the root that TFDS wrote."""
  found = [os.path.dirname(path) for depth in ("", "*", os.path.join("*", "*"))
           for path in sorted(glob.glob(os.path.join(glob.escape(root), depth, _INFO)))]
  if not found:
    raise errors.DataError(f"{root} has no {_INFO}: name the folder of a version of a data set that TFDS prepared, such"
                           " as imagenet2012/5.1.0.")
  if found[0] != root and len(found) > 1:
    raise errors.DataError(f"{root} has several data sets or versions; name one of them:"
                           f" {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}.")
  return found[0]


def _shards(folder: str, info: dict[str, Any], split: str) -> list[tuple[str, int]]:
  """(path, records) of the files of a split."""
  path = os.path.join(folder, _INFO)
  if _FORMAT not in (info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", ())):
    raise errors.DataError(f"{path}: its files are of format {info.get('fileFormat', 'tfrecord')}, which is read in"
                           f" order only: prepare the data set by `tfds build --file_format={_FORMAT}`, or convert it"
                           " by `tfds convert_format`.")
  splits = {s["name"]: s for s in info["splits"]}
  own = next((splits[name] for name in _SPLITS[split] if name in splits), None)
  if own is None:
    raise errors.AbsentError(f"{path} has no split '{split}': it has {', '.join(splits) or 'none'}.")
  lengths = [int(n) for n in own.get("shardLengths", ())]
  template = own.get("filepathTemplate", "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}")
  for key, value in (("DATASET", info["name"]), ("SPLIT", own["name"]), ("FILEFORMAT", _FORMAT)):
    template = template.replace(f"{{{key}}}", value)
  found = [(os.path.join(folder, template.replace("{SHARD_X_OF_Y}", f"{i:05d}-of-{len(lengths):05d}")
                         .replace("{SHARD_INDEX}", f"{i:05d}").replace("{NUM_SHARDS}", f"{len(lengths):05d}")), n)
           for i, n in enumerate(lengths)]
  return [(file, n) for file, n in found if n]


def _classes(folder: str, path: str, content: dict[str, Any], label: str) -> tuple[str, ...]:
  """Names of the classes, where the features are those of an image set."""
  features = content["featuresDict"]["features"]
  image = features.get("image", {}).get("image")
  if image is None:
    raise errors.DataError(f"{path}: no image set, it has no feature 'image' of an image; its features are"
                           f" {', '.join(features)}.")
  if image.get("dtype", "uint8") not in ("uint8", "uint16"):
    raise errors.DataError(f"{path}: its images are arrays of {image['dtype']}, not pictures.")
  one = features.get(label, {}).get("classLabel")
  if one is None:
    found = [name for name, feature in features.items() if "classLabel" in feature]
    raise errors.DataError(f"{path}: it has no feature '{label}' of a class; "
                           + (f"data.dataset.label may be {' or '.join(found)}." if found else
                              f"its features are {', '.join(features)}."))
  count = int(one.get("numClasses", 0))
  if not 0 < count <= common.MOST_CLASSES:
    raise errors.DataError(f"{path}: '{label}' has {counted(count, 'class')}.")
  listed = os.path.join(folder, f"{label}.labels.txt")
  if not os.path.isfile(listed):
    return tuple(map(str, range(count)))
  names = tuple(common.read_lines(listed))
  if len(names) != count:
    raise errors.DataError(f"{listed} names {counted(len(names), 'class')}, but {os.path.basename(path)} says {count}.")
  return names


# ---------------------------------------------------------------- labels


def _kept(folder: str, split: str, label: str, shards: Sequence[tuple[str, int]]) -> tuple[np.ndarray, list[str]]:
  """int64 (N,) labels and the N file names of a split, from the cache where the shards are those of then.

  A record that cannot be read has label -1 and no name.
  """
  stamps = np.array([(n, *_stamp(path)) for path, n in shards], np.int64).reshape(-1, 3)
  count = int(stamps[:, 0].sum())
  key = hashlib.sha256(json.dumps([_VERSION, os.path.abspath(folder), split, label]).encode()).hexdigest()[:32]
  file = places.cache("annotations", f"{key}.npz")
  if count > _FEW and (found := _load(file, stamps, count)):
    return found
  if count > _MANY:
    print(f"{folder}: the labels of {counted(count, 'image')} of split '{split}' are read, once", file=sys.stderr,
          flush=True)
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    parts = list(pool.map(lambda shard: _labels(*shard, label), shards))
  labels = np.array([value for part in parts for value, _ in part], np.int64)
  names = [name for part in parts for _, name in part]
  if count > _FEW:
    with contextlib.suppress(OSError), writing.whole(file) as temporary:
      with open(temporary, "wb") as f:
        np.savez(f, stamps=stamps, labels=labels, names=np.frombuffer("\0".join(names).encode(), np.uint8))
  return labels, names


def _stamp(path: str) -> tuple[int, int]:
  """Size and time of change."""
  try:
    found = os.stat(path)
  except OSError as e:
    raise errors.DataError(f"shard {path} cannot be read ({reading.reason(e)}); are all of them copied?") from e
  return found.st_size, found.st_mtime_ns


def _load(file: str, stamps: np.ndarray, count: int) -> tuple[np.ndarray, list[str]] | None:
  """What is kept, None where it is damaged or of other shards."""
  try:
    with reading.arrays(file) as stored:
      labels, names = stored["labels"], stored["names"].tobytes().decode().split("\0")
      same = np.array_equal(stored["stamps"], stamps)
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None
  return (labels, names) if same and labels.shape == (count,) and len(names) == count else None


def _labels(path: str, count: int, label: str) -> list[tuple[int, str]]:
  """(label, file name) of the records of a shard."""
  with reading.boundary(f"shard {path} is damaged"), contextlib.closing(array_record.shard(path)) as reader:
    if reader.num_records() != count:
      raise errors.DataError(f"shard {path} holds {counted(reader.num_records(), 'record')}, but {_INFO} says {count}:"
                             " it is damaged, or not whole.")
    return [_label(reader, i, label) for i in range(count)]


def _label(reader: Any, i: int, label: str) -> tuple[int, str]:
  try:
    return features_lib.class_of(reader.read([i])[0], label)
  except Exception:  # pylint: disable=broad-except
    return -1, ""  # decoding says what is wrong with it
