"""Small videos for the tests of decoding, each frame unlike every other."""

from fractions import Fraction

import av
import numpy as np

# What is written, by name: container, codec, options, and how time goes.
KINDS = {
    "h264.mp4": ("libx264", {"g": "12"}),
    "h264_one_gop.mp4": ("libx264", {}),
    "h264_no_b.mp4": ("libx264", {"g": "8", "bf": "0"}),
    "h264_open.mp4": ("libx264", {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"}),
    "h264_refresh.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=20"}),
    "h264.mkv": ("libx264", {"g": "12"}),
    "h264_open.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"}),
    "h264.avi": ("libx264", {"g": "12"}),
    "h264.ts": ("libx264", {"g": "12"}),
    "mpeg4.avi": ("mpeg4", {"g": "12"}),
    "mpeg4_b.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg4_b.mp4": ("mpeg4", {"g": "12", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "16", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1",
                                "lag-in-frames": "12"}),
    "vp9.mp4": ("libvpx-vp9", {"g": "16", "deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"g": "16", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1",
                            "lag-in-frames": "12"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2"}),
}


def pictures(count, width=96, height=64, seed=0):
  """uint8 (count, height, width, 3): a ground that moves, and the number as a row of bright squares."""
  rng = np.random.default_rng(seed)
  ground = np.kron(rng.integers(0, 200, (height // 4 + 1, (width + 2 * count) // 4 + 1, 3), np.uint8),
                   np.ones((4, 4, 1), np.uint8))
  clip = np.stack([ground[:height, 2 * i:2 * i + width] for i in range(count)])
  for i, picture in enumerate(clip):
    for bit in range(8):
      picture[4:10, 4 + 10 * bit:12 + 10 * bit] = 255 if i >> bit & 1 else 0
  return clip


def write(path, clip, codec="libx264", options=None, rate=30, stamps=None, rotation=None, sound=False, container=None):
  """Encodes a clip.

  Args:
    path: its ending says the container.
    clip: uint8 (T, H, W, 3).
    codec: of the pictures.
    options: of the encoder.
    rate: frames per second.
    stamps: milliseconds of each frame, None for a constant rate.
    rotation: degrees for the display matrix.
    sound: adds a second of a rising tone.
    container: options of the container.
  """
  with av.open(str(path), "w", options=container or {}) as out:
    video = out.add_stream(codec, rate=rate, options=options or {})
    video.height, video.width = clip.shape[1:3]
    video.pix_fmt = "yuv420p" if clip.shape[1] % 2 == clip.shape[2] % 2 == 0 else "yuv444p"
    video.codec_context.thread_count = 1
    if rotation is not None:
      video.set_display_rotation(rotation)
    if stamps is not None:
      video.codec_context.time_base = Fraction(1, 1000)
    tone = out.add_stream("aac", rate=16000, layout="mono") if sound else None
    for i, picture in enumerate(clip):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
      if stamps is not None:
        frame.pts, frame.time_base = int(stamps[i]), Fraction(1, 1000)
      out.mux(video.encode(frame))
    out.mux(video.encode())
    if tone is not None:
      t = np.arange(16000) / 16000
      wave = (0.5 * np.sin(2 * np.pi * (200 + 400 * t) * t)).astype(np.float32)
      for k in range(0, len(wave), 1000):
        frame = av.AudioFrame.from_ndarray(wave[None, k:k + 1000], format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 16000, k, Fraction(1, 16000)
        out.mux(tone.encode(frame))
      out.mux(tone.encode())


def decoded(path):
  """(frames uint8, seconds) of a plain decoding of everything."""
  with av.open(str(path)) as source:
    found = [(f.to_ndarray(format="rgb24"), f.time) for f in source.decode(video=0)]
  times = np.array([np.nan if t is None else t for _, t in found])
  return np.stack([f for f, _ in found]), times - times[0]
