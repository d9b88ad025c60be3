"""Images of optical flow of videos, as networks of two streams read them: a grey image of each axis for every frame.

OUT/VIDEO/flow_x_00001.jpg and flow_y_00001.jpg hold the flow from the first frame to the
second, clipped at 20 pixels, in the layout of Wang et al.: "Temporal Segment Networks", 2016.
VIDEO is the path below the folder that was named, without its ending, so that
data.flow=OUT/{id}/flow_{axis}_{index}.jpg finds it for a data set of that folder.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import math
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import decode, file_jobs, flow_frames, media_files, optical_flow
from vidx.terminal import counted

METHODS = {"dis": optical_flow.dis_flow, "tvl1": optical_flow.tvl1_flow}
LAYOUT = os.path.join("{id}", "flow_{axis}_{index}.jpg")
_SETTINGS = "flow.json"
_DONE = "flow of"
_BLOCK = 32  # frames that are decoded at once
_LINES_EVERY = 30.0  # seconds, of one video


@dataclasses.dataclass(frozen=True)
class Settings:
  """How flow is computed and written.

  Attributes:
    method: of METHODS.
    short_side: pixels at most of the frames between which it is computed; smaller videos keep their size; 0: all do.
    bound: pixels that are written as 0 and 255; more is clipped.
  """

  method: str = "dis"
  short_side: int = 256
  bound: float = 20.0


def extract(paths: Sequence[str | os.PathLike], out: str | os.PathLike, method: str = "dis", short_side: int = 256,
            bound: float = 20.0, workers: int = 0, progress: Callable[[int, int, int], None] | None = None
            ) -> dict[str, Any]:
  """Writes images of the flow of videos.

  A second call does what is left: a folder that is there is whole, and is made anew only
  where its video is newer. A video that cannot be decoded is left out. A process holds
  `_BLOCK` frames, however long a video is.

  Args:
    paths: videos, folders of frames, folders that hold such, or globs.
    out: folder to write.
    method: 'dis', dense inverse search, or 'tvl1'.
    short_side: see `Settings`.
    bound: see `Settings`.
    workers: processes; 0: one per core.
    progress: called with (done, all, bad) now and then; by default prints a line.

  Returns:
    Counts `videos`, `written` and `kept` (of an earlier call), `data.flow`, the pattern by which data sets find the
    images, and `bad`, the reasons by path.

  Raises:
    ConfigError: settings that are none, or TV-L1 with an OpenCV that has none.
    DataError: no videos, two of one name, or `out` was made with other settings.
  """
  settings = Settings(method, short_side, bound)
  _check(settings)
  out = pathlib.Path(out).resolve()
  named = _named(paths)
  out.mkdir(parents=True, exist_ok=True)
  file_jobs.keep_settings(out / _SETTINGS, dataclasses.asdict(settings), "made")
  for part in out.rglob(f"*{file_jobs.PART}"):
    shutil.rmtree(part) if part.is_dir() else part.unlink()
  todo = {source: (source, str(out / name)) for name, source in named.items() if not _whole(source, out / name)}
  bad = file_jobs.run(write, todo, settings, workers, _DONE, progress)
  return {"videos": len(named), "written": len(todo) - len(bad), "kept": len(named) - len(todo),
          "data.flow": str(out / LAYOUT), "bad": dict(sorted(bad.items()))}


def write(source: str, target: str, settings: Settings) -> int:
  """Writes the images of one video into a folder, which is there when all of them are.

  Args:
    source: the video, or a folder of frames.
    target: the folder.
    settings: how.

  Returns:
    How many pairs of images there are: one less than frames.

  Raises:
    DecodeError: the video cannot be decoded whole, or has fewer than two frames.
  """
  import cv2
  part = target + file_jobs.PART
  os.makedirs(part)
  count, said = 0, time.monotonic()
  try:
    with decode.open_video(source) as video:
      if video.num_frames < 2:
        raise errors.DecodeError(f"{source}: {counted(video.num_frames, 'frame')}; flow is between two.")
      for flow in METHODS[settings.method](_frames(video, settings.short_side)):
        count += 1
        images = flow_frames.as_bytes(flow, settings.bound)
        for axis, image in zip(flow_frames.AXES[0], np.moveaxis(images, -1, 0)):
          data = cv2.imencode(".jpg", np.ascontiguousarray(image))[1].tobytes()
          with open(os.path.join(part, f"flow_{axis}_{count:05d}.jpg"), "wb") as f:
            f.write(data)
        if time.monotonic() - said > _LINES_EVERY:
          said = time.monotonic()
          print(f"{source}: flow {count} of {video.num_frames - 1}", file=sys.stderr, flush=True)
    shutil.rmtree(target, ignore_errors=True)  # of an older video
    os.replace(part, target)
  except BaseException:
    shutil.rmtree(part, ignore_errors=True)
    raise
  return count


def _frames(video: Any, short_side: int) -> Iterator[np.ndarray]:
  """uint8 (H, W, 3), all of one size, a block of them decoded at a time."""
  side, size = short_side if 0 < short_side < min(video.width, video.height) else None, None
  for start in range(0, video.num_frames, _BLOCK):
    for frame in video.frames(np.arange(start, min(start + _BLOCK, video.num_frames)), short_side=side):
      size = size or frame.shape
      if frame.shape != size:
        raise errors.DecodeError(f"{video.name}: its images differ in size.")
      yield frame


def _check(settings: Settings) -> None:
  errors.check_choice("method", settings.method, METHODS)
  if settings.method == "tvl1":
    optical_flow.check_tvl1()
  if settings.short_side and settings.short_side < 16:
    raise errors.ConfigError(f"short_side={settings.short_side}: at least 16 pixels, or 0 for those of the videos.")
  if not 0 < settings.bound < math.inf:
    raise errors.ConfigError(f"bound={settings.bound:g}: write the pixels from 0 on at which flow is clipped.")


def _named(paths: Sequence[str | os.PathLike]) -> dict[str, str]:
  """Videos by the folder of their images."""
  named: dict[str, str] = {}
  every = media_files.find(paths)  # says what means no video
  roots = sorted((os.path.abspath(p) for p in map(os.fspath, paths) if os.path.isdir(p)), key=len)
  for source in every:
    at = os.path.abspath(source)
    root = next((r for r in roots if at != r and os.path.commonpath([r, at]) == r), os.path.dirname(at))
    name = os.path.splitext(os.path.relpath(at, root))[0]
    if named.setdefault(name, source) != source:
      raise errors.DataError(f"{source} and {named[name]}: both would become {name}; give each an --out of its own.")
  return named


def _whole(source: str, target: pathlib.Path) -> bool:
  """Whether all images are there: folders of them are written in one piece, but some may have been removed since."""
  try:
    axes = [sorted(target.glob(f"flow_{axis}_*.jpg")) for axis in flow_frames.AXES[0]]
    counts = {int(files[-1].stem.rpartition("_")[2]) if files else 0 for files in axes} | set(map(len, axes))
    return len(counts) == 1 and counts != {0} and target.stat().st_mtime >= os.stat(source).st_mtime
  except (OSError, ValueError):
    return False
