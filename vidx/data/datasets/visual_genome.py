"""Visual Genome: phrases with a box each, on the images that COCO has for validation; training is that of COCO.

  root/image_data.json             [{image_id, width, height, coco_id}, ...]
  root/region_descriptions.json    [{id, regions: [{region_id, image_id, phrase, x, y, width, height}]}, ...]
  root/annotations, root/train2014, root/val2014, as vidx/data/datasets/coco.py has them; which images
                                   are of validation is told by instances_val2014.json or captions_val2014.json

Boxes are clipped to their image; phrases lose signs and capital letters, and all are kept
that have a word and an area. Sizes of an image in both sets may differ.
Krishna et al.: "Visual Genome", 2017.
"""

import os
from typing import Any

from vidx import errors
from vidx.data import trees
from vidx.data.datasets import coco, common
from vidx.data.records import Dataset, Record
from vidx.terminal import counted

_LISTS = ("instances_{}.json", "captions_{}.json")
MARKS = ("region_descriptions.json", "annotations")


def read(root: str, split: str, year: str = "2014") -> Dataset:
  """Reads one split; that of training has captions, the others phrases with boxes.

  Args:
    root: folder of both sets.
    split: "train", "val" or "test".
    year: of the names of COCO's files.

  Raises:
    DataError: a file or entry that cannot be used.
  """
  year = str(year)
  if split == "train":
    return coco.read(root, split, year)
  lists = [name.format(f"{split}{year}") for name in _LISTS]
  listed = next((n for n in lists if os.path.isfile(os.path.join(root, "annotations", n))), lists[0])
  at, found = coco.content(root, listed, ("images",))
  known = coco.images(at, found["images"])
  sizes = _sizes(os.path.join(root, "image_data.json"))
  path = os.path.join(root, "region_descriptions.json")
  files, records, missing, dropped = coco.Files(root, f"{split}{year}"), [], [], 0
  for i, entry in enumerate(_list(path), 1):
    try:
      regions = list(entry["regions"])
      image = int(entry["id"] if "id" in entry else entry["image_id"])
    except (KeyError, TypeError, ValueError) as e:
      raise errors.DataError(f"{path}, entry {i}: no id and regions ({e}).") from None
    if image not in sizes:
      raise errors.DataError(f"{path}, entry {i}: image_data.json has no image {image}.")
    width, height, number = sizes[image]
    if number not in known:
      continue
    boxes = [b for b in (_region(path, i, region, width, height) for region in regions) if b is not None]
    dropped += len(regions) - len(boxes)
    media = files.find(known[number]["file"])
    if media is None:
      missing.append(known[number]["file"])
    elif boxes:
      records.append(Record(str(image), media, extra={
          "size": known[number]["size"], "phrases": tuple(text for text, _ in boxes),
          "boxes": tuple(box for _, box in boxes)}))
  notes = (f"left out {counted(dropped, 'region')} of '{split}' without a word or an area",) if dropped else ()
  return Dataset("visual_genome", split, tuple(records), missing=tuple(missing), notes=notes)


def _list(path: str) -> list[Any]:
  found = common.read_json(path)
  if not isinstance(found, list):
    raise errors.DataError(f"{path}: no list as Visual Genome has it.")
  return found


def _sizes(path: str) -> dict[int, tuple[int, int, int]]:
  """(width, height, its number in COCO or -1) by image."""
  found = {}
  for i, row in enumerate(_list(path), 1):
    try:
      number = row.get("coco_id")
      found[int(row["image_id"])] = (int(row["width"]), int(row["height"]), -1 if number is None else int(number))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
      raise errors.DataError(f"{path}, entry {i}: no image_id, width and height ({e}).") from None
  return found


def _region(path: str, entry: int, region: Any, width: int, height: int
            ) -> tuple[str, tuple[float, float, float, float]] | None:
  """Phrase and box, in parts of the image, or None where nothing is left of one of them."""
  try:
    text = trees.plain(str(region["phrase"]))
    x, y, w, h = (float(region[k]) for k in ("x", "y", "width", "height"))
  except (KeyError, TypeError, ValueError) as e:
    raise errors.DataError(f"{path}, entry {entry}: a region without phrase, x, y, width and height ({e}).") from None
  x0, x1 = (min(max(v / width, 0.0), 1.0) for v in (x, x + w))
  y0, y1 = (min(max(v / height, 0.0), 1.0) for v in (y, y + h))
  return (text, (x0, y0, x1, y1)) if text and x1 > x0 and y1 > y0 else None
