"""Sound: a span of a file's sound as samples, at any rate and number of channels.

Samples lie where their time stamps say: what the sound does not reach is silence.
"""

from collections.abc import Iterator
import contextlib
import itertools
import math
import os

import av
import numpy as np

from vidx import errors
from vidx.data import containers
from vidx.terminal import counted

RATE = 16000  # samples per second, unless asked for others
_BEFORE = 0.5  # seconds decoded before a span: what codecs need to come into step
_EDGE = 0.05  # seconds around a span that its resampling sees
_JUMP = 0.04  # seconds by which time stamps may be off the count of samples before they are believed
_SEEK = 2.0  # seconds from the start up to which a file is read from its start
_SCALES = {"u8": (128.0, 128.0), "s16": (0.0, 32768.0), "s32": (0.0, 2.0 ** 31), "s64": (0.0, 2.0 ** 63)}


class NoSound(errors.DecodeError):
  """There is no sound stream, or it does not reach into the span."""


def read(source: str | os.PathLike | bytes, start: float = 0.0, end: float = math.inf, origin: float | None = None,
         rate: int = RATE) -> np.ndarray:
  """The sound of a span, the mean of its channels.

  Args:
    source: path, or the bytes of a file: a video, or sound alone.
    start: seconds since the origin, where the span begins.
    end: seconds since the origin, where it ends; infinite: with the sound.
    origin: second 0 by the file's own clock, as the first frame of a video is; None: where the sound begins.
    rate: samples per second.

  Returns:
    float32 (samples,) in -1..1; round((end - start) rate) of them where the end is finite.

  Raises:
    NoSound: nothing of the span can be heard.
    DecodeError: there is no such file, or its sound is damaged inside the span.
  """
  with _opened(source) as (container, stream, name):
    pieces = _pieces(container, stream, name, start, end, origin)
  return _placed(pieces, start, end, rate, name)


@contextlib.contextmanager
def _opened(source) -> Iterator[tuple[av.container.InputContainer, av.AudioStream, str]]:
  """An open file, its sound and its name; what goes wrong while it is open is a DecodeError that names it."""
  name = counted(len(source), "byte") if isinstance(source, bytes) else os.fspath(source)
  try:
    with containers.open_sound(source) as container:
      stream = container.streams.best("audio")
      if stream is None:
        raise NoSound(f"{name}: it has no sound.")
      yield container, stream, name
  except FileNotFoundError:
    raise errors.DecodeError(f"{name}: no such file.") from None
  except errors.UserError:
    raise
  except Exception as e:  # a damaged file may raise anything
    raise errors.DecodeError(f"{name}: its sound cannot be decoded ({getattr(e, 'strerror', None) or e}).") from e


def _pieces(container, stream, name, start, end, origin) -> tuple[list[tuple[float, np.ndarray]], int]:
  """((seconds since the origin, samples) of each run without a gap, and the rate) of what a span needs."""
  if stream.codec_context is None:
    raise errors.DecodeError(f"{name}: the codec of its sound is not known.")
  for other in container.streams:
    if other is not stream:
      other.discard = av.stream.Discard.all
  packets = container.demux(stream)
  if origin is None:
    begins, packets = _begins(packets, stream)
    origin = float(begins * stream.time_base) if stream.time_base else 0.0
  at = start + origin
  if at > _SEEK and stream.time_base:
    container.seek(int((at - _BEFORE) / stream.time_base), stream=stream)
    packets = container.demux(stream)
  found = _decoded(packets, name, start, end, origin)
  if at > _SEEK and (not found[0] or found[0][0][0] > start):  # an index that cannot be trusted
    container.seek(0)
    found = _decoded(container.demux(stream), name, start, end, origin)
  return found


def _begins(packets: Iterator[av.Packet], stream: av.AudioStream) -> tuple[int, Iterator[av.Packet]]:
  """When the sound begins by the file's own clock, and all packets: headers of Matroska say 0, or nothing."""
  if stream.start_time:
    return stream.start_time, packets
  first = list(itertools.islice(packets, 1))
  return max([0, *(p.pts or 0 for p in first)]), itertools.chain(first, packets)


def _decoded(packets, name, start, end, origin):
  runs, rate, expected = [], 0, None
  for packet in packets:
    try:
      frames = packet.decode()
    except av.FFmpegError:  # before the span seeking leaves some, and behind it they are of no account
      frames, at = [], expected if packet.pts is None else float(packet.pts * packet.time_base) - origin
      if at is None or at >= start - _EDGE:
        if at is not None and at >= end + _EDGE:
          return _joined(runs), rate
        raise
    for frame in frames:
      if rate not in (0, frame.sample_rate):
        raise errors.DecodeError(f"{name}: its sound changes from {rate} to {frame.sample_rate} samples per second.")
      rate = frame.sample_rate
      seconds = expected if frame.time is None else frame.time - origin
      if expected is None or abs(seconds - expected) > _JUMP:
        runs.append((seconds or 0.0, []))
        expected = seconds or 0.0
      if expected >= end + _EDGE:
        return _joined(runs), rate
      runs[-1][1].append(_mono(frame))
      expected += frame.samples / rate
  return _joined(runs), rate


def _joined(runs):
  return [(seconds, np.concatenate(parts)) for seconds, parts in runs if parts]


def _mono(frame: av.AudioFrame) -> np.ndarray:
  """float32 (samples,): the mean of a frame's channels."""
  array = frame.to_ndarray()
  channels = frame.layout.nb_channels
  if not frame.format.is_planar:
    array = array.reshape(-1, channels).T
  offset, scale = _SCALES.get(frame.format.name.removesuffix("p"), (0.0, 1.0))
  mixed = array[0].astype(np.float32) if channels == 1 else array.astype(np.float32).mean(0)
  return (mixed - np.float32(offset)) / np.float32(scale)


def _placed(found, start, end, rate, name) -> np.ndarray:
  """A span of runs of samples at another rate; silence between them."""
  runs, native = found
  last = max((seconds + len(x) / native for seconds, x in runs), default=-math.inf)
  stop = end if math.isfinite(end) else last
  if not runs or stop <= start or last <= start or min(seconds for seconds, _ in runs) >= stop:
    raise NoSound(f"{name}: it has no sound from {start:g} s on." if not math.isfinite(end) else
                  f"{name}: it has no sound from {start:.2f} to {end:.2f} s.")
  common = math.gcd(native, rate)
  steps = math.ceil(_EDGE * common)  # an edge is whole samples at both rates
  edge = steps * native // common
  whole = np.zeros(math.ceil((stop - start) * native) + 2 * edge, np.float32)
  for seconds, samples in runs:
    first = round((seconds - start) * native) + edge
    skipped = max(0, -first)
    kept = samples[skipped:skipped + max(0, len(whole) - max(first, 0))]
    whole[max(first, 0):max(first, 0) + len(kept)] = kept
  if native != rate:
    from scipy import signal
    whole = signal.resample_poly(whole, rate // common, native // common).astype(np.float32)
  first, count = steps * rate // common, round((stop - start) * rate)
  return np.ascontiguousarray(whole[first:first + count])


def duration(source: str | os.PathLike | bytes) -> float:
  """Seconds of a file's sound.

  Raises:
    NoSound: it has none.
    DecodeError: it cannot be decoded.
  """
  with _opened(source) as (_, stream, _):
    if stream.duration:
      return float(stream.duration * stream.time_base)
  return len(read(source)) / RATE
