"""MS COCO: images with captions to learn from, and categories with masks to find.

  root/train2014/..., root/val2014/...            images, or below root/images
  root/annotations/captions_train2014.json        five captions per image, of training
  root/annotations/trees_train2014.jsonl          their trees, {"image_id", "caption_id", "caption", "tree"} a line;
                                                  without this file captions are cut by rules (vidx/data/trees.py)
  root/annotations/instances_val2014.json         masks of 80 categories, of validation

A tree is a text of brackets as any constituency parser writes them. What a record of
validation asks for are the names of the categories in its image.
Lin et al.: "Microsoft COCO: Common Objects in Context", 2014.
"""

from collections.abc import Mapping
import json
import os
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import coco_masks, media_files, trees
from vidx.data.datasets import common
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

MEDIA = ("image", "text")
ASKED = ("present", "all", "captions")
MARKS = ("annotations",)


def read(root: str, split: str, year: str = "2014", media: str = "image", asked: str = "present", prefix: str = ""
         ) -> Dataset:
  """Reads one split.

  Args:
    root: folder of images and annotations.
    split: "train", "val" or "test"; the last has no annotation of masks that is public.
    year: of the files' names.
    media: "image", a record per image; or "text", one per caption, of which no image is needed.
    asked: of an image of validation, the categories that are "present", or "all"; or the phrases of its "captions",
      of which nothing is known.
    prefix: in front of the name of a category, such as "a ".

  Raises:
    ConfigError: other media, or another choice of what is asked.
    DataError: a file or line that cannot be used.
  """
  errors.check_choice("data.dataset.media", media, MEDIA)
  errors.check_choice("data.dataset.asked", asked, ASKED)
  year = str(year)
  if media == "text":
    return _texts(root, split, year)
  if split == "train" or asked == "captions":
    return _captions(root, split, year)
  return _instances(root, split, year, asked == "all", prefix)


def content(root: str, name: str, needed: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
  """Path and content of an annotation file with lists of these names.

  Raises:
    DataError: it lacks one.
  """
  path = os.path.join(root, "annotations", name)
  found = common.read_json(path)
  for key in needed:
    if not isinstance(found, Mapping) or not isinstance(found.get(key), list):
      raise errors.DataError(f"{path}: no list '{key}' as COCO has it.")
  return path, found


def images(path: str, rows: list[Any]) -> dict[int, dict[str, Any]]:
  """The images of an annotation file by their number.

  Raises:
    DataError: an image without number, name or size.
  """
  found = {}
  for i, row in enumerate(rows, 1):
    try:
      found[int(row["id"])] = {"file": str(row["file_name"]), "size": (int(row["height"]), int(row["width"]))}
    except (KeyError, TypeError, ValueError) as e:
      raise errors.DataError(f"{path}, image {i}: no id, file_name, height and width ({e}).") from None
  return found


class Files:
  """Where the images of a split are; their folder is listed once."""

  def __init__(self, root: str, folder: str):
    places = [os.path.join(root, folder), os.path.join(root, "images", folder)]
    self._at = next((p for p in places if os.path.isdir(p)), places[0])
    self._names = frozenset(media_files.names(self._at))

  def find(self, name: str) -> Media | None:
    """An image, None where there is none."""
    return Media(os.path.join(self._at, name), "still") if name in self._names else None


def _said(root: str, split: str, year: str) -> tuple[dict[int, dict[str, Any]], list[tuple[int, int, str, str]], tuple]:
  """Images by number, (image, caption, its text, its tree or '') of all captions with a word, and notes."""
  path, found = content(root, f"captions_{split}{year}.json", ("images", "annotations"))
  known = images(path, found["images"])
  rows, notes = [], []
  at = os.path.join(root, "annotations", f"trees_{split}{year}.jsonl")
  brackets = _trees(at) if os.path.exists(at) else {}
  if not brackets:
    notes.append(f"there is no {os.path.basename(at)} beside the captions of '{split}': phrases are cut by rules")
  for i, row in enumerate(found["annotations"], 1):
    try:
      image, number, text = int(row["image_id"]), int(row["id"]), " ".join(str(row["caption"]).split())
    except (KeyError, TypeError, ValueError) as e:
      raise errors.DataError(f"{path}, caption {i}: no id, image_id and caption ({e}).") from None
    if image not in known:
      raise errors.DataError(f"{path}, caption {i} (id {number}): there is no image {image}.")
    rows.append((image, number, text, brackets.get(number, "")))
  if brackets and (bare := sum(not tree for *_, tree in rows)):
    notes.append(f"{bare} of the {counted(len(rows), 'caption')} of '{split}' have no tree: they are cut by rules")
  kept = [row for row in rows if trees.plain(row[2])]
  if empty := len(rows) - len(kept):
    notes.append(f"left out {counted(empty, 'caption')} of '{split}' without a word")
  return known, kept, tuple(notes)


def _trees(path: str) -> dict[int, str]:
  """Brackets by caption.

  Raises:
    DataError: a line that is no JSON of a caption's tree, or broken brackets.
  """
  found = {}
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    try:
      row = json.loads(text)
      number, tree = int(row["caption_id"]), str(row["tree"])
    except (ValueError, KeyError, TypeError) as e:
      raise errors.DataError(f"{path}, line {line}: no JSON with caption_id and tree ({' '.join(str(e).split())})."
                             ) from None
    try:
      trees.parse(tree)
    except trees.BrokenTree as e:
      raise errors.DataError(f"{path}, line {line}: {e}.") from None
    found[number] = tree
  return found


def _captions(root: str, split: str, year: str) -> Dataset:
  known, rows, notes = _said(root, split, year)
  of_image: dict[int, list[tuple[str, str]]] = {}
  for image, _, text, tree in rows:
    of_image.setdefault(image, []).append((text, tree))
  files, records, missing = Files(root, f"{split}{year}"), [], []
  for image, said in of_image.items():
    media = files.find(known[image]["file"])
    if media is None:
      missing.append(known[image]["file"])
      continue
    captions, brackets = zip(*said)
    extra = {"captions": captions, "trees": brackets if any(brackets) else (), "size": known[image]["size"]}
    records.append(Record(os.path.splitext(known[image]["file"])[0], media, extra=extra))
  return Dataset("coco", split, tuple(records), missing=tuple(missing), notes=notes)


def _texts(root: str, split: str, year: str) -> Dataset:
  _, rows, _ = _said(root, split, year)
  media = Media(os.path.join(root, "annotations", f"captions_{split}{year}.json"), "text")
  return Dataset("coco", split, tuple(Record(str(number), media, extra={"captions": (trees.plain(text),)})
                                      for _, number, text, _ in rows))


def _instances(root: str, split: str, year: str, every: bool, prefix: str) -> Dataset:
  path, found = content(root, f"instances_{split}{year}.json", ("images", "annotations", "categories"))
  known = images(path, found["images"])
  try:
    names = {int(c["id"]): str(c["name"]) for c in found["categories"]}
  except (KeyError, TypeError, ValueError) as e:
    raise errors.DataError(f"{path}: categories without id and name ({e}).") from None
  shown: dict[int, dict[int, list[Any]]] = {image: {} for image in known}
  for i, row in enumerate(found["annotations"], 1):
    try:
      image, category, segments = int(row["image_id"]), int(row["category_id"]), row["segmentation"]
    except (KeyError, TypeError, ValueError) as e:
      raise errors.DataError(f"{path}, annotation {i}: no image_id, category_id and segmentation ({e}).") from None
    if image not in known or category not in names:
      what = f"image {image}" if image not in known else f"category {category}"
      raise errors.DataError(f"{path}, annotation {i}: there is no {what}.")
    try:
      if not isinstance(segments, Mapping):
        segments = [np.asarray(p, np.float32) for p in segments]
      coco_masks.check(segments, *known[image]["size"])
    except (TypeError, ValueError) as e:
      raise errors.DataError(f"{path}, annotation {i}: {e}.") from None
    shown[image].setdefault(category, []).append(segments)
  files, records, missing, places = Files(root, f"{split}{year}"), [], [], {c: i for i, c in enumerate(names)}
  for image, things in shown.items():
    if not things and not every:
      continue
    media = files.find(known[image]["file"])
    if media is None:
      missing.append(known[image]["file"])
      continue
    asked = [c for c in names if every or c in things]
    extra = {"size": known[image]["size"], "phrases": tuple(trees.plain(prefix + names[c]) for c in asked),
             "categories": tuple(places[c] for c in asked),
             "segments": tuple(coco_masks.Things(tuple(things.get(c, ()))) for c in asked)}
    records.append(Record(os.path.splitext(known[image]["file"])[0], media, extra=extra))
  return Dataset("coco", split, tuple(records), missing=tuple(missing))
