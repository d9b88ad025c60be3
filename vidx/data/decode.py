"""Decoding: the wanted frames of a video, exact in any order, and little else.

Only blocks with wanted frames are read, each from its key frame up to the last
wanted packet. Frames that nothing refers to are skipped unless they are wanted.
Only wanted frames are converted to RGB, at the wanted size.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction
import functools
import io
import os
from typing import BinaryIO

import av
from av.video.reformatter import VideoReformatter
import numpy as np

from vidx import errors
from vidx.data import frame_tools
from vidx.data import packets
from vidx.data.frame_folder import FrameFolder
from vidx.data.records import Media

# Files whose headers say all there is to know are opened without decoding a first frame.
_BRIEF = {"skip_frame": "all", "probesize": "2048"}


def open_video(source: str | os.PathLike | bytes | Media, threads: int = 1) -> "VideoReader | FrameFolder":
  """Opens a video file, encoded bytes, or a folder of frames.

  Args:
    source: path, the bytes of a file, or a record's media.
    threads: of the decoder; one is best where several processes decode.

  Raises:
    DecodeError: it is missing, broken, cut off, or no video.
  """
  if isinstance(source, Media):
    if source.kind == "frames":
      return FrameFolder(source.path, source.pattern, source.fps)
    source = source.path
  if not isinstance(source, bytes) and os.path.isdir(source):
    return FrameFolder(source)
  return VideoReader(source, threads)


class VideoReader:
  """Random access to the frames of a video file. A context manager.

  Frames are turned and mirrored as the file's display matrix asks; pixels are
  taken as they are stored, whatever aspect ratio the file states for them.

  Attributes:
    name: of the file, for messages.
    num_frames: frames that decoding the whole file yields.
    has_audio: whether there is a sound track.
  """

  def __init__(self, source: str | os.PathLike | bytes, threads: int = 1):
    self._source = source
    self.name = f"{len(source)} bytes of video" if isinstance(source, bytes) else os.fspath(source)
    self._reformatter = VideoReformatter()
    self._container = None
    with self._errors():
      with _file(source) as raw:
        size = frame_tools.file_size(raw)
        if not size:
          raise ValueError("the file is empty")
        self._container = av.open(_opened(source), options=_BRIEF if _says_all(raw.read(12)) else {})
        self._stream = _video_stream(self._container)
        self.has_audio = bool(self._container.streams.audio)
        self._decoder = self._stream.codec_context
        self._decoder.thread_count = threads
        self._decoder.thread_type = "SLICE" if threads == 1 else "AUTO"
        self._index = packets.PacketIndex(self._container, self._stream, raw, size)
    self.num_frames = self._index.num_frames

  def __enter__(self) -> "VideoReader":
    return self

  def __exit__(self, *exc) -> None:
    self.close()

  def close(self) -> None:
    if self._container is not None:
      self._container.close()

  @property
  def width(self) -> int:
    """Pixels, as shown."""
    return self._shape[1]

  @property
  def height(self) -> int:
    """Pixels, as shown."""
    return self._shape[0]

  @property
  def fps(self) -> float:
    """Frames per second, on average."""
    last = self.timestamps[-1] if self._index.timed else 0.0
    if last > 0:
      return (self.num_frames - 1) / float(last)
    return float(self._stream.average_rate or 25)

  @property
  def duration(self) -> float:
    """Seconds from the first frame to the end of the last."""
    return self.num_frames / self.fps

  @property
  def timestamps(self) -> np.ndarray:
    """(num_frames,) float64: when each frame is shown, in seconds since the first."""
    with self._errors():
      return self._index.timestamps

  @property
  def time_base(self) -> Fraction:
    """The unit of the file's time stamps in seconds."""
    return self._stream.time_base

  @property
  def start(self) -> float:
    """When the first frame is shown by the file's own clock, in seconds."""
    with self._errors():
      return float(self._index.first_pts * self._stream.time_base)

  def frames(self, indices: Sequence[int] | np.ndarray, short_side: int | None = None,
             crop: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Decodes frames.

    Args:
      indices: (N,) frame numbers in any order, repeats allowed.
      short_side: size to resize to (averaging where it shrinks), None to keep it.
      crop: x0, y0, x1, y1 in pixels of the resized frame, None for all of it.

    Returns:
      uint8 (N, H, W, 3) RGB.

    Raises:
      IndexError: there is no such frame.
      DecodeError: a frame is damaged; the message names it.
    """
    indices = np.asarray(indices, np.int64).reshape(-1)
    wanted, places = frame_tools.checked(indices, self.num_frames, self.name)
    out = None
    with self._errors():
      for number, frame in self._decoded(wanted):
        image = self._image(frame, short_side)
        if crop is not None:
          image = image[crop[1]:crop[3], crop[0]:crop[2]]
        if out is None:
          out = np.empty((len(wanted), *image.shape), np.uint8)
        out[np.searchsorted(wanted, number)] = image
    if out is None:
      return np.empty((0, self.height, self.width, 3), np.uint8)
    return out if len(wanted) == len(places) and np.array_equal(wanted, indices) else out[places]

  def hold(self, indices: Sequence[int] | np.ndarray) -> Callable[..., np.ndarray]:
    """Decodes frames once, to be converted later: some or all of them, at one size and then at another.

    Most of the time goes into the conversion where frames are many or large. Until the
    result is dropped, it holds the frames as they are decoded, 1.5 bytes per pixel.

    Args:
      indices: (N,) frame numbers in any order, repeats allowed.

    Returns:
      f(positions (M,) among the N, short_side=None) -> uint8 (M, H, W, 3), as `frames` gives them.
    """
    wanted, places = frame_tools.checked(np.asarray(indices, np.int64).reshape(-1), self.num_frames, self.name)
    with self._errors():
      held = dict(self._decoded(wanted))

    def images(positions, short_side: int | None = None) -> np.ndarray:
      numbers = wanted[places[np.asarray(positions, np.int64)]]
      with self._errors():
        made = {n: self._image(held[n], short_side) for n in np.unique(numbers).tolist()}
      return np.stack([made[n] for n in numbers.tolist()])

    return images

  def each(self) -> Iterator[av.VideoFrame]:
    """Every frame in order, as it is decoded: not turned, not converted.

    Raises:
      DecodeError: a frame is damaged; the message names it.
    """
    with self._errors():
      index, count = self._index, 0
      last = index.num_blocks - 1
      order = [p for b in range(last + 1) for p in index.block(b).order]
      for position, frame in self._decoded_from(0, last, order, skip=False):
        if position != order[count]:
          break
        yield frame
        count += 1
    if count < self.num_frames:
      raise errors.DecodeError(f"{self.name}: frame {count} cannot be decoded; the file is damaged.")

  def audio(self, rate: int = 16000) -> np.ndarray:
    """The sound, mixed to one channel and aligned with the first frame.

    Args:
      rate: samples per second.

    Returns:
      float32 (samples,) in -1..1, empty where there is no sound.
    """
    if not self.has_audio:
      return np.zeros(0, np.float32)
    chunks, start = [], None
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with self._errors(), av.open(_opened(self._source)) as container:
      for frame in container.decode(audio=0):
        start = frame.time if start is None else start
        chunks += [f.to_ndarray()[0] for f in resampler.resample(frame)]
      chunks += [f.to_ndarray()[0] for f in resampler.resample(None)]
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    shift = round(((start or 0.0) - self.start) * rate)
    return np.pad(samples, (shift, 0)) if shift > 0 else samples[-shift:]

  @functools.cached_property
  def _shape(self) -> tuple[int, int]:
    with self._errors():
      for _, frame in self._decoded(np.zeros(1, np.int64)):
        return self._image(frame, None).shape[:2]

  def _decoded(self, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, frame) of sorted, distinct frame numbers, in no stated order."""
    blocks: dict[int, dict[int, int]] = {}
    for number in wanted.tolist():
      blocks.setdefault(self._index.block_of(number), {})[self._index.position(number)] = number
    for b, numbers in blocks.items():
      missing = dict(numbers)
      first = b - 1 if b and self._index.block(b).leading.intersection(numbers) else b
      # Should frames stay away (a key frame that is none, wrong reference flags), start
      # earlier and skip nothing.
      tries = [(first, self._index.skippable), (first, False), (max(0, b - 1), False), (max(0, b - 3), False)]
      for start, skip in tries:
        for position, frame in self._decoded_from(start, b, missing, skip):
          yield missing.pop(position), frame
        if not missing:
          break
      if missing:
        raise errors.DecodeError(f"{self.name}: frame {min(missing.values())} cannot be decoded; the file is damaged.")

  def _decoded_from(self, start: int, b: int, positions: Collection[int], skip: bool
                    ) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames at decoding positions of block b, decoding from the key frame of block `start`.

    Ends before the first damaged packet's frames: what refers to them is not exact.
    """
    last, wanted = max(positions), frozenset(positions)
    decoder, skipping = self._decoder, None
    exact = last + 1  # positions before it are so
    try:
      for i in range(start, b + 1):
        for p in self._index.block(i).packets:
          position = p.pts
          if position > last:
            break
          skip_now = skip and position not in wanted
          if skip_now is not skipping:
            decoder.skip_frame, skipping = ("NONREF" if skip_now else "DEFAULT"), skip_now
          try:
            found = decoder.decode(p)
          except av.FFmpegError:
            exact, last, found = position, -1, []
          for frame in found:
            if frame.pts in wanted and not frame.is_corrupt:
              yield frame.pts, frame
      for frame in packets.decode(decoder, None):
        if frame.pts in wanted and frame.pts < exact and not frame.is_corrupt:
          yield frame.pts, frame
    finally:
      decoder.flush_buffers()

  def _image(self, frame: av.VideoFrame, short_side: int | None) -> np.ndarray:
    """uint8 (H, W, 3) of a decoded frame as it is shown."""
    size = (self._decoder.width or frame.width, self._decoder.height or frame.height)
    width, height = frame_tools.fit_short_side(*size, short_side) if short_side else size
    return frame_tools.oriented(frame_tools.to_rgb(frame, self._reformatter, width, height), frame)

  def _errors(self) -> frame_tools.DecodeErrors:
    return frame_tools.DecodeErrors(self.name)


def _opened(source: str | os.PathLike | bytes) -> str | BinaryIO:
  return io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)


def _file(source: str | os.PathLike | bytes) -> BinaryIO:
  return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", buffering=0)


def _says_all(head: bytes) -> bool:
  """Whether a file is mp4 or Matroska by its first bytes."""
  return head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
  """The stream to show: not a cover picture; the other streams are not read."""
  found = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
  if not found:
    raise ValueError("it holds no video")
  for s in container.streams:
    if s is not found[0]:
      s.discard = av.stream.Discard.all
  if found[0].codec_context is None:
    raise ValueError("its codec is not known")
  return found[0]
