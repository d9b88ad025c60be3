"""The frames of a video that are looked at, and what moves in them."""

import functools
import os

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import clips, frame_tools, media_files, optical_flow
from vidx.data.records import Media
from vidx.infer.proposals import stages as stages_lib
from vidx.infer.proposals.stages import BLOCK, Blocks, Stages

STILL = 0.25  # pixels: a video whose flow is less in 99 of 100 places does not move


class Video:
  """The frames that are looked at, at the size at which they are; a block of them is held at a time.

  Attributes:
    path: of the video.
    name: under which what is found is written.
    indices: int (N,), their numbers in the video.
    full: height and width of the video.
    height: of the frames, in pixels.
    width: of the frames.
    fps: frames per second of those that are looked at.
  """

  def __init__(self, media: Media, settings: ConfigDict, name: str):
    """
    Args:
      media: of the video.
      settings: section `video`.
      name: of the video.

    Raises:
      DecodeError: it cannot be decoded, or holds no frame.
    """
    self._media, self.path, self.name = media, media.path, name
    self._reader = clips.open_media(media)
    count = self._reader.num_frames
    if not count:
      raise errors.DecodeError(f"{media.path}: it holds no frames.")
    self.indices = np.arange(0, count, settings.stride)[:settings.frames or None]
    first = self._reader.frames([0])[0]
    self.full = first.shape[:2]
    side = settings.short_side
    self._side = side if side and side < min(self.full) else None
    width, height = frame_tools.fit_short_side(self.full[1], self.full[0], self._side) if self._side else (
        self.full[1], self.full[0])
    self.height, self.width = height, width
    self.fps = float(self._reader.fps or 25.0) / settings.stride
    self.frames = functools.lru_cache(maxsize=2)(self._frames)

  def __len__(self) -> int:
    return len(self.indices)

  def __getitem__(self, i: int) -> np.ndarray:
    """uint8 (H, W, 3), the i-th frame that is looked at."""
    if not 0 <= i < len(self):
      raise IndexError(i)
    return self.frames(i // BLOCK)[i % BLOCK]

  def close(self) -> None:
    self._reader.close()

  def _frames(self, block: int) -> np.ndarray:
    found = self._reader.frames(self.indices[block * BLOCK:(block + 1) * BLOCK], short_side=self._side)
    if found.shape[1:3] != (self.height, self.width):
      raise errors.DecodeError(f"{self.path}: its images differ in size: one is {found.shape[2]} x {found.shape[1]},"
                               f" the first {self.width} x {self.height}.")
    return found

  def identity(self) -> list:
    """What tells this video, as it is looked at, from others."""
    path = os.path.abspath(self.path)
    frames = [os.path.join(path, name) for name in media_files.images(path)]  # of a folder
    media = path, self._media.kind, self._media.index, self._media.pattern
    return [media, stages_lib.files_of(*frames or [path]), self.indices.tolist(), self.height, self.width]


class Motion:
  """Flow of a video, in pixels of the frames that are looked at.

  Attributes:
    key: what it depends on.
    cuts: frames from which on the camera is another one; the flow into them is 0.
    scale: pixels of motion that count as 1, the 99th percentile of the video; 0 of a video that does not move.
  """

  def __init__(self, video: Video, settings: ConfigDict, stages: Stages):
    """
    Args:
      video: of N frames.
      settings: section `flow`.
      stages: where flow is kept.

    Raises:
      DataError: files of flow are missing or broken.
    """
    self._video, self._camera = video, settings.camera
    files = optical_flow.FlowFiles(settings.files, video.name) if settings.source == "files" else None
    if files is not None:
      if len(video) > 1 and np.diff(video.indices[:2])[0] != 1:
        raise errors.ConfigError("video.stride: files of flow are from each frame to the next; set it to 1.")
      files.check(max(len(files.files), len(video), 2))  # more of them are those of a longer video
    size, count = (video.height, video.width), len(video)

    def make(start, stop):
      last = min(stop, count - 1)  # the last frame has no flow
      flow, cut = np.zeros((stop - start, *size, 2), np.float16), np.zeros(stop - start, bool)
      found = (optical_flow.resize_flow(files(t), *size) for t in range(start, last)) if files else (
          optical_flow.dis_flow(_Some(video, start, last + 1), settings.preset))
      for t, one in zip(range(start, last), found):
        cut[t - start] = optical_flow.is_cut(video[t], video[t + 1], one)
        if not cut[t - start]:
          flow[t - start] = one
      return {"flow": flow, "cut": cut}

    key = stages_lib.key_of("flow", video.identity(), settings.source, settings.preset,
                            stages_lib.files_of(*files.files[:count]) if files else [])
    self._blocks: Blocks = stages.blocks("flow", key, count, make)
    self.key = stages_lib.key_of(key, settings.camera)
    self.cuts = np.flatnonzero(self._blocks.whole("cut")[0]) + 1
    scale = float(stages.one("motion", self.key, lambda: {"scale": self._percentile()})["scale"])
    self.scale = scale if scale >= STILL else 0.0

  def flow(self, t: int) -> np.ndarray:
    """fp32 (H, W, 2) from frame t to t + 1; 0 of the last frame and before a cut."""
    return self._blocks.at(t, "flow").astype(np.float32)

  def seen(self, t: int) -> np.ndarray:
    """fp32 (H, W, 2), what moves in frame t beside the camera; where a frame has no flow, that of the one before."""
    last = t == len(self._video) - 1 or t + 1 in self.cuts
    flow = self.flow(t - 1 if last and t and t not in self.cuts else t)
    return flow - optical_flow.camera_motion(flow, self._camera)

  def _percentile(self):
    """The 99th percentile of how far pixels move, of all frames; in fp16, as flow is kept, whose values are counted."""
    count = np.zeros(1 << 16, np.int64)  # by the bits of a value, which rise with it from 0 on
    for t in range(len(self._video)):
      far = np.hypot(*np.moveaxis(self.seen(t), -1, 0)).astype(np.float16)
      count += np.bincount(far.view(np.uint16).reshape(-1), minlength=len(count))
    place = np.searchsorted(np.cumsum(count), 0.99 * count.sum())
    return np.uint16(place).view(np.float16)


class _Some:
  """Frames start..stop - 1 of a video as a sequence."""

  def __init__(self, video, start, stop):
    self._video, self._start, self._stop = video, start, stop

  def __len__(self):
    return max(self._stop - self._start, 0)

  def __getitem__(self, i):
    if i >= len(self):
      raise IndexError(i)
    return self._video[self._start + i]
