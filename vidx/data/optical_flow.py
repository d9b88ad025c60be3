"""Optical flow in pixels: computed by OpenCV, or read from files that a network wrote.

Kroeger et al.: "Fast Optical Flow using Dense Inverse Search", 2016; Zach, Pock, Bischof: "A
Duality Based Approach for Realtime TV-L1 Optical Flow", 2007. Flow of frame t moves what is at
(x, y) to (x + dx, y + dy) in frame t + 1. Images of flow as bytes, which systems of two streams
learn from, are those of `flow_frames`.
"""

from collections.abc import Callable, Iterable, Iterator
import os

import numpy as np

from vidx import errors, reading, writing
from vidx.data import media_files
from vidx.terminal import counted

FILES = (".flo", ".npy", ".png")
_MAGIC = 202021.25  # of a .flo file, which reads PIEH
_UNKNOWN = 1e9  # from which on a number of a .flo file says that nothing is known
PRESETS = ("ultrafast", "fast", "medium")
CAMERAS = ("none", "median", "affine")


def read_flow(path: str) -> np.ndarray:
  """fp32 (H, W, 2) of a file: Middlebury's .flo, .npy as (H, W, 2) or (2, H, W), KITTI's 16-bit .png. Unknown is 0.

  Raises:
    DataError: no such file, another kind, or what it holds is no flow.
  """
  with reading.boundary(f"{path} is no optical flow"):
    if path.endswith(".npy"):
      flow = reading.array(path)
      flow = np.moveaxis(flow, 0, -1) if flow.ndim == 3 and flow.shape[0] == 2 and flow.shape[-1] != 2 else flow
    elif path.endswith(".flo"):
      flow = _middlebury(path)
    elif path.endswith(".png"):
      import cv2
      image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
      if image is None or image.dtype != np.uint16 or image.shape[-1:] != (3,):
        raise ValueError("it is no image of three channels of 16 bits")
      image = image[..., ::-1].astype(np.float32)  # u, v, known
      flow = np.where(image[..., 2:] > 0, (image[..., :2] - 2.0 ** 15) / 64, 0)
    else:
      raise ValueError(f"its ending is none of {', '.join(FILES)}")
    if flow.ndim != 3 or flow.shape[-1] != 2 or flow.dtype.kind != "f":
      raise ValueError(f"its shape is {flow.shape} of {flow.dtype}")
  flow = flow.astype(np.float32)
  return np.where(np.isfinite(flow) & (np.abs(flow) < _UNKNOWN), flow, 0)


def _middlebury(path):
  with open(path, "rb") as f:
    head = np.fromfile(f, "<f4", 1)
    size = np.fromfile(f, "<i4", 2)
    if len(size) < 2 or head[0] != np.float32(_MAGIC) or min(size) < 1:
      raise ValueError("it does not begin as a .flo file")
    data = np.fromfile(f, "<f4", 2 * int(size[0]) * int(size[1]))
  if len(data) != 2 * int(size[0]) * int(size[1]):
    raise ValueError("it is cut off")
  return data.reshape(size[1], size[0], 2)


def write_flow(path: str, flow: np.ndarray) -> None:
  """Writes (H, W, 2) as a .flo file, in one piece."""
  height, width = flow.shape[:2]
  writing.write_bytes(path, np.array([_MAGIC], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
                      + np.asarray(flow, "<f4").tobytes())


def resize_flow(flow: np.ndarray, height: int, width: int) -> np.ndarray:
  """Flow of frames of another size: the map is interpolated and its vectors are scaled, fp32 (height, width, 2)."""
  import cv2
  if flow.shape[:2] == (height, width):
    return flow
  scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
  return cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale


class FlowFiles:
  """Flow of a video that was computed before: one file for each frame but the last, in the order of their numbers.

  Attributes:
    files: paths.
  """

  def __init__(self, pattern: str, name: str):
    """
    Args:
      pattern: folder of the files, with {name} for the name of the video.
      name: of the video, without its ending.

    Raises:
      DataError: there are no such files.
    """
    self._folder = pattern.replace("{name}", name)
    try:
      names = [n for n in os.listdir(self._folder) if n.endswith(FILES) and not n.startswith(".")]
    except OSError as e:
      raise errors.DataError(f"flow of {name}: folder {self._folder} cannot be read ({e.strerror}).") from e
    if not names:
      raise errors.DataError(f"flow of {name}: {self._folder} holds no file that ends in {', '.join(FILES)}.")
    names.sort(key=media_files.by_number)
    self.files = [os.path.join(self._folder, n) for n in names]

  def check(self, frames: int) -> None:
    """Raises DataError where there is not a file for each frame but the last, or for each."""
    if len(self.files) not in (frames - 1, frames):
      raise errors.DataError(f"{self._folder} holds {counted(len(self.files), 'file')} of flow; a video of"
                             f" {counted(frames, 'frame')} has {frames - 1}.")

  def __call__(self, t: int) -> np.ndarray:
    return read_flow(self.files[t])


def dis_flow(frames: Iterable[np.ndarray], preset: str = "medium") -> Iterator[np.ndarray]:
  """Flow from each frame to the next, fp32 (H, W, 2), by dense inverse search.

  Args:
    frames: uint8 (H, W, 3) RGB, all of one size; two are held at a time.
    preset: of PRESETS: how thorough the search is.
  """
  import cv2
  errors.check_choice("flow.preset", preset, PRESETS)
  search = cv2.DISOpticalFlow_create(PRESETS.index(preset))
  return _between(frames, lambda before, after: search.calc(before, after, None))


def tvl1_flow(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
  """Flow from each frame to the next, fp32 (H, W, 2), by TV-L1 with OpenCV's settings.

  On one core it took 5.7 s for two frames of 340 x 256, where dense inverse search took 0.08 s.

  Args:
    frames: as of `dis_flow`.

  Raises:
    ConfigError: an OpenCV without its contributed modules.
  """
  check_tvl1()
  import cv2
  solver = cv2.optflow.DualTVL1OpticalFlow_create()
  return _between(frames, lambda before, after: solver.calc(before, after, None))


def check_tvl1() -> None:
  """Raises ConfigError where OpenCV lacks its contributed modules."""
  import cv2
  if not hasattr(cv2, "optflow"):
    raise errors.ConfigError("TV-L1: this OpenCV has no optflow; take dis, or install opencv-contrib-python-headless in"
                             " place of opencv-python-headless.")


def _between(frames: Iterable[np.ndarray], flow: Callable[[np.ndarray, np.ndarray], np.ndarray]
             ) -> Iterator[np.ndarray]:
  """`flow` of the grey levels of each frame and the next; 0 where they are too small for it."""
  import cv2
  before = None
  for frame in frames:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if before is not None:
      # Both go down a pyramid: below the patches of the search nothing is left of a frame.
      yield np.zeros((*grey.shape, 2), np.float32) if min(grey.shape) < 16 else flow(before, grey)
    before = grey


def camera_motion(flow: np.ndarray, camera: str, step: int = 8, rounds: int = 10) -> np.ndarray:
  """What of a flow the camera's own motion explains, fp32 (H, W, 2).

  Args:
    flow: (H, W, 2).
    camera: 'none': nothing. 'median': one shift, the median. 'affine': the affine map that most of the frame follows,
      fitted to every `step`-th pixel by weights that fall where it does not fit.
    step: in pixels.
    rounds: of the weights.
  """
  errors.check_choice("flow.camera", camera, CAMERAS)
  if camera == "none":
    return np.zeros_like(flow)
  if camera == "median":
    return np.broadcast_to(np.median(flow.reshape(-1, 2), 0), flow.shape).astype(np.float32)
  height, width = flow.shape[:2]
  y, x = (np.mgrid[0:height, 0:width].astype(np.float32) + 0.5)
  basis = np.stack([np.ones_like(x), 2 * x / width - 1, 2 * y / height - 1], -1)
  every = slice(step // 2, None, step)
  some, goal = basis[every, every].reshape(-1, 3), flow[every, every].reshape(-1, 2)
  if len(some) < 6:
    return camera_motion(flow, "median")
  fit = np.stack([np.median(goal, 0), [0, 0], [0, 0]])
  for _ in range(rounds):
    off = np.linalg.norm(goal - some @ fit, axis=1)
    scale = max(1.5 * np.median(off), 0.1)
    weight = (1 / (1 + (off / scale) ** 2) ** 2)[:, None]  # Geman and McClure's
    fit = np.linalg.solve((some * weight).T @ some + 1e-6 * np.eye(3), (some * weight).T @ goal)
  return (basis @ fit).astype(np.float32)


def is_cut(before: np.ndarray, after: np.ndarray, flow: np.ndarray, threshold: float = 0.35) -> bool:
  """Whether the camera was changed between two frames: their colours differ, and the flow does not explain it.

  Args:
    before: uint8 (H, W, 3).
    after: as `before`.
    flow: (H, W, 2) from one to the other.
    threshold: share of the pixels of their histograms (8 levels a channel) that differ.
  """
  import cv2
  bins = [8, 8, 8]
  count = lambda x: cv2.calcHist([np.ascontiguousarray(x)], [0, 1, 2], None, bins, [0, 256] * 3).reshape(-1)
  of = lambda x: count(x) / x[..., 0].size
  apart = 0.5 * np.abs(of(before) - of(after)).sum()
  if apart < threshold:
    return False
  height, width = flow.shape[:2]
  y, x = np.mgrid[0:height, 0:width].astype(np.float32)
  warped = cv2.remap(after, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
  off = np.abs(warped.astype(np.float32) - before).mean()
  plain = np.abs(after.astype(np.float32) - before).mean()
  return off > 0.5 * plain and off > 10
