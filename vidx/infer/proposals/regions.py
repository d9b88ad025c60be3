"""Features of a video's boxes, rows of length 1, reduced to principal components (Xiao 2020, section 2.2.1).

The thesis takes AlexNet's fc7 of each box: `features.name="crops"` with converted weights.
Without weights there are oriented gradients and colours.
"""

from collections.abc import Callable
import os
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.infer import load
from vidx.infer.proposals import stages as stages_lib
from vidx.infer.proposals.candidates import Candidates, lab
from vidx.infer.proposals.motion import Video
from vidx.infer.proposals.stages import BLOCK, Blocks, Stages
from vidx.nn import augment, oriented_gradients, sites
from vidx.nn.roi_align import roi_align
from vidx.train import checkpoint

_FIT_FRAMES, _FIT_ROWS = 48, 4096  # of which principal components come

Describe = Callable[[np.ndarray, np.ndarray], jax.Array]  # frame uint8 (H, W, 3), boxes (P, 4) -> fp32 (P, D)


def describer(config: ConfigDict) -> Describe:
  """What gives a frame's boxes their features.

  Raises:
    ConfigError: the run takes no frames, or has not the site.
    CheckpointError: there is no such run.
  """
  c = config.features
  if c.name == "hog_lab":
    describe = jax.jit(lambda image, boxes: oriented_gradients.describe(image, boxes, c.colour))
    return lambda frame, boxes: describe(lab(frame), boxes)
  loaded = trunk(c.workdir, c.site if c.name == "trunk" else "")
  if c.name == "trunk":
    return _by_site(loaded, c.site, c.grid)
  return _by_crops(loaded, c.batch)


def trunk(workdir: str, *wanted: str) -> load.Loaded:
  """A run whose system takes frames, with these sites."""
  loaded = load.load_checkpoint(workdir)
  if tuple(loaded.model.inputs) != ("video",):
    raise errors.ConfigError(f"features.workdir={workdir}: system '{loaded.config.system.name}' takes no images.")
  for site in filter(None, wanted):
    if site not in loaded.model.site_names():
      raise errors.ConfigError(f"'{site}' is no site of {loaded.config.system.name}"
                               f"{errors.hint(site, loaded.model.site_names())}.")
  return loaded


def weights(workdir: str) -> list[tuple[str, int, int]]:
  """`stages.files_of` a run's config and all checkpoints that it keeps: the one that is taken is among them."""
  return stages_lib.files_of(os.path.join(workdir, "config.json"), os.path.join(workdir, checkpoint.FOLDER))


def dense(loaded: load.Loaded, *wanted: str) -> Callable[[Any, jax.Array], list[jax.Array]]:
  """(variables, uint8 (B, H, W, 3)) -> fp32 (B, H', W', C) of each site, to be jitted."""
  data = loaded.config.data

  def forward(variables, images):
    clip = augment.on_device({"video": images[:, None]}, data.mean, data.std, loaded.dtype)["video"]
    found = sites.taps(loaded.model, variables, clip, sites=wanted, train=False)[1]
    return [found[site].astype(jnp.float32)[:, 0] for site in wanted]

  return forward


def _unit(x):
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _by_site(loaded, site, grid):
  forward = dense(loaded, site)

  @jax.jit
  def describe(variables, frame, boxes):
    maps = forward(variables, frame[None])[0]
    scale = maps.shape[1] / frame.shape[0], maps.shape[2] / frame.shape[1]
    found = roi_align(maps, boxes[None], grid, scale=scale)[0]
    return _unit(found.reshape(len(boxes), -1))

  return lambda frame, boxes: describe(loaded.variables, frame, boxes)


def _by_crops(loaded, batch):
  data = loaded.config.data
  side = data.test_crop or data.crop

  @jax.jit
  def describe(variables, frame, boxes):
    crops = roi_align(frame[None].astype(jnp.float32), boxes[None], side)[0]
    clip = augment.on_device({"video": jnp.round(crops).astype(jnp.uint8)[:, None]}, data.mean, data.std,
                             loaded.dtype)["video"]
    found = loaded.model.apply(variables, clip, train=False)["features"].astype(jnp.float32)
    return _unit(found.reshape(len(boxes), -1, found.shape[-1]).mean(1))

  def every(frame, boxes):
    padded = np.pad(boxes, ((0, -len(boxes) % batch), (0, 0)))
    found = [describe(loaded.variables, frame, padded[i:i + batch]) for i in range(0, len(padded), batch)]
    return jnp.concatenate(found)[:len(boxes)]

  return every


class Regions:
  """Features of the boxes of a video that are looked at, a block of frames at a time.

  Attributes:
    blocks: of frames: 'features' fp16 (F, P, D), and int 'rows' (F, P), these boxes' rows among the candidates, -1 for
      none.
    key: what they depend on.
    size: D.
  """

  def __init__(self, video: Video, candidates: Candidates, config: ConfigDict, stages: Stages):
    c = config.features
    made: list[Describe] = []
    fire = max(config.growing.fire, config.boxes.top)

    def describe(frame, boxes):
      if not made:
        made.append(describer(config))
      return made[0](frame, boxes)

    self.key = stages_lib.key_of(candidates.key, config.features, fire, config.seed,
                                 [] if c.name == "hog_lab" else weights(c.workdir))
    rows = candidates.best(fire)
    boxes_of = lambda t: np.where((rows[t] >= 0)[:, None],
                                  candidates.blocks.at(t, "boxes")[np.maximum(rows[t], 0)], 0).astype(np.float32)

    def fit():
      rng = np.random.default_rng(config.seed)
      frames = np.unique(np.linspace(0, len(video) - 1, min(_FIT_FRAMES, len(video))).round().astype(int))
      share, sample = -(-_FIT_ROWS // len(frames)), []
      for t in frames:
        chosen = rng.permutation(np.flatnonzero(rows[t] >= 0))[:share]
        sample.append(np.asarray(describe(video[t], boxes_of(t)))[chosen])
      x = np.concatenate(sample).astype(np.float32)
      mean = x.mean(0) if c.components else np.zeros(x.shape[1], np.float32)
      if not c.components or x.shape[1] <= c.components:
        return {"mean": mean, "axes": np.eye(x.shape[1], dtype=np.float32)}
      _, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
      return {"mean": mean, "axes": np.ascontiguousarray(vectors[:, ::-1][:, :c.components])}

    basis = stages.one("components", self.key, fit)
    mean, axes = jnp.asarray(basis["mean"]), jnp.asarray(basis["axes"])
    reduce = jax.jit(lambda x: _unit((x - mean) @ axes).astype(jnp.float16))
    self.size = axes.shape[1]

    def make(start, stop):
      found = [np.asarray(reduce(describe(video[t], boxes_of(t)))) for t in range(start, stop)]
      valid = rows[start:stop] >= 0
      return {"features": np.where(valid[..., None], np.stack(found), 0), "rows": rows[start:stop]}

    self.blocks: Blocks = stages.blocks("features", self.key, len(video), make)

  def __len__(self) -> int:
    return self.blocks.count

  def best(self, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first boxes of each frame: fp32 (R, D), their frames (R,), and their rows among the candidates (R,)."""
    found, frames, rows = [], [], []
    for i in range(len(self.blocks)):
      block = self.blocks[i]
      t, p = np.nonzero(block["rows"][:, :top] >= 0)
      found.append(block["features"][t, p].astype(np.float32))
      frames.append(t + i * BLOCK)
      rows.append(block["rows"][t, p])
    return np.concatenate(found), np.concatenate(frames), np.concatenate(rows)
