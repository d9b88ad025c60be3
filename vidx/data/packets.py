"""Which packets of a video file hold which frames, found without decoding.

A file is cut, in decoding order, into blocks that begin at a key frame. Frames of
a block are shown after all frames of the blocks before it, so a frame's block
follows from counts alone, and only the packets of blocks that are asked for are
read. Inside a block packets are shown in the order of their time stamps. Where a
container's time stamps do not tell (AVI, VP8's hidden frames), a pass of decoding
without pixels does.
"""

from collections.abc import Iterator
import dataclasses
import functools
import itertools
from typing import BinaryIO

import av
import numpy as np

_KEPT_BLOCKS = 64  # of 8 to 250 packets each
_KEPT_BYTES = 64 << 20  # packets of longer files are read again when they are wanted
_SMALLEST_FRAME = 20  # bytes; an MPEG-4 packet below this may show nothing
_TIMED = ("mov", "matroska")  # formats whose time stamps are those of the frames


@dataclasses.dataclass(frozen=True)
class Block:
  """A key frame and what is decoded before the next one.

  Attributes:
    start: decoding position of the first packet in the file.
    packets: in decoding order; `pts` of each is its decoding position, so that a
      decoded frame tells which packet it came from.
    order: decoding positions of the block's frames as they are shown.
  """

  start: int
  packets: tuple[av.Packet, ...]
  order: tuple[int, ...]

  @functools.cached_property
  def leading(self) -> frozenset[int]:
    """Positions of frames that are shown before the key frame and so need the block before."""
    return frozenset(self.order[:self.order.index(self.start)] if self.start in self.order else ())


@dataclasses.dataclass(frozen=True)
class _Table:
  """Every packet of the stream in decoding order; `pts` is None until packets are read."""

  key: np.ndarray
  shown: np.ndarray
  place: list[int]
  dts: list[int | None]
  size: np.ndarray
  pts: list[int | None] | None = None


class PacketIndex:
  """Finds and reads the packets of frames.

  Attributes:
    num_frames: frames that decoding the whole stream yields.
    num_blocks: blocks of the stream.
    skippable: whether frames that nothing refers to may be kept from the decoder.
  """

  def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, head: BinaryIO, size: int):
    """
    Args:
      container: just opened.
      stream: its video.
      head: the file, for its layout.
      size: of the file in bytes.

    Raises:
      ValueError: the file is cut off or holds no frames; the message says which.
    """
    self._container, self._stream = container, stream
    self._kept: list[av.Packet] | None = None
    kind = container.format.name.split(",")[0]
    table = self._listed(head, size) if kind == "mov" else None
    self._table = table or self._read_all(kind, head, size)
    starts = np.flatnonzero(self._table.key)
    self._starts = np.unique(np.append(0, starts))
    self._ends = np.append(self._starts[1:], len(self._table.key))
    # Packets of MPEG-4 may hold two frames, then one that shows nothing; they hang together.
    self.skippable = stream.codec_context.name != "mpeg4" or self._table.size.min() >= _SMALLEST_FRAME
    self._orders = None if self._times_tell(kind) else self._orders_by_decoding()
    self._pts: dict[int, int] = {}
    self._blocks: dict[int, Block] = {}
    counts = np.add.reduceat(self._table.shown, self._starts) if len(self._table.key) else np.zeros(1)
    self._first = np.append(0, np.cumsum(counts)).astype(np.int64)
    self.num_frames, self.num_blocks = int(self._first[-1]), len(self._starts)
    if not self.num_frames:
      raise ValueError("it holds no video frames")

  def block_of(self, frame: int) -> int:
    """The block that a frame belongs to."""
    return int(np.searchsorted(self._first, frame, side="right")) - 1

  def position(self, frame: int) -> int:
    """The decoding position of a frame."""
    b = self.block_of(frame)
    return self.block(b).order[frame - int(self._first[b])]

  def block(self, b: int) -> Block:
    """A block's packets, read now if they were not kept.

    Raises:
      ValueError: they cannot be read.
    """
    if b not in self._blocks:
      if len(self._blocks) >= _KEPT_BLOCKS:
        del self._blocks[next(iter(self._blocks))]
      self._blocks[b] = self._load(b)
    return self._blocks[b]

  def _load(self, b: int) -> Block:
    start, end = int(self._starts[b]), int(self._ends[b])
    packets = tuple(self._kept[start:end] if self._kept else self._read(start, end))
    stamps = self._table.pts[start:end] if self._table.pts else [p.pts for p in packets]
    self._pts.update(zip(range(start, end), stamps))
    for i, p in enumerate(packets, start):
      p.pts = i
    if self._orders is not None:
      return Block(start, packets, self._orders[b])
    shown = (i for i in range(start, end) if self._table.shown[i])
    return Block(start, packets, tuple(sorted(shown, key=self._pts.__getitem__)))

  @functools.cached_property
  def timestamps(self) -> np.ndarray:
    """(num_frames,) seconds since the first frame, ascending."""
    shown = []
    for b in range(self.num_blocks):
      shown += [self._pts[i] for i in self.block(b).order]
    if self._orders is not None:  # such a container stamps packets, not frames
      shown = sorted(shown) if None not in shown else list(range(len(shown)))
    seconds = np.array(shown, np.float64) * float(self._stream.time_base)
    return seconds - seconds[0]

  @property
  def timed(self) -> bool:
    """Whether `timestamps` costs no reading."""
    return self._table.pts is not None

  @property
  def first_pts(self) -> int:
    """Time stamp of the first frame in units of the stream."""
    return self._pts[self.block(0).order[0]] or 0

  def _listed(self, head: BinaryIO, size: int) -> _Table | None:
    """From the container's own list of packets, None where that is not the whole."""
    entries = [(e.is_keyframe, not e.is_discard, e.pos, e.timestamp, e.size) for e in self._stream.index_entries]
    if not entries or not self._stream.frames or b"moof" in _boxes(head, size):
      return None
    key, shown, place, dts, sizes = zip(*entries)
    if len(set(place)) < len(place):  # an edit list that shows a part twice
      return None
    whole = sum(p + s <= size for p, s in zip(place, sizes))
    if whole < len(entries):
      raise ValueError(f"it is cut off: {whole} of its {len(entries)} frames are there")
    return _Table(np.array(key), np.array(shown), list(place), list(dts), np.array(sizes))

  def _read_all(self, kind: str, head: BinaryIO, size: int) -> _Table:
    """By reading every packet once; those of short files are kept."""
    self._kept = []
    rows, total = [], 0
    for p in _packets(self._container, self._stream):
      rows.append((p.is_keyframe, not p.is_discard, p.pos, p.dts, p.size, p.pts))
      total += p.size
      if self._kept is not None:
        self._kept.append(p)
        if total > _KEPT_BYTES:
          self._kept = None
    if not rows:
      raise ValueError("it holds no video frames")
    declared = self._stream.frames
    if _declared_size(kind, head) > size and not len(rows) >= declared > 0:
      raise ValueError(f"it is cut off: {len(rows)} of its {declared or 'unknown number of'} frames are there")
    key, shown, place, dts, sizes, pts = zip(*rows)
    return _Table(np.array(key), np.array(shown), list(place), list(dts), np.array(sizes), list(pts))

  def _read(self, start: int, end: int) -> list[av.Packet]:
    """Packets from the file: seeks to the block, or before it, and reads on."""
    t, count = self._table, end - start
    places = t.place[start:end]
    target = t.dts[start] if t.dts[start] is not None else t.pts[start]
    for seek in (target, 0 if target > 0 else target * 2):
      self._container.seek(seek, stream=self._stream)
      following = itertools.dropwhile(lambda p: p.pos != places[0], _packets(self._container, self._stream))
      found = list(itertools.islice(following, count))
      if [p.pos for p in found] == places:
        return found
    raise ValueError(f"its packets {start} to {end - 1} cannot be read")

  def _times_tell(self, kind: str) -> bool:
    codec, t = self._stream.codec_context.name, self._table
    if kind not in _TIMED or codec == "vp8" or not self.skippable:
      return False
    return t.pts is None or (None not in t.pts and len(set(t.pts)) == len(t.pts) and _blocks_follow(t, self._starts))

  def _orders_by_decoding(self) -> list[tuple[int, ...]]:
    """Positions in the order of decoded frames, by block; blocks that mix become one."""
    if self._kept is None:
      self._container.seek(self._table.dts[0] or 0, stream=self._stream)
    decoder = av.CodecContext.create(self._stream.codec_context.name, "r")
    own = self._stream.codec_context
    decoder.extradata, decoder.width, decoder.height = own.extradata, own.width, own.height
    decoder.codec_tag = own.codec_tag
    decoder.options = {"skip_idct": "all", "skip_loop_filter": "all"}
    decoder.thread_count = 1
    order = []
    packets = self._kept or _packets(self._container, self._stream)
    for i, p in enumerate(itertools.chain(packets, [None])):
      stamp = p.pts if p is not None else None
      if p is not None:
        p.pts = i
      order += [f.pts for f in decode(decoder, p)]
      if p is not None:
        p.pts = stamp
    shown = np.zeros(len(self._table.key), bool)
    shown[order] = True
    self._table.shown[:] = shown
    block = np.searchsorted(self._starts, order, side="right") - 1
    if np.any(np.diff(block) < 0):
      self._starts, self._ends = self._starts[:1], self._ends[-1:]
      return [tuple(order)]
    return [tuple(np.array(order)[block == b].tolist()) for b in range(len(self._starts))]


def decode(decoder: av.CodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
  """The frames that a packet sets free, none where it is damaged."""
  try:
    return decoder.decode(packet)
  except av.FFmpegError:
    return []


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
  """The stream's packets up to its end or to the first that cannot be read."""
  try:
    for p in container.demux(stream):
      if p.size:
        yield p
  except (av.FFmpegError, EOFError):
    return


def _blocks_follow(table: _Table, starts: np.ndarray) -> bool:
  """Whether every block is shown wholly before the next."""
  pts = np.array(table.pts)
  high, low = np.maximum.reduceat(pts, starts), np.minimum.reduceat(pts, starts)
  return bool(np.all(high[:-1] < low[1:]))


def _boxes(head: BinaryIO, size: int) -> set[bytes]:
  """Names of the outermost boxes of an mp4 file, as far as its end or a first fragment."""
  names, at = set(), 0
  while at + 8 <= size and b"moof" not in names:
    head.seek(at)
    start = head.read(16)
    length = int.from_bytes(start[:4], "big")
    if length == 1:
      length = int.from_bytes(start[8:16], "big")
    names.add(start[4:8])
    if length < 8:
      break
    at += length
  return names


def _declared_size(kind: str, head: BinaryIO) -> int:
  """Bytes that the file should have by its own word, 0 where it does not say."""
  head.seek(0)
  start = head.read(256)
  if kind == "avi":
    return int.from_bytes(start[4:8], "little") + 8
  segment = start.find(b"\x18\x53\x80\x67")
  if kind != "matroska" or segment < 0 or segment + 12 > len(start):
    return 0
  width = 9 - start[segment + 4].bit_length()
  length = int.from_bytes(start[segment + 4:segment + 4 + width], "big") & ((1 << 7 * width) - 1)
  unknown = length == (1 << 7 * width) - 1
  return 0 if unknown else segment + 4 + width + length
