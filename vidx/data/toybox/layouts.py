"""Where videos go and how annotations are written: in formats that vidx/data/datasets reads."""

from collections.abc import Sequence
import dataclasses
import functools
import json
import os

import numpy as np

from vidx import errors, writing
from vidx.data import coco_masks, vocabulary
from vidx.data.toybox import acts, hands, kitchen, sentences, tracks, turntable
from vidx.data.toybox import labels as label_sets


@dataclasses.dataclass(frozen=True)
class Entry:
  """One video of a set: its split, its position there, its label, its seconds, its frames, their height and width."""

  split: str
  index: int
  label: label_sets.Label
  seconds: float
  frames: int
  size: tuple[int, int] = (0, 0)


def path_of(layout: str, classes: Sequence[str], entry: Entry) -> str:
  """Path of a video below the root."""
  if layout == "ucf101":
    name = camel(classes[entry.label])
    return f"UCF-101/{name}/v_{name}_g{1 + label_sets.SPLITS.index(entry.split):02d}_c{entry.index + 1:04d}.mp4"
  if layout == "hvu":
    return f"videos/{video_id(entry)}_000000_{int(entry.seconds):06d}.mp4"
  if layout in LONG or layout in ("msrvtt", "ava"):
    return f"videos/{video_id(entry)}.mp4"
  if layout == "coco":
    return f"{entry.split}2014/COCO_{entry.split}2014_{entry.index + 1:012d}.png"
  if layout == "imagenet_vid":
    return f"Data/VID/{entry.split}/{snippet(entry)}"
  if layout == "epic100":
    return f"{kitchen_id(entry)[:3]}/videos/{kitchen_id(entry)}.MP4"
  if layout == "clips":
    return f"clips/{entry.split}/{video_id(entry)}"
  return f"videos/{entry.split}/{entry.index:05d}.mp4"


def camel(name: str) -> str:
  return "".join(word.capitalize() for word in name.split())


def video_id(entry: Entry) -> str:
  return f"toy{entry.split}{entry.index:05d}"


def kitchen_id(entry: Entry) -> str:
  """P01_00003: of training and half of validation one person, of the other half one that training does not know."""
  person = "P18" if entry.split == "val" and entry.index % 2 else "P01"
  return f"{person}_{1 + label_sets.SPLITS.index(entry.split)}{entry.index:05d}"


def snippet(entry: Entry) -> str:
  """Name of a video in ImageNet VID, below the folder of its split."""
  name = f"ILSVRC2015_{entry.split}_{entry.index:08d}"
  return f"ILSVRC2015_VID_train_0000/{name}" if entry.split == "train" else name


def write(layout: str, root: str, classes: Sequence[str], entries: Sequence[Entry]) -> None:
  """Writes the annotation files of a layout below `root`."""
  WRITERS[layout](root, classes, entries)


def _rows(root: str, name: str, header: Sequence[str], rows) -> None:
  writing.write_table(os.path.join(root, name), header, rows)


def _lines(root: str, name: str, lines) -> None:
  writing.write_lines(os.path.join(root, name), lines)


def _folder(root, classes, entries):
  """clips.csv `path,label,split`, and classes.txt."""
  _rows(root, "clips.csv", ("path", "label", "split"),
        ((path_of("folder", classes, e), classes[e.label], e.split) for e in entries))
  _lines(root, "classes.txt", classes)


def _csv(root, classes, entries):
  """train.csv, val.csv, test.csv `path,label`, and classes.txt."""
  for split in label_sets.SPLITS:
    of_split = [e for e in entries if e.split == split]
    if of_split:
      _rows(root, f"{split}.csv", ("path", "label"),
            ((path_of("csv", classes, e), classes[e.label]) for e in of_split))
  _lines(root, "classes.txt", classes)


def _ucf101(root, classes, entries):
  """ucfTrainTestlist with one split: train against val and test."""
  order = sorted(range(len(classes)), key=lambda i: camel(classes[i]))
  number = {c: n + 1 for n, c in enumerate(order)}
  inside = lambda e: path_of("ucf101", classes, e).removeprefix("UCF-101/")
  _lines(root, "ucfTrainTestlist/classInd.txt", (f"{number[c]} {camel(classes[c])}" for c in order))
  _lines(root, "ucfTrainTestlist/trainlist01.txt",
         (f"{inside(e)} {number[e.label]}" for e in entries if e.split == "train"))
  _lines(root, "ucfTrainTestlist/testlist01.txt", (inside(e) for e in entries if e.split != "train"))


def _hvu(root, classes, entries):
  """The csv files of HVU: tags, and clips of each split."""
  _rows(root, "HVU_Tags_Categories_V1.0.csv", ("Tag", "Category"),
        ((tag, kind) for kind, tags in label_sets.TAGS.items() for tag in tags))
  for split in label_sets.SPLITS:
    of_split = [e for e in entries if e.split == split]
    if of_split:
      _rows(root, f"HVU_{split.capitalize()}_V1.0.csv", ("Tags", "youtube_id", "time_start", "time_end"),
            (("|".join(classes[c] for c in e.label), video_id(e), 0.0, float(int(e.seconds))) for e in of_split))


LONG = {"nn_viterbi": "split1.{}", "ms_tcn": "splits/{}.split1.bundle"}  # layouts of runs: names of their lists


def _long(layout, root, classes, entries):
  """Frame labels, transcripts, mapping.txt, and the lists of train and test; validation is part of the test."""
  _lines(root, "mapping.txt", (f"{i} {name}" for i, name in enumerate(classes)))
  for e in entries:
    _lines(root, f"groundTruth/{video_id(e)}.txt", (classes[c] for c in kitchen.frame_labels(e.label)))
    _lines(root, f"transcripts/{video_id(e)}.txt", (classes[c] for c, _ in e.label))
  ending = ".txt" if layout == "ms_tcn" else ""
  for part in ("train", "test"):
    _lines(root, LONG[layout].format(part),
           (video_id(e) + ending for e in entries if (e.split == "train") == (part == "train")))


def features_of(layout: str, entry: Entry) -> str:
  """Path of a video's features below the root, '' where the layout has none."""
  if layout == "epic100":
    return f"detections/{kitchen_id(entry)}.npz"
  if layout == "coco":
    return f"masks/{video_id(entry)}.npz"
  if layout == "imagenet_vid":
    return f"Annotations/VID/{entry.split}/{snippet(entry)}"
  if layout == "msrvtt":
    return f"experts/{video_id(entry)}.npz"
  return f"features/{video_id(entry)}.npy" if layout in LONG else ""


def _epic100(root, classes, entries):
  """The csv files of EPIC-KITCHENS-100: a segment in the middle of every video."""
  del classes
  keys = {"verb": tuple(hands.VERBS), "noun": tuple(hands.NOUNS)}
  for name, words in keys.items():
    _rows(root, f"EPIC_100_{name}_classes.csv", ("id", "key", "instances", "category"),
          ((i, word, [word], "toy") for i, word in enumerate(words)))
  _rows(root, "EPIC_100_video_info.csv", ("video_id", "duration", "fps", "resolution"),
        ((kitchen_id(e), e.seconds, e.frames / e.seconds, "") for e in entries))
  _rows(root, "EPIC_100_unseen_participant_ids_validation.csv", ("participant_id",), [("P18",)])
  _rows(root, "EPIC_100_tail_nouns.csv", ("noun",), [(len(keys["noun"]) - 1,)])
  header = ("narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp", "narration", "verb",
            "verb_class", "noun", "noun_class")
  time = lambda s: f"{int(s // 3600):02d}:{int(s // 60) % 60:02d}:{s % 60:05.2f}"
  for split, word in (("train", "train"), ("val", "validation"), ("test", "test_timestamps")):
    kept = header[:5] if split == "test" else header
    rows = []
    for e in entries:
      if e.split == split:
        video, (verb, noun) = kitchen_id(e), e.label
        words = keys["verb"][verb], keys["noun"][noun]
        rows.append((f"{video}_0", video[:3], video, time(0.1 * e.seconds), time(0.9 * e.seconds), " ".join(words),
                     words[0], verb, words[1], noun)[:len(kept)])
    if rows:
      _rows(root, f"EPIC_100_{word}.csv", kept, rows)


def _msrvtt(root, classes, entries):
  """MSRVTT_data.json, the lists of its full protocol, and the vocabulary."""
  del classes
  videos = [{"video_id": video_id(e), "category": 0, "url": "", "start time": 0.0, "end time": e.seconds,
             "split": {"val": "validate"}.get(e.split, e.split)} for e in entries]
  said = [(video_id(e), text) for e in entries for text in sentences.captions(e.label)]
  writing.write_json(os.path.join(root, "MSRVTT_data.json"), {"videos": videos, "sentences": [
      {"sen_id": i, "video_id": video, "caption": text} for i, (video, text) in enumerate(said)]})
  for split in label_sets.SPLITS:
    _lines(root, f"{split}_list_full.txt", (video_id(e) for e in entries if e.split == split))
  _lines(root, "vocab.txt", sentences.vocabulary())


def _ava(root, classes, entries):
  """The csv files of AVA, with the boxes of a detector: key frames are the whole seconds inside of a video."""
  at = lambda name: os.path.join("annotations", name)
  item = lambda c: ("item {", f'  name: "{classes[c]}"', f"  id: {c + 1}", "}")
  listed = lambda chosen: [line for c in chosen for line in item(c)]
  _lines(root, at("ava_action_list_v2.2.pbtxt"), listed(range(len(classes))))
  _lines(root, at("ava_action_list_v2.2_for_activitynet_2019.pbtxt"), listed(acts.SCORED))
  for split in label_sets.SPLITS:
    rows, found = [], []
    for e in (e for e in entries if e.split == split):
      rng = np.random.default_rng((len(split), e.index))
      for second in range(1, int(e.seconds)) or [0]:
        boxes = acts.boxes(e.label, e.size, min(round(second * e.frames / e.seconds), e.frames - 1))
        key = video_id(e), f"{second:04d}"
        rows += [(*key, *np.round(box, 3), c + 1, i) for i, (box, own) in enumerate(zip(boxes, e.label))
                 for c in own.actions]
        near = np.clip(boxes + rng.uniform(-0.01, 0.01, boxes.shape), 0, 1)
        found += [(*key, *np.round(box, 3), "", round(score, 3)) for box, score in zip(
            [*near, (0.0, 0.0, 0.2, 0.2)], [*rng.uniform(0.85, 1, len(near)), 0.3])]
    as_text = lambda lines: [",".join(map(str, line)) for line in lines]
    if found:
      _lines(root, at(f"ava_{split}_predicted_boxes.csv"), as_text(found))
    if rows and split != "test":
      _lines(root, at(f"ava_{split}_v2.2.csv"), as_text(rows))


def _imagenet_vid(root, classes, entries):
  """ImageSets/VID and classes.txt; boxes are written with the frames."""
  _lines(root, "classes.txt", (f"{tracks.code(i)} {name}" for i, name in enumerate(classes)))
  for c in range(len(classes)):
    of_class = [e for e in entries if e.split == "train" and c in e.label]
    _lines(root, f"ImageSets/VID/train_{c + 1}.txt", (f"{snippet(e)} 1" for e in of_class))
  for split in label_sets.SPLITS[1:]:
    names = [f"{snippet(e)}/{t:06d}" for e in entries if e.split == split for t in range(e.frames)]
    if names:
      _lines(root, f"ImageSets/VID/{split}.txt", (f"{name} {i}" for i, name in enumerate(names, 1)))


def _clips(root, classes, entries):
  """turntable.csv: identity and pose of every image."""
  rows = []
  for e in entries:
    hue, stripes, length, azimuths = e.label
    rows += [(f"{path_of('clips', classes, e)}/{t:03d}.png", round(a, 3), round(hue, 6), stripes, round(length, 6))
             for t, a in enumerate(azimuths)]
  _rows(root, "turntable.csv", turntable.COLUMNS, rows)


def _coco(root, classes, entries):
  """Captions, their trees and masks as COCO has them, phrases with boxes as Visual Genome has them, and vocab.txt."""
  said: list[str] = []
  for split in label_sets.SPLITS:
    of_split = [e for e in entries if e.split == split]
    if not of_split:
      continue
    images, captions, brackets, things, regions = [], [], [], [], []
    for e in of_split:
      number, (_, told) = e.index + 1, e.label
      with np.load(os.path.join(root, features_of("coco", e))) as f:
        masks = f["masks"]
      height, width = masks.shape[1:]
      images.append({"id": number, "file_name": os.path.basename(path_of("coco", classes, e)), "height": height,
                     "width": width})
      for text, tree in sentences.stills(e.label):
        said.append(text)
        captions.append({"id": len(captions) + 1, "image_id": number, "caption": text})
        brackets.append(json.dumps({"image_id": number, "caption_id": len(captions), "caption": text, "tree": tree}))
      of_image = []
      for mask, (colour, shape, _) in zip(masks, told):
        y, x = np.nonzero(mask)
        if not len(x):
          continue
        box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
        things.append({"id": len(things) + 1, "image_id": number, "category_id": COCO_IDS[classes.index(shape)],
                       "bbox": box, "area": len(x), "iscrowd": 0,
                       "segmentation": {"counts": coco_masks.to_counts(mask), "size": [height, width]}})
        for phrase in (f"a {colour} {shape}", shape):
          of_image.append({"region_id": len(of_image), "image_id": number, "phrase": phrase,
                           **dict(zip(("x", "y", "width", "height"), box))})
      regions.append({"id": number, "regions": of_image})
    at = lambda name, split=split: os.path.join(root, "annotations", f"{name}_{split}2014.json")
    writing.write_json(at("captions"), {"images": images, "annotations": captions})
    _lines(root, f"annotations/trees_{split}2014.jsonl", brackets)
    categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in zip(COCO_IDS, classes)]
    writing.write_json(at("instances"), {"images": images, "annotations": things, "categories": categories})
    if split == "val":
      writing.write_json(os.path.join(root, "region_descriptions.json"), regions)
      writing.write_json(os.path.join(root, "image_data.json"), [
          {"image_id": i["id"], "width": i["width"], "height": i["height"], "coco_id": i["id"], "url": ""}
          for i in images])
  _lines(root, "vocab.txt", vocabulary.words(said))


COCO_IDS = (1, 2, 4, 7)  # with gaps, as COCO's have them
WRITERS = {"epic100": _epic100, "msrvtt": _msrvtt, "folder": _folder, "csv": _csv, "ucf101": _ucf101, "hvu": _hvu,
           "imagenet_vid": _imagenet_vid, "ava": _ava, "clips": _clips, "coco": _coco,
           **{name: functools.partial(_long, name) for name in LONG}}


def check(layout: str, labels: str) -> None:
  """Raises ConfigError for a layout that does not exist or cannot hold the labels."""
  if layout not in WRITERS:
    raise errors.ConfigError(f"Toybox has no layout '{layout}'; it has {', '.join(WRITERS)}"
                             f"{errors.hint(layout, WRITERS)}.")
  known = label_sets.get(labels).layouts
  if layout not in known:
    raise errors.ConfigError(f"Toybox: labels={labels} cannot be written in the layout '{layout}'; use"
                             f" layout={' or layout='.join(known)}.")
