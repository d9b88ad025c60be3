"""The batch: a flat dict of arrays whose keys are a closed vocabulary, documented here and nowhere else.

B is the number of examples of this process, T the frames of a clip or sequence, V
the views (temporal clips x spatial crops, clip-major), C the classes.

  video   uint8 (B, T, H, W, 3) in training, (B, V, T, H, W, 3) in evaluation; RGB
  flow    in place of video, where `data.flow` names images of optical flow: uint8
          (B, [V,] T, H, W, 2); to the right and down, 0 at 127.5
  features     in place of both, of long videos: float32 (B, T, D), zeros after the
          end; T is a bucket that holds the longest of the batch (vidx/data/examples.py)
  length  int32 (B,): frames of `features` that are live
  label   int32 (B,), -1 where unknown; float32 (B, C) of zeros and ones for multi-label sets, -1 where unknown
  transcript   int32 (B, M): class ids in order, -1 after the end; M is the same for the
          whole data set, a multiple of 8
  frame_label  int32 (B, T), -1 where unknown and after the end
  full    float32 (B,): 1 where training may use `frame_label`, which is -1 where it may not
  weight  float32 (B,): 1 for an example that counts, 0 for padding and for a
          video that could not be decoded
  labelled     float32 (B,): made on the device, see `Task.labelled`
  index   int32 (B,): position of the record in its data set, -1 for padding
  id      list of B texts, host only: never enters jit

An example is the same without the leading B. Videos without any annotation, as in
prediction, have no label, transcript, frame_label and full.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidx.data.records import Dataset

Batch = dict[str, Any]

CLIPS = {"video": 3, "flow": 2}  # keys of clips, and their channels
TARGETS = ("label", "transcript", "frame_label", "full")
ARRAYS = {**dict.fromkeys(CLIPS, np.uint8), "features": np.float32, "length": np.int32, "label": None,
          "transcript": np.int32, "frame_label": np.int32, "full": np.float32, "weight": np.float32,
          "labelled": np.float32, "index": np.int32}
HOST_ONLY = ("id",)


def clip_key(shape: Sequence[int]) -> str:
  """What clips of a shape (..., C) are called."""
  return next(key for key, channels in CLIPS.items() if channels == shape[-1])


def inputs(model: Any, batch: Mapping[str, Any]) -> list[Any]:
  """The arrays that a model is called with, None for targets that a batch lacks.

  Where a batch has flow and no video, flow takes its place.
  """
  names = getattr(model, "inputs", ("video",))
  return [batch.get(name) if name in TARGETS else batch["flow" if name == "video" and name not in batch else name]
          for name in names]


def label_array(label: int | tuple[int, ...], dataset: Dataset) -> np.ndarray:
  """A record's label: int32 (), or float32 (C,) of zeros and ones for a multi-label set; -1 where it is -1."""
  if not dataset.multilabel:
    return np.asarray(label, np.int32)
  if label == -1:
    return np.full(len(dataset.classes), -1, np.float32)
  hot = np.zeros(len(dataset.classes), np.float32)
  chosen = label if isinstance(label, tuple) else (label,)
  hot[[c for c in chosen if c >= 0]] = 1
  return hot


def blank(shape: Sequence[int], dataset: Dataset, record: int = -1) -> Batch:
  """An example of weight 0: padding, or a record (named by its position) that has no frames to show.

  Args:
    shape: of the clip of one example.
    dataset: where labels come from.
    record: position in the data set, -1 for padding.
  """
  known = record >= 0
  return {
      clip_key(shape): np.zeros(tuple(shape), np.uint8),
      "label": label_array(dataset.records[record].label if known else -1, dataset),
      "weight": np.float32(0),
      "index": np.int32(record),
      "id": dataset.records[record].id if known else "",
  }


def stack(examples: Sequence[Mapping[str, Any]]) -> Batch:
  """Examples of equal shapes as one batch."""
  return {
      key: [e[key] for e in examples] if key in HOST_ONLY else np.stack([e[key] for e in examples])
      for key in examples[0]
  }


def device_part(batch: Mapping[str, Any]) -> Batch:
  """The arrays of a batch: what may enter jit."""
  return {key: value for key, value in batch.items() if key not in HOST_ONLY}


def pad(batch: Mapping[str, Any], size: int) -> Batch:
  """The batch with examples of weight 0 appended up to `size`."""
  have = len(batch["weight"])
  if have > size:
    raise ValueError(f"a batch of {have} examples does not fit into {size}.")
  fill = {"label": -1, "index": -1, "transcript": -1, "frame_label": -1}
  padded: Batch = {}
  for key, value in batch.items():
    if key in HOST_ONLY:
      padded[key] = list(value) + [""] * (size - have)
    else:
      value = np.asarray(value)
      rest = np.full((size - have, *value.shape[1:]), fill.get(key, 0), value.dtype)
      padded[key] = np.concatenate([value, rest])
  return padded


def validate(batch: Mapping[str, Any]) -> None:
  """Raises ValueError where a batch breaks the vocabulary of this file."""
  unknown = sorted(set(batch) - set(ARRAYS) - set(HOST_ONLY))
  if unknown:
    raise ValueError(f"batch keys {unknown} are not in the vocabulary {sorted({*ARRAYS, *HOST_ONLY})}.")
  if "weight" not in batch:
    raise ValueError("a batch needs 'weight': which of its examples count.")
  size = len(batch["weight"])
  for key, value in batch.items():
    if len(value) != size:
      raise ValueError(f"batch '{key}' has {len(value)} examples, 'weight' has {size}.")
    if ARRAYS.get(key) is not None and value.dtype != ARRAYS[key]:
      raise ValueError(f"batch '{key}' is {value.dtype}, expected {np.dtype(ARRAYS[key])}.")
  for key in CLIPS.keys() & batch.keys():
    if batch[key].ndim not in (5, 6) or batch[key].shape[-1] != CLIPS[key]:
      raise ValueError(f"batch '{key}' has shape {batch[key].shape}, expected (B, [V,] T, H, W, {CLIPS[key]}).")
  if "features" in batch:
    frames = batch["features"].shape[1]
    if (batch["length"] > frames).any() or batch.get("frame_label", batch["features"]).shape[1] != frames:
      raise ValueError(f"'length' and 'frame_label' do not fit the {frames} frames of 'features'.")
