"""A video decoded whole, once, where its container cannot be trusted: FFmpeg's frames, in FFmpeg's order.

What is kept of it is small: which packet each frame came from, and a checksum of its
pixels, by which every frame that random access gives later is known to be the same.
It is remembered while the process lives, for as long as the file stays as it is.
"""

from collections import deque, OrderedDict
from collections.abc import Callable, Hashable, Iterator
import dataclasses
import functools
import itertools
import os
import threading
import zlib

import av
import numpy as np

PROVEN = "proven"  # the container can be trusted
DAMAGED = "damaged"  # decoding the whole fails; the container's numbers of frames are used
_REMEMBERED = 2_000_000  # frames of all files, 30 bytes each
_COPY_OPAQUE = 1 << 7
_HELD = 3  # frames


@dataclasses.dataclass
class Whole:
  """What a whole decoding gave.

  Attributes:
    position: (N,) which packet each frame came from, in the order of frames.
    checksum: (N,) uint32 of their pixels.
    key: (N,) bool: the decoder calls it a key frame.
    damaged: (N,) bool: an error came before it, or in it, since the last key frame.
    stamps: of the frames, in units of the stream.
    size: (width, height) of the first frame.
    failed: whether the decoder refused a packet.
    unsteady: blocks that random access has failed to give; they are decoded from the first frame on.
  """

  position: np.ndarray
  checksum: np.ndarray
  key: np.ndarray
  damaged: np.ndarray
  stamps: list[int | None]
  size: tuple[int, int]
  failed: bool
  unsteady: set[int] = dataclasses.field(default_factory=set)

  @property
  def starts(self) -> np.ndarray:
    """Packets at which decoding may begin: all frames from there on are shown after all before."""
    n = len(self.position)
    order = np.argsort(self.position, kind="stable")
    latest = np.maximum.accumulate(order)  # index of the frame shown last among those before
    earliest = np.minimum.accumulate(order[::-1])[::-1]
    clean = np.append(True, latest[:-1] < earliest[1:]) & self.key[order] if n else np.zeros(0, bool)
    return np.unique(np.append(0, self.position[order][clean])).astype(np.int64)


class Memory:
  """What is known of files: PROVEN, DAMAGED, or what decoding them whole gave."""

  def __init__(self, limit: int = _REMEMBERED):
    """
    Args:
      limit: frames of all files together; those of files that were asked for long ago are forgotten first.
    """
    self._limit, self._used, self._lock = limit, 0, threading.Lock()
    self._known: OrderedDict[Hashable, "Whole | str"] = OrderedDict()

  def get(self, source: Hashable) -> "Whole | str | None":
    with self._lock:
      if source in self._known:
        self._known.move_to_end(source)
      return self._known.get(source)

  def put(self, source: Hashable, found: "Whole | str") -> None:
    with self._lock:
      self._used += _weight(found) - _weight(self._known.pop(source, None))
      self._known[source] = found
      while self._used > self._limit and len(self._known) > 1:
        self._used -= _weight(self._known.popitem(last=False)[1])

  def clear(self) -> None:
    with self._lock:
      self._known.clear()
      self._used = 0


memory = Memory()


def identity(source: str | os.PathLike | bytes) -> Hashable:
  """What tells a file, as it is now, from every other."""
  if isinstance(source, bytes):
    return len(source), hash(source)
  stat = os.stat(source)
  return os.path.abspath(os.fspath(source)), stat.st_size, stat.st_mtime_ns, stat.st_ino


def frames(container: av.container.InputContainer, stream: av.VideoStream, failures: list[int]
           ) -> Iterator[tuple[int, av.VideoFrame]]:
  """(number of its packet, frame) of every frame of a stream that was just opened, in order.

  Args:
    container: of the stream.
    stream: its time stamps and packets stay as they are.
    failures: takes the numbers of packets that the decoder refuses.
  """
  decoder = stream.codec_context
  decoder.flags |= _COPY_OPAQUE
  latest = 0
  for number, packet in enumerate(itertools.chain(packets(container, stream), [None])):
    if packet is not None:
      packet.opaque = number
    try:
      found = decoder.decode(packet)
    except av.FFmpegError:
      failures.append(number)
      continue
    for frame in found:
      latest = frame.opaque if frame.opaque is not None else latest  # a packet's number comes with its first frame only
      yield latest, frame


def packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
  """The stream's packets up to its end or to the first that cannot be read."""
  try:
    for p in container.demux(stream):
      if p.size:
        yield p
  except (av.FFmpegError, EOFError):
    return


def read(opened: Callable[..., tuple[av.container.InputContainer, av.VideoStream]]) -> Whole:
  """Decodes a stream from its first packet to its last; once more where something in it is damaged.

  What a decoder leaves in damaged parts may be what happened to lie in memory. Here a few
  frames are held while the next are decoded, which random access does not do: such
  parts differ between the two, and so does the checksum.

  Args:
    opened: (strict=...) -> the container and its stream, just opened.

  Raises:
    ValueError: nothing can be decoded.
  """
  damage: list[int] = []
  for strict in (True, False):
    rows, stamps, failures, size = [], [], [], None
    held: deque[av.VideoFrame] = deque(maxlen=_HELD)
    container, stream = opened(strict=strict)
    with container:
      for position, frame in frames(container, stream, failures):
        held.append(frame)
        rows.append((position, checksum(frame), frame.key_frame))
        stamps.append(frame.pts)
        size = size or (frame.width, frame.height)
        if frame.is_corrupt:
          damage.append(position)
    damage += failures
    if not damage:
      break
  if not rows:
    raise ValueError("none of its frames can be decoded")
  position, sums, key = (np.array(column) for column in zip(*rows))
  return Whole(position, sums.astype(np.uint32), key, _spoilt(position, key, damage), stamps, size, bool(failures))


def _spoilt(position: np.ndarray, key: np.ndarray, damage: list[int]) -> np.ndarray:
  """(N,) bool: whether a frame comes from a damaged packet, or from one between that and the next key frame."""
  spoilt, keys = np.zeros(len(position), bool), np.sort(position[key])
  for p in set(damage):
    if p < position.min():
      continue  # the decoder has passed over it
    after = np.searchsorted(keys, p, side="right")
    end = keys[after] if after < len(keys) else position.max() + 1
    spoilt |= (position >= p) & ((position < end) | (np.arange(len(position)) < np.argmax(position == end)))
  return spoilt


def checksum(frame: av.VideoFrame) -> int:
  """Of a frame's pixels and size."""
  value = zlib.crc32(f"{frame.width}x{frame.height} {frame.format.name}".encode())
  for plane, used in zip(frame.planes, _row_bytes(frame.format.name, frame.width, frame.height)):
    rows = np.frombuffer(plane, np.uint8)
    if used < plane.line_size:
      rows = np.ascontiguousarray(rows[:plane.height * plane.line_size].reshape(plane.height, -1)[:, :used])
    value = zlib.crc32(rows, value)
  return value


@functools.lru_cache
def _row_bytes(name: str, width: int, height: int) -> list[int]:
  """Bytes of a row of each plane that are pixels; what follows them is the decoder's own."""
  used: dict[int, int] = {}
  for c in av.VideoFormat(name, width, height).components:
    used[c.plane] = used.get(c.plane, 0) + c.width * -(-c.bits // 8)
  return [used[i] for i in sorted(used)]


def _weight(found: "Whole | str | None") -> int:
  return 1 + len(found.position) if isinstance(found, Whole) else int(found is not None)
