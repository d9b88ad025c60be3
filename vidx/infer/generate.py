"""Images that a trained run makes: identities of one folder in the poses of another, and a donor put into a photo.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5.
"""

from collections.abc import Sequence
import os
from typing import Any

import cv2
import jax
import numpy as np

from vidx import errors, writing
from vidx.data import clips, media_files
from vidx.data.datasets import common
from vidx.data.parts.triplets import image, resized, squared
from vidx.data.records import Media
from vidx.infer import batched, load, triplets
from vidx.nn import augment
from vidx.tasks import generation

BOX_COLUMNS = ("photo", "left", "top", "right", "bottom")
_FEATHER = 3.0  # pixels, deviation of the Gaussian at the edge of what is put into a photo


class Generator:
  """(identities, poses) uint8 (N, H, W, 3) -> uint8 (N, side, side, 3) by a run's averaged weights.

  Attributes:
    side: of its images, in pixels.
  """

  def __init__(self, loaded: load.Loaded, batch_size: int = 8):
    """
    Args:
      loaded: a run of the task 'generation'.
      batch_size: images at once.

    Raises:
      ConfigError: a run that makes no images, or has no code for some of the clusters.
      DataError: it takes poses by their clusters, which are not below its `data.root`.
    """
    config = loaded.config
    if config.task.name != "generation":
      raise errors.ConfigError(f"a run of the task '{config.task.name}' makes no images: train one of the task"
                               " 'generation'.")
    self.side, self._batch, self._variables = config.data.crop, batch_size, loaded.variables
    by_cluster = "pose_cluster" in loaded.model.inputs
    self._clusters = triplets.clusters_of(config.data.root, loaded.model.poses) if by_cluster else None

    @jax.jit
    def forward(variables, pair, clusters=None):
      video = augment.on_device({"video": pair}, config.data.mean, config.data.std, loaded.dtype)["video"]
      return generation.as_bytes(loaded.model.apply(variables, video, pose_cluster=clusters, train=False)["image"])

    self._forward = forward

  def __call__(self, identities: np.ndarray, poses: np.ndarray) -> np.ndarray:
    given = [np.stack([identities, poses], 1), *([self._clusters(poses)] if self._clusters else [])]
    return batched.mapped(lambda *some: self._forward(self._variables, *some), self._batch, *given)


def images_of(path: str) -> list[str]:
  """The image files of a folder, sorted, or the one file.

  Raises:
    DataError: there are none.
  """
  if os.path.isdir(path):
    found = sorted(os.path.join(path, n) for n in os.listdir(path) if media_files.is_image(n))
  else:
    found = [path] if os.path.isfile(path) and media_files.is_image(path) else []
  if not found:
    raise errors.DataError(f"{path}: no images there.")
  return found


def generate(workdir: str, identities: str, poses: str, out: str, step: int | str | None = None, boxes: str = "",
             overrides: Sequence[str] = ()) -> dict[str, Any]:
  """Every identity in every pose: OUT/IDENTITY__POSE.png, and OUT/matrix.png with all of them.

  Where files have the same name but for its ending, later ones are called NAME-2 and so on.

  With boxes also every identity in the place of every boxed object: OUT/IDENTITY__in__PHOTO_ROW.png, and
  OUT/compositions.png, the photos in the first row and what became of them below.

  Args:
    workdir: of a run.
    identities: folder of images, or one.
    poses: the same.
    out: folder to write.
    step: which checkpoint, as in `load_checkpoint`.
    boxes: csv file `photo,left,top,right,bottom`, photos relative to it and boxes in pixels; '': none. The poses may
      be left out then.
    overrides: `section.key=value` texts over the run's config, such as where its data lie now.

  Returns:
    {'identities', 'poses', 'images', 'matrix', 'compositions'}, of which there may be fewer.

  Raises:
    ConfigError: no identities, neither poses nor boxes, or nowhere to write.
    DataError: images or boxes that are not there or cannot be used.
  """
  if not out:
    raise errors.ConfigError("no folder to write: add --out=FOLDER.")
  if not identities or not (poses or boxes):
    asked = ("poses or boxes: add --poses=FOLDER or --boxes=FILE" if identities else
             "identities: add --identities=FOLDER")
    raise errors.ConfigError(f"no {asked}.")
  writing.check_place(out, folder=True)
  files = images_of(identities), images_of(poses) if poses or not boxes else []
  places = read_boxes(boxes) if boxes else []
  generator = Generator(load.load_checkpoint(workdir, step, overrides))
  os.makedirs(out, exist_ok=True)
  done = {"identities": len(files[0])}
  if files[1]:
    done |= _in_poses(generator, files, out)
  return done | (_in_photos(generator, files[0], places, out) if places else {})


def _in_poses(generator, files, out):
  who, how = (np.stack([image(Media(f, "image"), generator.side) for f in some]) for some in files)
  made = generator(np.repeat(who, len(how), 0), np.tile(how, (len(who), 1, 1, 1)))
  first, second = (list(writing.file_names(some)) for some in files)
  pairs = writing.file_names([f"{one}__{other}.png" for one in first for other in second])
  for name, picture in zip(pairs, made):
    write_image(os.path.join(out, f"{name}.png"), picture)
  path = os.path.join(out, "matrix.png")
  write_image(path, matrix(who, how, made.reshape(len(who), len(how), *made.shape[1:])))
  return {"poses": len(how), "images": len(made), "matrix": path}


def read_boxes(path: str) -> list[tuple[str, tuple[int, ...]]]:
  """[(path of a photo, (left, top, right, bottom))] of a csv file.

  Raises:
    DataError: it holds no box, or one that does not lie in its photo, or a photo that cannot be decoded.
  """
  folder, found = os.path.dirname(path), []
  for line, row in common.read_table(path, BOX_COLUMNS):
    box = tuple(common.as_int(row[key], key, path, line) for key in BOX_COLUMNS[1:])
    photo = os.path.join(folder, row["photo"])
    try:
      check_box(box, whole_image(photo))
    except errors.DataError as e:
      raise errors.DataError(f"{path}, line {line}, {row['photo']}: {e}") from None
    found.append((photo, box))
  if not found:
    raise errors.DataError(f"{path} holds no boxes below its header: write {','.join(BOX_COLUMNS)} of each.")
  return found


def check_box(box: Sequence[int], photo: np.ndarray) -> None:
  """Raises DataError where a box is empty or does not lie in a photo (H, W, 3)."""
  left, top, right, bottom = box
  if not (0 <= left < right <= photo.shape[1] and 0 <= top < bottom <= photo.shape[0]):
    raise errors.DataError(f"the box {tuple(box)} does not lie in a photo of {photo.shape[1]}x{photo.shape[0]}.")


def _in_photos(generator, identities, places, out):
  columns, names = [], list(writing.file_names(identities))
  for row, (path, box) in enumerate(places):
    photo, (place,) = whole_image(path), writing.file_names([path])
    column = [photo]
    for one, name in zip(identities, names):
      column.append(compose(generator, photo, box, whole_image(one)))
      write_image(os.path.join(out, f"{name}__in__{place}_{row}.png"), column[-1])
    side = 2 * generator.side  # of the sheet alone: photos keep their proportions in it, between white
    columns.append(np.concatenate([_framed(x, side) for x in column]))
  path = os.path.join(out, "compositions.png")
  write_image(path, np.concatenate(columns, 1))
  return {"compositions": path}


def _framed(picture, side):
  share = side / max(picture.shape[:2])
  height, width = (max(1, round(n * share)) for n in picture.shape[:2])
  sheet = np.full((side, side, 3), 255, np.uint8)
  top, left = (side - height) // 2, (side - width) // 2
  sheet[top:top + height, left:left + width] = resized(picture, height, width)
  return sheet


def whole_image(path: str) -> np.ndarray:
  """uint8 (H, W, 3) of an image file; raises DecodeError."""
  with clips.open_media(Media(path, "image")) as opened:
    return opened.frames([0])[0]


def matrix(identities: np.ndarray, poses: np.ndarray, made: np.ndarray) -> np.ndarray:
  """Poses in the first row, identities in the first column, and what was made of both where they meet.

  Args:
    identities: uint8 (N, side, side, 3).
    poses: uint8 (M, side, side, 3).
    made: uint8 (N, M, side, side, 3).

  Returns:
    uint8 ((N + 1) side, (M + 1) side, 3), white in the corner.
  """
  corner = np.full_like(identities[0], 255)
  rows = [np.concatenate([corner, *poses], 1)]
  rows += [np.concatenate([one, *row], 1) for one, row in zip(identities, made)]
  return np.concatenate(rows)


def compose(generator: Any, photo: np.ndarray, box: Sequence[int], donor: np.ndarray, mask: np.ndarray | None = None
            ) -> np.ndarray:
  """A photo whose object in a box is replaced by the donor's in the same pose.

  Args:
    generator: see Generator.
    photo: uint8 (H, W, 3).
    box: left, top, right, bottom of the object, in pixels.
    donor: uint8 (h, w, 3), a crop of the other object.
    mask: (bottom - top, right - left) in 0..1, where the object is; None: an ellipse with a soft edge.

  Returns:
    uint8 (H, W, 3).

  Raises:
    DataError: a box that is empty or beyond the photo, or a mask of another size.
  """
  left, top, right, bottom = box = tuple(int(v) for v in box)
  check_box(box, photo)
  width, height = right - left, bottom - top
  pose = photo[top:bottom, left:right]
  made = generator(*(squared(x, generator.side)[None] for x in (donor, pose)))[0]
  made = resized(made, height, width)
  if mask is None:
    y, x = np.ogrid[:height, :width]
    mask = (((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2 <= 1).astype(np.float32)
    mask = cv2.GaussianBlur(mask, (0, 0), _FEATHER)
  if mask.shape != (height, width):
    raise errors.DataError(f"the mask is of {mask.shape[::-1]} pixels, the box of {(width, height)}.")
  out, share = photo.copy(), np.clip(mask, 0, 1)[..., None]
  out[top:bottom, left:right] = np.round(share * made + (1 - share) * pose)
  return out


def write_image(path: str, image: np.ndarray) -> None:
  """uint8 (H, W, 3) RGB as a png file.

  Raises:
    DataError: it cannot be written.
  """
  if not cv2.imwrite(path, np.ascontiguousarray(image[..., ::-1])):
    raise errors.DataError(f"cannot write {path}.")
