"""Decoding: the wanted frames of a video, exact in any order, and little else.

Only blocks with wanted frames are read, each from its key frame up to the last
wanted packet. Frames that nothing refers to are skipped unless they are wanted.
Only wanted frames are converted to RGB, at the wanted size.

Frames are those that decoding the file from its start gives, in that order. Where a
container cannot be trusted with this, or the decoder puts out other than it says,
the file is decoded whole, once (see `packets` and `whole`).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from fractions import Fraction
import functools
import math
import os
from typing import BinaryIO

import av
from av.video.reformatter import VideoReformatter
import numpy as np

from vidx import errors
from vidx.data import block_decoding
from vidx.data import containers
from vidx.data import frame_tools
from vidx.data import packets
from vidx.data import sound
from vidx.data import whole as whole_lib
from vidx.data.frame_folder import FrameFolder
from vidx.data.records import Media
from vidx.terminal import counted


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
    if source.kind in ("image", "still"):
      return FrameFolder(os.path.dirname(source.path), only=os.path.basename(source.path))
    source = source.path
  if not isinstance(source, bytes) and os.path.isdir(source):
    return FrameFolder(source)
  return VideoReader(source, threads)


class VideoReader(frame_tools.Shown):
  """Random access to the frames of a video file. A context manager.

  Frames are turned and mirrored as the file's display matrix asks; pixels are
  taken as they are stored, whatever aspect ratio the file states for them.

  Attributes:
    name: of the file, for messages.
    num_frames: frames that decoding the whole file yields.
    has_audio: whether there is a sound track.
  """

  def __init__(self, source: str | os.PathLike | bytes, threads: int = 1):
    self._source, self._threads = source, threads
    self.name = f"{counted(len(source), 'byte')} of video" if isinstance(source, bytes) else os.fspath(source)
    self._reformatter = VideoReformatter()
    self._container = None
    with self._errors():
      with containers.file(source) as raw:
        self._bytes = frame_tools.file_size(raw)
        if not self._bytes:
          raise ValueError("the file is empty")
        self._brief = containers.says_all(raw.read(12))
        self._identity = whole_lib.identity(source)
        self._known = whole_lib.memory.get(self._identity)
        self._open(raw)
        if not self._index.trusted and self._whole is None and self._known != whole_lib.DAMAGED:
          self._distrust(raw)
        elif self._known is None and self._index.proven:
          self._remember(whole_lib.PROVEN)
    self.num_frames = self._index.num_frames

  def close(self) -> None:
    if self._container is not None:
      self._container.close()

  @property
  def fps(self) -> float:
    """Frames per second, on average."""
    last = self.timestamps[-1] if self._index.timed else 0.0
    if last > 0:
      return (self.num_frames - 1) / float(last)
    return float(self._stream.average_rate or 25)

  @property
  def timestamps(self) -> np.ndarray:
    """(num_frames,) float64: when each frame is shown, in seconds since the first."""
    with self._errors():
      return self._index.clock - self._index.clock[0]

  @property
  def time_base(self) -> Fraction:
    """The unit of the file's time stamps in seconds."""
    return self._stream.time_base

  @property
  def start(self) -> float:
    """When the first frame is shown by the file's own clock, in seconds."""
    with self._errors():
      return float(self._index.clock[0])

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
      for number, frame in self._surely(wanted):
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
      held = dict(self._surely(wanted))

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
    count = 0
    with self._errors():
      try:
        for frame in () if self._whole else self._each_of_blocks():
          yield frame
          count += 1
      except packets.Doubt:
        self._distrust()
      if self._whole:
        for number, frame in self._from_the_start(np.arange(count, self.num_frames)):
          self._check(number)
          yield frame
          count += 1
    if count < self.num_frames:
      raise self._damaged(count)

  def audio(self, rate: int = 16000, start: float = 0.0, end: float = math.inf) -> np.ndarray:
    """The sound, the mean of its channels, aligned with the first frame.

    Args:
      rate: samples per second.
      start: seconds since the first frame.
      end: seconds since the first frame; infinite: with the sound.

    Returns:
      float32 (samples,) in -1..1, empty where there is no sound.

    Raises:
      DecodeError: it is damaged.
    """
    try:
      return sound.read(self._source, start, end, self.start, rate)
    except sound.NoSound:
      return np.zeros(0, np.float32)

  @functools.cached_property
  def _shape(self) -> tuple[int, int]:
    with self._errors():
      for _, frame in self._surely(np.zeros(1, np.int64)):
        return self._image(frame, None).shape[:2]

  @property
  def _whole(self) -> whole_lib.Whole | None:
    return self._known if isinstance(self._known, whole_lib.Whole) else None

  def _open(self, raw: BinaryIO) -> None:
    self.close()
    self._container, self._stream = containers.open_stream(
        self._source, self._threads, brief=self._brief and self._whole is None, strict=self._whole is None)
    self.has_audio = bool(self._container.streams.audio)
    self._decoder = self._stream.codec_context
    self._size = self._whole.size if self._whole else (self._decoder.width, self._decoder.height)
    self._index = packets.PacketIndex(self._container, self._stream, raw, self._bytes, self._known)

  def _distrust(self, raw: BinaryIO | None = None) -> None:
    """Decodes the whole file, and goes by that from now on.

    Raises:
      DecodeError: it does not give the frames that the container has promised already.
    """
    if raw is None:
      if self._known == whole_lib.DAMAGED:
        return
      with containers.file(self._source) as again:
        return self._distrust(again)
    promised = getattr(self, "num_frames", None)
    found = whole_lib.read(functools.partial(containers.open_stream, self._source, self._threads))
    if found.failed and self._index.numbered:
      self._remember(whole_lib.DAMAGED)
      return
    self._remember(found)
    if promised not in (None, len(found.position)):
      raise errors.DecodeError(f"{self.name}: it states {counted(promised, 'frame')} and gives {len(found.position)};"
                               " the file is damaged.")
    self._open(raw)

  def _remember(self, found: whole_lib.Whole | str) -> None:
    self._known = found
    whole_lib.memory.put(self._identity, found)

  def _surely(self, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """(number, frame) of sorted, distinct numbers, in no stated order; some may come twice, the last time right."""
    try:
      yield from self._decoded(wanted)
    except packets.Doubt:
      self._distrust()
      yield from self._decoded(wanted)

  def _decoded(self, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    blocks: dict[int, dict[int, int]] = {}
    if self._whole and self._index.entangled:
      blocks[0] = dict.fromkeys(wanted.tolist())
    else:
      for number in wanted.tolist():
        self._check(number)
        blocks.setdefault(self._index.block_of(number), {})[self._index.position(number)] = number
    for b, missing in blocks.items():
      if self._whole:
        yield from self._compared(b, missing)
        continue
      strict = self._known != whole_lib.DAMAGED
      for start, skip in self._tries(b, missing)[:1 if strict else None]:
        for position, frame in self._decoded_from(start, b, missing, skip, strict):
          if position in missing:
            yield missing.pop(position), frame
        if not missing:
          break
      if missing and strict:
        raise packets.Doubt("frames stay away")
      if missing:
        raise self._damaged(min(missing.values()))

  def _tries(self, b: int, positions: Collection[int]) -> list[tuple[int, bool]]:
    """(block to start from, whether to skip): should frames stay away, earlier and without skipping."""
    first = b - 1 if b and self._index.block(b).leading.intersection(positions) else b
    return [(first, self._index.skippable), (first, False), (max(0, b - 1), False), (max(0, b - 3), False)]

  def _compared(self, b: int, missing: dict[int, int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames of a block, by position, that are those of the whole decoding; else from the first frame on."""
    found = self._whole
    if self._index.entangled:
      yield from self._from_the_start(np.array(list(missing)))
      return
    for start, skip in () if b in found.unsteady else self._tries(b, missing)[:2]:
      for position, frame in self._decoded_from(start, b, missing, skip, False):
        if position in missing and whole_lib.checksum(frame) == found.checksum[missing[position]]:
          yield missing.pop(position), frame
      if not missing:
        return
    found.unsteady.add(b)
    yield from self._from_the_start(np.array(sorted(missing.values())))

  def _from_the_start(self, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    """Ascending frame numbers, by decoding all before the last of them."""
    left = set(wanted.tolist())
    if not left:
      return
    container, stream = containers.open_stream(self._source, self._threads)
    with container:
      for number, (_, frame) in enumerate(whole_lib.frames(container, stream, [])):
        if number in left:
          if number >= self.num_frames or whole_lib.checksum(frame) != self._whole.checksum[number]:
            break  # damaged, so that the decoder gives other pixels every time
          left.remove(number)
          yield number, frame
        if not left:
          return
    raise self._damaged(min(left))

  def _each_of_blocks(self) -> Iterator[av.VideoFrame]:
    index, count = self._index, 0
    order = [p for b in range(index.num_blocks) for p in index.block(b).order]
    strict = self._known != whole_lib.DAMAGED
    for position, frame in self._decoded_from(0, index.num_blocks - 1, order, False, strict):
      if position != order[count]:
        break
      yield frame
      count += 1
    if strict and count < len(order):
      raise packets.Doubt("frames stay away")

  def _decoded_from(self, start: int, b: int, positions: Collection[int], skip: bool, strict: bool
                    ) -> Iterator[tuple[int, av.VideoFrame]]:
    watch = block_decoding.Watch(self._index, start, b, self._size) if strict else None
    return block_decoding.decoded(self._index, self._decoder, start, b, positions, skip, watch)

  def _check(self, number: int) -> None:
    """Raises DecodeError for a frame that is known to be damaged."""
    if self._whole and self._whole.damaged[number]:
      raise self._damaged(number)

  def _damaged(self, number: int) -> errors.DecodeError:
    return errors.DecodeError(f"{self.name}: frame {number} cannot be decoded; the file is damaged.")

  def _image(self, frame: av.VideoFrame, short_side: int | None) -> np.ndarray:
    """uint8 (H, W, 3) of a decoded frame as it is shown."""
    size = self._size if all(self._size) else (frame.width, frame.height)
    width, height = frame_tools.fit_short_side(*size, short_side) if short_side else size
    return frame_tools.oriented(frame_tools.to_rgb(frame, self._reformatter, width, height), frame)

  def _errors(self) -> frame_tools.DecodeErrors:
    return frame_tools.DecodeErrors(self.name)
