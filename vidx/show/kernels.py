"""Kernels that look at pixels, as pictures: of first convolutions and of band-pass modules.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, figures 5.10 and 5.11.
"""

import math
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from vidx.data import examples
from vidx.infer.load import Loaded
from vidx.terminal import counted

PIXELS = (2, 3)  # channels of flow and of frames
WIDTH, MARGIN = 300, 3  # pixels of a picture, about, and between two kernels


def of(loaded: Loaded) -> dict[str, np.ndarray]:
  """Kernels (N, h, w) by title, in the order of the parameters.

  Of a first convolution there is the first channel of each filter, in the middle of its frames; of a band-pass module
  that sees pixels the kernel of each channel, and how it was at the start.
  """
  flat = traverse_util.flatten_dict(loaded.variables["params"])
  first = [path for path, x in flat.items() if path[-1] == "kernel" and x.ndim > 3 and x.shape[-2] in PIXELS
           and math.prod(x.shape[-4:-2]) > 1]
  passing = [path for path, x in flat.items() if path[-2:] == ("band_pass", "spatial") and x.shape[-1] in PIXELS]
  start = _at_start(loaded, passing) if passing else {}
  found = {}
  for path in sorted(first + passing):
    x, name = np.asarray(flat[path], np.float32), "/".join(path[:-1])
    if path in start:
      found[f"{name}, a kernel per channel, at the start"] = np.moveaxis(start[path], -1, 0)
      found[f"{name}, a kernel per channel, after {counted(loaded.step, 'step')}"] = np.moveaxis(x, -1, 0)
    else:
      x = x[len(x) // 2] if x.ndim == 5 else x
      found[f"{name}, the first channel of {counted(x.shape[-1], 'filter')}, after {counted(loaded.step, 'step')}"] = (
          np.moveaxis(x[..., 0, :], -1, 0))
  return found


def _at_start(loaded: Loaded, paths: list[tuple[str, ...]]) -> dict[tuple[str, ...], np.ndarray]:
  """Parameters as a model begins with them; nothing else of it is computed."""
  sizes = {name: len(labels) for name, labels in loaded.targets.items()}
  inputs = examples.input_shapes(loaded.model, loaded.config.data, loaded.dtype, sizes or len(loaded.classes))

  def begin() -> dict[str, Any]:
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), inputs)
    params = traverse_util.flatten_dict(loaded.model.init(jax.random.PRNGKey(0), *zeros, train=False)["params"])
    return {"/".join(path): params[path] for path in paths}

  made = jax.device_get(jax.jit(begin)())
  return {path: made["/".join(path)] for path in paths}


def picture(kernels: np.ndarray) -> np.ndarray:
  """Kernels (N, h, w) in a square, uint8 (H, W, 3): blue below zero, red above, each by its own largest magnitude."""
  import cv2
  import matplotlib
  count, height, width = kernels.shape
  scaled = kernels / np.maximum(np.abs(kernels).max((1, 2), keepdims=True), np.finfo(np.float32).tiny)
  columns = math.ceil(math.sqrt(count))
  factor = max(1, round(WIDTH / columns / max(height, width)))
  down, across = factor * height + MARGIN, factor * width + MARGIN
  canvas = np.full((math.ceil(count / columns) * down + MARGIN, columns * across + MARGIN, 3), 255, np.uint8)
  for i, values in enumerate(matplotlib.colormaps["RdBu_r"](0.5 + scaled / 2)[..., :3]):
    top, left = MARGIN + i // columns * down, MARGIN + i % columns * across
    canvas[top:top + down - MARGIN, left:left + across - MARGIN] = cv2.resize(
        np.round(255 * values).astype(np.uint8), (across - MARGIN, down - MARGIN), interpolation=cv2.INTER_NEAREST)
  return canvas
