"""Sampling: which frames of a video make a clip, as pure functions of its length.

Every sampler takes the number of frames of the video and a random generator, or
None in evaluation, where the answer depends on the length alone. All give (views,
frames * consecutive) int64 indices, inside the video but for `centre`. Where a sampler picks a start
and takes `consecutive` frames from there, frames behind the end are the last one;
clips of a stated window loop a video that is shorter.

The rules of `uniform`, `twice` and `dense` are those of the public code of Lin,
Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding", 2019.
"""

from collections.abc import Callable
import functools

import numpy as np

from vidx import errors

Sampler = Callable[[int, np.random.Generator | None], np.ndarray]

_DENSE_WINDOW = 64


def uniform(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
            clips: int = 1) -> np.ndarray:
  """One start in each of `frames` equal segments: a random one, or the middle.

  A video with fewer starts than segments gives sorted random starts in training;
  one that is no longer than the clip gives the first frame throughout. Views after
  the first are moved on by equal shares of a segment, round and round: the second
  of two takes the first frame of each segment.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: segments.
    consecutive: frames from each start on.
    clips: views in evaluation.
  """
  starts = max(1, length - consecutive + 1)
  if rng is not None:
    share = starts // frames
    if share > 0:
      first = np.arange(frames) * share + rng.integers(share, size=frames)
    elif length > frames:
      first = np.sort(rng.integers(starts, size=frames))
    else:
      first = np.zeros(frames, np.int64)
    return _run_on(first[None], length, consecutive)
  if length <= frames + consecutive - 1:
    return _run_on(np.zeros((clips, frames), np.int64), length, consecutive)
  # Whole numbers, so that no rounding error moves a frame: tick = starts / frames,
  # phase = (1/2 + view / clips) mod 1, start = floor((segment + phase) * tick).
  phase = (clips + 2 * np.arange(clips)) % (2 * clips)
  segments = 2 * clips * np.arange(frames)
  return _run_on((segments + phase[:, None]) * starts // (2 * clips * frames), length, consecutive)


def dense(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
          clips: int = 1) -> np.ndarray:
  """Starts at a fixed stride in one window; the published evaluation has 10 clips.

  The window has 64 frames at a stride of 64 // frames, or, with consecutive frames,
  frames * consecutive frames without gaps. Starts behind the end begin again at the
  first frame.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: starts.
    consecutive: frames from each start on.
    clips: windows in evaluation, from the first to the last possible; the middle one
      where there is one only.
  """
  window = _DENSE_WINDOW if consecutive == 1 else frames * consecutive
  stride = max(1, _DENSE_WINDOW // frames) if consecutive == 1 else consecutive
  room = max(0, length - window)
  if rng is not None:
    begin = np.array([rng.integers(room) if room else 0])
  else:
    begin = _spread(room, clips)
  return _run_on((begin[:, None] + stride * np.arange(frames)) % length, length, consecutive)


def consecutive_frames(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
                       clips: int = 1) -> np.ndarray:
  """frames * consecutive frames without gaps from a random start, or from the middle; the last one repeats.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: with `consecutive`, the size of the clip.
    consecutive: see `frames`.
    clips: views in evaluation, from the first to the last possible start.
  """
  window = frames * consecutive
  room = max(0, length - window)
  begin = np.array([rng.integers(room + 1)]) if rng is not None else _spread(room, clips)
  return _run_on(begin[:, None], length, window)


def fixed_stride(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
                 stride: int = 1, clips: int = 1) -> np.ndarray:
  """A clip at a fixed stride from a random start, or from the middle; shorter videos loop.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: starts.
    consecutive: frames from each start on.
    stride: frames from one start to the next.
    clips: views in evaluation, from the first to the last possible start.
  """
  room = max(0, length - _window(frames, consecutive, stride))
  begin = np.array([rng.integers(room + 1)]) if rng is not None else _spread(room, clips)
  return _run_on((begin[:, None] + stride * np.arange(frames)) % length, length, consecutive)


def non_overlapping(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
                    stride: int = 1, clips: int = 0) -> np.ndarray:
  """The clips that follow one another through the video: a random one, or all.

  The last one loops where the video ends inside it.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: starts.
    consecutive: frames from each start on.
    stride: frames from one start to the next.
    clips: views in evaluation, evenly chosen, or repeated where the video has fewer;
      0: as many as the video has.
  """
  step = max(frames * stride, _window(frames, consecutive, stride))
  count = -(-length // step)
  if rng is not None:
    number = np.array([rng.integers(count)])
  elif not clips:
    number = np.arange(count)
  else:
    number = np.arange(clips) * count // clips if clips <= count else np.arange(clips) % count
  return _run_on((number[:, None] * step + stride * np.arange(frames)) % length, length, consecutive)


def uniform_clips(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
                  stride: int = 1, clips: int = 1) -> np.ndarray:
  """One clip in the middle of each of `clips` equal parts of the video, or one random clip.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: starts.
    consecutive: frames from each start on.
    stride: frames from one start to the next.
    clips: parts.
  """
  if rng is not None:
    return fixed_stride(length, rng, frames=frames, consecutive=consecutive, stride=stride)
  window = _window(frames, consecutive, stride)
  begin = ((2 * np.arange(clips) + 1) * length - clips * window) // (2 * clips)
  begin = np.clip(begin, 0, max(0, length - window))
  return _run_on((begin[:, None] + stride * np.arange(frames)) % length, length, consecutive)


def segments(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
             clips: int = 1) -> np.ndarray:
  """One start in each of `frames` equal segments, however short the video is: floor((k + u) length / frames).

  u is random per segment, or 1/2: the middle. Unlike `uniform`, segments may be
  shorter than a frame (frames of a video that is shorter than the clip repeat, in
  order) and reach the end of the video. Views after the first are moved on by equal
  shares of a segment, round and round.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: segments.
    consecutive: frames from each start on.
    clips: views in evaluation.
  """
  if rng is not None:
    starts = ((np.arange(frames) + rng.random(frames)) * length / frames).astype(np.int64)
    return _run_on(starts[None], length, consecutive)
  phase = (clips + 2 * np.arange(clips)) % (2 * clips)  # of 2 clips, in whole numbers
  return _run_on((2 * clips * np.arange(frames) + phase[:, None]) * length // (2 * clips * frames), length, consecutive)


def centre(length: int, rng: np.random.Generator | None, *, frames: int, consecutive: int = 1,
           stride: int = 1, clips: int = 1) -> np.ndarray:
  """A clip at a fixed stride around a random frame, or around the middle, however short the video is.

  Unlike with all others, frames may lie outside of the video: of a span of a longer one
  they are what was before and after it.

  Args:
    length: frames of the video.
    rng: None in evaluation.
    frames: starts.
    consecutive: frames from each start on.
    stride: frames from one start to the next.
    clips: views in evaluation, around the middles of as many equal parts.
  """
  middle = np.array([rng.integers(length)]) if rng is not None else (2 * np.arange(clips) + 1) * length // (2 * clips)
  starts = middle[:, None] - _window(frames, consecutive, stride) // 2 + stride * np.arange(frames)
  return (starts[..., None] + np.arange(consecutive)).reshape(len(starts), -1).astype(np.int64)


def within(length: int, rng: np.random.Generator, frames: int, stride: int, first: int, end: int,
           consecutive: int = 1) -> np.ndarray:
  """int64 (1, frames * consecutive): one clip at a stride inside of frames first..end - 1, or around them where they
  are fewer.

  Frames behind the end of the video are the last one.
  """
  window = _window(frames, consecutive, stride)
  start = int(rng.integers(min(first, end - window), max(first, end - window) + 1))
  start = max(0, min(start, length - window))
  return _run_on((start + stride * np.arange(frames))[None], length, consecutive)


SAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    "uniform": uniform,
    "twice": uniform,
    "segments": segments,
    "dense": dense,
    "consecutive": consecutive_frames,
    "stride": fixed_stride,
    "non_overlapping": non_overlapping,
    "uniform_clips": uniform_clips,
    "centre": centre,
}
STRIDED = ("stride", "non_overlapping", "uniform_clips", "centre")


def sampler(name: str, frames: int, consecutive: int = 1, stride: int = 1, clips: int = 1) -> Sampler:
  """A sampler by name: f(length, rng or None) -> (views, frames * consecutive) int64.

  Args:
    name: a key of SAMPLERS; "twice" is "uniform" with twice the clips.
    frames: starts per clip.
    consecutive: frames from each start on.
    stride: frames from one start to the next, where the sampler has a stride.
    clips: temporal views in evaluation; training has one. 0: as many as the video has, of `non_overlapping`.

  Raises:
    ConfigError: an unknown name, or numbers below 1.
  """
  if name not in SAMPLERS:
    raise errors.ConfigError(f"data.sampler={name!r}: one of {', '.join(SAMPLERS)}{errors.hint(name, SAMPLERS)}.")
  numbers = dict(frames=frames, consecutive=consecutive, stride=stride, clips=clips)
  ranges = dict.fromkeys(numbers, errors.Range(1)) | ({"clips": errors.Range(0)} if name == "non_overlapping" else {})
  errors.check_ranges(numbers, ranges, "data.")
  fields = dict(frames=frames, consecutive=consecutive, clips=2 * clips if name == "twice" else clips)
  if name in STRIDED:
    fields["stride"] = stride
  return functools.partial(_checked, SAMPLERS[name], fields)


def _checked(sample: Callable[..., np.ndarray], fields: dict[str, int], length: int,
             rng: np.random.Generator | None = None) -> np.ndarray:
  if length < 1:
    raise errors.DataError("a video without frames cannot be sampled.")
  return sample(length, rng, **fields)


def _window(frames: int, consecutive: int, stride: int) -> int:
  """Frames from the first to the last of a clip."""
  return (frames - 1) * stride + consecutive


def _spread(room: int, clips: int) -> np.ndarray:
  """(clips,) starts from 0 to `room`, floored; half of it for a single clip."""
  return np.array([room // 2]) if clips == 1 else np.arange(clips) * room // (clips - 1)


def _run_on(starts: np.ndarray, length: int, consecutive: int) -> np.ndarray:
  """(views, N) starts to (views, N * consecutive) indices, the last frame standing for those behind the end."""
  runs = starts[..., None] + np.arange(consecutive)
  return np.minimum(runs, length - 1).reshape(len(starts), -1).astype(np.int64)
