"""Headers of H.264 in containers that keep NAL units by their length (mp4, Matroska).

Only what most files hold is read: frames, not fields; one set of parameters, the same
all along; no gaps in the numbers of reference frames. All else is `Unclear`.
"""

from collections.abc import Iterator

from vidx.data.header_bits import Bits, Head, Unclear

_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134)


def nals(data: bytes, width: int) -> Iterator[bytes]:
  at = 0
  while at < len(data):
    start = at + width
    at = start + int.from_bytes(data[at:start], "big")
    if not start < at <= len(data):
      raise Unclear("the lengths of its parts do not add up")
    yield data[start:at]


class Order:
  """The order in which frames are shown, from the low bits of their picture order counts."""

  def __init__(self, bits: int):
    self._range, self._high, self._low, self._sequence = 1 << bits, 0, None, 0

  def rank(self, low: int, restart: bool, anchor: bool) -> tuple[int, int]:
    """Rank of a frame; `anchor`: whether the next frame counts from this one."""
    if restart:
      self._sequence, self._high, self._low = self._sequence + 1, 0, 0
    elif self._low is None:
      self._low = low
    high = self._high
    if low < self._low and self._low - low >= self._range // 2:
      high += self._range
    elif low > self._low and low - self._low > self._range // 2:
      high -= self._range
    if anchor:
      self._high, self._low = high, low
    return self._sequence, high + low


class H264:
  """Reads packets of H.264 in order; see `headers.reader`.

  Attributes:
    delay: frames that the decoder holds back, as far as the parameters say.
  """

  def __init__(self, extradata: bytes, middle: bool):
    sets = _avcc(extradata)
    if len(sets) != 2 or sets[0][0] & 31 != 7 or sets[1][0] & 31 != 8:
      raise Unclear("several sets of parameters, or none")
    self._sets, self._width = sets, (extradata[4] & 3) + 1
    self._read_parameters(Bits(sets[0][1:], 256, escaped=True))
    self._pps = Bits(sets[1][1:], escaped=True).golomb()
    self._numbers = 1 << self._number_bits
    self._reference, self._count = (None if middle else 0), 0

  def _read_parameters(self, bits: Bits) -> None:
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _HIGH_PROFILES:
      if bits.golomb() == 3:
        bits.take(1)
      bits.golomb(), bits.golomb(), bits.take(1)
      if bits.take(1):
        raise Unclear("scaling lists")
    self._number_bits = bits.golomb() + 4
    kind = bits.golomb()
    if kind not in (0, 2):
      raise Unclear("a rare way to count pictures")
    self._order_bits = bits.golomb() + 4 if kind == 0 else 0
    self._order = Order(self._order_bits)
    bits.golomb()
    gaps = bits.take(1)
    bits.golomb(), bits.golomb()
    if gaps or not bits.take(1) or self._number_bits > 16 or self._order_bits > 16:
      raise Unclear("gaps, or fields")
    bits.take(1)
    if bits.take(1):
      for _ in range(4):  # cropping
        bits.golomb()
    self.delay = _delay(bits) if bits.take(1) else 0

  def __call__(self, data: bytes) -> Head:
    found, recovery = None, False
    for nal in nals(data, self._width):
      kind = nal[0] & 31
      if nal[0] & 128:
        raise Unclear("a damaged part")
      if kind in (1, 5):
        head = self._slice(nal)
        if found is None:
          found, intra = head[:-1], head[-1]
        elif found != head[:-1]:
          raise Unclear("parts of different frames")
        else:
          intra = intra and head[-1]
      elif kind == 6:
        recovery = recovery or _recovers(nal)
      elif kind in (7, 8):
        if nal not in self._sets:
          raise Unclear("parameters that change")
      elif kind not in (9, 12):
        raise Unclear("an unknown part")
    if found is None:
      raise Unclear("no frame")
    restart, refers, number, low = found
    expected = 0 if restart else number if self._reference is None else (self._reference + 1) % self._numbers
    if number != expected:
      raise Unclear("numbers of frames with a gap")
    if refers:
      self._reference = number
    self._count += 1
    if not self._order_bits:
      return Head(restart or recovery and intra, True, (0, self._count))
    return Head(restart or recovery and intra, True, self._order.rank(low, restart, refers))

  def _slice(self, nal: bytes) -> tuple[bool, bool, int, int, bool]:
    """(starts anew, is referred to, number, low bits of its place, has no motion)."""
    restart, refers = nal[0] & 31 == 5, bool(nal[0] & 96)
    bits = Bits(nal[1:], 32, escaped=True)
    bits.golomb()
    kind = bits.golomb()
    if bits.golomb() != self._pps or kind > 9 or restart and not (refers and kind % 5 == 2):
      raise Unclear("a damaged frame")
    number = bits.take(self._number_bits)
    if restart:
      bits.golomb()
    return restart, refers, number, bits.take(self._order_bits) if self._order_bits else 0, kind % 5 == 2


def _delay(bits: Bits) -> int:
  """Frames that the decoder waits for by its parameters' word on usability, 0 where they say nothing."""
  if bits.take(1) and bits.take(8) == 255:
    bits.take(32)
  if bits.take(1):
    bits.take(1)
  if bits.take(1):
    bits.take(4)
    if bits.take(1):
      bits.take(24)
  if bits.take(1):
    bits.golomb(), bits.golomb()
  if bits.take(1):
    bits.take(65)
  if bits.take(2):  # buffers of a channel, whose description comes between
    return 0
  bits.take(1)
  if not bits.take(1):
    return 0
  bits.take(1)
  for _ in range(4):
    bits.golomb()
  return bits.golomb()


def _avcc(data: bytes) -> list[bytes]:
  """Parameter sets of an avcC box."""
  if len(data) < 7 or data[0] != 1:
    raise Unclear("no parameters")
  sets, at = [], 6
  for count in (data[5] & 31, None):
    if count is None:
      count, at = (data[at] if at < len(data) else 0), at + 1
    for _ in range(count):
      size = int.from_bytes(data[at:at + 2], "big")
      sets.append(data[at + 2:at + 2 + size])
      at += 2 + size
      if size < 4 or at > len(data):
        raise Unclear("damaged parameters")
  return sets


def _recovers(nal: bytes) -> bool:
  """Whether an SEI unit says that decoding may begin here with this very frame."""
  data, at = nal.replace(b"\0\0\3", b"\0\0"), 1
  while at + 2 < len(data):
    kind, size = data[at], data[at + 1]
    if kind == 6:
      return bool(data[at + 2] & 128)
    if kind == 255 or size == 255:
      return False  # long texts, such as x264's settings
    at += 2 + size
  return False
