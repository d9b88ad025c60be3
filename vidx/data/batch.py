"""The batch: a flat dict of arrays whose keys are a closed vocabulary, the table FIELDS and nothing else.

B is the number of examples of this process, T the frames of a clip or sequence, V
the views (temporal clips x spatial crops, clip-major), C the classes. A key with an
axis of views is (B, T, ...) in training and (B, V, T, ...) in evaluation. An example is
the same without the leading B; it is put together by the parts of vidx/data/parts.
Videos without any annotation, as in prediction, have no targets.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from vidx.data.records import LABEL, Dataset
from vidx.terminal import counted

Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Field:
  """One key of a batch.

  Attributes:
    about: what it holds, its axes after B included.
    dtype: of its array; None: int32 class ids (B,), or float32 (B, C) of zeros and ones for several classes.
    fill: the value of padding.
    axes: how many axes come after B (and V); -1: any number.
    views: whether evaluation has an axis of views after B.
    target: whether it is what is to be predicted, which a model must not need.
    kept: whether it comes along with predictions to the metrics.
    host: whether it never enters jit.
    last: size of the last axis where that is fixed.
  """

  about: str
  dtype: Any = np.float32
  fill: float = 0
  axes: int = 0
  views: bool = False
  target: bool = False
  kept: bool = False
  host: bool = False
  last: int = 0


ENCODED = "encoded/"

# A name that ends in "/" stands for a family, such as 'label/verb' and 'label/noun'.
FIELDS: dict[str, Field] = {
    "video": Field("(T, H, W, 3) RGB", np.uint8, axes=4, views=True, last=3),
    "flow": Field("(T, H, W, 2) in place of video, where `data.flow` names images of optical flow; to the right and"
                  " down, 0 at 127.5", np.uint8, axes=4, views=True, last=2),
    "features": Field("(T, D) in place of both, of long videos, zeros after the end; T is a bucket that holds the"
                      " longest of the batch", axes=2),
    "audio": Field("(T, F, 1) log-mel spectrogram of the time that the clip shows, normalised; zeros without sound",
                   axes=3, views=True, last=1),
    "audio_neg": Field("the same of another time of the video", axes=3, views=True, last=1),
    "audio_valid": Field("() 1 with sound, 0 without, -1 where it is damaged", views=True, kept=True),
    "detections/features": Field("(N, D) of detected objects around the middle of the clip, those of a frame best"
                                 " first", axes=2, views=True),
    "detections/boxes": Field("(N, 4) in pixels of the clip, zeros where there is none", axes=2, views=True, last=4),
    "detections/mask": Field("(N,) 1 for a detection, 0 where a frame has fewer", axes=1, views=True),
    "boxes": Field("(T, G, 4) objects of every frame, in pixels of the clip, zeros after the last; of the key frame"
                   " alone (G, 4)", axes=-1, views=True, target=True, last=4),
    "box_label": Field("(T, G) classes of boxes, -1 after the last; (T, G, C) of zeros and ones where a box has"
                       " several", None, -1, -1, views=True, target=True),
    "box_track": Field("(T, G) which boxes are of one object, -1 where unknown", np.int32, -1, -1, views=True,
                       target=True),
    "box_mask": Field("(T, G) 1 for a box", axes=-1, views=True, target=True),
    "rois": Field("(T, R, 4) proposed boxes, the best first, zeros after the last; of the key frame alone (R, 4)",
                  axes=-1, views=True, last=4),
    "roi_mask": Field("(T, R) 1 for a proposed box", axes=-1, views=True),
    "extent": Field("(2,) height and width of the image in the upper left corner of padded frames", axes=1, views=True,
                    last=2),
    "encoded/": Field("in place of video: what networks that are not trained make of the clip, kept on disk",
                      axes=-1, views=True),
    "cut/": Field("where a clip is from, for those who keep what is made of it", np.float64, axes=-1),
    "expert/": Field("(N, D) tokens of an expert, such as expert/rgb, zeros after the last", axes=2),
    "expert_mask/": Field("(N,) 1 for a token; an expert that saw nothing has none", axes=1),
    "text": Field("(L,) numbers of word pieces; in evaluation (Q, L), those of all captions of a video", np.int32,
                  axes=-1),
    "text_mask": Field("the same, 1 for a word piece, 0 for padding; a text without any is none", axes=-1),
    "tags": Field("the same, the part of speech of each word, see vidx/data/pos_tags.py; -1 for padding", np.int32, -1,
                  axes=-1),
    "text_count": Field("() captions that there are", np.int32, kept=True),
    "references": Field("(Q, L) numbers of word pieces of captions beside that of `text`, in training", np.int32,
                        axes=2),
    "references_mask": Field("(Q, L) the same, 1 for a word piece", axes=2),
    "phrases": Field("(N, L) numbers of words of each phrase of an image, zeros behind the last", np.int32, axes=2),
    "phrase_mask": Field("the same, 1 for a word", axes=2),
    "phrase_codes": Field("(N, D) in place of both: codes of phrases, kept on disk", axes=2),
    "phrase_parent": Field("(N,) place of the phrase that holds each in its tree, -1 of a root", np.int32, -1, 1),
    "phrase_name": Field("(N,) a number for each phrase, equal for equal ones; -1 for padding", np.int32, -1, 1),
    "phrase_count": Field("() phrases that there are", np.int32, kept=True),
    "instances": Field("(2,) clips of the images of identity and of pose, -1 where unknown", np.int32, -1, 1, last=2),
    "pose_cluster": Field("() cluster of the image of pose, of those of training; -1 where unknown", np.int32, -1),
    "length": Field("() frames of `features` that are live", np.int32, kept=True),
    "view_weight": Field("() 1 for a view, 0 where a video has fewer views than others", axes=0, views=True),
    "label": Field("(), -1 where unknown; (C,) of zeros and ones for multi-label sets, -1 where unknown", None, -1, -1,
                   target=True, kept=True),
    "label/": Field("the same of another target, such as label/verb", None, -1, -1, target=True, kept=True),
    "transcript": Field("(M,) class ids in order, -1 after the end; M is the same for the whole data set, a multiple"
                        " of 8", np.int32, -1, 1, target=True),
    "frame_label": Field("(T,), -1 where unknown and after the end", np.int32, -1, 1, target=True),
    "full": Field("() 1 where training may use `frame_label`, which is -1 where it may not", target=True),
    "weight": Field("() 1 for an example that counts, 0 for padding and for a video that could not be decoded",
                    kept=True),
    "labelled": Field("() made on the device, see `Task.labelled`"),
    "progress": Field("() made on the device: share of the training that is done, 1 in evaluation"),
    "index": Field("() position of the record in its data set, -1 for padding", np.int32, -1, kept=True),
    "id": Field("list of B texts", None, host=True),
}


def field(key: str) -> Field | None:
  """The row of a key, None where the vocabulary does not have it."""
  return FIELDS.get(key) or FIELDS.get(key.partition("/")[0] + "/" if "/" in key else "")


def label_key(target: str) -> str:
  """The key of a target's labels."""
  return LABEL if target == LABEL else f"{LABEL}/{target}"


def is_target(key: str) -> bool:
  """Whether a key is what is to be predicted."""
  row = field(key)
  return row is not None and row.target


def has_views(key: str) -> bool:
  """Whether evaluation has an axis of views after B."""
  row = field(key)
  return row is not None and row.views


def is_kept(key: str) -> bool:
  """Whether a key comes along with predictions."""
  row = field(key)
  return row is not None and row.kept


def on_device(key: str) -> bool:
  """Whether a key may enter jit."""
  row = field(key)
  return row is not None and not row.host


def is_clip(key: str) -> bool:
  """Whether a key holds frames as bytes, which are normalised on the device."""
  row = field(key)
  return row is not None and row.dtype is np.uint8 and row.axes == 4


def clip_key(shape: Sequence[int]) -> str:
  """What clips of a shape (..., C) are called."""
  return next(key for key in FIELDS if is_clip(key) and FIELDS[key].last == shape[-1])


def clip_of(batch: Iterable[str]) -> str:
  """The key of the frames of a batch, 'video' where it has none."""
  return next((key for key in batch if is_clip(key)), "video")


def wanted(model: Any, task: Any = None) -> tuple[str, ...]:
  """The keys that a model is called with and a task reads besides: what chooses the parts of an example."""
  further = getattr(task, "inputs", ())
  return tuple(dict.fromkeys([*getattr(model, "inputs", ("video",)), *further]))


def inputs(model: Any, batch: Mapping[str, Any]) -> list[Any]:
  """The arrays that a model is called with, None for targets that a batch lacks.

  Where a batch has flow and no video, flow takes its place, or else what was encoded, as one {name: array};
  progress is 1 where a batch does not say it; kept codes of phrases take the place of their words, without a mask.
  """
  names = getattr(model, "inputs", ("video",))
  if "phrase_codes" in batch:
    batch = {**batch, "phrases": batch["phrase_codes"], "phrase_mask": None}
  if "progress" in names and "progress" not in batch:
    batch = {**batch, "progress": np.ones(len(batch["weight"]), np.float32)}
  return [batch.get(name) if is_target(name) else _clip(batch) if name == "video" else batch[name] for name in names]


def _clip(batch: Mapping[str, Any]) -> Any:
  encoded = {key.removeprefix(ENCODED): value for key, value in batch.items() if key.startswith(ENCODED)}
  return encoded or batch[clip_of(batch)]


def label_array(label: int | tuple[int, ...], dataset: Dataset, target: str = LABEL) -> np.ndarray:
  """A record's label: int32 (), or of a target of several classes float32 (C,) of zeros and ones; -1 where it is -1."""
  row = dataset.targets.get(target)
  several = row.several if row else dataset.multilabel
  if not several:
    return np.asarray(label, np.int32)
  if label == -1:
    return np.full(len(row.classes) if row else 0, -1, np.float32)
  hot = np.zeros(len(row.classes) if row else 0, np.float32)
  chosen = label if isinstance(label, tuple) else (label,)
  hot[[c for c in chosen if c >= 0]] = 1
  return hot


def labels(dataset: Dataset, record: int = -1, unknown: int | tuple[int, ...] = -1) -> Batch:
  """The labels of all targets of a record, or (-1) of none, which are `unknown`."""
  found = {}
  for target in dataset.targets or {LABEL: None}:
    value = dataset.records[record].value(target) if record >= 0 else unknown
    found[label_key(target)] = label_array(value, dataset, target)
  return found


def blank(shape: Sequence[int], dataset: Dataset, record: int = -1) -> Batch:
  """An example of weight 0: padding, or a record (named by its position) that has no frames to show.

  Args:
    shape: of the clip of one example.
    dataset: where labels come from.
    record: position in the data set, -1 for padding.
  """
  return {
      clip_key(shape): np.zeros(tuple(shape), np.uint8),
      **labels(dataset, record),
      "weight": np.float32(0),
      "index": np.int32(record),
      "id": dataset.records[record].id if record >= 0 else "",
  }


def stack(examples: Sequence[Mapping[str, Any]]) -> Batch:
  """Examples as one batch; those with fewer views than others get empty ones, of `view_weight` 0."""
  views = [len(e["view_weight"]) for e in examples if "view_weight" in e]
  if views and len(set(views)) > 1:
    examples = [with_views(e, max(views)) for e in examples]
  return {
      key: [e[key] for e in examples] if not on_device(key) else np.stack([e[key] for e in examples])
      for key in examples[0]
  }


def with_views(example: Mapping[str, Any], views: int, axis: int = 0) -> Batch:
  """An example (or, with axis 1, a batch) with empty views appended up to `views`."""

  def padded(value):
    value = np.asarray(value)
    pads = [(0, views - value.shape[axis]) if a == axis else (0, 0) for a in range(value.ndim)]
    return np.pad(value, pads)

  return {k: padded(v) if has_views(k) else v for k, v in example.items()}


def validate(batch: Mapping[str, Any]) -> None:
  """Raises ValueError where a batch breaks the vocabulary of this file."""
  unknown = sorted(key for key in batch if field(key) is None)
  if unknown:
    raise ValueError(f"batch keys {unknown} are not in the vocabulary {sorted(FIELDS)}.")
  if "weight" not in batch:
    raise ValueError("a batch needs 'weight': which of its examples count.")
  size = len(batch["weight"])
  for key, value in batch.items():
    row = field(key)
    if len(value) != size:
      raise ValueError(f"batch '{key}' has {counted(len(value), 'example')}, 'weight' has {size}.")
    if row.host:
      continue
    if row.dtype is not None and value.dtype != row.dtype:
      raise ValueError(f"batch '{key}' is {value.dtype}, expected {np.dtype(row.dtype)}.")
    axes = value.ndim - 1
    if row.axes >= 0 and axes not in ((row.axes, row.axes + 1) if row.views else (row.axes,)) or (
        row.last and value.shape[-1] != row.last):
      raise ValueError(f"batch '{key}' has shape {value.shape}, expected B{', [V]' if row.views else ''} and"
                       f" {row.about}.")
  if "features" in batch:
    frames = batch["features"].shape[1]
    if (batch["length"] > frames).any() or batch.get("frame_label", batch["features"]).shape[1] != frames:
      raise ValueError(f"'length' and 'frame_label' do not fit the {counted(frames, 'frame')} of 'features'.")
