"""Clips: from a record to the uint8 frames that a model sees; only those frames are decoded."""

from collections.abc import Sequence
import dataclasses
import functools
import os
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch
from vidx.data.geometry import Geometry
from vidx.data.records import Media, Record


_RANGES = {**dict.fromkeys(("frames", "consecutive", "short_side", "crop", "flow_stride"), errors.Range(1)),
           **dict.fromkeys(("test_crop", "threads"), errors.Range(0))}


@dataclasses.dataclass(frozen=True)
class Cut:
  """Which frames of a video an example shows, and where their pixels come from: what other parts follow.

  View v shows the frames `indices[v // len(geometry)]` through `geometry[v % len(geometry)]`.

  Attributes:
    frames: uint8 (T, H, W, C) in training, (V, T, H, W, C) in evaluation.
    indices: int64 (clips, T), frames of the media; one clip in training.
    seconds: float64 (clips, T), when they are shown, since the first frame of the media; empty where nothing asked.
    geometry: of each spatial crop.
    span: start and end in seconds of what of the media was sampled from; of all of it (0, duration).
    origin: when the first frame of the media is shown by the file's own clock, in seconds; None: not known.
    step: seconds for which a frame is shown, on average; 0: not known.
  """

  frames: np.ndarray
  indices: np.ndarray
  geometry: tuple[Geometry, ...]
  seconds: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
  span: tuple[float, float] = (0.0, 0.0)
  origin: float | None = None
  step: float = 0.0


def extent(seconds: np.ndarray) -> tuple[float, float]:
  """When the earliest and the latest of the frames (T,) of a clip are shown: a clip of a short video starts anew."""
  return float(seconds.min()), float(seconds.max())


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
  """(T, H, W, C) of a clip of a `config.data` section; of several sizes the first.

  Raises:
    ConfigError: numbers of which there are no clips.
  """
  errors.check_ranges(data, _RANGES, "data.")
  if data.sizes:
    return data.frames * data.consecutive, *data.sizes[0], batch.FIELDS["video"].last
  return data.frames * data.consecutive, data.crop, data.crop, batch.FIELDS["flow" if data.flow else "video"].last


def eval_clip_shape(data: ConfigDict) -> tuple[int, ...]:
  """(T, H, W, C) of a view in evaluation: a crop, or the whole frame."""
  frames, *_, channels = clip_shape(data)
  return frames, *eval_size(data), channels


def eval_size(data: ConfigDict) -> tuple[int, int]:
  """(H, W) of a view in evaluation, in pixels."""
  return tuple(data.sizes[0] if data.sizes else data.whole) or (data.test_crop or data.crop,) * 2


def eval_hint(data: ConfigDict) -> int | None:
  """Short side at which a reader may hand frames over in evaluation, where that is the first transform anyway."""
  if data.whole:
    return min(data.whole)
  return None if data.only_enlarge else data.short_side


def sampler_of(data: ConfigDict, clips: int = 1) -> Any:
  """The sampler that a `config.data` section names, f(length, rng) -> indices, of so many clips in evaluation.

  Raises:
    ConfigError: an unknown name, numbers below 1, or a stride where the sampler has none.
  """
  from vidx.data import sampling
  if data.stride != 1 and data.sampler in sampling.SAMPLERS and data.sampler not in sampling.STRIDED:
    raise errors.ConfigError(f"data.stride={data.stride}: data.sampler={data.sampler!r} has no stride; set it to 1, or"
                             f" take one of {', '.join(sampling.STRIDED)}.")
  return sampling.sampler(data.sampler, data.frames, consecutive=data.consecutive, stride=data.stride, clips=clips)


def eval_clips(data: ConfigDict, clips: int = 1) -> int:
  """Temporal clips of a video where `clips` are asked for, those of the shortest one where videos differ."""
  return sampler_of(data, clips)(data.frames * data.consecutive, None).shape[0]


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
    what = f"the span {start:g} to {end:g} s starts" if end > start else f"the point of time {start:g} s lies"
    raise errors.DecodeError(f"{what} after the video's end ({timestamps[-1] + step:.2f} s).")
  first, last = np.searchsorted(timestamps, (start, end), side="left")
  if last <= first:
    first = max(0, int(np.searchsorted(timestamps, start, side="right")) - 1)
    last = first + 1
  return int(first), int(last)


def sampled(video: Any, record: Record, data: ConfigDict, sample: Any, rng: np.random.Generator | None) -> np.ndarray:
  """int64 (clips, T): the frames of a record's span that a sampler chooses, in numbers of the media.

  With `data.rate` the sampler sees a video of so many frames per second: tick k is the
  frame on the screen in the middle of its time. Frames outside of the span, which only
  the sampler 'centre' asks for, are those of the media, and its first or last one
  beyond its ends.

  Args:
    video: an open reader.
    record: whose span it is.
    data: the `config.data` section.
    sample: f(length, rng) -> indices (see vidx/data/sampling.py).
    rng: None in evaluation.

  Raises:
    DecodeError: there are no frames.
  """
  first, last = (0, video.num_frames) if record.span is None else frame_range(video.timestamps, record.span)
  if last <= first:
    raise errors.DecodeError(f"{record.media.path}: no frames.")
  if not data.rate:
    return np.clip(sample(last - first, rng) + first, 0, video.num_frames - 1)
  times = video.timestamps
  end = times[last] if last < len(times) else times[-1] + 1 / video.fps
  ticks = sample(max(1, round((end - times[first]) * data.rate)), rng)
  shown = np.searchsorted(times, times[first] + (ticks + 0.5) / data.rate, side="right") - 1
  return np.clip(shown, 0, video.num_frames - 1)


def check_sizes(data: ConfigDict, crops: int = 1) -> None:
  """Raises ConfigError for `data.sizes` that are none, or that go with something else."""
  sizes = data.sizes
  if sizes and (any(len(s) != 2 or min(s) < 1 for s in sizes) or data.long_side < 0):
    raise errors.ConfigError(f"data.sizes={tuple(sizes)}: write ((height, width), ...) in pixels, and data.long_side of"
                             " 0 or more.")
  if sizes and (crops != 1 or data.whole or data.jitter or data.flow or data.colour_jitter):
    raise errors.ConfigError("data.sizes shows whole frames: take 1 crop, and set neither data.whole, jitter, flow nor"
                             " colour_jitter.")


class Clips:
  """Records to clips, as a `config.data` section says.

  Made anew, and cheaply, in every decoding process; keeps no state between clips.

  Attributes:
    train_shape: (T, H, W, C) of a training clip.
    eval_shape: (V, T, H, W, C) of an evaluation example, V the fewest views that a video can have.
  """

  def __init__(self, data: ConfigDict, clips: int = 1, crops: int = 1, timed: bool = False):
    """
    Args:
      data: the section.
      clips: temporal clips per video in evaluation; 0: as many as a video has, which the sampler
        'non_overlapping' knows.
      crops: spatial crops per clip in evaluation: 1, 3 or 5.
      timed: whether cuts tell seconds, which takes reading all time stamps of a file.
    """
    if data.rate < 0:
      raise errors.ConfigError(f"data.rate={data.rate:g}: write frames per second, or 0 for those of each video.")
    sampler_of(data, clips)  # refuses what it cannot be
    self._data, self._clips, self._crops, self._timed = data, clips, crops, timed
    self.train_shape = eval_clip_shape(data) if data.crop_mode == "whole" else clip_shape(data)
    check_sizes(data, crops)
    if data.flow:
      from vidx.data import flow_frames
      flow_frames.check(data.flow)

  @functools.cached_property
  def eval_shape(self) -> tuple[int, ...]:
    return (eval_clips(self._data, self._clips) * self._crops, *eval_clip_shape(self._data))

  def train(self, record: Record, rng: np.random.Generator) -> np.ndarray:
    """uint8 (T, H, W, C): one random clip, randomly cropped.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    return self.cut(record, rng).frames

  def evaluate(self, record: Record) -> np.ndarray:
    """uint8 (V, T, H, W, C), V = clips x crops, clip-major: the same at every call.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    return self.cut(record).frames

  def cut(self, record: Record, rng: np.random.Generator | None = None, room: tuple[int, int] = (),
          within: Sequence[int] = ()) -> Cut:
    """A random clip of a record, randomly cropped, or (without rng) the views of evaluation.

    Args:
      record: whose clip it is.
      rng: None in evaluation.
      room: (height, width) of the clip where there are `data.sizes`.
      within: first frame and end (exclusive) that a training clip is to show; empty, or -1: any.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    training = rng is not None
    if room:
      return self._fitted(record, rng, room, within)
    transform = self._train_transform if training else self._eval_transform  # checks settings before it is at work
    hint = self._train_hint() if training else eval_hint(self._data)
    frames, indices, *timing = self._decoded(record, self._sampler_of(rng, within), rng, hint)
    if training:
      clip, geometry = transform(frames[0], rng)
      return Cut(self._checked(clip, self.train_shape), indices, (geometry,), *timing)
    views, geometry = zip(*[transform(clip) for clip in frames])
    shape = (len(frames) * self._crops, *self.eval_shape[1:])
    return Cut(self._checked(np.concatenate(views), shape), indices, geometry[0], *timing)

  def _fitted(self, record: Record, rng: np.random.Generator | None, room: tuple[int, int], within: Sequence[int]
              ) -> Cut:
    """`cut` of whole frames in their own shape."""
    from vidx.data import transforms
    d = self._data
    frames, indices, *timing = self._decoded(record, self._sampler_of(rng, within), rng, None)
    mirrored = rng is not None and d.flip and rng.random() < 0.5
    views, geometry = zip(*[transforms.fit(clip, d, room, mirrored) for clip in frames])
    return Cut(views[0] if rng is not None else np.stack(views), indices, geometry[:1], *timing)

  def _sampler_of(self, rng: np.random.Generator | None, within: Sequence[int]):
    if rng is None:
      return self._eval_sampler
    if len(within) != 2 or min(within) < 0:
      return self._train_sampler
    from vidx.data import sampling
    d = self._data
    if d.rate:
      raise errors.ConfigError(f"data.rate={d.rate:g}: the data set says which frames of the media a clip shows; set it"
                               " to 0.")
    return lambda length, rng: sampling.within(length, rng, d.frames, d.stride, *within, consecutive=d.consecutive)

  def at(self, record: Record, seconds: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C): the frames of the media nearest to times (N,), its first or last beyond its ends.

    They are cropped as the first view of evaluation.

    Raises:
      DecodeError: the media cannot be decoded.
    """
    with self._open(record) as video:
      indices = np.abs(video.timestamps[:, None] - seconds).argmin(0)
      frames = video.frames(indices, short_side=eval_hint(self._data))
    return self._eval_transform(frames)[0][0]

  def _decoded(self, record: Record, sampler, rng, short_side: int | None
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float], float | None, float]:
    """uint8 (views, T, H, W, C) of the sampled frames, their numbers, and where asked for, seconds, span, origin and
    step of a `Cut`."""
    with self._open(record) as video:
      indices = sampled(video, record, self._data, sampler, rng)
      frames = video.frames(indices.reshape(-1), short_side=short_side)
      seconds, span, origin, step = np.zeros((0, 0)), (0.0, 0.0), None, 0.0
      if self._timed:
        seconds, step = video.timestamps[indices], 1 / video.fps
        span, origin = record.span or (0.0, video.num_frames / video.fps), getattr(video, "start", None)
    return frames.reshape(*indices.shape, *frames.shape[1:]), indices, seconds, span, origin, step

  def _open(self, record: Record):
    data = self._data
    if not data.flow:
      return open_media(record.media, data.threads)
    from vidx.data import flow_frames, record_table
    video = record.extra.get("video") or record.id.removesuffix(record_table.named("", record.span))
    return flow_frames.FlowFrames(os.path.join(data.root, data.flow), video, record.media.fps / data.flow_stride)

  def _train_hint(self) -> int | None:
    """Short side at which the reader may hand frames over, where that is the first transform anyway."""
    if self._data.crop_mode == "whole":
      return min(self._data.whole)
    fixed = not (self._data.jitter or self._data.only_enlarge) and self._data.crop_mode != "random_resized"
    return self._data.short_side if fixed else None

  def _checked(self, clip: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if clip.shape != shape or clip.dtype != np.uint8:
      raise ValueError(f"a clip of shape {clip.shape} and type {clip.dtype} came out, expected uint8 {shape}.")
    return np.ascontiguousarray(clip)

  @functools.cached_property
  def _train_sampler(self):
    return sampler_of(self._data)

  @functools.cached_property
  def _eval_sampler(self):
    return sampler_of(self._data, self._clips)

  @functools.cached_property
  def _train_transform(self):
    from vidx.data import transforms
    return transforms.train_transform(self._data)

  @functools.cached_property
  def _eval_transform(self):
    from vidx.data import transforms
    return transforms.eval_transform(self._data, crops=self._crops)
