"""What the packets of a video say of their frames in their first bits, read without decoding.

A container's table of key frames and time stamps is a copy of what the stream itself
says, and copies go wrong: remuxing, cutting and lost indices leave key flags on frames
that need others and time stamps in decoding order. The headers cost microseconds.
"""

from collections.abc import Callable

from vidx.data import h264_headers
from vidx.data import hevc_headers
from vidx.data.header_bits import Bits, Head, Unclear

_WHOLE_PICTURES = ("prores", "dnxhd")  # codecs in which every packet is one frame of its own


def reader(codec: str, extradata: bytes | None, middle: bool = False) -> Callable[[bytes], Head] | None:
  """A function of the packets of a stream, to be called in decoding order from a key frame on.

  Args:
    codec: name of the decoder.
    extradata: of the stream.
    middle: whether there are packets before the first that it will be given.

  Returns:
    f(packet) -> Head, which raises Unclear; None where the codec's headers are not known.

  Raises:
    Unclear: the extradata are damaged or of a rare kind.
  """
  if codec == "h264":
    return h264_headers.H264(extradata or b"", middle)
  if codec == "hevc":
    return hevc_headers.Hevc(extradata or b"", middle)
  if codec in _WHOLE_PICTURES:
    return _Counted(lambda data: (True, True))
  kinds = {"vp8": _vp8, "vp9": _vp9, "libdav1d": _Av1}
  if codec not in kinds:
    return None
  return _Counted(kinds[codec]() if codec == "libdav1d" else kinds[codec])


class _Counted:
  """Packets whose frames are shown in the order in which they are decoded."""

  def __init__(self, look: Callable[[bytes], tuple[bool, bool]]):
    self._look, self._count = look, 0

  def __call__(self, data: bytes) -> Head:
    key, shown = self._look(data)
    self._count += 1
    return Head(key, shown, (0, self._count))


def _vp8(data: bytes) -> tuple[bool, bool]:
  key = not data[0] & 1
  if len(data) < 4 or key and data[3:6] != b"\x9d\x01\x2a":
    raise Unclear("a damaged VP8 frame")
  return key, bool(data[0] >> 4 & 1)


def _vp9(data: bytes) -> tuple[bool, bool]:
  """Of a superframe, the first frame says where decoding may begin; one may be shown."""
  found = [_vp9_frame(frame) for frame in _superframe(data)]
  if sum(shown for _, shown in found) > 1:
    raise Unclear("a packet that shows two frames")
  return found[0][0], any(shown for _, shown in found)


def _superframe(data: bytes) -> list[bytes]:
  """The frames of a VP9 packet (its annex B)."""
  mark = data[-1]
  if mark & 0xe0 != 0xc0:
    return [data]
  width, count = (mark >> 3 & 3) + 1, (mark & 7) + 1
  index = data[-2 - width * count:]
  if len(index) < 2 + width * count or index[0] != mark:
    return [data]
  frames, at = [], 0
  for i in range(count):
    size = int.from_bytes(index[1 + width * i:1 + width * (i + 1)], "little")
    frames.append(data[at:at + size])
    at += size
    if not size or at > len(data) - len(index):
      raise Unclear("a damaged VP9 packet")
  return frames


def _vp9_frame(data: bytes) -> tuple[bool, bool]:
  bits = Bits(data, 8)
  if bits.take(2) != 2:
    raise Unclear("a damaged VP9 frame")
  profile = bits.take(1) + 2 * bits.take(1)
  if profile == 3 and bits.take(1):
    raise Unclear("an unknown profile of VP9")
  if bits.take(1):  # an earlier frame is shown now
    return False, True
  key, shown = not bits.take(1), bool(bits.take(1))
  bits.take(1)
  if key and bits.take(24) != 0x498342:
    raise Unclear("a damaged VP9 key frame")
  return key, shown


class _Av1:
  """Looks into the OBUs of an AV1 packet; keeps the sequence header, which must stay as it is."""

  def __init__(self):
    self._sequence: bytes | None = None

  def __call__(self, data: bytes) -> tuple[bool, bool]:
    found, begins = [], False
    for kind, unit in _units(data):
      if kind == 1:
        if self._sequence not in (None, unit) or unit[0] >> 3 & 1:
          raise Unclear("a sequence header that changes")
        self._sequence, begins = unit, True
      elif kind in (3, 6):
        bits = Bits(unit, 4)
        if bits.take(1):
          found.append((False, True))
        else:
          key = not bits.take(2)
          shown = bool(bits.take(1))
          found.append((key and shown, shown))
      elif kind not in (2, 4, 5, 7, 15):
        raise Unclear("an unknown part of an AV1 packet")
    if self._sequence is None or not found or sum(shown for _, shown in found) > 1:
      raise Unclear("an AV1 packet without a frame, or with several")
    return found[0][0] and begins, any(shown for _, shown in found)


def _units(data: bytes) -> list[tuple[int, bytes]]:
  """(type, content) of the OBUs of an AV1 packet."""
  units, at = [], 0
  while at < len(data):
    head = data[at]
    at += 2 if head & 4 else 1
    size = len(data) - at
    if head & 2:
      size = shift = 0
      while True:
        if at >= len(data) or shift > 28:
          raise Unclear("a damaged AV1 packet")
        size |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
          break
    if head & 0x81 or at + size > len(data):
      raise Unclear("a damaged AV1 packet")
    units.append((head >> 3 & 15, data[at:at + size]))
    at += size
  return units
