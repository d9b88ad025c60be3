"""Whether a video gives the same frames in every way of reading it."""

from collections import deque
import io

import av
from av.video.reformatter import VideoReformatter
import numpy as np

from vidx import errors
from vidx.data import containers
from vidx.data import decode
from vidx.data import frame_tools
from vidx.data import whole
from vidx.terminal import counted

_MOST = 400  # frames, and
_LARGEST = 1 << 20  # pixels: a flipped bit can ask for gigabytes


def judge(data: bytes, rng: np.random.Generator) -> tuple[str, str]:
  """(verdict, detail) of a file; see `fuzz.Kind`.

  'same': every way of reading gives the pixels that PyAV gives from start to end, one time as the other.
  'different': it does not, and nothing is said. 'refused': vidx names the file or a frame of it as damaged, PyAV does
  not; 'refused by both'; 'refused by PyAV': nothing can be compared. 'no steady truth': PyAV itself gives other pixels
  from one time to the next. 'crashed': an error that is no DecodeError.
  """
  whole.memory.clear()
  truth, reason = _steady(data)
  try:
    try:
      found = [_read(data, truth, rng), _read(data, truth, rng)]  # when it is not known yet, and when it is
    except errors.DecodeError as e:
      return ("refused" if truth else "refused by both"), str(e)[:200]
  except Exception as e:  # pylint: disable=broad-except
    return "crashed", f"{type(e).__name__}: {e}"[:200]
  if truth is None:
    return reason
  wrong = next((f for f in found if f), "")
  for threads, held, used in ((1, 2, False), (1, 3, False), (0, 8, False), (1, 1, True)) if wrong else ():
    again, _ = _plain(data, threads, held, used)
    if again is None or _sums(again) != _sums(truth):
      return "no steady truth", wrong
  return ("different", wrong) if wrong else ("same", "")


def _steady(data: bytes) -> tuple[list | None, tuple[str, str]]:
  """What PyAV gives twice, with one thread and with several, while few and while many frames are in memory.

  In damaged files it may leave parts of a frame as they happened to lie in memory.
  """
  found = [_plain(data, 0, 1), _plain(data, 1, 4)]
  for frames, reason in found:
    if frames is None:
      return None, ("refused by PyAV", reason)
  (a, _), (b, _) = found
  if _sums(a) != _sums(b):
    return None, ("no steady truth", _first(_sums(a), _sums(b)))
  return a, ("", "")


def _plain(data: bytes, threads: int, held: int, used: bool = False) -> tuple[
    list[tuple[np.ndarray, int]] | None, str]:
  """(picture, checksum) of every frame of a plain decoding; None and the reason where PyAV ends in an error.

  Where `used` the decoder has decoded the file before, and its memory is not empty.
  """
  found, images, size, last = [], VideoReformatter(), None, deque(maxlen=held)
  try:
    with av.open(io.BytesIO(data)) as container:
      stream = containers.video_stream(container)
      stream.codec_context.thread_count = threads
      if used:
        deque(container.decode(stream), maxlen=1)
        container.seek(0)
        stream.codec_context.flush_buffers()
      for frame in container.decode(stream):
        if len(found) >= _MOST or frame.width * frame.height > _LARGEST:
          return None, "too large to be tried"
        size = size or (frame.width, frame.height)
        last.append(frame)
        picture = frame_tools.oriented(frame_tools.to_rgb(frame, images, *size), frame).copy()
        found.append((picture, whole.checksum(frame)))
  except (av.FFmpegError, EOFError, ValueError, MemoryError) as e:
    return None, f"{type(e).__name__}: {e}"[:200]
  return (found, "") if found else (None, "no frames")


def _read(data: bytes, truth: list | None, rng: np.random.Generator) -> str:
  """What differs, empty if nothing does."""
  with decode.open_video(data) as video:
    count = video.num_frames
    if truth is None and (count > _MOST or video.width * video.height > _LARGEST):
      return ""
    if truth is not None and count != len(truth):
      return f"{counted(count, 'frame')}, not {len(truth)}"
  for name, indices in _patterns(rng, count):
    with decode.open_video(data) as video:
      if video.num_frames != count:
        return f"{counted(video.num_frames, 'frame')}, then {count}"
      if name == "hold":
        got = video.hold(indices)(np.arange(len(indices)))
      elif name == "each":
        sums = [whole.checksum(f) for f in video.each()]
        if truth is not None and sums != _sums(truth):
          return "each: " + _first(sums, _sums(truth))
        continue
      else:
        got = video.frames(indices)
      times = video.timestamps
      if len(times) != count or not np.all(np.diff(times) > 0) or not np.all(np.isfinite(times)):
        return "times that do not ascend"
    for place, i in enumerate(indices):
      if truth is not None and not np.array_equal(got[place], truth[i][0]):
        return f"{name} {list(indices)}: frame {i}"
  return ""


def _patterns(rng: np.random.Generator, count: int):
  """(name, frame numbers) as training, evaluation, prediction and checks ask for them."""
  yield "one", [int(rng.integers(count))]
  yield "train", np.sort(rng.integers(count, size=8)).tolist()
  yield "hold", rng.permutation(count)[:6].tolist()
  yield "check", np.linspace(0, count - 1, min(3, count)).round().astype(int).tolist()
  first = int(rng.integers(count))
  yield "dense", list(range(first, min(count, first + 8)))
  yield "each", []


def _sums(frames: list) -> list[int]:
  return [s for _, s in frames]


def _first(got: list, truth: list) -> str:
  return next((f"frame {i}" for i, (a, b) in enumerate(zip(got, truth)) if a != b), f"{len(got)} of {len(truth)}")
