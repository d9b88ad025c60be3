"""Boxes of each frame, and how much each looks and moves like an object (Xiao 2020, section 2.2.1)."""

from collections.abc import Callable
import functools
import math

import jax
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.infer.proposals import stages as stages_lib
from vidx.infer.proposals.motion import Motion, Video
from vidx.infer.proposals.stages import Blocks, Stages
from vidx.nn import box_sums, edge_boxes, edge_groups

FRAME = 500 * 400  # pixels at which the smallest area and widths of bands are meant
STEEP = 0.06, 0.03  # per pixel, least gradient that counts as an edge of 1: of Lab in 0..1, of motion in 0..1


def lab(frame: np.ndarray) -> np.ndarray:
  """fp32 (H, W, 3), CIE Lab of uint8 RGB, its channels in about 0..1."""
  import cv2
  x = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2LAB)
  return x.astype(np.float32) / 255


def edges(image: np.ndarray, smooth: float = 1.5, surround: float = 0.0, steep: float = STEEP[0]
          ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Edges of an image by its gradients.

  Args:
    image: fp32 (H, W, C) in 0..1.
    smooth: pixels, deviation of the Gaussian before gradients.
    surround: share of the mean edge around it, within 6 times as far, that is taken from each: edges of texture have
      others around them (Grigorescu et al.: "Contour Detection Based on Nonclassical Receptive Field
      Inhibition", 2003).
    steep: gradient that counts as 1 where 99 of 100 pixels have less.

  Returns:
    fp32 (H, W) each: magnitude in 0..1, that of the ridges alone, and the orientation of edges in 0..pi.
  """
  import cv2
  x = cv2.GaussianBlur(image, (0, 0), smooth) if smooth else image
  x = x.reshape(*x.shape[:2], -1)
  right, down = (cv2.Sobel(x, cv2.CV_32F, *way, scale=1 / 8).reshape(x.shape) for way in ((1, 0), (0, 1)))
  xx, xy, yy = (right * right).sum(-1), (right * down).sum(-1), (down * down).sum(-1)
  along = np.arctan2(2 * xy, xx - yy) / 2  # direction of the gradient, from the structure tensor
  size = np.sqrt(xx + yy)
  if surround:
    size = np.maximum(size - surround * cv2.GaussianBlur(size, (0, 0), 6 * max(smooth, 1.0)), 0)
  size = np.clip(size / max(float(np.percentile(size, 99)), steep), 0, 1)
  height, width = size.shape
  j, i = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
  c, s = np.cos(along).astype(np.float32), np.sin(along).astype(np.float32)
  ahead, behind = (cv2.remap(size, j + k * c, i + k * s, cv2.INTER_LINEAR) for k in (1, -1))
  return size, np.where((size >= ahead) & (size >= behind), size, 0), (along + math.pi / 2) % math.pi


@functools.cache
def forests(model: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Structured forests of Dollar and Zitnick, 2013, of a file, with the interface of `edges`.

  Raises:
    ConfigError: no such file, or an OpenCV without its contributed modules.
  """
  import cv2
  if not hasattr(cv2, "ximgproc"):
    raise errors.ConfigError(f"edges.model={model}: this OpenCV has no ximgproc; leave it empty, or install"
                             " opencv-contrib-python-headless in place of opencv-python-headless.")
  try:
    detector = cv2.ximgproc.createStructuredEdgeDetection(model)
  except cv2.error as e:
    raise errors.ConfigError(f"edges.model={model}: it cannot be read.") from e

  def found(image):
    x = np.ascontiguousarray(image if image.shape[-1] == 3 else np.repeat(image, 3, -1))
    size = detector.detectEdges(x)
    across = detector.computeOrientation(size)  # the normal of an edge, which edgesNms looks along
    return size, detector.edgesNms(size, across), (across + math.pi / 2) % math.pi

  return found


def of_frame(frame: np.ndarray, settings: ConfigDict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """`edges` of a uint8 RGB frame; `settings` is the section `edges`."""
  if settings.model:
    return forests(settings.model)(frame.astype(np.float32) / 255)
  return edges(lab(frame), settings.smooth, settings.surround)


def of_motion(flow: np.ndarray, scale: float, settings: ConfigDict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """`edges` of how far everything moves, as an image in which `scale` pixels are 1; of no motion there are none."""
  size = np.hypot(flow[..., 0], flow[..., 1])[..., None]
  size = np.clip(size / scale, 0, 1) if scale else np.zeros_like(size)
  if settings.model:
    return forests(settings.model)(size.astype(np.float32))
  return edges(size.astype(np.float32), settings.smooth, 0.0, STEEP[1])


def edge_map(ridges: np.ndarray, orientation: np.ndarray, threshold: float, paths: bool = False) -> edge_boxes.EdgeMap:
  """The groups of a map's edges; those that only `paths` look at are found where they are wanted."""
  labels = edge_groups.label_edges(ridges, orientation, threshold)
  groups = edge_groups.describe_groups(labels, ridges, orientation, neighbours=8 if paths else 0)
  return edge_boxes.edge_map(groups, ridges, threshold)


class Candidates:
  """Boxes of a video of N frames, P of each, in pixels of the frames that are looked at.

  Attributes:
    blocks: of frames: 'boxes' fp32 (F, P, 4), 'valid' bool (F, P), 'appearance', 'motion' and 'objectness' fp32 (F, P),
      and 'shift' fp32 (F, P, 2), the mean flow in each.
    key: what they depend on.
  """

  def __init__(self, video: Video, motion: Motion, config: ConfigDict, stages: Stages):
    c = config.boxes
    paths = c.score == "paths"
    area = c.area * video.height * video.width / FRAME
    places = edge_boxes.windows(video.height, video.width, c.overlap, c.aspect, area)
    find = jax.jit(lambda edges: edge_boxes.search(edges, places, video.height, video.width, c.per_map, overlap=c.nms,
                                                   refine=c.refine))
    score = jax.jit(lambda edges, boxes: edge_boxes.edge_box_scores(edges, boxes, c.score, c.hops))
    shifts = jax.jit(lambda flow, boxes: box_sums.box_means(box_sums.integral(flow), boxes))

    def one(t):
      flow, seen = motion.flow(t), motion.seen(t)
      maps = [edge_map(*found[1:], config.edges.threshold, paths) for found in (
          of_frame(video[t], config.edges), of_motion(seen, motion.scale, config.edges))]
      boxes = np.concatenate([np.asarray(find(edges)[0]) for edges in maps])
      appearance, moving = (np.asarray(score(edges, boxes)) for edges in maps)  # every box on both maps
      valid = (boxes[:, 2:] > boxes[:, :2]).all(1)
      if not valid.any():  # a frame without an edge: all of it
        boxes[0], valid[0] = (0, 0, video.width, video.height), True
      return {"boxes": boxes, "valid": valid, "appearance": appearance, "motion": moving,
              "objectness": np.where(valid, appearance * (moving + c.still), -1).astype(np.float32),
              "shift": np.asarray(shifts(flow, boxes))}

    def make(start, stop):
      found = [one(t) for t in range(start, stop)]
      return {k: np.stack([f[k] for f in found]) for k in found[0]}

    self.key = stages_lib.key_of(motion.key, config.boxes, config.edges, stages_lib.files_of(config.edges.model))
    self.blocks: Blocks = stages.blocks("boxes", self.key, len(video), make)

  def best(self, top: int) -> np.ndarray:
    """int (N, min(top, P)) boxes of each frame by falling objectness; -1 for none."""
    objectness, valid = self.blocks.whole("objectness", "valid")
    order = np.argsort(-objectness, 1, kind="stable")[:, :top]
    return np.where(np.take_along_axis(valid, order, 1), order, -1)
