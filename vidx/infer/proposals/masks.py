"""From a tube of boxes to one of masks, and to better boxes (Xiao 2020, section 2.2.3).

A logistic regression tells an object's pixels from those around it, in all frames at once;
a cut of each frame follows its edges; both are repeated until they agree. Mixtures of
Gaussians sharpen the masks at the resolution of pixels. The tight boxes around their large
parts are the refined boxes.
"""

from collections.abc import Iterator
import functools

import cv2
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
from scipy import ndimage

from vidx.data.datasets import object_tracks
from vidx.infer.proposals import regions
from vidx.infer.proposals.candidates import FRAME, lab, of_frame
from vidx.infer.proposals.motion import Motion, Video
from vidx.nn import gaussian_mixture, linear_detector, tv_cut
from vidx.nn.roi_align import roi_align

_HELD = 512 << 20  # bytes of a tube's samples that are held; beyond, they are made anew in each round
_WAVES, _WIDTH = 160, 0.35  # of the random features of colours and motion: how many, and the width of their kernel
_MOVING = 1.0  # weight of motion, of 1 at the video's 99th percentile, beside colours
_POINTS = 1500  # pixels that each mixture is fitted to
_FAR = 20.0  # cost of a label where it cannot be
_EVERY = 32  # pixels: sides of what is sharpened are multiples of so many, for few programs


class Segmenter:
  """Makes masks of a video's tubes."""

  def __init__(self, video: Video, motion: Motion, config: ConfigDict):
    self._video, self._motion, self._edges, c = video, motion, config.edges, config.masks
    self._c, self._seed = c, config.seed
    scale = (video.height * video.width / FRAME) ** 0.5
    self._band, self._margin = c.band * scale, int(round(c.gmm_margin * scale))
    self._shown = functools.lru_cache(maxsize=2)(self._maps)
    if c.pixels == "trunk":
      wanted = tuple(c.site.split(","))
      loaded = regions.trunk(config.features.workdir, *wanted)
      self._columns = _columns(loaded, wanted, c.grid)
    else:
      self._columns = None
    self._sample = jax.jit(lambda maps, box: roi_align(maps[None], box[None, None], c.grid, samples=1)[0, 0])
    self._fit = jax.jit(lambda x, y: linear_detector.logistic_regression(x, y, c.regularisation))
    self._cut = jax.jit(self._cut_frame)
    self._paste = jax.jit(lambda grid, box: roi_align(grid[None, ..., None], box[None, None],
                                                      (video.height, video.width), samples=1)[0, 0, ..., 0])
    self._sharpen = jax.jit(self._sharpen_frame)

  def __call__(self, boxes: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks bool (N, H, W) and refined boxes fp32 (N, 4) of a tube (N, 4).

    A frame whose mask is empty keeps its box.

    Args:
      boxes: in pixels of the frames that are looked at.
      number: of the tube, from which the draws follow.
    """
    c, rng = self._c, np.random.default_rng((self._seed, number))
    held = self._frames(boxes)
    labels = None  # bool (N, G, G)
    for _ in range(c.rounds):
      x, y = [], []
      share = -(-c.samples // len(boxes))
      for t, (columns, _, valid) in enumerate(held()):
        label = _first(boxes[t], c.region, self._band, c.grid) if labels is None else np.where(labels[t], 1, -1)
        at = rng.permutation(np.flatnonzero((label != 0) & valid))[:share]
        x.append(columns.reshape(-1, columns.shape[-1])[at])
        y.append(label.reshape(-1)[at])
      x, y = np.concatenate(x).astype(np.float32), np.concatenate(y)
      if (y > 0).all() or (y < 0).all():  # nothing is around the box, or nothing is left in it
        if labels is None:
          labels = np.stack([_first(b, c.region, self._band, c.grid) > 0 for b in boxes])
        break
      room = c.samples + len(boxes)
      w = self._fit(np.pad(x, ((0, room - len(x)), (0, 0))), np.pad(y, (0, room - len(y))))
      new = np.stack([np.asarray(self._cut(columns, edges, valid, w)) for columns, edges, valid in held()])
      changed = 1.0 if labels is None else (new != labels).mean()
      labels = new
      if changed < c.changed:
        break
    return self._whole(boxes, labels, number)

  def _frames(self, boxes):
    """A function that gives each frame's samples: columns (G, G, D), edges and validity (G, G)."""
    def make() -> Iterator:
      for t, box in enumerate(boxes):
        yield self._seen(t, box)

    first = self._seen(0, boxes[0])[0]
    if first.nbytes * len(boxes) > _HELD:
      return make
    kept = list(make())
    return lambda: iter(kept)

  def _maps(self, t):
    """fp32 (H, W, 11): colours, smooth colours, motion, edges, and 1."""
    colours = lab(self._video[t])
    flow, scale = self._motion.seen(t), self._motion.scale
    moving = np.clip(flow / scale, -2, 2) if scale else np.zeros_like(flow)
    moving = np.concatenate([moving, np.linalg.norm(moving, axis=-1, keepdims=True)], -1)
    smooth = cv2.GaussianBlur(colours, (0, 0), 3.0)
    edges = of_frame(self._video[t], self._edges)[0][..., None]
    return np.concatenate([colours, smooth, _MOVING * moving, edges, np.ones_like(edges)], -1).astype(np.float32)

  def _seen(self, t, box):
    region = _around(box, self._c.region)
    maps = self._shown(t)
    grid = np.asarray(self._sample(maps, region))
    valid = grid[..., -1] > 0.5
    if self._columns is not None:
      columns = np.asarray(self._columns(self._video[t], region))
    else:
      columns = np.asarray(_waves(grid[..., :9]))
    return columns.astype(np.float16), grid[..., 9].astype(np.float16), valid

  def _cut_frame(self, columns, edges, valid, w):
    """bool (G, G): the labels of least energy (eq. 2.2)."""
    c = self._c
    p = jax.nn.sigmoid(columns.astype(jnp.float32) @ w[:-1] + w[-1])
    cost = jnp.where(valid, tv_cut.costs(p), _FAR)
    return tv_cut.tv_cut(cost, *tv_cut.edge_costs(edges, c.weight, c.sharpness), c.iterations).labels

  def _whole(self, boxes, labels, number):
    """Masks of the size of frames, sharpened, with their large parts alone, and their boxes."""
    video, c = self._video, self._c
    masks = np.zeros((len(boxes), video.height, video.width), bool)
    for t, box in enumerate(boxes):
      x0, y0, x1, y1 = _around(box, c.region)
      unit = c.grid / np.array([x1 - x0, y1 - y0])
      corner = -np.array([x0, y0]) * unit
      frame = np.concatenate([corner, corner + np.array([video.width, video.height]) * unit]).astype(np.float32)
      masks[t] = np.asarray(self._paste(labels[t].astype(np.float32), frame)) > 0.5
    extents = np.nan_to_num(object_tracks.boxes_of(masks)).astype(int)
    size = (extents[:, 2:] - extents[:, :2]).max(0) + 2 * self._margin + 1  # holds any of them, and what is around
    width, height = np.minimum(-(-size // _EVERY) * _EVERY, (video.width, video.height)).tolist()
    for t, box in enumerate(boxes):
      if c.gmm and masks[t].any():
        masks[t] = self._sharp(t, masks[t], extents[t], height, width, number)
      masks[t] = parts(masks[t], box, c.largest)
    refined = object_tracks.boxes_of(masks) if c.refine_boxes else boxes
    return masks, np.where(np.isnan(refined), boxes, refined).astype(np.float32)

  def _sharp(self, t, mask, extent, height, width, number):
    """The mask after a cut by mixtures, in a window around it."""
    video = self._video
    x, y = (extent[:2] + extent[2:] - 1) // 2
    top, left = (int(np.clip(m - s // 2, 0, whole - s)) for m, s, whole in zip(
        (y, x), (height, width), (video.height, video.width)))
    window = slice(top, top + height), slice(left, left + width)
    inside = np.ascontiguousarray(mask[window])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self._margin + 1,) * 2)
    near = cv2.dilate(inside.astype(np.uint8), kernel) > 0
    if not inside.any() or (inside | ~near).all():
      return mask
    key = jax.random.fold_in(jax.random.PRNGKey(self._seed), number * 100_003 + t)
    found = np.asarray(self._sharpen(video[t][window], inside, near, self._shown(t)[window][..., 9], key))
    out = np.zeros_like(mask)
    out[window] = found
    return out

  def _sharpen_frame(self, image, mask, near, edges, key):
    """bool (h, w): the cut by the likelihoods of mixtures of the colours inside and around."""
    c = self._c
    colours = image.astype(jnp.float32) / 255
    flat = colours.reshape(-1, 3)
    keys = jax.random.split(key, 4)

    def of(some, draw, start):
      weight = some.reshape(-1).astype(jnp.float32)
      rows = jax.random.choice(draw, len(flat), (_POINTS,), p=weight / jnp.maximum(weight.sum(), 1))
      found = gaussian_mixture.fit_mixture(flat[rows], jnp.ones(_POINTS), start, c.gmm, c.gmm_steps)
      return gaussian_mixture.log_likelihood(found, colours)

    front, back = of(mask, keys[0], keys[1]), of(near & ~mask, keys[2], keys[3])
    cost = jnp.clip(back - front, -9, 9)
    cost = jnp.where(near, cost, _FAR)
    return tv_cut.tv_cut(cost, *tv_cut.edge_costs(edges, c.weight, c.sharpness), c.iterations).labels


def _around(box: np.ndarray, factor: float) -> np.ndarray:
  """The concentric box of `factor` times the sides."""
  centre, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 4) * factor / 2
  return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _first(box: np.ndarray, factor: float, band: float, grid: int) -> np.ndarray:
  """int (G, G): 1 in the box, 0 in the band around it (at most half of what is around the box), -1 beyond."""
  sides = np.maximum(box[2:] - box[:2], 4)
  out = np.full((grid, grid), -1)
  at = (np.arange(grid) + 0.5) / grid * factor - factor / 2  # in sides, from the centre
  room = np.minimum(band, sides * (factor - 1) / 4)
  for value, half in ((0, 0.5 + room / sides), (1, np.array([0.5, 0.5]))):
    out[np.ix_(np.abs(at) < half[1], np.abs(at) < half[0])] = value
  return out


def parts(mask: np.ndarray, box: np.ndarray, least: float) -> np.ndarray:
  """The connected parts of a mask (H, W) that overlap the box and have more than `least` of the area of the largest.

  Where none overlaps the box the mask is empty.
  """
  labels, count = ndimage.label(mask)
  if count < 1:
    return np.zeros_like(mask)
  areas = np.bincount(labels.reshape(-1), minlength=count + 1)
  x0, y0, x1, y1 = np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3])
  touched = np.unique(labels[max(int(y0), 0):max(int(y1), 0), max(int(x0), 0):max(int(x1), 0)])
  touched = touched[touched > 0]
  if not len(touched):
    return np.zeros_like(mask)
  kept = touched[areas[touched] > least * areas[touched].max()]
  return np.isin(labels, kept)


@jax.jit
def _waves(x):
  """Random features (G, G, waves) of colours and motion (G, G, 9); not of the place, which tells any box from around.

  Rahimi and Recht: "Random Features for Large-Scale Kernel Machines", 2007: a linear model of them is one of a kernel.
  """
  directions = np.random.default_rng(7).normal(size=(x.shape[-1], _WAVES)).astype(np.float32) / _WIDTH
  phase = np.random.default_rng(8).uniform(0, 2 * np.pi, _WAVES).astype(np.float32)
  return jnp.cos(x @ directions + phase) * 4 * (2 / _WAVES) ** 0.5


def _columns(loaded, wanted, grid):
  """(frame, region) -> (G, G, D): features of sites, of the region at the trunk's own size (hypercolumns)."""
  data = loaded.config.data
  side, forward = data.test_crop or data.crop, regions.dense(loaded, *wanted)

  @jax.jit
  def columns(variables, frame, region):
    crop = roi_align(frame[None].astype(jnp.float32), region[None, None], side)[0, 0]
    found = [jax.image.resize(x[0], (grid, grid, x.shape[-1]), "linear", antialias=False)
             for x in forward(variables, jnp.round(crop).astype(jnp.uint8)[None])]
    length = lambda x: jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True).mean(), 1e-6)
    return jnp.concatenate([x / length(x) for x in found], -1)

  return lambda frame, region: columns(loaded.variables, frame, region)
