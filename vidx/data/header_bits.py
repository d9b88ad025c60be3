"""Numbers in the first bits of packets, and what they come to."""

import dataclasses


class Unclear(ValueError):
  """Raised where headers say nothing that could be relied on: damaged, rare, or not as the packet before."""


@dataclasses.dataclass(frozen=True)
class Head:
  """One packet.

  Attributes:
    key: whether decoding may begin here.
    shown: whether it gives a frame.
    rank: frames are shown in ascending order of it, over all packets that a reader has been given.
  """

  key: bool
  shown: bool
  rank: tuple[int, int]


class Bits:
  """Reads numbers from bytes, bit by bit.

  Args:
    data: of which the first `limit` bytes are looked at.
    escaped: whether 0, 0, 3 stands for 0, 0, as in NAL units.
  """

  def __init__(self, data: bytes, limit: int = 64, escaped: bool = False):
    data = data[:limit]
    if escaped:
      data = data.replace(b"\0\0\3", b"\0\0")
    self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

  def take(self, count: int) -> int:
    """An unsigned number of `count` bits."""
    self._left -= count
    if self._left < 0:
      raise Unclear("a header ends early")
    return (self._value >> self._left) & ((1 << count) - 1)

  def golomb(self) -> int:
    """An unsigned number in Exp-Golomb code."""
    rest = self._value & ((1 << self._left) - 1)
    zeros = self._left - rest.bit_length()
    if zeros > 31:
      raise Unclear("a header holds no number")
    self.take(zeros)
    return self.take(zeros + 1) - 1
