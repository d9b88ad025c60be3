"""Data sets by name: one reader per public annotation format.

A reader is a module with `read(root, split, **options) -> Dataset`, and perhaps MARKS, globs of which
one is in its root. To add a format, write one and add its row here.
"""

from collections.abc import Iterator
import contextlib
import gc
import glob
import importlib
import os
import shlex
from typing import Any

from vidx import errors, reading
from vidx.data import media_files
from vidx.data.records import Dataset

READERS = {
    "folder": "vidx.data.datasets.folder",
    "videos": "vidx.data.datasets.videos",
    "csv": "vidx.data.datasets.csv_list",
    "ucf101": "vidx.data.datasets.ucf101",
    "hmdb51": "vidx.data.datasets.hmdb51",
    "kinetics": "vidx.data.datasets.kinetics",
    "ssv1": "vidx.data.datasets.ssv1",
    "ssv2": "vidx.data.datasets.ssv2",
    "hvu": "vidx.data.datasets.hvu",
    "charades": "vidx.data.datasets.charades",
    "ava": "vidx.data.datasets.ava",
    "epic100": "vidx.data.datasets.epic100",
    "epic_retrieval": "vidx.data.datasets.epic_retrieval",
    "msrvtt": "vidx.data.datasets.msrvtt",
    "activitynet_captions": "vidx.data.datasets.activitynet_captions",
    "lsmdc": "vidx.data.datasets.lsmdc",
    "youcook2": "vidx.data.datasets.youcook2",
    "epic55": "vidx.data.datasets.epic55",
    "egtea": "vidx.data.datasets.egtea",
    "imagenet": "vidx.data.datasets.imagenet",
    "tfds": "vidx.data.datasets.tfds",
    "imagenet_vid": "vidx.data.datasets.imagenet_vid",
    "imagenet_det": "vidx.data.datasets.imagenet_det",
    "triplets": "vidx.data.datasets.triplets",
    "frame_list": "vidx.data.datasets.frame_list",
    "coco": "vidx.data.datasets.coco",
    "visual_genome": "vidx.data.datasets.visual_genome",
    "texts": "vidx.data.datasets.texts",
    "davis": "vidx.data.datasets.davis",
    "segtrack2": "vidx.data.datasets.segtrack2",
    "otb2013": "vidx.data.datasets.otb2013",
    "array_record": "vidx.data.datasets.array_record",
    "ms_tcn": "vidx.data.datasets.ms_tcn",
    "nn_viterbi": "vidx.data.datasets.nn_viterbi",
    "mucon": "vidx.data.datasets.mucon",
    "breakfast": "vidx.data.datasets.breakfast",
    "segments": "vidx.data.datasets.segments",
}
SPLITS = ("train", "val", "test")


def load(name: str, root: str, split: str, max_missing: float = 0.1, **options: Any) -> Dataset:
  """Reads one split of a data set, to work with it.

  Args:
    name: key of READERS.
    root: folder of the data set.
    split: "train", "val" or "test".
    max_missing: largest share of annotated media that may be absent.
    **options: of the reader.

  Raises:
    ConfigError: unknown reader, option or split (the nearest is named).
    DataError: no such folder, a broken annotation, an empty split, or too many
      media missing.
  """
  dataset = read(name, root, split, **options)
  named = len(dataset.records) + len(dataset.missing)
  if len(dataset.missing) > max_missing * named:
    given = [f"{key}={value}" for key, value in options.items() if isinstance(value, (str, int, float)) and value != ""]
    command = ["vidx", "data", "check", f"--dataset={name}", f"--root={root}", f"--split={split}", *given,
               "max_listed=0"]
    listed = ", ".join(dataset.missing[:3]) + (", ..." if len(dataset.missing) > 3 else "")
    raise errors.DataError(
        f"{len(dataset.missing)} of the {named} media of split '{split}' of {root} are missing ({listed}), more than"
        f" max_missing={max_missing:g} allows;"
        f" `{shlex.join(command)}` lists them.")
  if not dataset.records:
    raise errors.AbsentError(empty(dataset, root))
  return dataset


def empty(dataset: Dataset, root: str) -> str:
  """Says that a split has no records, and why where that is known."""
  notes = "".join(f"; {note}" for note in dataset.notes)
  return f"split '{dataset.split}' of {root} is empty (reader '{dataset.name}'){notes}."


def read(name: str, root: str, split: str, **options: Any) -> Dataset:
  """Reads one split as it is, with no records or with missing media, too; else as `load`."""
  errors.check_choice("data.dataset.name", name, READERS)
  errors.check_choice("split", split, SPLITS)
  if not root:
    raise errors.DataError("no data root: add --root=FOLDER.")
  if os.path.isfile(root):
    folder, file = os.path.split(root)
    table = "" if file == "clips.csv" else f"; a table of another name is read by the reader 'csv' with file={file}"
    raise errors.DataError(f"data root {root} is a file: name the folder in which it lies, {folder or '.'}{table}.")
  if not os.path.isdir(root):
    raise errors.DataError(f"data root {root} does not exist or is not a folder.")
  reader = importlib.import_module(READERS[name]).read
  errors.check_options(reader, options, f"the reader '{name}'", "data.dataset.", ("root", "split"))
  try:
    with reading.boundary(f"split '{split}' of {root} cannot be read by the reader '{name}'"), _uncollected():
      found = reader(root, split, **options)
    if not found.records:
      _check_place(name, root)
  except errors.DataError as e:
    _check_place(name, root)
    if not isinstance(e, errors.AbsentError) and (other := of_others(name, root)):
      raise errors.DataError(f"{e} The {other}.") from None
    raise
  return found


def of_others(name: str, root: str) -> str:
  """Which readers' data sets a root looks like that is read as folders of classes, and how to name one; '' for none."""
  if name != "folder" or os.path.exists(os.path.join(root, "clips.csv")):
    return ""
  found: dict[str, list[str]] = {}
  for other in READERS:
    there = sorted(at for mark in _marks(other) for at in glob.glob(os.path.join(glob.escape(root), mark)))
    if there:
      found.setdefault(os.path.relpath(there[0], root), []).append(f"'{other}'")
  said = "; ".join(f"{at}, as of {' and '.join(readers)}" for at, readers in found.items())
  return said and (f"root has {said}: if its data set is one that is read so, and no classes in folders, name the"
                   " reader by --dataset or data.dataset.name")


def _marks(name: str) -> tuple[str, ...]:
  return getattr(importlib.import_module(READERS[name]), "MARKS", ())


def _check_place(name: str, root: str) -> None:
  """Raises DataError where a reader's MARKS, globs of what is in its root, are not there but below it or above."""
  marks = _marks(name)
  holds = lambda folder: any(glob.glob(os.path.join(glob.escape(folder), mark)) for mark in marks)
  near = [os.path.join(root, n) for n in media_files.folders(root)] + [os.path.dirname(os.path.abspath(root))]
  place = "" if holds(root) else next(filter(holds, near), "")
  if place:
    raise errors.DataError(f"data root {root}: the data set that the reader '{name}' reads is in {place}; name that"
                           " folder as the root.") from None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
  """Inside, Python looks for no circles of garbage: of a million records, all of which stay, a third of the time."""
  active = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if active:
      gc.enable()
