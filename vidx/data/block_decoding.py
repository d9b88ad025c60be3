"""Decoding from a key frame up to the last wanted packet, and looking at what comes out."""

from collections.abc import Callable, Collection, Iterator

import av

from vidx.data import packets


def decoded(index: packets.PacketIndex, decoder: av.VideoCodecContext, start: int, b: int,
            positions: Collection[int], skip: bool, watch: Callable[[av.VideoFrame], None] | None
            ) -> Iterator[tuple[int, av.VideoFrame]]:
  """(position, frame) of decoding positions in block b, decoding from the key frame of block `start`.

  Ends before the first damaged packet's frames: what refers to them is not exact.

  Args:
    index: of the file.
    decoder: of its video, at rest; it is again at the end.
    start: block.
    b: block.
    positions: wanted.
    skip: whether frames that nothing refers to are kept from the decoder unless they are wanted.
    watch: is shown everything that the decoder puts out; a packet that is refused is then a doubt as well.

  Raises:
    Doubt: there is a `watch`, and the decoder gives other than the container says.
  """
  last, wanted = max(positions), frozenset(positions)
  skipping = None
  exact = last + 1  # positions before it are so
  try:
    for i in range(start, b + 1):
      for p in index.block(i).packets:
        position = p.pts
        if position > last:
          break
        if index.skippable:  # other decoders read the setting once, when they open
          skip_now = skip and position not in wanted
          if skip_now is not skipping:
            decoder.skip_frame, skipping = ("NONREF" if skip_now else "DEFAULT"), skip_now
        try:
          found = decoder.decode(p)
        except av.FFmpegError:
          if watch:
            raise packets.Doubt("a packet is refused") from None
          exact, last, found = position, -1, []
        for frame in found:
          if watch:
            watch(frame)
          if frame.pts in wanted and not frame.is_corrupt:
            yield frame.pts, frame
    for frame in _drained(decoder):
      if watch:
        watch(frame)
      if frame.pts in wanted and frame.pts < exact and not frame.is_corrupt:
        yield frame.pts, frame
  finally:
    decoder.flush_buffers()


class Watch:
  """Looks at all that the decoder puts out, wanted or not, and doubts what the container said of it."""

  def __init__(self, index: packets.PacketIndex, start: int, b: int, size: tuple[int, int]):
    """
    Args:
      index: of the file.
      start: block that decoding begins with.
      b: block that it ends with.
      size: (width, height) of frames.
    """
    first = index.block(start)
    self._start, self._size, self._latest = first.start, size, -1
    self._loose = first.leading if start else frozenset()  # these need the block before
    shown = (p for i in range(start, b + 1) for p in index.block(i).order)
    self._rank = {p: k for k, p in enumerate(shown)}

  def __call__(self, frame: av.VideoFrame) -> None:
    """Raises Doubt for a frame that is damaged, out of order, of another size, or no key frame where one should be."""
    position = frame.pts
    if position in self._loose:
      return
    rank = self._rank.get(position, -1)
    if frame.is_corrupt or rank <= self._latest or (frame.width, frame.height) != self._size:
      raise packets.Doubt("a damaged frame, another order or another size")
    if position == self._start and not frame.key_frame:
      raise packets.Doubt("a key frame that is none")
    self._latest = rank


def _drained(decoder: av.VideoCodecContext) -> list[av.VideoFrame]:
  try:
    return decoder.decode(None)
  except av.FFmpegError:
    return []
