"""Frames and sound as an mp4 file, h264 and AAC; frames as a folder of images, or one as a png file."""

from fractions import Fraction
import os
import shutil

import av
import cv2
import numpy as np

from vidx import writing


def write_image(path: str, picture: np.ndarray) -> None:
  """Writes uint8 (H, W, 3) RGB as a png file in one piece.

  Raises:
    OSError: it cannot be written.
  """
  writing.write_bytes(path, cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())


def write_video(path: str, frames: np.ndarray, fps: float, sound: np.ndarray | None = None, rate: int = 16000,
                gop: int = 12) -> None:
  """Writes a file in one piece: it is there whole, or not at all.

  Args:
    path: ends in .mp4.
    frames: uint8 (T, H, W, 3) RGB, height and width even.
    fps: frames per second.
    sound: float32 (samples,) mono in -1..1, or None.
    rate: samples per second.
    gop: frames between key frames.
  """
  with writing.whole(path) as temporary, av.open(temporary, "w", format="mp4") as out:
    video = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    video.height, video.width = frames.shape[1:3]
    video.pix_fmt = "yuv420p"
    # Without macroblock trees: with them, equal frames give other bytes in some of the files.
    video.options = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "mbtree=0"}
    video.gop_size = gop
    audio = None
    if sound is not None:
      audio = out.add_stream("aac", rate=rate)
      audio.layout = "mono"
    for frame in frames:
      # Converted here: frames that the encoder converts come out with other bytes at times.
      out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")))
    out.mux(video.encode())
    if audio is not None:
      wave = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
      wave.sample_rate = rate
      out.mux(audio.encode(wave))
      out.mux(audio.encode())


def write_images(path: str, frames: np.ndarray, name: str = "{:03d}.png") -> None:
  """Writes a folder of images 000.png, 001.png, ... in one piece.

  Args:
    path: of the folder.
    frames: uint8 (T, H, W, 3) RGB.
    name: pattern of the names; their ending, in small letters, is the format.
  """
  ending = os.path.splitext(name)[1].lower()
  temporary = f"{path}.part"
  shutil.rmtree(temporary, ignore_errors=True)
  os.makedirs(temporary)
  for i, frame in enumerate(frames):
    with open(os.path.join(temporary, name.format(i)), "wb") as f:
      f.write(cv2.imencode(ending, np.ascontiguousarray(frame[..., ::-1]))[1])
  os.rename(temporary, path)
