"""Clips: from a record to the uint8 frames that a model sees; only those frames are decoded."""

import functools
import os
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch
from vidx.data.records import Media, Record


def open_media(media: Media, threads: int = 1) -> Any:
  """A reader of the frames of a record, whatever they are kept in (see vidx/data/decode.py).

  Raises:
    DecodeError: the media is missing or broken.
  """
  from vidx.data import decode  # OpenCV and PyAV are loaded where frames are wanted

  if media.kind == "array_record":
    from vidx.data.datasets import array_record
    return array_record.open_media(media, threads)
  return decode.open_video(media, threads=threads)


def clip_shape(data: ConfigDict) -> tuple[int, ...]:
  """(T, H, W, C) of a clip of a `config.data` section."""
  return data.frames * data.consecutive, data.crop, data.crop, batch.CLIPS["flow" if data.flow else "video"]


def eval_clip_shape(data: ConfigDict) -> tuple[int, ...]:
  """(T, H, W, C) of a view in evaluation: a crop, or the whole frame."""
  frames, *_, channels = clip_shape(data)
  return frames, *(data.whole or (data.crop, data.crop)), channels


def frame_range(timestamps: np.ndarray, span: tuple[float, float] | None) -> tuple[int, int]:
  """First frame and end (exclusive) of a span in seconds; at least one frame.

  A frame belongs to the span when it is shown first inside [start, end). A span
  between two frames gives the one on the screen.

  Args:
    timestamps: (N,) seconds, ascending.
    span: start and end, None for all frames.

  Raises:
    DecodeError: the span starts after the last frame has been shown.
  """
  n = len(timestamps)
  if span is None:
    return 0, n
  start, end = span
  step = float(timestamps[-1] - timestamps[0]) / (n - 1) if n > 1 else 0.0
  if start > timestamps[-1] + step and n > 1:
    raise errors.DecodeError(
        f"the span {start:g} to {end:g} s starts after the video's end ({timestamps[-1] + step:.2f} s).")
  first, last = np.searchsorted(timestamps, (start, end), side="left")
  if last <= first:
    first = max(0, int(np.searchsorted(timestamps, start, side="right")) - 1)
    last = first + 1
  return int(first), int(last)


class Clips:
  """Records to clips, as a `config.data` section says.

  Made anew, and cheaply, in every decoding process; keeps no state between clips.

  Attributes:
    train_shape: (T, H, W, C) of a training clip.
    eval_shape: (V, T, H, W, C) of an evaluation example.
  """

  def __init__(self, data: ConfigDict, clips: int = 1, crops: int = 1):
    """
    Args:
      data: the section.
      clips: temporal clips per video in evaluation.
      crops: spatial crops per clip in evaluation: 1, 3 or 5.
    """
    self._data, self._clips, self._crops = data, clips, crops
    self.train_shape = clip_shape(data)
    if data.flow:
      from vidx.data import flow_frames
      flow_frames.check(data.flow)

  @functools.cached_property
  def eval_shape(self) -> tuple[int, ...]:
    temporal = self._eval_sampler(self._data.frames * self._data.consecutive, None).shape[0]
    return (temporal * self._crops, *eval_clip_shape(self._data))

  def train(self, record: Record, rng: np.random.Generator) -> np.ndarray:
    """uint8 (T, H, W, C): one random clip, randomly cropped.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    frames = self._frames(record, self._train_sampler, rng, self._train_hint())[0]
    return self._checked(self._train_transform(frames, rng), self.train_shape)

  def evaluate(self, record: Record) -> np.ndarray:
    """uint8 (V, T, H, W, C), V = clips x crops, clip-major: the same at every call.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    views = [self._eval_transform(clip) for clip in
             self._frames(record, self._eval_sampler, None, min(self._data.whole or (self._data.short_side,)))]
    return self._checked(np.concatenate(views), self.eval_shape)

  def _frames(self, record: Record, sampler, rng, short_side: int | None) -> np.ndarray:
    """uint8 (views, T, H, W, C) of the sampled frames."""
    with self._open(record) as video:
      whole = record.span is None
      first, last = (0, video.num_frames) if whole else frame_range(video.timestamps, record.span)
      if last <= first:
        raise errors.DecodeError(f"{record.media.path}: no frames.")
      indices = sampler(last - first, rng) + first
      frames = video.frames(indices.reshape(-1), short_side=short_side)
    return frames.reshape(*indices.shape, *frames.shape[1:])

  def _open(self, record: Record):
    data = self._data
    if not data.flow:
      return open_media(record.media, data.threads)
    from vidx.data import flow_frames
    return flow_frames.FlowFrames(os.path.join(data.root, data.flow), record.id)

  def _train_hint(self) -> int | None:
    """Short side at which the reader may hand frames over, where that is the first transform anyway."""
    fixed = not self._data.jitter and self._data.crop_mode != "random_resized"
    return self._data.short_side if fixed else None

  def _checked(self, clip: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if clip.shape != shape or clip.dtype != np.uint8:
      raise ValueError(f"a clip of shape {clip.shape} and type {clip.dtype} came out, expected uint8 {shape}.")
    return np.ascontiguousarray(clip)

  def _sampler(self, clips: int):
    from vidx.data import sampling
    d = self._data
    return sampling.sampler(d.sampler, d.frames, consecutive=d.consecutive, stride=d.stride, clips=clips)

  @functools.cached_property
  def _train_sampler(self):
    return self._sampler(1)

  @functools.cached_property
  def _eval_sampler(self):
    return self._sampler(self._clips)

  @functools.cached_property
  def _train_transform(self):
    from vidx.data import transforms
    return transforms.train_transform(self._data)

  @functools.cached_property
  def _eval_transform(self):
    from vidx.data import transforms
    return transforms.eval_transform(self._data, crops=self._crops)
