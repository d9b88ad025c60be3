"""Optical flow that was computed before: two grey images per frame, with the interface of a video reader."""

from collections.abc import Sequence
import os

import numpy as np

from vidx import errors
from vidx.data import frame_tools
from vidx.data.frame_folder import FrameFolder
from vidx.terminal import counted

AXES = (("x", "y"), ("u", "v"))


def check(pattern: str) -> None:
  """Raises ConfigError for a pattern that cannot name the images of every video; see FlowFrames."""
  folder, file = os.path.split(pattern)
  if "{axis}" not in pattern or "{index}" not in file or not ("{name}" in folder or "{id}" in folder):
    raise errors.ConfigError(
        f"data.flow='{pattern}': write where the images of flow are with {{axis}} for x and y (or u and v), {{name}} or"
        " {id} for the video, perhaps {folder}, and {index} for the number, such as"
        " flow/{name}/flow_{axis}_{index}.jpg.")


def as_bytes(flow: np.ndarray, bound: float = 20.0) -> np.ndarray:
  """uint8 of flow in pixels, fp32 of any shape: from -bound to bound, where it is clipped, 0 to 255; 0 is 128."""
  return np.rint((np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound))).astype(np.uint8)


class FlowFrames(frame_tools.Reader):
  """The flow of a video as uint8 (N, H, W, 2): displacements to the right and down, 0 at 127.5.

  Attributes:
    name: of the video, for messages.
    num_frames: pairs of images; often one less than the video has frames.
  """

  def __init__(self, pattern: str, record: str, fps: float = 0.0):
    """
    Args:
      pattern: path with `{axis}`, `{index}` (digits, perhaps with zeros in front) and
        `{id}`, the name of the record without its ending, or `{name}`, the last part
        of that, and `{folder}`, the part before: "tvl1/{axis}/{name}/frame{index}.jpg".
      record: its id.
      fps: pairs of images per second, where the record is a part of a video; 0: not known.

    Raises:
      DecodeError: there are no such images, or not as many of both axes.
    """
    self.name, self.fps = record, fps
    identity = os.path.splitext(record)[0]
    folder, name = os.path.split(identity)
    path = pattern.replace("{id}", identity).replace("{name}", name).replace("{folder}", folder)
    reasons = []
    for axes in AXES:
      try:
        self._axes = [FrameFolder(*os.path.split(path.replace("{axis}", axis))) for axis in axes]
        break
      except errors.DecodeError as e:
        reasons.append(str(e))
    else:
      raise errors.DecodeError(f"{record}: no optical flow ({reasons[0]})")
    counts = [axis.num_frames for axis in self._axes]
    if counts[0] != counts[1]:
      raise errors.DecodeError(f"{record}: {counted(counts[0], 'image')} of flow to the side and {counts[1]} up and"
                               " down.")
    self.num_frames = counts[0]

  @property
  def timestamps(self) -> np.ndarray:
    """(num_frames,) float64 seconds; images of flow do not state them."""
    if self.fps:
      return np.arange(self.num_frames) / self.fps
    raise errors.ConfigError(f"{self.name} is a part of a video, and images of optical flow state no times: cut them as"
                             " the videos are cut.")

  def frames(self, indices: Sequence[int] | np.ndarray, short_side: int | None = None) -> np.ndarray:
    """uint8 (len(indices), H, W, 2), resized as `VideoReader.frames` does."""
    return np.stack([axis.frames(indices, short_side)[..., 0] for axis in self._axes], -1)
