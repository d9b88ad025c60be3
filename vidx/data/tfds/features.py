"""What a built data set keeps of each record, as TFDS features, and the way back.

  id          text
  media       list of bytes: one video file as it was, or the images of a frame folder in order
  kind        "video" or "frames"
  label       class id, -1 where unknown; a list of class ids in a multi-label set
  label_NAME  the same of every other target, such as label_verb
  start, end  seconds of the span inside the media; NaN: all of it
  fps         frames per second of a frame folder; of a video where the annotation says it, else 0
  extra       JSON of the format's further fields
"""

from collections.abc import Mapping, Sequence
import json
import math
from typing import Any

import numpy as np

from vidx import errors
from vidx.data.records import Dataset, Record


def features(dataset: Dataset) -> Any:
  """The `tfds.features.FeaturesDict` of a data set."""
  import tensorflow_datasets as tfds
  f = tfds.features

  def label(names: Sequence[str], several: bool) -> Any:
    plain = len(set(names)) == len(names) and all(n and n == n.strip() and "\n" not in n for n in names)
    one = f.ClassLabel(names=list(names)) if plain else f.ClassLabel(num_classes=len(names))
    return f.Sequence(one) if several else one

  return f.FeaturesDict({
      "id": f.Text(),
      "media": f.Sequence(f.Text()),
      "kind": f.Text(),
      "label": label(dataset.classes, dataset.multilabel),
      **{_name(target): label(row.classes, row.several) for target, row in dataset.named.items()},
      "start": f.Scalar(np.float64),
      "end": f.Scalar(np.float64),
      "fps": f.Scalar(np.float64),
      "extra": f.Text(),
  })


def example(record: Record, kind: str, media: Sequence[bytes], fps: float) -> dict[str, Any]:
  """A record and its encoded media as the features above.

  Raises:
    DataError: what the record has besides is nothing that JSON can say.
  """
  start, end = record.span or (math.nan, math.nan)
  return {
      "id": record.id.encode("utf-8", "backslashreplace").decode(),  # a name of a file may be no UTF-8
      "media": list(media),
      "kind": kind,
      "label": _value(record.label),
      **{_name(target): _value(value) for target, value in record.labels.items()},
      "start": start,
      "end": end,
      "fps": fps,
      "extra": as_json(dict(sorted(record.extra.items())), f"record '{record.id}'"),
  }


def as_json(fields: Mapping[str, Any], whose: str) -> str:
  """JSON of fields.

  Raises:
    DataError: one is nothing that JSON can say.
  """
  try:
    return json.dumps(fields, default=_plain)
  except (TypeError, ValueError) as e:
    raise errors.DataError(f"{whose} has what built files do not hold ({str(e).splitlines()[0]}): train on the data set"
                           " as it is.") from e


def _plain(value: Any) -> Any:
  """A number of NumPy as one of Python."""
  if isinstance(value, np.generic):
    return value.item()
  raise TypeError(f"a {type(value).__name__}")


def _name(target: str) -> str:
  return f"label_{target}"


def _value(label: int | tuple[int, ...]) -> int | list[int]:
  return list(label) if isinstance(label, tuple) else label


def media_of(serialized: bytes) -> tuple[str, list[bytes]]:
  """Kind and encoded media of a serialized example; one of an image set, which has no kind, is a video of a frame."""
  fields = _fields(serialized)
  if "kind" not in fields:
    return "frames", [fields["image"].bytes_list.value[0]]
  return fields["kind"].bytes_list.value[0].decode(), list(fields["media"].bytes_list.value)


def class_of(serialized: bytes, label: str) -> tuple[int, str]:
  """Class id, by the name of its feature, and file name, '' where there is none, of a serialized example of an image
  set."""
  fields = _fields(serialized)
  name = fields["file_name"].bytes_list.value[0].decode(errors="replace") if "file_name" in fields else ""
  return fields[label].int64_list.value[0], name


def _fields(serialized: bytes) -> Any:
  from tensorflow_datasets.proto import tf_example_pb2
  return tf_example_pb2.Example.FromString(serialized).features.feature
