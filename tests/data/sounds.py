"""Small files of sound for the tests: a tone per channel, at any rate, in any container."""

from fractions import Fraction

import av
import numpy as np

from tests.data import videos

CODECS = {".wav": "pcm_s16le", ".mp4": "aac", ".webm": "libopus", ".avi": "libmp3lame", ".mkv": "pcm_s16le"}
FORMATS = {"aac": "fltp", "libopus": "s16", "libmp3lame": "s16p"}


def tones(seconds, rate, channels=1, first=440.0, loud=0.3):
  """float32 (channels, samples): channel c has the frequency first (c + 1)."""
  t = np.arange(round(seconds * rate)) / rate
  return np.stack([loud * np.sin(2 * np.pi * first * (c + 1) * t) for c in range(channels)]).astype(np.float32)


def write(path, wave, rate, layout="mono", frames=None, fps=25, codec="", late=0.0):
  """Encodes sound (channels, samples), `late` seconds after second 0, beside pictures uint8 (T, H, W, 3) where there
  are some."""
  codec = codec or CODECS[path.suffix]
  with av.open(str(path), "w") as out:
    video = None
    if frames is not None:
      video = out.add_stream("libvpx" if path.suffix == ".webm" else "libx264", rate=fps)
      video.height, video.width = frames.shape[1:3]
      video.pix_fmt = "yuv420p"
    tone = out.add_stream(codec, rate=rate, layout=layout)
    for picture in frames if frames is not None else ():
      out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
    if video is not None:
      out.mux(video.encode())
    whole = FORMATS.get(codec, "s16")
    data = wave if whole == "fltp" else np.round(wave * 32767).astype(np.int16)
    data = data if whole.endswith("p") else data.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=whole, layout=layout)
    frame.sample_rate = rate
    frame.pts, frame.time_base = round(late * rate), Fraction(1, rate)
    out.mux(tone.encode(frame))
    out.mux(tone.encode())


def damage(path, share=0.5):
  """Overwrites the packets of the sound behind a share of the file, not those of the pictures."""
  with av.open(str(path)) as container:
    packets = [(p.pos, p.size) for p in container.demux(container.streams.audio[0]) if p.size and p.pos]
  data = bytearray(path.read_bytes())
  for pos, size in packets[int(share * len(packets)):]:
    data[pos:pos + size] = bytes(np.random.default_rng(pos).integers(0, 256, size, np.uint8))
  path.write_bytes(bytes(data))


def clip(count=50):
  return videos.pictures(count, 48, 32)
