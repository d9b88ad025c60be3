"""The part of triplets: images of identity, of pose and the target, as the three frames of a clip.

In training identity and target share what is done to colours, since they share the
identity; pose and target share the change of their boxes, since they share the pose.
"""

from collections.abc import Sequence
import math
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib, clips as clips_lib, parts as parts_lib, transforms
from vidx.data.records import Dataset

ORDER = ("identity", "pose", "target")


class Triplets(parts_lib.OneShape):
  """`video`, of three frames, `instances`, the clips of the first two, and `pose_cluster`, that of the second.

  `data.crop` is the side of the images, `data.scales` = (least, most) how large boxes get in training, which
  are also moved by up to as much; `data.colour_jitter` and `data.flip` (of all three) are as for clips.
  """

  keys = ("video", "instances", "pose_cluster")

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    del seed, timed
    if data.frames * data.consecutive != len(ORDER):
      raise errors.ConfigError(f"data.frames={data.frames}: triplets are {len(ORDER)} images; set it to {len(ORDER)}.")
    if clips > 1 or crops > 1:
      raise errors.ConfigError(f"triplets have one view, not {clips}x{crops}.")
    self._dataset, self._data, self._training = dataset, data, training
    self._shape = (len(ORDER), data.crop, data.crop, 3)

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return math.prod(self._shape)

  def make(self, index: int, cut: Any, rng: np.random.Generator | None, room: int, chosen: Sequence[int] = ()
           ) -> tuple[batch_lib.Batch, None]:
    """The images of a record, or of it and the two that were chosen, changed by chance where there is an `rng`.

    Raises:
      DecodeError: one of them cannot be decoded.
    """
    del cut, room
    records = self._dataset.records
    record = records[index]
    media, clips = [record.media, *(record.companions[k] for k in ORDER[1:])], record.extra["clips"]
    cluster = record.extra["clusters"][1]
    if len(chosen):
      media = [records[i].media for i in (index, *chosen)]
      clips = tuple(records[i].extra["clips"][0] for i in (index, chosen[0]))
      cluster = records[chosen[0]].extra["clusters"][0]
    images = [image(m, self._data.crop) for m in media]
    images = np.stack(images if rng is None else changed(images, self._data, rng))
    return self._arrays(images, clips, cluster), None

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """Black images of nobody."""
    del index, room
    return self._arrays(np.zeros(self._shape, np.uint8), (-1, -1), -1)

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: Any) -> dict[str, tuple[Any, Any]]:
    """Three images of a crop; their dtype on the device is the compute dtype."""
    del num_classes
    return {"video": (clips_lib.clip_shape(data), None), "instances": ((2,), np.int32), "pose_cluster": ((), np.int32)}

  def _arrays(self, images, clips, cluster):
    return {"video": images if self._training else images[None], "instances": np.asarray(clips, np.int32),
            "pose_cluster": np.int32(cluster)}


def image(media: Any, side: int) -> np.ndarray:
  """uint8 (side, side, 3) of all of an image file.

  Raises:
    DecodeError: it cannot be decoded.
  """
  with clips_lib.open_media(media) as opened:
    found = opened.frames([0])[0]
  return squared(found, side)


def squared(found: np.ndarray, side: int) -> np.ndarray:
  """uint8 (side, side, 3) of all of an image (H, W, 3)."""
  return resized(found, side, side)


def resized(found: np.ndarray, height: int, width: int) -> np.ndarray:
  """uint8 (height, width, 3) of an image (H, W, 3): means where no side grows, else interpolated."""
  import cv2
  grows = found.shape[0] < height or found.shape[1] < width
  return cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)


def changed(images: list[np.ndarray], data: ConfigDict, rng: np.random.Generator) -> list[np.ndarray]:
  """Identity, pose and target of training: boxes moved and scaled, colours jittered, all three flipped or none."""
  identity, pose, target = images
  box, other = _box(data, rng), _box(data, rng)
  identity, pose, target = moved(identity, other), moved(pose, box), moved(target, box)
  if data.colour_jitter:
    identity, target = transforms.colour_jitter(np.stack([identity, target]), data.colour_jitter, rng)
    pose = transforms.colour_jitter(pose[None], data.colour_jitter, rng)[0]
  if data.flip and rng.random() < 0.5:
    identity, pose, target = (x[:, ::-1] for x in (identity, pose, target))
  return [np.ascontiguousarray(x) for x in (identity, pose, target)]


def _box(data, rng):
  """Scale and shift (x, y) of a box, in parts of its side."""
  least, most = min(data.scales), max(data.scales)
  reach = max(abs(least - 1), abs(most - 1))
  return rng.uniform(least, most), rng.uniform(-reach, reach), rng.uniform(-reach, reach)


def moved(image: np.ndarray, box: tuple[float, float, float]) -> np.ndarray:
  """What a box of another place and size shows of an image (side, side, 3); its edge goes on beyond it."""
  import cv2
  scale, x, y = box
  side = len(image)
  middle = (side - 1) / 2
  matrix = np.array([[scale, 0, middle * (1 - scale) + x * side], [0, scale, middle * (1 - scale) + y * side]])
  return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                        borderMode=cv2.BORDER_REPLICATE)
