"""Short clips of videos, small enough to be part of a page."""

import base64
import io
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import clips as clips_lib
from vidx.data import media_files
from vidx.data.records import Media, media_of


def sample_clip(media: Media, span: tuple[float, float] | None = None, short_side: int = 160, frames: int = 64,
                seconds: float = 6.0) -> tuple[bytes, float]:
  """A whole video (or span) as a small silent mp4.

  Args:
    media: the video.
    span: start and end in seconds, None for all of it.
    short_side: pixels.
    frames: most frames; of longer videos an even choice is shown.
    seconds: longest duration; longer videos are shown faster.

  Returns:
    The mp4 file, and how many times faster than in life it plays.

  Raises:
    DecodeError: the video is missing or broken.
  """
  with clips_lib.open_media(media) as video:
    first, last = (0, video.num_frames) if span is None else clips_lib.frame_range(video.timestamps, span)
    count = min(frames, last - first)
    indices = np.linspace(first, last - 1, count).round().astype(np.int64)
    shown = video.frames(indices, short_side=short_side)
    rate = video.fps if video.fps > 0 else 25.0
    life = max((last - first) / rate, 1e-3)
  played = min(life, seconds)
  return encode_mp4(shown, max(1.0, count / played)), life / played


def encode_mp4(frames: np.ndarray, fps: float, crf: int = 28) -> bytes:
  """Frames as an h264 mp4 file that browsers play.

  Args:
    frames: uint8 (N, H, W, 3) RGB; an odd last row or column is left out.
    fps: frames per second.
    crf: quality, 0 (best) to 51.
  """
  import av
  height, width = (side - side % 2 for side in frames.shape[1:3])
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=_fraction(fps), options={"crf": str(crf), "preset": "veryfast"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    for frame in frames[:, :height, :width]:
      picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  return file.getvalue()


def data_uri(content: bytes, mime: str) -> str:
  """The content as a link that holds it."""
  return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _fraction(fps: float) -> Any:
  import fractions
  return fractions.Fraction(fps).limit_denominator(1001)


def clip_of(path: str) -> dict[str, str]:
  """A video's clip, or why there is none; files of features have no pictures."""
  if not media_files.is_video(path):
    return {"clip": "", "problem": ""}
  try:
    content, _ = sample_clip(media_of(path))
    return {"clip": data_uri(content, "video/mp4"), "problem": ""}
  except errors.DecodeError as e:
    return {"clip": "", "problem": str(e)}
