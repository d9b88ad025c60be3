"""Writes one video anew: smaller, with dense key frames, every frame at its time, its sound beside it."""

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
import itertools
from typing import Any

import av
from av.video.reformatter import VideoReformatter
import numpy as np

from vidx import errors
from vidx.data import decode
from vidx.data import frame_tools
from vidx.terminal import counted


def write(source: str, target: str, settings: Any, copied_sound: Collection[str]) -> int:
  """Encodes a video as mp4.

  No frame waits for a later one, so packets lie in the order of frames; without
  the deblocking filter and arithmetic coding they decode in about half the time.

  Args:
    source: any video.
    target: file to write.
    settings: short_side, gop and crf.
    copied_sound: codecs of sound that mp4 holds as it is.

  Returns:
    The number of frames.

  Raises:
    DecodeError: the source cannot be decoded whole.
  """
  with decode.VideoReader(source) as reader, av.open(target, "w", format="mp4") as out:
    base = reader.time_base
    places = np.arange(reader.num_frames)
    stamps = np.rint(reader.timestamps / float(base)).astype(np.int64)
    stamps = np.maximum.accumulate(stamps - places) + places  # no two the same, in however coarse a unit
    width, height = _size(reader.width, reader.height, settings.short_side)
    video = out.add_stream("libx264", rate=Fraction(reader.fps).limit_denominator(100000), options={
        "crf": str(settings.crf), "g": str(settings.gop), "sc_threshold": "0", "bf": "0", "tune": "fastdecode"})
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    video.codec_context.time_base, video.time_base = base, base
    video.codec_context.thread_count = 1
    with av.open(source) as heard:
      sound = _Sound(heard, out, copied_sound, reader.start)
      images = VideoReformatter()
      count = 0
      for frame, stamp in zip(reader.each(), stamps.tolist()):
        made = _image(frame, images, width, height)
        if not count:
          _keep_colours(video.codec_context, made)
        made.pts, made.time_base, made.pict_type = stamp, base, 0
        out.mux(video.encode(made))
        sound.up_to(float(stamp * base))
        count += 1
      out.mux(video.encode())
      sound.up_to(float("inf"))
  if count != reader.num_frames:
    raise errors.DecodeError(
        f"{source}: {count} of its {counted(reader.num_frames, 'frame')} can be decoded; the file is damaged.")
  return count


def _size(width: int, height: int, short_side: int) -> tuple[int, int]:
  """Even, and no larger than it was but for a pixel."""
  if min(width, height) > short_side:
    width, height = frame_tools.fit_short_side(width, height, short_side)
  return max(2, round(width / 2) * 2), max(2, round(height / 2) * 2)


def _image(frame: av.VideoFrame, images: VideoReformatter, width: int, height: int) -> av.VideoFrame:
  """A frame as it is shown, at its new size."""
  if frame.side_data.get("DISPLAYMATRIX") is None:
    return images.reformat(frame, width, height, "yuv420p", threads=1)
  rgb = frame_tools.oriented(frame_tools.pixels(images.reformat(frame, format="rgb24", threads=1)), frame)
  turned = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
  return VideoReformatter().reformat(turned, width, height, "yuv420p", threads=1)


def _keep_colours(encoder: av.VideoCodecContext, frame: av.VideoFrame) -> None:
  """States in the file what its numbers mean."""
  for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
    setattr(encoder, name, int(getattr(frame, name)))


def _ascending(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
  """Packets, stamped anew where a file was put together from several and its clock begins again."""
  last, shift = None, 0
  for p in packets:
    if last is not None and p.dts + shift <= last:
      shift = last + max(1, p.duration or 1) - p.dts
    p.pts, p.dts = p.pts + shift, p.dts + shift
    last = p.dts
    yield p


class _Sound:
  """The first sound track of a file, copied where mp4 can hold it and as AAC otherwise."""

  def __init__(self, source: av.container.InputContainer, out: av.container.OutputContainer,
               copied: Collection[str], start: float):
    """
    Args:
      source: opened for the sound alone.
      out: the file being written.
      copied: codecs that are taken as they are.
      start: seconds in the source at which the written file begins.
    """
    self._out, self._start, self._copies = out, start, False
    self._waiting = iter(())
    if not source.streams.audio:
      return
    track = source.streams.audio[0]
    codec = track.codec_context
    self._copies = codec is not None and codec.codec.canonical_name in copied
    if self._copies:
      self._stream = out.add_stream_from_template(track)
      items = _ascending(p for p in source.demux(track) if p.size and p.pts is not None and p.dts is not None)
    elif codec is not None:
      self._stream = out.add_stream("aac", rate=codec.sample_rate)
      self._stream.layout = "stereo" if codec.layout.nb_channels > 1 else "mono"
      items = self._frames(source)
    else:
      return
    self._waiting = ((t, i) for t, i in ((float(i.pts * i.time_base) - start, i) for i in items) if t >= 0)

  def up_to(self, seconds: float) -> None:
    """Writes what is heard until then; damaged sound ends where the damage begins."""
    try:
      for time, item in self._waiting:
        if self._copies:
          shift = round(self._start / item.time_base)
          item.pts, item.dts = item.pts - shift, item.dts - shift
          item.stream = self._stream
          self._out.mux(item)
        else:
          item.pts -= round(self._start / item.time_base)
          self._out.mux(self._stream.encode(item))
        if time >= seconds:
          return
    except av.InvalidDataError:
      self._waiting = iter(())
    if seconds == float("inf") and not self._copies and hasattr(self, "_stream"):
      self._out.mux(self._stream.encode(None))

  def _frames(self, source: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    """Sound in the encoder's portions, stamped by counting samples from the first on."""
    rate = self._stream.rate
    resampler = av.AudioResampler(format="fltp", layout=self._stream.layout.name, rate=rate, frame_size=1024)
    at = None
    for frame in itertools.chain(source.decode(audio=0), [None]):
      if at is None and frame is not None:
        at = round((frame.time or 0.0) * rate)
      for portion in resampler.resample(frame):
        portion.pts, portion.time_base = at, Fraction(1, rate)
        at += portion.samples
        yield portion
