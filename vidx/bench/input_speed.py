"""Input speed: clips per second of vidx and of decord, side by side on the same files and cores.

Both sides run in the same number of processes, one per core, and decode the same
training clips (8 frames, one at random in each of 8 segments). Each is measured with
one decoding thread per process and with as many as its decoder likes; ratios are to
decord's better setting on the raw files. In every process the sides take turns clip
by clip, and the least of several times counts for a clip: other work on the machine
only adds to it. Where that leaves no time undisturbed, wall-clock speed goes to the
side with more threads; the ratio of processor times says what free cores would give.

The files are written by x264 with its default settings: 10 seconds of 340x256 at
30 frames per second, as Kinetics is usually stored. They show textured things that
move over a textured ground under a camera that sways, with some sensor noise, and
come out with about the size and the share of unreferenced frames (nearly half)
of camera footage encoded in the same way.
"""

from collections.abc import Sequence
from concurrent import futures
import json as json_lib
import multiprocessing
import os
import pathlib
import tempfile
import time
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import sampling
from vidx.terminal import counted

FRAMES, WIDTH, HEIGHT, RATE = 300, 340, 256, 30
CLIP = 8
_CLIPS = 4  # of every file
_THREADS = (1, 0)  # 0: as many as the decoder likes


def bench_input(videos: int = 8, repeats: int = 3, processes: int = 0, frames: int = FRAMES) -> list[dict[str, Any]]:
  """Measures both sides on raw and on prepared files.

  Args:
    videos: files.
    repeats: times that every clip is decoded by every side.
    processes: per side; 0: one per core that this process may use.
    frames: per file.

  Returns:
    Rows with `name`, `files`, `threads`, `processes`, `clips_per_s`, `cpu_ms` (processor
    time per clip), `ratio` and `cpu_ratio` (to decord's best on the raw files, by either
    time), `max_difference` (to the other side's pixels on the same files, over all
    clips) and `load` (of the machine before).

  Raises:
    ConfigError: decord is not installed.
  """
  if videos < 1 or repeats < 1:
    raise errors.ConfigError(f"videos={videos}, repeats={repeats}: at least 1 of each.")
  try:
    import decord  # noqa: F401
  except ImportError:
    raise errors.ConfigError("the other side is missing: install decord (the extra `bench`).") from None
  processes, load = processes or len(os.sched_getaffinity(0)), os.getloadavg()[0]
  with tempfile.TemporaryDirectory(prefix="vidx-bench-") as folder:
    raw, prepared = pathlib.Path(folder, "raw"), pathlib.Path(folder, "prepared")
    raw.mkdir()
    files = [str(raw / f"{i:03d}.mp4") for i in range(videos)]
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
      list(pool.map(write_video, files, range(videos), [frames] * videos))
      from vidx.data import prepare
      prepare.prepare(raw, prepared, workers=processes, progress=lambda *_: None)
      quick = [str(prepared / os.path.basename(f)) for f in files]
      rows = []
      for kind, paths in (("raw", files), ("prepared", quick)):
        jobs = [(path, seed) for path in paths for seed in range(_CLIPS)]
        difference = max(pool.map(_difference, *zip(*jobs)))
        # (repeats, clips, sides, wall and processor time)
        times = np.array([list(pool.map(_timed, *zip(*jobs), [turn] * len(jobs))) for turn in range(repeats)])
        wall, cpu = times.min(axis=0).mean(axis=0).T
        found = [dict(name=name, files=kind, threads=threads or "auto", processes=processes,
                      clips_per_s=processes / w, cpu_ms=1000 * c, max_difference=difference)
                 for (name, _, threads), w, c in zip(_SIDES, wall.tolist(), cpu.tolist())]
        rows += found
  others = [row for row in rows if (row["name"], row["files"]) == ("decord", "raw")]
  speed, cpu_ms = max(row["clips_per_s"] for row in others), min(row["cpu_ms"] for row in others)
  return [{**row, "ratio": row["clips_per_s"] / speed, "cpu_ratio": cpu_ms / row["cpu_ms"], "load": load}
          for row in rows]


def main(json: bool = False, videos: int = 8, repeats: int = 3) -> int:
  """Runs the measurement and prints it as a table, or as JSON."""
  rows = bench_input(videos, repeats)
  print(json_lib.dumps(rows, indent=2) if json else to_table(rows))
  return 0


def to_table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows for reading."""
  first = rows[0]
  lines = [f"{CLIP}-frame clips from {WIDTH}x{HEIGHT} h264, {counted(first['processes'], 'process')} per side",
           f"{'side':<8} {'files':<10} {'threads':>7} {'clips/s':>9} {'ratio':>6} {'cpu ms/clip':>12} {'ratio':>6}"
           "  frames"]
  for r in rows:
    same = "identical" if r["max_difference"] == 0 else f"differ by up to {r['max_difference']}"
    lines.append(f"{r['name']:<8} {r['files']:<10} {r['threads']:>7} {r['clips_per_s']:>9.1f} {r['ratio']:>6.2f}"
                 f" {r['cpu_ms']:>12.1f} {r['cpu_ratio']:>6.2f}  {same}")
  if first["load"] > 0.5 * first["processes"]:
    lines.append(f"The machine had other work (load {first['load']:.1f}): clips/s are less certain than cpu ms.")
  return "\n".join(lines)


def write_video(path: str, seed: int, frames: int = FRAMES) -> None:
  """Writes one test file: pictures that follow from the seed, x264's default settings."""
  import av
  import cv2
  cv2.setNumThreads(1)
  rng = np.random.default_rng(seed)
  ground = _texture(rng, HEIGHT + 80, WIDTH + 240, 0.0)
  things = [_texture(rng, 64, 64, 60.0) for _ in range(3)]
  y, x = np.mgrid[-1:1:64j, -1:1:64j]
  disc = np.clip(4 * (1 - np.hypot(x, y)), 0, 1).astype(np.float32)
  phase, speed = rng.uniform(0, 2 * np.pi, (4, 2)), rng.uniform(0.02, 0.06, (4, 2))
  size = (WIDTH, HEIGHT)
  with av.open(path, "w") as out:
    stream = out.add_stream("libx264", rate=RATE)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.codec_context.thread_count = 1
    for t in range(frames):
      at = np.sin(phase + speed * t)
      image = cv2.warpAffine(ground, _shift(-(32 + 0.3 * t + 12 * at[3, 0]), -(40 + 12 * at[3, 1])), size)
      for thing, place in zip(things, at):
        shift = _shift((WIDTH - 64) * (0.5 + 0.5 * place[0]), (HEIGHT - 64) * (0.5 + 0.5 * place[1]))
        share = cv2.warpAffine(disc, shift, size)[..., None]
        image = image * (1 - share) + cv2.warpAffine(thing, shift, size) * share
      image = image + 2 * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
      frame = av.VideoFrame.from_ndarray(np.clip(image, 0, 255).astype(np.uint8), format="rgb24")
      out.mux(stream.encode(frame))
    out.mux(stream.encode())


def _texture(rng: np.random.Generator, height: int, width: int, tint: float) -> np.ndarray:
  """float32 (height, width, 3): noise whose spectrum falls about as that of pictures does."""
  frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
  frequency[0, 0] = 1
  layers = []
  for _ in range(4):
    spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    layer = np.fft.irfft2(spectrum / frequency**1.3, s=(height, width))
    layers.append(layer / layer.std())
  image = 120 + 40 * layers[0][..., None] + 13 * np.stack(layers[1:], -1) + rng.uniform(-tint, tint, 3)
  return np.clip(image, 0, 255).astype(np.float32)


def _shift(x: float, y: float) -> np.ndarray:
  return np.float32([[1, 0, x], [0, 1, y]])


def _timed(path: str, seed: int, turn: int) -> list[tuple[float, float]]:
  """(wall, processor) seconds of each side for a clip; who begins changes from turn to turn."""
  times = [(0.0, 0.0)] * len(_SIDES)
  for k in range(len(_SIDES)):
    side = (k + turn + seed) % len(_SIDES)
    _, clip, threads = _SIDES[side]
    wall, cpu = time.perf_counter(), time.process_time()
    clip(path, seed, threads)
    times[side] = time.perf_counter() - wall, time.process_time() - cpu
  return times


def _difference(path: str, seed: int) -> int:
  """Largest difference between the pixels of the two sides."""
  a, b = _decord(path, seed, 1), _vidx(path, seed, 1)
  return int(np.abs(a.astype(np.int16) - b).max()) if a.shape == b.shape else 255


def _indices(length: int, seed: int) -> np.ndarray:
  return sampling.uniform(length, np.random.default_rng(seed), frames=CLIP)[0]


def _decord(path: str, seed: int, threads: int) -> np.ndarray:
  import decord
  video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=threads)
  return video.get_batch(_indices(len(video), seed)).asnumpy()


def _vidx(path: str, seed: int, threads: int) -> np.ndarray:
  from vidx.data import decode
  with decode.open_video(path, threads=threads) as video:
    return video.frames(_indices(video.num_frames, seed))


_SIDES = [(name, clip, threads) for name, clip in (("decord", _decord), ("vidx", _vidx)) for threads in _THREADS]
