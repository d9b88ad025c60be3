"""ImageNet DET: images with boxes, of which those with the classes of ImageNet VID are taken, as videos of one frame.

  root/Data/DET/{train,val}/**/<image>.JPEG, root/Annotations/DET/{train,val}/**/<image>.xml
  root/ImageSets/DET/train_*.txt, val.txt        `<image> 1`; without lists every annotation is read

Objects of the other 170 classes are no objects here. Where an image shows several classes, it
counts as one of the first. The classes are those of ImageNet VID, or of root/classes.txt as for it.
"""

import os

import numpy as np

from vidx import errors
from vidx.data import media_files
from vidx.data.datasets import common, voc_xml, xml_cache
from vidx.data.frame_boxes import TRUTH, frame_boxes
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

MARKS = ("Data/DET",)


def read(root: str, split: str, most: int = 2000, classes_from: str = "", proposals: str = "") -> Dataset:
  """Reads one split.

  Args:
    root: folder with Data, Annotations and ImageSets.
    split: "train", "val" or "test"; the last one has no boxes.
    most: images of a class in training, the first ones; 0: all.
    classes_from: root whose classes.txt names the classes; "": this one.
    proposals: folder of a store of proposed boxes per image, <image>.npz; "": none.

  Raises:
    AbsentError: there is no such split.
    DataError: a file that cannot be used.
  """
  ids, names = voc_xml.classes_of(classes_from or root)
  records, missing, dropped = [], [], 0
  images = _images(root, split)
  folder = os.path.join(root, "Annotations", "DET", split)
  if split == "test" and not os.path.isdir(folder):
    stills = [(f"test/{name}", _file(os.path.join(root, "Data", "DET", split, name)), name) for name in images]
    records = [Record(i, Media(file, "still"), companions=voc_xml.beside(root, proposals, name))
               for i, file, name in stills if file]
    return Dataset("imagenet_det", split, tuple(records), names, missing=tuple(i for i, file, _ in stills if not file))
  annotated = xml_cache.read_all(folder, [f"{name}.xml" for name in images], ids, others=True)
  counts = np.zeros(len(names), int)
  for name, found in zip(images, annotated):
    if not len(found.label) or (split == "train" and most and counts[found.label[0]] >= most):
      continue
    counts[found.label[0]] += 1
    file = _file(os.path.join(root, "Data", "DET", split, name))
    if file is None:
      missing.append(f"{split}/{name}")
      continue
    boxes = frame_boxes(found.box, found.label, np.zeros(len(found.label)), source=f"{name}.xml")
    dropped += boxes.dropped
    records.append(Record(f"{split}/{name}", Media(file, "still"), extra={"size": found.size, TRUTH: boxes},
                          companions=voc_xml.beside(root, proposals, name)))
  notes = (f"DET {split}: left out {counted(dropped, 'box')} without area, or outside of the image",) if dropped else ()
  return Dataset("imagenet_det", split, tuple(records), names, missing=tuple(missing), notes=notes)


def _images(root: str, split: str) -> list[str]:
  """Names of the images of a split below its folder, without ending, each once."""
  listed = os.path.join(root, "ImageSets", "DET")
  paths = voc_xml.class_lists(listed) if split == "train" else []
  paths = paths or [p for p in [os.path.join(listed, f"{split}.txt")] if os.path.isfile(p)]
  words = [line.split() for path in paths for line in common.read_lines(path) if line.strip()]
  found = list(dict.fromkeys(w[0] for w in words if split != "train" or len(w) < 2 or w[1] in ("1", "0")))
  if found:
    return found
  folder = os.path.join(root, "Annotations", "DET", split)
  if not os.path.isdir(folder):
    raise errors.AbsentError(f"split '{split}' of {root}: there is neither {listed} nor {folder}.")
  at = [os.path.join(here, f) for here, files in media_files.walk(folder) for f in files if f.endswith(".xml")]
  return [os.path.relpath(os.path.splitext(p)[0], folder).replace(os.sep, "/") for p in at]


def _file(stem: str) -> str | None:
  """The image of a name without ending."""
  return next((stem + e for e in (".JPEG", ".jpg", ".jpeg", ".png") if os.path.isfile(stem + e)), None)
