"""What readers of tracked and segmented objects share: records whose objects are known in every frame, for proposals.

A record has the frames of a sequence as its media and in `extra`

  objects     names
  masks       of each object the image files of its masks, one a frame
  boxes       or of each object its boxes (N, 4) as x0, y0, x1, y1 in pixels, nan where it is not annotated
  first       number of the first frame, from 0 on, that is annotated
  attributes  of the sequence
"""

from collections.abc import Sequence
import os

import numpy as np

from vidx import errors
from vidx.data import media_files
from vidx.data.records import Record

_HALF = 128  # level from which a pixel is of an object


def stems(folder: str) -> list[str]:
  """The names of the images in a folder without their endings."""
  return [os.path.splitext(n)[0] for n in media_files.images(folder)]


def by_stem(folder: str, frames: Sequence[str], whose: str) -> tuple[str, ...]:
  """The masks of frames by their names without endings, which may differ.

  Raises:
    DataError: a frame has no mask.
  """
  known = {os.path.splitext(n)[0]: os.path.join(folder, n) for n in media_files.images(folder)}
  lost = [s for s in frames if s not in known]
  if lost:
    raise errors.DataError(f"{folder}: no mask of frame {lost[0]} of '{whose}' ({len(lost)} are missing).")
  return tuple(known[s] for s in frames)


def masks(record: Record, number: int, frames: Sequence[int]) -> np.ndarray:
  """bool (N, H, W), the masks of an object in some frames.

  Raises:
    DataError: a file is no image, or masks differ in size.
  """
  import cv2
  found = []
  for t in frames:
    path = record.extra["masks"][number][t]
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None:
      raise errors.DataError(f"{path} cannot be read as an image.")
    image = image if image.ndim == 2 else image[..., :3].max(-1)
    level = _HALF if image.max() > 1 else 1  # images of one bit may be stored as 0 and 1
    found.append(image >= level)
    if found[-1].shape != found[0].shape:
      raise errors.DataError(f"{path}: masks of '{record.id}' differ in size.")
  return np.stack(found)


def boxes_of(masks: np.ndarray) -> np.ndarray:
  """fp64 (N, 4), tight boxes of masks (N, H, W); nan where one is empty."""
  out = np.full((len(masks), 4), np.nan)
  for t, mask in enumerate(masks):
    y, x = np.nonzero(mask)
    if len(y):
      out[t] = x.min(), y.min(), x.max() + 1, y.max() + 1
  return out
