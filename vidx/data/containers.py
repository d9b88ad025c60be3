"""Opening video files: by path or from bytes, and the one stream of pictures that is looked at."""

import io
import os
from typing import BinaryIO

import av

from vidx import reading
from vidx.data import frame_tools

# Files whose headers say all there is to know are opened without decoding a first frame.
_BRIEF = {"skip_frame": "all", "probesize": "2048"}
_TEXT = ("adf", "bin", "idf", "tty", "xbin", "sbg")  # FFmpeg draws text as a terminal does, and plays a script
_DEFAULT = 5_000_000  # pixels that a stream's being the default one is worth, as in FFmpeg


def open_stream(source: str | os.PathLike | bytes, threads: int = 1, brief: bool = False, strict: bool = False
                ) -> tuple[av.container.InputContainer, av.VideoStream]:
  """A container and its video, ready to be read and decoded.

  Args:
    source: path, or the bytes of a file.
    threads: of the decoder.
    brief: whether to take the header's word instead of probing; for `says_all`.
    strict: whether the decoder refuses what is damaged instead of making something up.

  Raises:
    ValueError: it holds no video, or of an unknown codec.
  """
  container = _open(source, brief, "video")
  try:
    stream = video_stream(container)
    stream.codec_context.thread_count = threads
    stream.codec_context.thread_type = "SLICE" if threads == 1 else "AUTO"
    frame_tools.check_pixels(stream.codec_context.width, stream.codec_context.height)
    stream.codec_context.options = {**frame_tools.DECODER, **({"err_detect": "explode"} if strict else {})}
  except BaseException:
    container.close()
    raise
  return container, stream


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
  """The stream that FFmpeg shows: the largest, the default one before others, no cover; the rest is not read."""
  found = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
  if not found:
    raise ValueError("it holds no video")
  best = max(found, key=_worth)  # of equal ones the first
  for s in container.streams:
    if s is not best:
      s.discard = av.stream.Discard.all
  if best.codec_context is None:
    raise ValueError("its codec is not known")
  return best


def open_sound(source: str | os.PathLike | bytes) -> av.container.InputContainer:
  """A container whose sound is to be read; no picture is decoded to open it where its header says all.

  Raises:
    ValueError: it is text.
  """
  with file(source) as raw:
    brief = says_all(raw.read(12))
  return _open(source, brief, "sound")


def _open(source: str | os.PathLike | bytes, brief: bool, what: str) -> av.container.InputContainer:
  container = av.open(opened(source), options=_BRIEF if brief else {})
  if container.format.name in _TEXT:
    container.close()
    raise ValueError(f"it is text, not {what}")
  return container


def opened(source: str | os.PathLike | bytes) -> str | BinaryIO:
  """What PyAV takes."""
  if isinstance(source, bytes):
    return io.BytesIO(source)
  reading.regular(source)
  return os.fspath(source)


def file(source: str | os.PathLike | bytes) -> BinaryIO:
  """The file itself."""
  if isinstance(source, bytes):
    return io.BytesIO(source)
  reading.regular(source)
  return open(source, "rb", buffering=0)


def says_all(head: bytes) -> bool:
  """Whether a file is mp4 or Matroska by its first bytes."""
  return head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


def _worth(stream: av.VideoStream) -> int:
  if stream.codec_context is None:
    return -1
  default = bool(stream.disposition & av.stream.Disposition.default)
  return stream.codec_context.width * stream.codec_context.height + _DEFAULT * default
