"""Data sets whose media are nowhere, of the kind that a config is for: enough to build its train step by shapes."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from vidx.data import clips, examples
from vidx.data.datasets import hvu
from vidx.data.frame_boxes import TRUTH, frame_boxes
from vidx.data.records import Dataset, Media, Record, Target

CLASSES = 50


def classes(config: ConfigDict) -> int | dict[str, int]:
  """As many of each target that a config's task learns, or of each category that has a head."""
  heads = {name: len(ids) for name, ids in _kinds(config).items()} if config.task.get("heads") else CLASSES
  if config.task.name == "tags_and_class":
    return {**heads, "class": CLASSES}
  if config.task.name != "verb_noun":
    return heads
  return dict.fromkeys([config.task.only] if config.task.get("only") else ["verb", "noun"], CLASSES)


def dataset(config: ConfigDict) -> Dataset:
  """A data set of the kind that a config is for, with 50 classes of each target."""
  size = max(1000, config.train.batch_size)
  task = config.task.name
  if task == "verb_noun":
    return _kitchen(size)
  if task in ("retrieval", "captioning", "tagging"):
    said = dict(captions=("a", "b"))
    return Dataset("none", "train", tuple(Record(str(i), Media(f"{i}.npz", "experts"), extra=said)
                                          for i in range(size)))
  if task in ("grounding", "next_word"):
    media = Media("0.jpg", "still" if task == "grounding" else "text")
    return Dataset("none", "train", tuple(Record(str(i), media, extra=dict(captions=("a b",))) for i in range(size)))
  if task in ("generation", "affinity"):
    media = Media("0", "image")
    return Dataset("none", "train", tuple(Record(str(i), media, companions=dict(pose=media, target=media),
                                                 extra=dict(clips=(0, 1))) for i in range(size)))
  if task == "box_actions":
    hot = np.zeros((1, CLASSES), bool)
    extra = {TRUTH: frame_boxes([(0.0, 0.0, 1.0, 1.0)], hot)}
    records = tuple(Record(str(i), Media(str(i)), (0, 1), (0.0, 0.0), extra) for i in range(size))
    return Dataset("none", "train", records, tuple(map(str, range(CLASSES))), multilabel=True)
  if task == "detection":
    return _boxes(size)
  several = task in ("multilabel", "tags_and_class", "segmentation")
  beside = {"class": Target(tuple(map(str, range(CLASSES))))} if task == "tags_and_class" else {}
  whole = task == "segmentation"
  named = [n for field in ("background", "ignore") for n in np.atleast_1d(config.task.get(field, ()))
           if isinstance(n, str)]
  names = tuple(dict.fromkeys([*named, *map(str, range(CLASSES))]))[:CLASSES]
  extra = dict(frames=64, transcript=(0, 1), runs=((0, 32), (1, 32))) if whole else (
      dict(actions=((0, 0.0, 1.0),)) if config.data.clip_labels else {})
  records = tuple(Record(str(i), Media(str(i), "features" if whole else "video"), (0, 1) if several else 1, extra=extra,
                         labels=dict.fromkeys(beside, 1)) for i in range(size))
  return Dataset("none", "train", records, names, multilabel=several, categories=_kinds(config) if several else {},
                 named=beside)


def batch(config: ConfigDict, data: Dataset, wanted: Any) -> Mapping[str, jax.ShapeDtypeStruct]:
  """Shapes of a training batch.

  Args:
    config: complete config.
    data: the training split.
    wanted: what the model and its task read (`vidx.data.batch.wanted`).
  """
  section = config.data.copy_and_resolve_references()
  section.phrases.codes = ""  # which an earlier stage keeps
  made = examples.make(data, section, training=True, wanted=wanted)
  example = made.blank(0, made.room([0]))
  if made.lengths is None and not examples.of_experts(data) and not examples.of_texts(data):
    example["flow" if config.data.flow else "video"] = np.zeros(clips.clip_shape(config.data), np.uint8)
  size = config.train.batch_size
  return {k: jax.ShapeDtypeStruct((size, *np.shape(v)), np.asarray(v).dtype) for k, v in example.items() if k != "id"}


def _boxes(size: int) -> Dataset:
  """Videos with two boxes in a frame."""
  found = frame_boxes(np.array([[0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.9, 0.9]]), np.array([0, 1]), np.zeros(2))
  records = tuple(Record(str(i), Media(str(i), "frames"), extra=dict(frame_boxes=found, size=(720, 1280)),
                         companions=dict(proposals=Media(f"{i}.npz"))) for i in range(size))
  return Dataset("none", "train", records, tuple(map(str, range(CLASSES))))


def _kitchen(size: int) -> Dataset:
  """Clips of verbs and nouns, with detections."""
  targets = dict.fromkeys(("verb", "noun"), Target(tuple(map(str, range(CLASSES)))))
  records = tuple(Record(str(i), Media(str(i)), labels=dict.fromkeys(targets, 1),
                         companions=dict(detections=Media(f"{i}.npz"))) for i in range(size))
  return Dataset("none", "train", records, named=targets, facts=dict(pairs=np.ones((CLASSES, CLASSES), int)))


def _kinds(config: ConfigDict) -> dict[str, tuple[int, ...]]:
  """Classes by category, even shares of them, where the data has categories."""
  names = (config.data.dataset.get("categories") or hvu.CATEGORIES) if config.data.dataset.name == "hvu" else ()
  return {name: tuple(range(i, CLASSES, len(names))) for i, name in enumerate(names)}
