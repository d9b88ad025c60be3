"""How much of an object is in a box: the contours that it holds whole, of any boxes on any map of edges.

Zitnick and Dollar: "Edge Boxes: Locating Object Proposals from Edges", 2014, scores the boxes
of its own search on the map that it searched. Xiao: "Multimodal Learning with Minimal Human
Supervision from Videos and Natural Language", 2020, section 2.2.1, scores every box on two
maps, that of the frame and that of its flow, and takes the product.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import boxes as boxes_lib
from vidx.nn import choices
from vidx.nn.box_sums import box_sums, integral
from vidx.nn.edge_groups import Groups
from vidx.nn.nms import nms

MODES = ("containment", "paths")
KAPPA = 1.5  # power of the size that a score is divided by
_LEAST = 0.01  # a lower score is 0
_PATH = 0.05  # a weaker path is none
_BLOCK = 1024  # boxes at once
_POOL = 4  # times as many boxes as are kept are looked at for overlap
_SIDE = 8.0  # pixels, below which no side gets in a search for a better box


class EdgeMap(NamedTuple):
  """Edges of one map, as scores need them: groups, and the integral image (H + 1, W + 1, 1) of magnitudes."""

  groups: Groups
  table: jax.Array


def edge_map(groups: Groups, magnitude: np.ndarray, threshold: float = 0.1) -> EdgeMap:
  """Groups of edges with the magnitudes (H, W) above the threshold of which they are made."""
  edges = jnp.where(magnitude > threshold, magnitude, 0)
  return EdgeMap(Groups(*map(jnp.asarray, groups)), integral(edges[..., None]))


def edge_box_scores(edges: EdgeMap, boxes: jax.Array, mode: str = "containment", hops: int = 4) -> jax.Array:
  """The score of each box, fp32 (P,), 0 at least.

  It is (sum of (1 - w_g) m_g - e) / (width / 2 + height / 2)^1.5: m_g the magnitudes of the
  groups whose last pixel is in the box, e those of single edges in the window of half its
  size in its middle, w_g how much a group belongs to what the box cuts: 1 where the group
  reaches beyond the box.

  Args:
    edges: of a map.
    boxes: (P, 4) in pixels.
    mode: 'containment': w_g is 0 otherwise. 'paths': it is the largest product of
      affinities along a path through groups in the box from one that is cut.
    hops: longest path, in groups.
  """
  choices.check("mode", mode, MODES)
  count = len(boxes)
  if count > _BLOCK:
    padded = jnp.pad(boxes, ((0, -count % _BLOCK), (0, 0))).reshape(-1, _BLOCK, 4)
    return jax.lax.map(lambda b: _scores(edges, b, mode, hops), padded).reshape(-1)[:count]
  return _scores(edges, boxes, mode, hops)


def _scores(edges, boxes, mode, hops):
  boxes = boxes.astype(jnp.float32)
  groups = edges.groups
  x, y = groups.place[:, 0], groups.place[:, 1]
  x0, y0, x1, y1 = (boxes[:, i:i + 1] for i in range(4))
  inside = (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
  left, top, right, bottom = (groups.extent[:, i] for i in range(4))
  reaches_in = (left < x1) & (right > x0) & (top < y1) & (bottom > y0)
  cut = reaches_in & ((left < x0) | (top < y0) | (right > x1) | (bottom > y1))
  if mode == "containment":
    held = (inside & ~cut).astype(jnp.float32) @ groups.strength
  else:
    def hop(_, w):
      through = (w[:, groups.neighbour] * groups.affinity).max(-1)
      return jnp.where(inside & (through >= _PATH), jnp.maximum(w, through), w)

    w = jax.lax.fori_loop(0, hops, hop, cut.astype(jnp.float32))
    held = jnp.where(inside, 1 - w, 0) @ groups.strength
  width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
  quarter = jnp.stack([width, height, -width, -height], 1) / 4
  middle = box_sums(edges.table, boxes + quarter)[:, 0]
  size = jnp.maximum((width + height) / 2, 1e-3)
  score = (held - middle) / size ** KAPPA
  return jnp.where((score >= _LEAST) & (width > 0) & (height > 0), score, 0)


@functools.lru_cache(maxsize=8)
def windows(height: int, width: int, overlap: float = 0.65, aspect: float = 3.0, area: float = 1000.0) -> np.ndarray:
  """Boxes that cover a frame: fp32 (M, 4), within it. Neighbours in place, size and shape overlap by about `overlap`.

  Args:
    height: of the frame, in pixels.
    width: of the frame.
    overlap: of neighbours, intersection over union.
    aspect: largest ratio of sides.
    area: of the smallest box.
  """
  step, scale, shape = (1 - overlap) / (1 + overlap), (1 / overlap) ** 0.5, (1 + overlap) / (2 * overlap)
  shapes = int(np.log(aspect) / np.log(shape ** 2))
  sizes = int(np.ceil(np.log(max(width, height) / area ** 0.5) / np.log(scale)))
  found = []
  for size in area ** 0.5 * scale ** np.arange(max(sizes, 0) + 1):
    for ratio in shape ** np.arange(-shapes, shapes + 1.0):
      w, h = size * ratio, size / ratio
      if w > width or h > height:
        continue
      across = np.linspace(0, width - w, int(np.ceil((width - w) / max(2.0, step * w))) + 1)
      down = np.linspace(0, height - h, int(np.ceil((height - h) / max(2.0, step * h))) + 1)
      x, y = (v.reshape(-1) for v in np.meshgrid(across, down))
      found.append(np.stack([x, y, x + w, y + h], 1))
  whole = np.array([[0, 0, width, height]])
  return np.concatenate([*found, whole]).astype(np.float32)


def search(edges: EdgeMap, candidates: jax.Array, height: float, width: float, count: int, *, overlap: float = 0.75,
           refine: int = 3, mode: str = "containment", hops: int = 4) -> tuple[jax.Array, jax.Array]:
  """The best boxes of a map, none of which overlaps a better one much, moved to where they are better.

  Args:
    edges: of the map.
    candidates: (M, 4), such as `windows`.
    height: of the frame.
    width: of the frame.
    count: of boxes.
    overlap: with a better box, above which one is dropped.
    refine: rounds in which each side tries a step out and in, each half as long as the last.
    mode: see `edge_box_scores`.
    hops: see `edge_box_scores`.

  Returns:
    fp32 (count, 4) boxes and (count,) scores, best first; of boxes that are none both are 0.
  """
  candidates = jnp.asarray(candidates)
  score = edge_box_scores(edges, candidates, mode, hops)
  best, rows = jax.lax.top_k(score, min(_POOL * count, len(score)))
  some = candidates[rows]
  kept = nms(some, jnp.where(best > 0, best, -jnp.inf), overlap, count)
  found = jnp.where(kept.valid[:, None], some[kept.index], 0)
  score = jnp.where(kept.valid, best[kept.index], 0)
  for i in range(refine):
    found, score = _refined(edges, found, score, 2.0 ** -i, height, width, mode, hops)
  order = jnp.argsort(-score, stable=True)
  return found[order], score[order]


def _refined(edges, boxes, score, share, height, width, mode, hops):
  """Each box or, where it is better, the one with a side moved by a share of a tenth of the box."""
  sides = jnp.maximum(boxes[:, 2:] - boxes[:, :2], 1)
  step = 0.1 * share * jnp.concatenate([sides, sides], 1)
  moves = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])  # (8, 4)
  tried = boxes_lib.clip(boxes[:, None] + moves * step[:, None], height, width)
  large = (tried[..., 2:] - tried[..., :2] >= _SIDE).all(-1)
  values = edge_box_scores(edges, tried.reshape(-1, 4), mode, hops).reshape(len(boxes), -1)
  values = jnp.where(large & (score > 0)[:, None], values, -1)
  which = values.argmax(1)
  better = values.max(1) > score
  moved = jnp.take_along_axis(tried, which[:, None, None], 1)[:, 0]
  return jnp.where(better[:, None], moved, boxes), jnp.where(better, values.max(1), score)
