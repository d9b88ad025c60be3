"""Features of videos, frame by frame, from any trained trunk: what systems of long videos are trained on.

The features of a frame are those of the window centred on it: 21 frames in Fayyaz,
"Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency", 2024, section
2 (line 828), with the first and the last frame repeated beyond the ends.
"""

from collections.abc import Iterator, Sequence
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, writing
from vidx.data import clips as clips_lib, file_jobs, media_files, transforms
from vidx.data.records import media_of
from vidx.infer import load
from vidx.nn import augment
from vidx.terminal import counted
from vidx.train import cache

WINDOW = 21
_CHUNK = 64  # windows whose frames are decoded at once
_SETTINGS = "features.json"


class Extractor:
  """The features of the frames of a video.

  Attributes:
    size: features per frame.
  """

  def __init__(self, loaded: load.Loaded, window: int = WINDOW, stride: int = 1, batch_size: int = 8):
    """
    Args:
      loaded: the trunk, and how it sees frames.
      window: frames that it is shown around every frame.
      stride: every so many frames have features.
      batch_size: windows at once.
    """
    data = loaded.config.data
    if tuple(loaded.model.inputs) != ("video",) or data.flow:
      takes = "flow" if data.flow else ", ".join(loaded.model.inputs)
      raise errors.ConfigError(f"system '{loaded.config.system.name}' takes {takes}: features come from a trunk of"
                               " frames, which takes video alone.")
    if min(window, stride, batch_size) < 1:
      raise errors.ConfigError(f"--window={window}, --stride={stride} and --batch={batch_size} are at least 1.")
    self._data, self._window, self._stride, self._batch = data, window, stride, batch_size
    self._transform, self._variables = transforms.eval_transform(data), loaded.variables

    def forward(variables, frames, places):
      clip = augment.on_device({"video": frames[places]}, data.mean, data.std, loaded.dtype)["video"]
      features = loaded.model.apply(variables, clip, train=False)["features"].astype(jnp.float32)
      return features.mean(axis=tuple(range(1, features.ndim - 1)))

    self._forward = jax.jit(forward)
    height, width = clips_lib.eval_size(data)
    frames = jax.ShapeDtypeStruct((self._room, height, width, 3), np.uint8)
    places = jax.ShapeDtypeStruct((batch_size, window), np.int32)
    try:
      self.size = jax.eval_shape(forward, self._variables, frames, places).shape[-1]
    except (TypeError, ValueError) as e:
      raise errors.ConfigError(f"system '{loaded.config.system.name}' takes no windows of {counted(window, 'frame')}"
                               f" ({' '.join(str(e).split())[:200]}); set --window to what it was trained on.") from e

  @property
  def _room(self) -> int:
    """Frames that a chunk of windows touches at most."""
    return (_CHUNK - 1) * self._stride + self._window

  def __call__(self, path: str) -> tuple[np.ndarray, float, int]:
    """fp32 (ceil(N / stride), size) of a video of N frames, its frames per second, and N.

    Raises:
      DecodeError: it cannot be decoded.
    """
    with clips_lib.open_media(media_of(path), self._data.threads) as video:
      if not video.num_frames:
        raise errors.DecodeError(f"{path}: it holds no frames.")
      rows = [np.asarray(r) for r in self._rows(video)]
      return np.concatenate(rows), float(video.fps), video.num_frames

  def _rows(self, video: Any) -> Iterator[np.ndarray]:
    centres = np.arange(0, video.num_frames, self._stride)
    around, hint = np.arange(self._window) - self._window // 2, clips_lib.eval_hint(self._data)
    for first in range(0, len(centres), _CHUNK):
      windows = np.clip(centres[first:first + _CHUNK, None] + around, 0, video.num_frames - 1)
      low, high = windows.min(), windows.max() + 1
      frames = self._transform(video.frames(np.arange(low, high), short_side=hint))[0][0]
      room = np.zeros((self._room, *frames.shape[1:]), np.uint8)
      room[:len(frames)] = frames
      room = jnp.asarray(room)
      for start in range(0, len(windows), self._batch):
        some = windows[start:start + self._batch] - low
        places = np.zeros((self._batch, self._window), np.int32)
        places[:len(some)] = some
        yield self._forward(self._variables, room, places)[:len(some)]


def extract(workdir: str, root: str, out: str, *, window: int = WINDOW, stride: int = 1, batch_size: int = 8,
            step: int | str | None = None) -> dict[str, Any]:
  """Writes OUT/features/<video>.npy, (T, D), for all videos below a folder: what the reader `segments` takes.

  A file that is there already stays, so that the same command goes on where it was stopped.

  Args:
    workdir: of the trunk, a run or what `vidx convert` wrote.
    root: folder of videos; a file in a folder below it is called 'folder-video'.
    out: folder to write.
    window: see `Extractor`.
    stride: see `Extractor`.
    batch_size: see `Extractor`.
    step: which checkpoint, as in `load_checkpoint`.

  Returns:
    {'videos', 'written', 'kept', 'size', 'bad': {path: reason}}.

  Raises:
    DataError: `out` holds features that were made otherwise, or two videos have one name.
  """
  loaded = load.load_checkpoint(workdir, step)
  extractor = Extractor(loaded, window, stride, batch_size)
  targets = _targets(media_files.find(root), root, out)
  how = {"workdir": os.path.abspath(workdir), "step": loaded.step, "window": window, "stride": stride,
         "digest of the weights": cache.fingerprint(loaded.variables), "size": extractor.size}
  file_jobs.keep_settings(os.path.join(out, _SETTINGS), how, "made")
  bad, written = {}, 0
  for source, target in targets.items():
    if os.path.exists(target):
      continue
    try:
      writing.write_array(target, extractor(source)[0])
      written += 1
    except errors.DecodeError as e:
      bad[source] = str(e)
  return {"videos": len(targets), "written": written, "kept": len(targets) - written - len(bad),
          "size": extractor.size, "bad": bad}


def _targets(files: Sequence[str], root: str, out: str) -> dict[str, str]:
  """File to write by video."""
  targets: dict[str, str] = {}
  sources: dict[str, str] = {}
  for file in files:
    inside = os.path.isdir(root) and file != root
    name = os.path.splitext(os.path.relpath(file, root) if inside else os.path.basename(file))[0]
    target = os.path.join(out, "features", f"{name.replace(os.sep, '-')}.npy")
    if target in sources:
      raise errors.DataError(f"{file} and {sources[target]} would both become {target}; rename one.")
    targets[file], sources[target] = target, file
  return targets
