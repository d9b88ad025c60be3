"""A folder of videos: one folder per class, or a clips.csv.

  root/<class>/*.mp4                  split by a hash of the name: a fifth is for validation
  root/{train,val,test}/<class>/*     split by folder
  root/clips.csv                      `path,label`, and `split` or `fold`; see vidx/data/datasets/tables.py

In place of a video a folder of frames may stand, or a file of sound; in class folders where there is no video.
Labels are names or ids. classes.txt (a name per line) fixes the order of the classes; else it is that of the
sorted labels.
"""

from collections import Counter
from collections.abc import Sequence
import os
from typing import Any

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, tables
from vidx.data.records import SOUNDS, Dataset, Record, media_of
from vidx.terminal import counted

_TABLES = ("clips.csv", "train.csv")  # which a data set of its own has


def read(root: str, split: str, classes: str = "", train_folds: Any = "", val_folds: Any = "", group: str = "group",
         first_id: int = 0) -> Dataset:
  """Reads one split.

  Args:
    root: the folder.
    split: "train", "val" or "test".
    classes: file of class names; root/classes.txt where there is one.
    train_folds: folds of split "train", such as "0,1", for a table with folds.
    val_folds: folds of "val"; the other folds are "test".
    group: column of a table, of what must not come into two splits, where a hash decides.
    first_id: the id of the first class, 0 or 1, where labels of a table are ids.
  """
  table = os.path.join(root, "clips.csv")
  names = classes or os.path.join(root, "classes.txt")
  given = common.read_classes(names) if classes or os.path.exists(names) else ()
  if os.path.exists(table):
    return tables.read("folder", table, root, split, given, names, train_folds=train_folds, val_folds=val_folds,
                       group=group, first_id=first_id)
  return _folders(root, split, given, names)


def _folders(root: str, split: str, given: tuple[str, ...], names: str) -> Dataset:
  """Class folders, perhaps below split folders."""
  split_names = [d for d in ("train", "val", "test") if media_files.folders(os.path.join(root, d))]
  base = os.path.join(root, split) if split_names else root
  if split_names and split not in split_names:
    raise errors.AbsentError(f"{root} has folders for {', '.join(split_names)} and none for split '{split}'.")
  all_bases = [os.path.join(root, d) for d in split_names] or [root]
  found = sorted({name for b in all_bases for name in media_files.folders(b)})
  if not found:
    raise errors.DataError(f"{root} holds neither a clips.csv nor a folder per class{_beside(root)}.")
  order = given or tuple(found)
  for name in found:
    if name not in order:
      raise errors.DataError(f"folder {name} of {root} is not one of the classes of {names}{errors.hint(name, order)}.")
  by_class: dict[str, list[str]] = {name: [] for name in order}
  inside = media_files.below(base)
  inside = inside if inside.media else media_files.below(base, SOUNDS)
  others, seen = list(inside.others), {}
  for path in inside.media:
    name, *rest = os.path.relpath(path, base).split(os.sep)
    if name not in by_class or not rest:
      others.append(path)
      continue
    key = media_files.identity(path) or path
    if key in seen and seen[key][0] != name:
      raise errors.DataError(f"{path} and {seen[key][1]} are one file in two classes; leave one of them out.")
    if key not in seen:
      seen[key] = name, path
      by_class[name].append(os.path.relpath(path, base))
    else:
      others.append(path)
  records = []
  for label, (name, files) in enumerate(by_class.items()):
    val = set() if split_names else tables.fifth(files)
    chosen = files if split_names else [f for f in files if (f in val) == (split == "val") and split != "test"]
    records += [Record(f, media_of(os.path.join(base, f)), label) for f in chosen]
  notes = _notes(base, by_class, others, inside.media)
  if inside.media and not records and split == "val":
    notes.append("a fifth of the videos of each class is for validation, of a single one none")
  beside = [n for n in media_files.folders(root) if n not in split_names] if split_names else []
  if beside:
    notes.append(f"{root}: beside {', '.join(split_names)} not read: {media_files.listed(beside)}")
  return Dataset("folder", split, tuple(records), order, notes=tuple(notes))


def _beside(root: str) -> str:
  """What a folder that is no data set holds in their place, and what to do then; nothing where it is neither."""
  names = media_files.names(root)
  if any(n.startswith("records-") and n.endswith(".jsonl") for n in names):
    return (": `vidx data build` wrote it, which is read with --config.data.dataset.name=array_record"
            " (--dataset=array_record for vidx data check)")
  if there := tables.beside(root):
    return f", but {there[0]}: a table of paths and labels, or a list, {tables.how(there[0])}, or as clips.csv"
  videos = [n for n in names if media_files.is_video(n)]
  if videos:
    return (f", but {counted(len(videos), 'video')} such as {videos[0]}: name the folder above it, with a folder per"
            " class")
  return ""


def _notes(base: str, by_class: dict[str, list[str]], others: Sequence[str], media: Sequence[str]) -> list[str]:
  """What of a folder is no example: classes without videos, and files that are left out."""
  notes = []
  bare = [name for name, files in by_class.items() if not files]
  if bare:
    notes.append(f"{base}: {len(bare)} of {counted(len(by_class), 'class')} without a video"
                 f" ({media_files.listed(bare)})")
  twice = sorted(set(others) & set(media))
  astray = [n for n in media_files.names(base) if not os.path.exists(os.path.join(base, n))]
  if astray:
    notes.append(f"{base}: left out {counted(len(astray), 'link')} to nowhere ({media_files.listed(astray)})")
  inner = [p for p in others if os.path.basename(p) in _TABLES and os.path.dirname(p) != base]
  if inner:
    notes.append(f"{base}: {media_files.listed(inner, base)} is taken for a file of a class; if that folder is the data"
                 " set, name it as the root")
  rest = sorted(p for p in others if p not in twice and os.path.dirname(p) != base)
  if twice:
    notes.append(f"{base}: left out {counted(len(twice), 'name')}: files of no class, folders of frames that are a"
                 f" class, or second names of a file ({media_files.listed(twice, base)})")
  if rest:
    kinds = Counter("text that ends like a video" if media_files.is_text(p) else
                    os.path.splitext(p)[1].lower() or "without ending" for p in rest)
    kinds = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(3)) + (", ..." if len(kinds) > 3 else "")
    notes.append(f"{base}: left out {counted(len(rest), 'file')} beside the videos: {kinds}"
                 f" ({media_files.listed(rest, base)})")
  return notes
