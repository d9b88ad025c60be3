"""Annotations of boxes in the xml of PASCAL VOC, as ImageNet VID and DET have them, one file per image.

  <annotation><size><width/><height/></size>
    <object><trackid/><name/><bndbox><xmax/><xmin/><ymax/><ymin/></bndbox></object> ...</annotation>

What else the readers of both share is here, too.
"""

from collections.abc import Mapping
import glob
import os
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from vidx import errors
from vidx.data.datasets import common
from vidx.data.records import Media
from vidx.terminal import counted

CLASSES = {
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear", "n02834778": "bicycle", "n01503061": "bird",
    "n02924116": "bus", "n02958343": "car", "n02402425": "cattle", "n02084071": "dog", "n02121808": "domestic_cat",
    "n02503517": "elephant", "n02118333": "fox", "n02510455": "giant_panda", "n02342885": "hamster",
    "n02374451": "horse", "n02129165": "lion", "n01674464": "lizard", "n02484322": "monkey", "n03790512": "motorcycle",
    "n02324045": "rabbit", "n02509815": "red_panda", "n02411705": "sheep", "n01726692": "snake",
    "n02355227": "squirrel", "n02129604": "tiger", "n04468005": "train", "n01662784": "turtle",
    "n04530566": "watercraft", "n02062744": "whale", "n02391049": "zebra"}


class Objects(NamedTuple):
  """What one file says.

  Attributes:
    size: (height, width) of the image, in pixels.
    box: (N, 4) x0, y0, x1, y1 in parts of the image.
    label: (N,) class ids.
    track: (N,) ids of objects over time, -1 where there are none.
  """

  size: tuple[int, int]
  box: np.ndarray
  label: np.ndarray
  track: np.ndarray


def classes_of(root: str) -> tuple[dict[str, int], tuple[str, ...]]:
  """Class ids by synset, and names by id, of root/classes.txt or the 30 classes."""
  path = os.path.join(root, "classes.txt")
  if not os.path.isfile(path):
    return {code: i for i, code in enumerate(CLASSES)}, tuple(CLASSES.values())
  ids, names = {}, []
  for line, text in enumerate(common.read_lines(path), 1):
    if not text.strip():
      continue
    code, _, name = text.strip().partition(" ")
    if not name or code in ids:
      raise errors.DataError(f"{path}, line {line}: '{text}' is not a synset and the name of its class, each once.")
    ids[code] = len(names)
    names.append(name.strip())
  return ids, tuple(names)


def read(path: str, ids: Mapping[str, int], others: bool = False) -> Objects:
  """The objects of an xml file.

  Args:
    path: of the file.
    ids: class ids by name.
    others: whether objects of classes that are not in the list are passed over.

  Raises:
    DataError: no such file, no xml, no size, a class that the list lacks, or a box that is none.
  """
  try:
    root = ElementTree.parse(path).getroot()
  except FileNotFoundError:
    raise errors.DataError(f"annotation file {path} does not exist.") from None
  except (OSError, ElementTree.ParseError) as e:
    raise errors.DataError(f"{path} is no xml ({' '.join(str(e).split())}).") from None
  width, height = (_number(root, f"size/{side}", path) for side in ("width", "height"))
  if min(width, height) < 1:
    raise errors.DataError(f"{path}: the size of its image is {width:g} x {height:g}.")
  boxes, labels, tracks = [], [], []
  for thing in root.iter("object"):
    name = (thing.findtext("name") or "").strip()
    if name not in ids:
      if others:
        continue
      raise errors.DataError(f"{path}: class '{name}' is not one of the {counted(len(ids), 'class')}"
                             f"{errors.hint(name, ids)}.")
    boxes.append([_number(thing, f"bndbox/{corner}", path) for corner in ("xmin", "ymin", "xmax", "ymax")])
    labels.append(ids[name])
    tracks.append(int(_number(thing, "trackid", path)) if thing.find("trackid") is not None else -1)
  box = np.array(boxes, np.float64).reshape(-1, 4) / [width, height, width, height]
  bad = np.flatnonzero((box[:, 2:] < box[:, :2]).any(1))
  if len(bad):
    raise errors.DataError(f"{path}: the box {[f'{x:g}' for x in boxes[bad[0]]]} has swapped corners; xmin and ymin are"
                           " the smaller ones.")
  return Objects((int(height), int(width)), box, np.array(labels, np.int32), np.array(tracks, np.int32))


def class_lists(folder: str) -> list[str]:
  """The lists of training, train_1.txt and so on, in their order."""
  return sorted(glob.glob(os.path.join(folder, "train_*.txt")), key=lambda p: (len(p), p))


def beside(root: str, proposals: str, name: str) -> dict[str, Media]:
  """The companions of a snippet or an image: its store of proposed boxes, where a folder of them is named."""
  path = os.path.join(common.inside(root, proposals), f"{name.split('/')[-1]}.npz")
  return {"proposals": Media(path, "detections")} if proposals else {}


def _number(node: ElementTree.Element, tag: str, path: str) -> float:
  text = node.findtext(tag)
  try:
    value = float(text or "")
  except ValueError:
    value = np.nan
  if not np.isfinite(value):
    raise errors.DataError(f"{path}: {tag.replace('/', ' ')} is {text!r}, not a number.")
  return value
