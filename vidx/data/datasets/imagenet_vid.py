"""ImageNet VID: snippets of video with the boxes of all objects of 30 classes in every frame.

  root/Data/VID/train/ILSVRC2015_VID_train_0000/<snippet>/000000.JPEG, root/Data/VID/val/<snippet>/000000.JPEG
  root/Annotations/VID/...                      the same with .xml, see vidx/data/datasets/voc_xml.py
  root/ImageSets/VID/train_1.txt ... train_30.txt   `<folder>/<snippet> 1`, of each class
  root/ImageSets/VID/val.txt, test.txt          `<snippet>/000000 1`, each frame and its number
  root/classes.txt                              `n02691156 airplane`, where classes are others than the 30

Without lists all snippets of a split's folder are read; without annotations they have no boxes.
Frames without an object are annotated, too. `occluded` and `generated` change nothing, as in
the evaluation that is usual. What was read is kept, see vidx/data/datasets/xml_cache.py.

Training draws a track of the class that was drawn least, and shows frames inside of it; with
`det` it takes turns between batches of snippets and of images of ImageNet DET.

Russakovsky et al.: "ImageNet Large Scale Visual Recognition Challenge", 2015.
"""

from collections.abc import Mapping, Sequence
import os

import numpy as np

from vidx import errors
from vidx.data import media_files, plans
from vidx.data.datasets import common, imagenet_det, voc_xml, xml_cache
from vidx.data.frame_boxes import TRUTH, FrameBoxes, frame_boxes
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

DRAWS = ("tracks", "snippets")
MARKS = ("Data/VID",)


def read(root: str, split: str, draws: str = "tracks", least_frames: int = 1, proposals: str = "", det: str = "",
         counts: Sequence[int] = (2, 2), det_most: int = 2000) -> Dataset:
  """Reads one split.

  Args:
    root: folder with Data, Annotations and ImageSets.
    split: "train", "val" or "test".
    draws: what an epoch of training shows: as many tracks as there are snippets, classes in turn, or every snippet.
    least_frames: of tracks that are drawn; of a snippet without such a track the longest is.
    proposals: folder of a store of proposed boxes per snippet, <snippet>.npz (see vidx/data/detections.py), below the
      root unless absolute; "": none.
    det: root of ImageNet DET, whose images are mixed into training, below the root unless absolute, "." where both are
      in one folder; "": none.
    counts: examples of a turn from VID and from DET, such as the batch size of each.
    det_most: images of a class of DET.

  Raises:
    AbsentError: there is no such split.
    DataError: a file that cannot be used.
  """
  errors.check_choice("data.dataset.draws", draws, DRAWS)
  ids, names = voc_xml.classes_of(root)
  records, missing, notes = [], [], []
  dropped = bare = 0
  for name in _snippets(root, split):
    folder = os.path.join(root, "Data", "VID", split, name)
    if not os.path.isdir(folder):
      missing.append(f"{split}/{name}")
      continue
    known = _annotated(root, split, name, ids)
    extra = {}
    if known is not None:
      extra = {"size": known[0], TRUTH: known[1]}
      dropped, bare = dropped + known[1].dropped, bare + known[2]
    records.append(Record(f"{split}/{name}", Media(folder, "frames"), extra=extra,
                          companions=voc_xml.beside(root, proposals, name)))
  if dropped:
    notes.append(f"split '{split}': left out {counted(dropped, 'box')} without area, or outside of the frame")
  if bare:
    notes.append(f"split '{split}': {counted(bare, 'frame')} of annotated snippets without an .xml, which is taken for"
                 " a frame without an object")
  plan = None
  if split == "train" and records and all(TRUTH in r.extra for r in records):
    entries, cell = tracks(records, least_frames)
    if draws == "tracks" and len(entries):
      plan = plans.Balanced(entries, cell, len(records))
    if det:
      stills = imagenet_det.read(common.inside(root, det), "train", most=det_most, classes_from=root)
      first = plan or plans.Shuffled(np.arange(len(records)))
      plan = plans.Mixture([first, plans.Shuffled(np.arange(len(stills)))], [len(records), len(stills)], tuple(counts))
      records, missing = [*records, *stills.records], [*missing, *stills.missing]
      notes += stills.notes
  return Dataset("imagenet_vid", split, tuple(records), names, missing=tuple(missing), notes=tuple(notes), plan=plan)


def tracks(records: Sequence[Record], least: int) -> tuple[np.ndarray, np.ndarray]:
  """Tracks to draw: (M, 3) int of record, first frame and end (exclusive), and (M,) their classes."""
  rows, cell = [], []
  for number, record in enumerate(records):
    found: FrameBoxes = record.extra[TRUTH]
    own = []
    for track in np.unique(found.track):
      at = np.flatnonzero(found.track == track)
      frames = found.frame[at]
      if track >= 0:
        own.append((int(frames[0]), int(frames[-1]) + 1, int(found.label[at[0]])))
    long = [t for t in own if t[1] - t[0] >= least] or sorted(own, key=lambda t: t[0] - t[1])[:1]
    rows += [(number, first, end) for first, end, _ in long]
    cell += [label for *_, label in long]
  return np.array(rows, np.int32).reshape(-1, 3), np.array(cell, np.int32)


def _snippets(root: str, split: str) -> list[str]:
  """Names of the snippets of a split, below its folder, each once."""
  listed = os.path.join(root, "ImageSets", "VID")
  if split == "train":
    lines = [name for path in voc_xml.class_lists(listed) for name in _lines(path)]
    lines = lines or _lines(os.path.join(listed, "train.txt"))
  else:
    lines = [name.rpartition("/")[0] for name in _lines(os.path.join(listed, f"{split}.txt"))]
  if lines:
    return list(dict.fromkeys(lines))
  folder = os.path.join(root, "Data", "VID", split)
  if not os.path.isdir(folder):
    raise errors.AbsentError(f"split '{split}' of {root}: there is neither {listed} nor {folder}.")
  return [os.path.relpath(at, folder).replace(os.sep, "/") for at, files in media_files.walk(folder)
          if any(map(media_files.is_image, files))]


def _lines(path: str) -> list[str]:
  return [line.split()[0] for line in common.read_lines(path) if line.strip()] if os.path.isfile(path) else []


def _annotated(root: str, split: str, name: str, ids: Mapping[str, int]
               ) -> tuple[tuple[int, int], FrameBoxes, int] | None:
  """(height, width), boxes of a snippet and how many of its frames have no file; None where it has no annotations."""
  folder = os.path.join(root, "Annotations", "VID", split, name)
  files = [f for f in media_files.names(folder) if f.endswith(".xml")]
  if not files:
    return None
  images = media_files.images(os.path.join(root, "Data", "VID", split, name))
  number = {os.path.splitext(image)[0]: i for i, image in enumerate(images)}
  bare = next((f for f in files if os.path.splitext(f)[0] not in number), None)
  if bare is not None:
    raise errors.DataError(f"{os.path.join(folder, bare)} has no image beside it in Data; copy the snippet again.")
  paths = [os.path.join(folder, f) for f in files]
  found = xml_cache.read_all(folder, files, ids)
  other = next((p for p, o in zip(paths, found) if o.size != found[0].size), None)
  if other is not None:
    raise errors.DataError(f"{other}: its frame is of another size than that of {files[0]}; frames of a video are of"
                           " one size.")
  frame = np.repeat([number[os.path.splitext(f)[0]] for f in files], [len(o.box) for o in found])
  source = [path for path, o in zip(paths, found) for _ in o.box]
  boxes = frame_boxes(np.concatenate([o.box for o in found]), np.concatenate([o.label for o in found]), frame,
                      np.concatenate([o.track for o in found]), source=source)
  return found[0].size, boxes, len(images) - len(files)
