"""Which packets of a video file hold which frames.

A file is cut, in decoding order, into blocks that begin at a key frame. Frames of
a block are shown after all frames of the blocks before it, so a frame's block
follows from counts alone, and only the packets of blocks that are asked for are
read. Inside a block packets are shown in the order of their time stamps.

A container is trusted where it keeps time stamps of frames (mp4, mov, Matroska, WebM)
and the packets' own headers agree with it: on key frames, on the order of frames, on
one frame per packet and, in H.264, on there being no gap between frames that others
refer to. The packets of a file of up to 64 MiB are all looked at when it is first
opened; of larger mp4 files those of a block, when it is first wanted. Every other file
is decoded whole, once (see `whole`), and that says which packet gives which frame.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import itertools
from typing import BinaryIO

import av
import numpy as np

from vidx.data import frame_times
from vidx.data import headers
from vidx.data import hevc_headers
from vidx.data.whole import packets as _packets
from vidx.data.whole import Whole
from vidx.terminal import counted

_KEPT_BLOCKS = 64  # of 8 to 250 packets each
_KEPT_BYTES = 64 << 20  # packets of longer files are read again when they are wanted
_SMALLEST_FRAME = 20  # bytes; an MPEG-4 packet below this may show nothing
_TIMED = ("mov", "matroska")  # formats whose time stamps are those of the frames
_SKIPPED = ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video")  # codecs whose decoder passes over frames exactly
_REORDERED = ("h264", "hevc")  # codecs whose decoder waits for as many frames as its parameters say


class Doubt(ValueError):
  """Raised where a container says other than its packets."""


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
    trusted: whether the container's word is taken; False: only decoding the whole tells.
    proven: whether all its packets were looked at for that.
    numbered: whether its time stamps could tell the order of frames.
    entangled: whether packets give several frames, so that all are decoded from the first on.
    skippable: whether frames that nothing refers to may be kept from the decoder.
  """

  def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, head: BinaryIO, size: int,
               known: Whole | str | None = None):
    """
    Args:
      container: just opened.
      stream: its video.
      head: the file, for its layout.
      size: of the file in bytes.
      known: as `whole.memory` has it; None: it is to be found out whether the container can be trusted.

    Raises:
      ValueError: the file is cut off or holds no frames; the message says which.
    """
    self._container, self._stream = container, stream
    self._kept: list[av.Packet] | None = None
    self._pts: dict[int, int] = {}
    self._blocks: dict[int, Block] = {}
    self._whole = known if isinstance(known, Whole) else None
    kind = container.format.name.split(",")[0]
    listed = self._listed(head, size) if kind == "mov" else None
    asks = not self._whole and (known is None or stream.codec_context.name == "vp8")  # which alone has hidden packets
    read = self._header_reader() if asks and kind in _TIMED else None
    brief = listed is not None and not self._whole and (known is not None or listed.size.sum() > _KEPT_BYTES)
    self._heads = None
    self._table = listed if brief else self._read_all(kind, head, size, read)
    self.proven = not brief
    self.numbered = kind in _TIMED and (self._table.pts is None or _distinct(self._table.pts))
    if self._whole or not self.numbered:
      self.trusted = False
    elif not asks:
      self.trusted = True
    else:
      self.trusted = read is not None if brief else self._agree(listed, read)
    self._unproven = brief and asks
    self._starts = self._whole.starts if self._whole else np.unique(np.append(0, np.flatnonzero(self._table.key)))
    self._ends = np.append(self._starts[1:], len(self._table.key))
    # Packets of MPEG-4 may hold two frames, then one that shows nothing; they hang together.
    codec = stream.codec_context.name
    self.skippable = codec in _SKIPPED and (codec != "mpeg4" or self._table.size.min() >= _SMALLEST_FRAME)
    self._orders = self._orders_of_whole() if self._whole else None
    self.entangled = self._whole is not None and len(set(self._whole.position.tolist())) < len(self._whole.position)
    counts = np.add.reduceat(self._table.shown, self._starts)
    self._first = np.append(0, np.cumsum(counts)).astype(np.int64)
    self.num_frames = len(self._whole.position) if self._whole else int(self._first[-1])
    self.num_blocks = len(self._starts)
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
    if self._unproven:
      self._prove(packets)
    stamps = self._table.pts[start:end] if self._table.pts else [p.pts for p in packets]
    self._pts.update(zip(range(start, end), stamps))
    for i, p in enumerate(packets, start):
      p.pts = i
    if self._orders is not None:
      return Block(start, packets, self._orders[b])
    shown = (i for i in range(start, end) if self._table.shown[i])
    return Block(start, packets, tuple(sorted(shown, key=self._pts.__getitem__)))

  @functools.cached_property
  def clock(self) -> np.ndarray:
    """(num_frames,) seconds at which frames are shown, ascending, by the file's own clock."""
    if self._whole:
      stamps = [self._table.dts[i] if s is None else s for i, s in zip(self._whole.position, self._whole.stamps)]
      in_file = [stamps[i] for i in np.argsort(self._whole.position)]
      if None not in stamps and all(a < b for a, b in itertools.pairwise(in_file)):
        stamps = in_file  # such a container stamps packets, not frames
    else:
      stamps = [self._pts[i] for b in range(self.num_blocks) for i in self.block(b).order]
    base = self._stream.time_base
    rate = self._stream.average_rate or self._stream.guessed_rate or 25
    return frame_times.ascending(stamps, float(1 / (rate * base))) * float(base)

  @property
  def timed(self) -> bool:
    """Whether `clock` costs no reading."""
    return self._table.pts is not None

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
      raise ValueError(f"it is cut off: {whole} of its {counted(len(entries), 'frame')} are there")
    return _Table(np.array(key), np.array(shown), list(place), list(dts), np.array(sizes))

  def _header_reader(self) -> Callable[[bytes], headers.Head] | None:
    codec = self._stream.codec_context
    try:
      return headers.reader(codec.name, codec.extradata)
    except headers.Unclear:
      return None

  def _read_all(self, kind: str, head: BinaryIO, size: int, read: Callable[[bytes], headers.Head] | None) -> _Table:
    """By reading every packet once, and its header where that is asked for; the packets of short files are kept."""
    self._kept, self._heads = [], [] if read else None
    rows, total = [], 0
    for p in _packets(self._container, self._stream):
      if self._heads is not None:
        try:
          self._heads.append(_head(p, read))
        except headers.Unclear:
          self._heads = None
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
      raise ValueError(f"it is cut off: {len(rows)} of its {counted(declared, 'frame') if declared else 'frames'} are"
                       " there")
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

  def _agree(self, listed: _Table | None, read: Callable[[bytes], headers.Head] | None) -> bool:
    """Whether container and headers say the same, all along the file."""
    t, heads = self._table, self._heads
    if heads is None or listed is not None and len(listed.key) != len(t.key) or not _consistent(heads, t.pts, t.key):
      return False
    t.shown[:] &= [h.shown for h in heads]
    starts = np.flatnonzero(t.key)
    if not _blocks_follow(np.array(t.pts), starts) or listed is not None and not np.array_equal(listed.key, t.key):
      return False
    if self._stream.codec_context.name not in _REORDERED:
      return self._stream.codec_context.name == "vp8" or bool(np.all([h.shown for h in heads]))
    self._stream.codec_context.open(strict=False)  # it reads the parameters of the stream
    if self._stream.codec_context.name == "hevc" and not self._headers_pass():
      return False
    place = np.argsort(np.argsort(t.pts))  # in the order of frames
    waits = np.arange(len(place)) - place
    return int(waits.max()) <= max(self._stream.codec_context.reorder_depth, getattr(read, "delay", 0))

  def _headers_pass(self) -> bool:
    """Whether the decoder accepts all headers: a frame whose header it does not is left out without a word."""
    decoder = self._stream.codec_context
    decoder.skip_frame = "NONINTRA"
    try:
      for p in self._kept or ():
        decoder.decode(av.Packet(hevc_headers.as_references(bytes(p), decoder.extradata)))
      return True
    except av.FFmpegError:
      return False
    finally:
      decoder.flush_buffers()
      decoder.skip_frame = "DEFAULT"

  def _prove(self, packets: Sequence[av.Packet]) -> None:
    """Raises Doubt where the packets of a block, just read, say other than the container."""
    codec = self._stream.codec_context
    try:
      read = headers.reader(codec.name, codec.extradata, middle=True)
      heads = [_head(p, read) for p in packets]
    except headers.Unclear as e:
      raise Doubt(str(e)) from None
    key = np.arange(len(heads)) == 0
    if not (all(h.shown for h in heads) and _consistent(heads, [p.pts for p in packets], key)):
      raise Doubt("its order")

  def _orders_of_whole(self) -> list[tuple[int, ...]]:
    """Decoding positions of each block's frames as they are shown."""
    position = self._whole.position
    self._table.shown[:] = False
    if len(position) and position.max() >= len(self._table.key):
      raise ValueError("its packets cannot be read again")
    self._table.shown[position] = True
    block = np.searchsorted(self._starts, position, side="right") - 1
    return [tuple(position[block == b].tolist()) for b in range(len(self._starts))]


def _head(packet: av.Packet, read: Callable[[bytes], headers.Head]) -> headers.Head:
  if packet.has_sidedata("new_extradata"):
    raise headers.Unclear("parameters that change")
  return read(bytes(packet))


def _consistent(heads: Sequence[headers.Head], pts: Sequence[int | None], key: np.ndarray) -> bool:
  """Whether time stamps tell the order of the headers, and key frames are such."""
  if not _distinct(pts) or not key[0] or not all(h.key for h, k in zip(heads, key) if k):
    return False
  ranks = [h.rank for h in heads]
  return len(set(ranks)) == len(ranks) and sorted(range(len(pts)), key=ranks.__getitem__) == np.argsort(pts).tolist()


def _distinct(pts: Sequence[int | None]) -> bool:
  return None not in pts and len(set(pts)) == len(pts)


def _blocks_follow(pts: np.ndarray, starts: np.ndarray) -> bool:
  """Whether every block is shown wholly before the next."""
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
