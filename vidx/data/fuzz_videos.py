"""Videos to try the decoder on: small ones in every common codec and container, and ways to spoil them."""

from collections.abc import Callable, Iterator, Mapping
import fnmatch
import io
import os

import av
import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

# What each codec is asked for: encoder, size, pixel format, options, containers.
_X264 = {"preset": "veryfast", "g": "12"}
_X265 = {"preset": "ultrafast", "x265-params": "keyint=12:min-keyint=12:bframes=3:log-level=none"}
_PLAIN, _WITH_B = {"g": "10"}, {"g": "10", "bf": "2"}
_CODECS: Mapping[str, tuple[str, tuple[int, int], str, dict[str, str], str]] = {
    "h264": ("libx264", (64, 48), "yuv420p", _X264, "mp4 mov fragments mkv avi ts flv 3gp m2ts"),
    "h264_plain": ("libx264", (64, 48), "yuv420p", {**_X264, "bf": "0"}, "mp4 mov fragments mkv avi ts flv 3gp"),
    "h264_open": ("libx264", (64, 48), "yuv420p", {"x264-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3"},
                  "mp4 mkv ts"),
    "hevc": ("libx265", (64, 48), "yuv420p", _X265, "mp4 mov fragments mkv ts"),
    "hevc_plain": ("libx265", (64, 48), "yuv420p",
                   {**_X265, "x265-params": "keyint=12:min-keyint=12:bframes=0:log-level=none"}, "mp4 mkv"),
    "mpeg1": ("mpeg1video", (64, 48), "yuv420p", _WITH_B, "mpg mkv avi ts"),
    "mpeg2": ("mpeg2video", (64, 48), "yuv420p", _WITH_B, "mpg ts mkv mp4 avi mov"),
    "mpeg4": ("mpeg4", (64, 48), "yuv420p", _PLAIN, "avi mp4 mov mkv 3gp"),
    "mpeg4_b": ("mpeg4", (64, 48), "yuv420p", _WITH_B, "avi mp4 mov mkv 3gp"),
    "msmpeg4v2": ("msmpeg4v2", (64, 48), "yuv420p", _PLAIN, "avi"),
    "msmpeg4v3": ("msmpeg4", (64, 48), "yuv420p", _PLAIN, "avi mkv wmv"),
    "wmv1": ("wmv1", (64, 48), "yuv420p", _PLAIN, "avi wmv"),
    "wmv2": ("wmv2", (64, 48), "yuv420p", _PLAIN, "avi wmv"),
    "flv1": ("flv", (64, 48), "yuv420p", _PLAIN, "flv avi"),
    "h263": ("h263", (128, 96), "yuv420p", _PLAIN, "3gp avi mov"),
    "h263p": ("h263p", (64, 48), "yuv420p", _PLAIN, "avi"),
    "vp8": ("libvpx", (64, 48), "yuv420p", {"g": "12", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1",
                                           "lag-in-frames": "10"}, "webm mkv avi"),
    "vp9": ("libvpx-vp9", (64, 48), "yuv420p", {"g": "12", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1",
                                                "lag-in-frames": "10"}, "webm mkv mp4 fragments"),
    "av1": ("libsvtav1", (64, 64), "yuv420p", {"g": "12", "preset": "10"}, "mp4 webm mkv fragments"),
    "theora": ("libtheora", (64, 48), "yuv420p", _PLAIN, "ogv mkv"),
    "ffv1": ("ffv1", (64, 48), "yuv420p", _PLAIN, "mkv avi"),
    "mjpeg": ("mjpeg", (64, 48), "yuvj420p", {}, "avi mov mkv mp4"),
    "prores": ("prores_ks", (64, 48), "yuv422p10le", {}, "mov mkv"),
    "gif": ("gif", (64, 48), "rgb8", {}, "gif"),
}
# FFmpeg's name of a container, and its options.
_CONTAINERS: Mapping[str, tuple[str, dict[str, str]]] = {
    "mp4": ("mp4", {}), "mov": ("mov", {}), "3gp": ("3gp", {}), "mkv": ("matroska", {}), "webm": ("webm", {}),
    "avi": ("avi", {}), "ts": ("mpegts", {}), "flv": ("flv", {}), "ogv": ("ogg", {}), "wmv": ("asf", {}),
    "mpg": ("mpeg", {}), "gif": ("gif", {}), "m2ts": ("mpegts", {"mpegts_m2ts_mode": "1"}),
    "fragments": ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
}


def intact(rng: np.random.Generator, pattern: str = "*") -> Iterator[tuple[str, bytes]]:
  """(name, file) of every codec in each of its containers, 30 to 70 frames long.

  Args:
    rng: of the pictures.
    pattern: of the names wanted; several, with commas.
  """
  os.environ.setdefault("SVT_LOG", "0")  # else it prints its settings
  for codec, (encoder, size, pixels, options, containers) in _CODECS.items():
    try:
      av.Codec(encoder, "w")
    except ValueError:  # this build of FFmpeg lacks it
      continue
    pictures = _pictures(rng, int(rng.integers(30, 71)), *size)
    for container in containers.split():
      if any(fnmatch.fnmatch(f"{codec}.{container}", p) for p in pattern.split(",")):
        yield f"{codec}.{container}", _encoded(pictures, encoder, pixels, options, container)


def _pictures(rng: np.random.Generator, count: int, width: int, height: int) -> np.ndarray:
  """uint8 (count, height, width, 3): a ground that moves under a patch that jumps."""
  ground = np.kron(rng.integers(0, 220, (height // 4, (width + 2 * count) // 4, 3), np.uint8),
                   np.ones((4, 4, 1), np.uint8))
  clip = np.stack([ground[:, 2 * i:2 * i + width] for i in range(count)])
  for picture in clip:
    y, x = rng.integers(height - 8), rng.integers(width - 8)
    picture[y:y + 8, x:x + 8] = rng.integers(256, size=3)
  return clip


def _encoded(pictures: np.ndarray, encoder: str, pixels: str, options: dict[str, str], container: str) -> bytes:
  name, settings = _CONTAINERS[container]
  target = io.BytesIO()
  with av.open(target, "w", format=name, options=settings) as out:
    stream = out.add_stream(encoder, rate=25, options=options)
    stream.height, stream.width = pictures.shape[1:3]
    stream.pix_fmt = pixels
    stream.codec_context.thread_count = 1
    for picture in pictures:
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pixels)
      frame.pict_type = 0
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  return target.getvalue()


# ---------------------------------------------------------------- ways to spoil a file


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
  """One to four bits anywhere."""
  return _flipped(data, rng.integers(len(data) * 8, size=rng.integers(1, 5)))


def _flip_ends(data: bytes, rng: np.random.Generator) -> bytes:
  """One to three bits where containers keep their tables."""
  reach = min(len(data), 1500) * 8
  places = rng.integers(reach, size=rng.integers(1, 4))
  return _flipped(data, np.where(rng.random(len(places)) < 0.5, places, len(data) * 8 - 1 - places))


def _flip_tables(data: bytes, rng: np.random.Generator) -> bytes:
  """A bit in a table of an mp4 file (key frames, times, places, sizes, edits), or in its codec's parameters."""
  names = [b"stss", b"ctts", b"stts", b"stsz", b"stco", b"stsc", b"elst", b"avcC", b"hvcC", b"trun", b"tfhd", b"stsd"]
  found = [at for name in names if (at := data.find(name)) > 0]
  if not found:
    return _flip_ends(data, rng)
  at = found[rng.integers(len(found))] + 4
  return _flipped(data, 8 * at + rng.integers(8 * max(1, min(120, len(data) - at)), size=1))


def _flipped(data: bytes, bits: np.ndarray) -> bytes:
  out = bytearray(data)
  for bit in np.asarray(bits).tolist():
    if bit < 8 * len(out):
      out[bit >> 3] ^= 128 >> (bit & 7)
  return bytes(out)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
  return data[:int(len(data) * rng.uniform(0.3, 1))]


def _cut_front(data: bytes, rng: np.random.Generator) -> bytes:
  """As a recording that was joined in the middle; only streams survive it."""
  return data[int(len(data) * rng.uniform(0, 0.5)):]


def _hole(data: bytes, rng: np.random.Generator) -> bytes:
  start, size = int(rng.integers(len(data))), int(rng.integers(1, 200))
  return data[:start] + bytes(min(size, len(data) - start)) + data[start + size:]


def _lost_piece(data: bytes, rng: np.random.Generator) -> bytes:
  start, size = int(rng.integers(len(data))), int(rng.integers(1, 400))
  return data[:start] + data[start + size:]


def _twice(data: bytes, rng: np.random.Generator) -> bytes:
  return data + data


def _index_lost(data: bytes, rng: np.random.Generator) -> bytes:
  """Without the table of key frames: AVI's and Matroska's index, mp4's list of key frames, time offsets or edits."""
  at = data.rfind(b"idx1")
  if data[:4] == b"RIFF" and at > 0:
    return data[:at]
  for name, other in rng.permutation([[b"stss", b"free"], [b"ctts", b"free"], [b"elst", b"free"], [b"sdtp", b"free"],
                                      [b"\x1c\x53\xbb\x6b", b"\xec\x53\xbb\x6b"]]).tolist():
    if name in data:
      return data.replace(name, other)
  return _cut(data, rng)


def _remuxed(change: Callable[[list, np.random.Generator], list] | None = None) -> Mutation:
  """Copies packets into another container, their times changed."""

  def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    with av.open(io.BytesIO(data)) as source:
      stream = source.streams.video[0]
      packets = [p for p in source.demux(stream) if p.size]
      if change:
        packets = change(packets, rng)
      for name in rng.permutation([n for n in _CONTAINERS if n != "gif"]).tolist():
        kind, settings = _CONTAINERS[name]
        target = io.BytesIO()
        try:
          with av.open(target, "w", format=kind, options=settings) as out:
            copy = out.add_stream_from_template(stream)
            for p in packets:
              p.stream = copy
              out.mux(p)
        except (av.FFmpegError, ValueError):
          continue
        return target.getvalue()
    return data

  return mutate


def _pts_as_dts(packets: list, rng: np.random.Generator) -> list:
  for i, p in enumerate(packets):
    p.pts = p.dts = p.dts if p.dts is not None else p.pts if p.pts is not None else i
  return packets


def _shifted(packets: list, rng: np.random.Generator) -> list:
  shift = int(rng.integers(-2000, 2000))
  for p in packets:
    p.pts, p.dts = (None if t is None else t + shift for t in (p.pts, p.dts))
  return packets


def _stretched(packets: list, rng: np.random.Generator) -> list:
  """Some frames a little later than they were."""
  for p in packets:
    if p.pts is not None and rng.random() < 0.2:
      p.pts += int(rng.integers(0, 3 * max(1, p.duration or 1)))
  return packets


def _from_the_middle(packets: list, rng: np.random.Generator) -> list:
  return packets[int(rng.integers(1, max(2, len(packets) // 2))):]


def _with_gaps(packets: list, rng: np.random.Generator) -> list:
  return [p for p in packets if rng.random() > 0.05]


MUTATIONS: Mapping[str, Mutation] = {
    "flip": _flip, "flip ends": _flip_ends, "flip tables": _flip_tables, "cut": _cut, "cut front": _cut_front,
    "hole": _hole, "lost piece": _lost_piece, "twice": _twice, "index lost": _index_lost, "remux": _remuxed(),
    "pts = dts": _remuxed(_pts_as_dts), "times shifted": _remuxed(_shifted), "times stretched": _remuxed(_stretched),
    "from the middle": _remuxed(_from_the_middle), "packets lost": _remuxed(_with_gaps),
}
