"""HVU, Holistic Video Understanding: tags of six kinds, several per clip.

  root/HVU_Tags_Categories_V1.0.csv      Tag,Category
  root/HVU_{Train,Val}_V1.0.csv          Tags,youtube_id,time_start,time_end; Tags joined by |
  root/**/<id>_<start>_<end>_.mp4        seconds in six digits, fractions cut; the last underscore may lack

Classes are ordered by category, then by tag, both in the order of the alphabet.

Diba et al.: "Large Scale Holistic Video Understanding", 2020.
"""

from collections.abc import Sequence

from vidx import errors
from vidx.data.datasets import common, places
from vidx.data.records import Dataset, Media, Record, Target

CATEGORIES = ("action", "attribute", "concept", "event", "object", "scene")
_FOLDERS = ("", "annotations", "labels")
MARKS = places.marks(_FOLDERS, "*HVU_*.csv")


def read(root: str, split: str, file: str = "", tags: str = "", categories: Sequence[str] = (),
         kinetics: str = "", only_class: bool = False) -> Dataset:
  """Reads one split.

  Args:
    root: folder of annotations and clips.
    split: "train", "val" or "test".
    file: csv file of clips, below the root unless absolute; "{split}" in it
      stands for Train, Val or Test. Empty: HVU_{split}_V1.0.csv.
    tags: csv file of tags, below the root unless absolute. Empty: HVU_Tags_Categories_V1.0.csv.
    categories: only the tags of these; clips stay, also those without such a tag. Empty: all.
    kinetics: csv file of Kinetics, label,youtube_id,time_start,..., below the root unless
      absolute; "{split}" in it stands for the split. Only its clips are read, and their label
      is the target 'class'; the class names are the sorted labels of the file for "train".
    only_class: with `kinetics`, that is the only label.

  Raises:
    ConfigError: a category that does not exist, or `only_class` without `kinetics`.
    DataError: a file or line that cannot be used.
  """
  source = common.inside(root, tags) if tags else places.annotation(root, ("HVU_Tags_Categories_V1.0.csv",), _FOLDERS)
  word = split.capitalize()
  path = (common.inside(root, file.replace("{split}", word)) if file else
          places.annotation(root, (f"HVU_{word}_V1.0.csv", f"MHVU_{word}.csv"), _FOLDERS))
  wanted = (categories,) if isinstance(categories, str) else tuple(categories) or CATEGORIES
  for name in wanted:
    if name not in CATEGORIES:
      raise errors.ConfigError(f"data.dataset.categories: '{name}' is none of {', '.join(CATEGORIES)}"
                               f"{errors.hint(name, CATEGORIES)}.")
  if only_class and not kinetics:
    raise errors.ConfigError("data.dataset.only_class needs data.dataset.kinetics: the file of the classes.")
  known = _tags(source)
  ids = {tag: i for i, (_, tag) in enumerate(known)}
  kept = [i for i, (kind, _) in enumerate(known) if kind in wanted]
  place = {i: column for column, i in enumerate(kept)}
  names, classes = _classes(root, split, kinetics) if kinetics else ((), {})
  videos = places.by_stem(root)
  seen: dict[str, int] = {}
  records, missing = [], []
  for line, row in common.read_table(path, ("Tags", "youtube_id", "time_start", "time_end")):
    start = common.as_number(row["time_start"], "time_start", path, line)
    end = common.as_number(row["time_end"], "time_end", path, line)
    name, found = places.trimmed(videos, row["youtube_id"], start, end)
    common.not_twice(f"{row['youtube_id']} at {start:g} to {end:g}", seen, path, line)
    clip_tags = {common.class_id(t.strip(), ids, path, line, source) for t in row["Tags"].split("|") if t.strip()}
    label = tuple(sorted(place[i] for i in clip_tags if i in place))
    of_class = classes.get((row["youtube_id"], int(start)), -1)
    if kinetics and of_class < 0:
      continue
    if found:
      extra = {"youtube_id": row["youtube_id"], "start": start, "end": end}
      named = {"class": of_class} if kinetics and not only_class else {}
      records.append(Record(name, Media(found), of_class if only_class else label, extra=extra, labels=named))
    else:
      missing.append(name)
  if only_class:
    return Dataset("hvu", split, tuple(records), names, missing=tuple(missing))
  columns = {kind: tuple(place[i] for i in kept if known[i][0] == kind) for kind in CATEGORIES if kind in wanted}
  return Dataset("hvu", split, tuple(records), tuple(known[i][1] for i in kept), multilabel=True,
                 missing=tuple(missing), categories=columns, named={"class": Target(names)} if kinetics else {})


def _classes(root: str, split: str, file: str) -> tuple[tuple[str, ...], dict[tuple[str, int], int]]:
  """Class names, and the class ids of clips by (video, whole seconds of the start)."""
  path, first = (common.inside(root, file.replace("{split}", s)) for s in (split, "train"))
  rows = {p: list(common.read_table(p, ("label", "youtube_id", "time_start"))) for p in dict.fromkeys((first, path))}
  names = tuple(sorted({row["label"] for _, row in rows[first]}))
  ids = {name: i for i, name in enumerate(names)}
  return names, {
      (row["youtube_id"], int(common.as_number(row["time_start"], "time_start", path, line))):
      common.class_id(row["label"], ids, path, line, first) for line, row in rows[path]}


def _tags(path: str) -> list[tuple[str, str]]:
  """(category, tag), sorted."""
  seen: dict[str, int] = {}
  found = []
  for line, row in common.read_table(path, ("Tag", "Category")):
    common.not_twice(row["Tag"], seen, path, line)
    if row["Category"] not in CATEGORIES:
      raise errors.DataError(f"{path}, line {line}: category '{row['Category']}' is none of"
                             f" {', '.join(CATEGORIES)}{errors.hint(row['Category'], CATEGORIES)}.")
    found.append((row["Category"], row["Tag"]))
  return sorted(found)
