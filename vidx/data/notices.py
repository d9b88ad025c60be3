"""What a user should know of the splits of a data set before training on them."""

from collections import Counter
from collections.abc import Hashable, Sequence
import re

import numpy as np

from vidx import errors, terminal
from vidx.data import media_files
from vidx.data.records import LABEL, Dataset, Record
from vidx.terminal import counted


_MANY = 10  # records of a class, beside which a single one of another is odd
_OTHER = {"left": "right", "right": "left"}
_SIDE = re.compile(r"(?<![a-z])(?:left|right)(?![a-z])")


def about(splits: Sequence[Dataset], trained: str = "train") -> list[str]:
  """Lines on what was left out, is missing or has no label, and on what splits do and do not share.

  Args:
    splits: of one data set, each once.
    trained: the split that is compared with the others.
  """
  lines = list(dict.fromkeys(note for d in splits for note in d.notes))
  for d in splits:
    if d.missing:
      lines.append(f"split '{d.split}': {len(d.missing)} of its {len(d.records) + len(d.missing)} media are missing"
                   f" ({media_files.listed(d.missing)})")
    bare = _unlabelled(d).sum()
    if bare and d.split != "test":
      lines.append(f"split '{d.split}': {bare} of its {counted(len(d.records), 'record')} have no label")
  train = next((d for d in splits if d.split == trained), None)
  others = [d for d in splits if d is not train]
  if train is not None:
    lines += _thin(train)
    for d in others:
      lines += [*_unlearnt(train, d), *_shared(train, d)]
  return lines


def check_labels(train: Dataset) -> None:
  """Raises DataError where there is nothing to learn from."""
  if train.targets and _unlabelled(train).all():
    raise errors.DataError(f"no record of split '{train.split}' has a label.")


def show(train: Dataset, val: Dataset, active: bool = True, flipped: bool = False) -> None:
  """Prints what is to be said of the two splits of a run, where `active`; raises as `check_labels` does everywhere.

  Args:
    train: split to train on.
    val: split to evaluate on.
    active: whether this process prints.
    flipped: whether clips are mirrored at random.
  """
  check_labels(train)
  if active:
    lines = about([train] if train.split == val.split else [train, val], train.split)
    for line in lines + (_mirrored(train) if flipped else []):
      print(f"note: {terminal.line(line)}", flush=True)


def _mirrored(d: Dataset) -> list[str]:
  """Says that clips are mirrored, where classes come in pairs that differ by side."""
  turned = {c: _SIDE.sub(lambda found: _OTHER[found[0].lower()], c.lower()) for c in d.classes}
  own = {c.lower(): c for c in d.classes}
  one, other = next(((c, own[t]) for c, t in turned.items() if t != c.lower() and t in own), ("", ""))
  return [f"classes '{one}' and '{other}' differ by side, and clips are mirrored at random: add"
          " --config.data.flip=False"] if one else []


def _unlabelled(d: Dataset) -> np.ndarray:
  """bool (N,): whether a record has no value of any target, and no boxes, where there are targets."""
  without = np.full(len(d), bool(d.targets))
  for name in d.targets:
    without &= np.fromiter((value == -1 for value in d.values(name)), bool, len(d))
  without[list(d.truths())] = False
  return without


def _thin(train: Dataset) -> list[str]:
  """Classes of which there is too little to tell them from others, where that is easily a mistake."""
  if LABEL not in train.targets or train.multilabel or train.truths():
    return []
  if len(train.classes) == 1:
    return [f"'{train.classes[0]}' is the only class: there is nothing that it could be told from"]
  counts = _by_class(train, LABEL)
  single = [train.classes[c] for c, n in counts.items() if n == 1]
  if not single or np.median(list(counts.values())) < _MANY:
    return []
  return [f"split '{train.split}' has a single record of {counted(len(single), 'class')} "
          f"({media_files.listed(single)}), and many of others: look whether the name is spelt as theirs"]


def _unlearnt(train: Dataset, other: Dataset) -> list[str]:
  learnt, asked = _counts(train), _counts(other)
  strange = [name for name in asked if name not in learnt]
  if not strange:
    return []
  shown = ", ".join(f"'{name}' ({asked[name]})" for name in strange[:3]) + (", ..." if len(strange) > 3 else "")
  return [f"split '{other.split}' has {counted(len(strange), 'class')} of which '{train.split}' has no record: {shown}"]


def _by_class(d: Dataset, name: str) -> Counter[int]:
  """Records by class id of a target."""
  counts: Counter[int] = Counter()
  for label, n in Counter(d.values(name)).items():
    for c in label if isinstance(label, tuple) else (label,):
      if c >= 0:
        counts[c] += n
  return counts


def _counts(d: Dataset) -> Counter[str]:
  """Records by class, of all targets."""
  counts: Counter[str] = Counter()
  for name, target in d.targets.items():
    for c, n in _by_class(d, name).items():
      counts[target.classes[c] if name == LABEL else f"{name} {target.classes[c]}"] += n
  for i, boxes in d.truths().items():
    if d.records[i].label == -1:  # else they are those of the label
      counts.update(d.classes[c] for c in boxes.classes())
  return counts


def _shared(train: Dataset, other: Dataset) -> list[str]:
  asked = other.media()
  spans: dict[Hashable, list[Record]] = {media: [] for media in asked}
  for i, media in enumerate(train.media()):
    if media in spans:
      spans[media].append(train.records[i])
  both = [other.records[i].id for i, media in enumerate(asked)
          if any(_overlap(other.records[i], r) for r in spans[media])]
  if not both:
    return []
  return [f"{len(both)} of the {counted(len(other.records), 'record')} of split '{other.split}' are in '{train.split}',"
          f" too ({media_files.listed(both)}): its figures promise too much"]


def _overlap(a: Record, b: Record) -> bool:
  return a.span is None or b.span is None or (a.span[0] < b.span[1] and b.span[0] < a.span[1])
