"""Headers of H.265 in containers that keep NAL units by their length (mp4, Matroska).

One set of parameters, the same all along, one layer, and no frame that refers to one
that is not there; all else is `Unclear`.
"""

from vidx.data.h264_headers import nals, Order
from vidx.data.header_bits import Bits, Head, Unclear


class Hevc:
  """Reads packets of H.265 in order; see `headers.reader`."""

  def __init__(self, extradata: bytes, middle: bool):
    self._sets = _hvcc(extradata)
    if sorted(n[0] >> 1 & 63 for n in self._sets) != [32, 33, 34]:
      raise Unclear("several sets of parameters, or none")
    self._width = (extradata[21] & 3) + 1
    by_kind = {n[0] >> 1 & 63: n for n in self._sets}
    self._read_sequence(Bits(by_kind[33][2:], 256, escaped=True))
    bits = Bits(by_kind[34][2:], escaped=True)
    self._pps = bits.golomb()
    bits.golomb()
    bits.take(1)
    self._output_said, self._extra = bits.take(1), bits.take(3)
    self._order = Order(self._order_bits)
    self._middle, self._leads = middle, False
    self._held: set[int] | None = None if middle else set()

  def _read_sequence(self, bits: Bits) -> None:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1)
    bits.take(88)  # profile and tier
    bits.take(8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
      bits.take(2 * (8 - layers))
    for profile, level in present:
      bits.take(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:
      raise Unclear("colour planes of their own")
    bits.golomb(), bits.golomb()
    if bits.take(1):
      for _ in range(4):
        bits.golomb()
    bits.golomb(), bits.golomb()
    self._order_bits = bits.golomb() + 4
    if self._order_bits > 16:
      raise Unclear("damaged parameters")
    for _ in range(layers + 1 if bits.take(1) else 1):
      bits.golomb(), bits.golomb(), bits.golomb()
    for _ in range(6):
      bits.golomb()
    if bits.take(1) and bits.take(1):
      raise Unclear("scaling lists")
    bits.take(2)
    if bits.take(1):
      bits.take(8)
      bits.golomb(), bits.golomb(), bits.take(1)
    self._reference_sets: list[dict[int, bool]] = []
    for _ in range(bits.golomb()):
      self._reference_sets.append(self._reference_set(bits, len(self._reference_sets), 0))
    if bits.take(1):
      raise Unclear("references of long term")

  def __call__(self, data: bytes) -> Head:
    found = None
    for nal in nals(data, self._width):
      if len(nal) < 3 or nal[0] & 129 or nal[1] & 248 or not nal[1] & 7:
        raise Unclear("a damaged part, or one of a second layer")
      kind = nal[0] >> 1
      if kind <= 9 or 19 <= kind <= 21:
        first = nal[2] >> 7
        if first != (found is None) or found and found[0] != kind:
          raise Unclear("parts of different frames")
        if first:
          found = kind, self._slice(kind, nal), nal[1] & 7
      elif 32 <= kind <= 34:
        if nal not in self._sets:
          raise Unclear("parameters that change")
      elif kind not in (35, 38, 39, 40):
        raise Unclear("an unknown part")
    if found is None:
      raise Unclear("no frame")
    kind, (low, references), layer = found
    key, restart = kind >= 19, kind in (19, 20)
    if kind in (8, 9) and not self._leads:
      raise Unclear("frames that need some before the first")
    if key:
      self._leads, self._middle = kind == 21 and self._middle, True
    anchor = layer == 1 and not (kind in (6, 7, 8, 9) or kind < 16 and kind % 2 == 0)
    rank = self._order.rank(low, restart, anchor)
    self._keep(rank, references, restart)
    return Head(key, True, rank)

  def _keep(self, rank: tuple[int, int], references: dict[int, bool] | None, restart: bool) -> None:
    """Follows what the decoder still holds; each frame says what it refers to and what is to be kept."""
    place = rank[1]
    if restart:
      self._held = set()
    elif self._held is None:  # from the middle on: what is held is not known
      self._held = {place + d for d in references}
    used = {place + d for d, now in references.items() if now}
    if used - self._held or place in self._held:
      raise Unclear("a frame that refers to one that is not there")
    self._held = {h for h in self._held if h - place in references} | {place}

  def _slice(self, kind: int, nal: bytes) -> tuple[int, dict[int, bool]]:
    """Low bits of a frame's place, and its references."""
    bits = Bits(nal[2:], 64, escaped=True)
    bits.take(1)
    if kind >= 16 and bits.take(1) or bits.golomb() != self._pps:
      raise Unclear("frames that are dropped")
    bits.take(self._extra)
    if bits.golomb() > 2 or self._output_said and not bits.take(1):
      raise Unclear("a damaged frame")
    if kind in (19, 20):
      return 0, {}
    low, sets = bits.take(self._order_bits), self._reference_sets
    if not bits.take(1):
      return low, self._reference_set(bits, len(sets), len(sets))
    chosen = bits.take((len(sets) - 1).bit_length()) if len(sets) > 1 else 0
    if chosen >= len(sets):
      raise Unclear("a damaged frame")
    return low, sets[chosen]

  def _reference_set(self, bits: Bits, index: int, count: int) -> dict[int, bool]:
    """{distance: whether this very frame refers to it} of a set of reference frames (H.265, 7.3.7, 7.4.8)."""
    if index and bits.take(1):
      source = self._reference_sets[index - 1 - (bits.golomb() if index == count else 0)]
      sign, size = bits.take(1), bits.golomb() + 1
      step = -size if sign else size
      found = {}
      for distance in [*source, 0]:
        now = bool(bits.take(1))
        if now or bits.take(1):
          found[distance + step] = now
      before = sorted((d for d in found if d < 0), reverse=True)
      return {d: found[d] for d in [*before, *sorted(d for d in found if d > 0)]}
    counts = bits.golomb(), bits.golomb()
    if sum(counts) > 16:
      raise Unclear("damaged references")
    found = {}
    for sign, n in zip((-1, 1), counts):
      at = 0
      for _ in range(n):
        at += sign * (bits.golomb() + 1)
        found[at] = bool(bits.take(1))
    return found


def as_references(data: bytes, extradata: bytes) -> bytes:
  """A packet whose frame claims to be referred to, so that no decoder passes over its header."""
  out, at, width = bytearray(data), 0, (extradata[21] & 3) + 1
  for nal in nals(data, width):
    if nal[0] >> 1 < 10:
      out[at + width] |= 2
    at += width + len(nal)
  return bytes(out)


def _hvcc(data: bytes) -> list[bytes]:
  """Parameter sets of an hvcC box."""
  if len(data) < 23 or data[0] != 1:
    raise Unclear("no parameters")
  sets, at = [], 23
  for _ in range(data[22]):
    if at + 3 > len(data):
      raise Unclear("damaged parameters")
    kind, count = data[at] & 63, int.from_bytes(data[at + 1:at + 3], "big")
    at += 3
    for _ in range(count):
      size = int.from_bytes(data[at:at + 2], "big")
      if kind in (32, 33, 34):
        sets.append(data[at + 2:at + 2 + size])
      at += 2 + size
      if size < 4 or at > len(data):
        raise Unclear("damaged parameters")
  return sets
