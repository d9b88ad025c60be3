"""Windows over frames that a recurrent detector looks at together, cut while a video is read.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, chapter 3. Every `step`-th frame makes a sequence, and a window slides
over each of them. Windows come out as soon as their last frame is there, so a video of
any length needs the features of a bounded number of frames.
"""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
from typing import Any

from vidx import errors

#: What windows give: 'center_overlap', all their frames, so that most frames are given by several
#: windows; 'center', the middle frame, and all at both ends; 'last', the last one, and all at the
#: start; 'no_overlap', all frames of windows side by side; 'long', that too, with a memory that goes
#: on; 'multi_window', 'center_overlap' of several sizes.
MODES = ("center_overlap", "center", "no_overlap", "last", "long", "multi_window")
SIZES = (11, 7, 3)


@dataclasses.dataclass(frozen=True)
class Window:
  """Frames to look at together.

  Attributes:
    frames: numbers of frames, ascending.
    gives: positions in `frames` whose detections count.
    sequence: number of the sequence, 0..step - 1.
    carries: whether the memory goes on from the sequence's window before.
  """

  frames: tuple[int, ...]
  gives: tuple[int, ...]
  sequence: int
  carries: bool = False


class _Sequence:
  """Windows of one size over one sequence, whose frames come one by one."""

  def __init__(self, number: int, size: int, mode: str):
    self.number, self.size, self.mode = number, size, mode
    self.seen = 0  # frames
    self.given = 0  # windows
    self.recent: list[int] = []  # the last frames, up to `size`

  def _window(self, gives: Iterable[int], frames: list[int] | None = None) -> Window:
    carries = self.mode == "long" and self.given > 0
    self.given += 1
    return Window(tuple(self.recent if frames is None else frames), tuple(gives), self.number, carries)

  @property
  def beside(self) -> bool:
    return self.mode in ("no_overlap", "long")

  def push(self, frame: int) -> Iterator[Window]:
    if self.mode == "center" and len(self.recent) == self.size:  # known not to be the last one
      middle = self.size // 2
      yield self._window(range(0 if self.given == 0 else middle, middle + 1))
    self.seen += 1
    self.recent = (self.recent + [frame])[-self.size:]
    if self.beside:
      if self.seen % self.size == 0:
        yield self._window(range(self.size))
    elif len(self.recent) == self.size and self.mode != "center":
      first = 0 if self.given == 0 or self.mode != "last" else self.size - 1
      yield self._window(range(first, self.size))

  def close(self) -> Iterator[Window]:
    if self.beside:
      if rest := self.seen % self.size:
        if self.mode == "long":
          yield self._window(range(rest), self.recent[-rest:])
        else:  # the last window reaches back
          yield self._window(range(len(self.recent) - rest, len(self.recent)))
    elif self.mode == "center" and self.recent:
      yield self._window(range(0 if self.given == 0 else self.size // 2, len(self.recent)))
    elif 0 < self.seen < self.size:
      yield self._window(range(self.seen))


class FrameWindows:
  """Cuts windows out of frames 0, 1, 2, ... that come one by one.

  Attributes:
    size: frames of a window, T; a shorter video is one window per sequence.
    step: frames from one of a window to the next.
    mode: one of MODES.
    sizes: of the windows of 'multi_window'.
  """

  def __init__(self, size: int = 11, step: int = 10, mode: str = "center_overlap", sizes: Iterable[int] = SIZES):
    errors.check_choice("mode", mode, MODES)
    self.size, self.step, self.mode, self.sizes = size, step, mode, tuple(sizes)
    used = self.sizes if mode == "multi_window" else (size,)
    if step < 1 or not used or min(used) < 1:
      raise errors.ConfigError(f"windows of {', '.join(map(str, used)) or 'no size'} with step={step} are none: sizes"
                               " and step must be 1 or more.")
    kind = "center_overlap" if mode == "multi_window" else mode
    self._sequences = [[_Sequence(number, n, kind) for n in used] for number in range(step)]
    self._count = 0

  @property
  def count(self) -> int:
    """Frames so far."""
    return self._count

  @property
  def oldest(self) -> int:
    """The first frame that a window to come may hold; those before it may be forgotten."""
    kept = [s.recent[0] for sizes in self._sequences for s in sizes if s.recent]
    return min(kept, default=self._count)

  def push(self) -> Iterator[Window]:
    """The windows that are whole with the next frame."""
    frame = self._count
    self._count += 1
    for sequence in self._sequences[frame % self.step]:
      yield from sequence.push(frame)

  def close(self) -> Iterator[Window]:
    """The windows that only the end of the video makes."""
    for sizes in self._sequences:
      for sequence in sizes:
        yield from sequence.close()


def windows(length: int, **fields: Any) -> list[Window]:
  """All windows of a video of `length` frames; see FrameWindows for the fields."""
  cut = FrameWindows(**fields)
  found = [window for _ in range(length) for window in cut.push()]
  return found + list(cut.close())


def slide(frames: Iterable[Any], encode: Callable[[Any], Any], **fields: Any) -> Iterator[tuple[Window, list[Any]]]:
  """(window, features of its frames) of a video that is read once; each frame is encoded once.

  At most `step` times the largest size of a window and one more features are held.

  Args:
    frames: the video's frames.
    encode: makes features of one.
    **fields: of FrameWindows.
  """
  cut = FrameWindows(**fields)
  held: dict[int, Any] = {}
  taken = lambda window: (window, [held[i] for i in window.frames])
  for number, frame in enumerate(frames):
    held[number] = encode(frame)
    for window in cut.push():
      yield taken(window)
    for old in [i for i in held if i < cut.oldest]:
      del held[old]
  for window in cut.close():
    yield taken(window)
