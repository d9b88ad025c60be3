"""Parts: what an example is made of. The first one gives frames or features, companions follow its cut.

A part is a class, made anew in every decoding process:

  Part(dataset, data, training, clips, crops, seed)
    .keys                             batch keys that it gives (vidx/data/batch.py)
    .make(index, cut, rng, room)      (arrays of record `index`, the Cut that others follow or None);
                                      rng is None in evaluation; raises DecodeError
    .blank(index, room)               arrays of an empty place, of a record or (-1) of none
    .shapes(data, num_classes)        classmethod, {key: (shape without B, dtype)} of what a model is initialised with;
                                      float clips are those on the device

A first part also has `size`, `lengths`, `room` and `fits`, see `Features`; the last three are those of `OneShape`
where examples do not differ in length. Where a plan says more of an entry than its record (vidx/data/plans.py), the
first part takes it as the argument `chosen` of `make`, behind the others: a sequence of numbers.
To add a part, write one, add its row here and rows for its keys in FIELDS.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib
from typing import Any

from vidx import errors
from vidx.data import batch as batch_lib


@dataclasses.dataclass(frozen=True)
class Row:
  """Where a part is, and the keys that it gives; one that ends in "/" stands for a family.

  Attributes:
    kinds: of media that this part opens; empty for a companion.
  """

  path: str
  keys: tuple[str, ...]
  kinds: tuple[str, ...] = ()


PARTS: dict[str, Row] = {
    "frames": Row("vidx.data.parts.frames:Frames", ("video", "flow"),
                  ("video", "frames", "still", "array_record")),
    "triplets": Row("vidx.data.parts.triplets:Triplets", ("video", "instances", "pose_cluster"),
                    ("image",)),
    "features": Row("vidx.data.parts.features:Features",
                    ("features", "length", "transcript", "frame_label", "full"), ("features",)),
    "detections": Row("vidx.data.parts.detections:Detections", ("detections/",)),
    "boxes": Row("vidx.data.parts.boxes:Boxes", ("boxes", "box_label", "box_track", "box_mask", "rois", "roi_mask",
                                                 "extent")),
    "audio": Row("vidx.data.parts.audio:Audio", ("audio", "audio_valid")),
    "displaced": Row("vidx.data.parts.audio:Displaced", ("audio_neg",)),
    "cut": Row("vidx.data.parts.encoded:Cuts", ("cut/",)),
    "encoded": Row("vidx.data.parts.encoded:Encoded", ("encoded/",), ("encoded",)),  # in place of frames
    "sound": Row("vidx.data.parts.audio:Sound", ("audio", "audio_valid"), ("sound",)),  # in place of frames
    "experts": Row("vidx.data.parts.experts:Experts", ("expert/", "expert_mask/"), ("experts",)),
    "text": Row("vidx.data.parts.text:Text", ("text", "text_mask", "text_count", "tags", "references",
                                              "references_mask")),
    "sentences": Row("vidx.data.parts.text:Text", ("text", "text_mask", "text_count"), ("text",)),  # of texts alone
    "phrases": Row("vidx.data.parts.phrases:Phrases", ("phrases", "phrase_mask", "phrase_codes", "phrase_parent",
                                                       "phrase_name", "phrase_count")),
}
ALWAYS = ("label", "label/", "weight", "index", "id", "progress")  # of every example, whatever its parts


class OneShape:
  """What a first part has whose examples are all of one shape: no lengths and no buckets."""

  lengths = None

  def room(self, indices: Sequence[int]) -> int:
    """Frames of the bucket for a global batch; there are none."""
    del indices
    return 0

  def fits(self, index: int, room: int) -> bool:
    """Whether a record has its place in a bucket: always."""
    del index, room
    return True


def load(name: str) -> Any:
  """The class of a part."""
  module, _, attribute = PARTS[name].path.partition(":")
  return getattr(importlib.import_module(module), attribute)


def first(kind: str) -> str:
  """The part that opens media of a kind."""
  return next(name for name, row in PARTS.items() if kind in row.kinds)


def giving(key: str) -> str | None:
  """The part that gives a key, None for those that every example has.

  Raises:
    ConfigError: there is none.
  """
  family = key.partition("/")[0] + "/" if "/" in key else key
  if {key, family} & set(ALWAYS):
    return None
  for name, row in PARTS.items():
    if {key, family} & set(row.keys):
      return name
  raise errors.ConfigError(f"the system takes '{key}', which no data set gives.")


def chosen(kind: str, wanted: Sequence[str], kept: bool = False) -> tuple[str, ...]:
  """The parts of an example: the one that opens its media, then the companions that `wanted` keys ask for.

  Of videos whose sound alone is wanted, or of which what networks make is `kept`, no frame is decoded.

  Raises:
    ConfigError: a wanted key that no part gives, or one of media of another kind.
  """
  main = first(kind)
  if main == "frames" and "audio" in wanted and not set(wanted) & set(PARTS[main].keys):
    main = "sound"
  if main == "frames" and kept:
    main, wanted = "encoded", [key for key in wanted if key not in PARTS["frames"].keys]
  names = [main]
  for key in wanted:
    name = giving(key)
    if name is None or name in names or key in PARTS[main].keys:
      continue
    if PARTS[name].kinds:
      raise errors.ConfigError(f"the system takes '{key}', but the records of the data set are {_called(main)}.")
    names.append(name)
  return tuple(names)


def _called(name: str) -> str:
  return {"features": "sequences of features", "sound": "sounds", "experts": "features of experts",
          "encoded": "encoded (data.cache)", "triplets": "images", "sentences": "texts"}.get(name, "videos")


def shapes(wanted: Sequence[str], data: Any, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
  """(shape without B, dtype) of wanted keys, as a model is initialised with them."""
  found: dict[str, tuple[Any, Any]] = {}
  for key in wanted:
    name = giving(key)
    if name is not None and key not in found:
      found.update(load(name).shapes(data, num_classes))
    elif name is None and key not in found:
      found[key] = _own(key, num_classes)
  for key in wanted:
    if key not in found and key in ("rois", "roi_mask"):
      raise errors.ConfigError("the system takes proposed boxes: set data.boxes.rois to how many a frame has at most.")
    if key not in found:
      have = [k for k in found if k.partition("/")[0] == key.partition("/")[0]]
      raise errors.ConfigError(f"the system takes '{key}', but the config's section data has only {', '.join(have)}"
                               f"{errors.hint(key, have)}.")
  return {key: found[key] for key in wanted}


def _own(key: str, num_classes: int | Mapping[str, int]) -> tuple[Any, Any]:
  """What every example has: multi-hot labels, and figures."""
  import numpy as np
  row = batch_lib.field(key)
  if row.dtype is not None:
    return (), row.dtype
  name = key.partition("/")[2] or "label"
  width = num_classes.get(name, 0) if isinstance(num_classes, Mapping) else num_classes
  return (width,), np.float32
