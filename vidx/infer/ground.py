"""Where phrases are in new images, and in every frame of new videos: masks and the points of their highest values."""

from collections.abc import Iterator, Sequence
import dataclasses
import os
from typing import Any

import cv2
import jax
import numpy as np

from vidx import errors
from vidx.data import clips, media_files, tokens, trees
from vidx.data.parts import phrases as phrases_part
from vidx.data.records import Media, media_of
from vidx.infer import batched, load
from vidx.metrics import grounding
from vidx.nn import augment
from vidx.terminal import counted

BATCH = 8  # frames at once
ENDINGS = media_files.VIDEOS + tuple(media_files.IMAGES)


@dataclasses.dataclass(frozen=True)
class Grounded:
  """Some frames of one file, in order.

  Attributes:
    path: of the file.
    first: number of the first of them.
    frames: uint8 (T, H, W, 3), as they are.
    masks: float32 (T, N, H, W), of each phrase at the size of the frames, in 0..1.
    fps: of the video, 0 of an image.
  """

  path: str
  first: int
  frames: np.ndarray
  masks: np.ndarray
  fps: float


def applies(loaded: load.Loaded) -> bool:
  """Whether a run grounds phrases."""
  return loaded.config.task.name == "grounding"


def split(text: str) -> list[str]:
  """The phrases of a flag, with semicolons between them.

  Raises:
    DataError: one of them has no word.
  """
  found = [" ".join(part.split()) for part in text.split(";")]
  empty = next((part for part in found if not trees.plain(part)), None)
  if empty is not None:
    raise errors.DataError(f"the phrase '{empty}' is empty: write what to look for, as in --phrase='a red ball'.")
  return found


class Grounder:
  """Grounds the same phrases in many images: `grounder(frames)` gives their masks.

  Attributes:
    phrases: as they were given.
    unknown: how many words of each the vocabulary lacks; they are all one word to the model.
  """

  def __init__(self, loaded: load.Loaded, phrases: Sequence[str]):
    """
    Args:
      loaded: a run of the task grounding.
      phrases: of one word or more.

    Raises:
      ConfigError: a run of another task.
      DataError: a phrase of more words than the model takes, or of which it knows none.
    """
    if not applies(loaded):
      raise errors.ConfigError(f"task.name '{loaded.config.task.name}' does not ground phrases: leave --phrase out.")
    self.phrases, self._loaded = list(phrases), loaded
    data = loaded.config.data
    self._size = clips.eval_size(data)
    vocabulary, most = tokens.open_tokenizer(data).vocabulary, phrases_part.words_of(data)
    plain = [trees.plain(p) for p in phrases]
    for said, text in zip(phrases, plain):
      if len(text.split()) > most:
        raise errors.DataError(f"the phrase '{said}' has {counted(len(text.split()), 'word')}, and the model takes"
                               f" {most}: shorten it.")
    ids, mask = (np.stack(x) for x in zip(*(phrases_part.numbered(text, data) for text in plain)))
    strange = (ids == vocabulary["[UNK]"]) & (mask > 0)
    self.unknown = strange.sum(1).tolist()
    for said, row, words in zip(phrases, strange, mask.sum(1) - 1):
      if row.sum() >= words:
        raise errors.DataError(f"none of the words of '{said}' is among the {len(vocabulary)} that the model knows.")
    names = np.array([phrases_part.name_of(text) for text in plain], np.int32)

    @jax.jit
    def forward(variables, frames):
      video = augment.on_device({"video": frames[:, None]}, data.mean, data.std, loaded.dtype)["video"]
      each = [np.repeat(x[None], len(frames), 0) for x in (ids, mask, names)]
      return loaded.model.apply(variables, video, *each, train=False)["masks"]

    self._forward = forward

  def __call__(self, frames: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, 3) -> float32 (T, N, H, W), the masks at the size of the frames."""
    height, width = self._size
    shrinks = height * width < frames.shape[1] * frames.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = np.stack([cv2.resize(f, (width, height), interpolation=how) for f in frames])
    found = batched.mapped(lambda some: self._forward(self._loaded.variables, some), BATCH, small)
    return grounding.upsample(found, *frames.shape[1:3])

  def ground(self, path: str) -> Iterator[Grounded]:
    """All frames of a file, some at a time.

    Raises:
      DecodeError: it cannot be decoded.
    """
    image = media_files.is_image(path)
    with clips.open_media(Media(path, "still") if image else media_of(path)) as video:
      for first in range(0, video.num_frames, BATCH):
        frames = video.frames(np.arange(first, min(first + BATCH, video.num_frames)))
        yield Grounded(path, first, frames, self(frames), 0.0 if image else video.fps)


def described(grounded: Grounded, phrases: Sequence[str]) -> list[dict[str, Any]]:
  """Per frame {'frame', 'phrases': [{'phrase', 'point': [x, y] in pixels, 'highest', 'mean'}, ...]}."""
  found = []
  for i, masks in enumerate(grounded.masks):
    rows = [{"phrase": phrase, "point": list(grounding.point(mask)), "highest": round(float(mask.max()), 4),
             "mean": round(float(mask.mean()), 4)} for phrase, mask in zip(phrases, masks)]
    found.append({"frame": grounded.first + i, "phrases": rows})
  return found


def find(paths: Any) -> list[str]:
  """Files of images and videos, folders of both and globs; a folder of numbered images is a video.

  Raises:
    DataError: no file at all, or a folder that cannot be listed.
  """
  found = media_files.find(paths, ENDINGS)
  folders = {f for f in found if os.path.isdir(f)}
  return [f for f in found if os.path.dirname(f) not in folders]
