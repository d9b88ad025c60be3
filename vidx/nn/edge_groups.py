"""Groups of edges: pixels that follow one another without turning much, and how well groups continue each other.

Zitnick and Dollar: "Edge Boxes: Locating Object Proposals from Edges", 2014. On the host, for
groups grow one pixel after the other; what is found is of a fixed size for `vidx.nn.edge_boxes`.
"""

import heapq
import math
from typing import NamedTuple

import numpy as np

_NEAR = 2  # pixels within which groups are neighbours
_GAMMA = 2.0  # power of an affinity
_LEAST = 0.05  # affinity below which groups are no neighbours
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class Groups(NamedTuple):
  """Groups of edges of one map, G of them with padding.

  Attributes:
    strength: fp32 (G,), sums of magnitudes; 0 for padding.
    extent: fp32 (G, 4), the smallest box that holds a group's pixels.
    place: fp32 (G, 2), x and y of the centre of the last pixel of a group.
    neighbour: int32 (G, K) groups within 2 pixels; itself where there are fewer.
    affinity: fp32 (G, K) in 0..1, 0 where there are fewer.
  """

  strength: np.ndarray
  extent: np.ndarray
  place: np.ndarray
  neighbour: np.ndarray
  affinity: np.ndarray


def label_edges(magnitude: np.ndarray, orientation: np.ndarray, threshold: float = 0.1, turn: float = math.pi / 2,
                least: float = 0.5) -> np.ndarray:
  """Which group each pixel is of, int32 (H, W), -1 for none.

  A group grows by the neighbour, of any of its pixels, whose direction differs least from
  that of the pixel beside it, until these differences sum to `turn`. Groups whose
  magnitudes sum to at most `least` are merged into the group beside them whose direction is
  the nearest, or are no groups where they touch none.

  Args:
    magnitude: (H, W) in 0..1.
    orientation: (H, W) of the edge, in radians; of a half turn.
    threshold: magnitude above which a pixel is of an edge.
    turn: in radians.
    least: see above.
  """
  height, width = magnitude.shape
  wide = width + 2  # a border spares the checks of coordinates
  pad = lambda x: np.pad(x, 1).reshape(-1).tolist()
  free, angle = pad(magnitude > threshold), pad(orientation.astype(float))
  steps = [dy * wide + dx for dy, dx in _AROUND]
  owner = [-1] * len(free)
  members: list[list[int]] = []
  for start in np.flatnonzero(np.pad(magnitude > threshold, 1)).tolist():
    if not free[start]:
      continue
    total, here, group, waiting = 0.0, start, [], []
    number = len(members)
    while True:
      free[here] = False
      owner[here] = number
      group.append(here)
      for step in steps:
        if free[here + step]:
          off = abs(angle[here + step] - angle[here]) % math.pi
          heapq.heappush(waiting, (min(off, math.pi - off), here + step))
      while waiting and not free[waiting[0][1]]:
        heapq.heappop(waiting)
      if not waiting:
        break
      off, here = heapq.heappop(waiting)
      total += off
      if total >= turn:
        break
    members.append(group)
  return _merged(owner, members, pad(magnitude), angle, steps, least).reshape(height + 2, wide)[1:-1, 1:-1]


def _merged(owner, members, magnitude, angle, steps, least):
  """Labels from 0 on without gaps; small groups, smallest first by number, are given to the one beside them."""
  strength = [sum(magnitude[i] for i in group) for group in members]
  for number in sorted((n for n, s in enumerate(strength) if s <= least), key=lambda n: strength[n]):
    best, nearest = -1, math.inf
    for here in members[number]:
      for step in steps:
        other = owner[here + step]
        if other not in (-1, number):
          off = abs(angle[here + step] - angle[here]) % math.pi
          off = min(off, math.pi - off)
          if off < nearest:
            best, nearest = other, off
    for here in members[number]:
      owner[here] = best
    if best >= 0:
      members[best] += members[number]
      strength[best] += strength[number]
    members[number], strength[number] = [], 0.0
  kept = np.full(len(members) + 1, -1, np.int32)  # the last entry is that of -1
  full = [n for n, group in enumerate(members) if group and strength[n] > least]
  kept[full] = np.arange(len(full))
  return kept[np.asarray(owner, np.int64)]


def describe_groups(labels: np.ndarray, magnitude: np.ndarray, orientation: np.ndarray, room: int = 0,
                    neighbours: int = 8) -> Groups:
  """Strength, extent and neighbours of labelled groups.

  The affinity of two groups is |cos(t_i - t_ij) cos(t_j - t_ij)|^2, t the directions of
  the groups and t_ij that of the line between their centres; below 0.05 it is none.

  Args:
    labels: (H, W) of `label_edges`.
    magnitude: (H, W).
    orientation: (H, W).
    room: G; groups beyond it, the weakest ones, are dropped. 0: the power of 2 that holds them, 64 at least.
    neighbours: K, of the highest affinities; 0: none is sought.
  """
  y, x = np.nonzero(labels >= 0)
  of, count = labels[y, x], int(labels.max(initial=-1)) + 1
  size = room or max(64, 1 << max(count - 1, 0).bit_length())
  sums = lambda values: np.bincount(of, values, count)
  strength = sums(magnitude[y, x])
  mass = np.maximum(strength, 1e-12)
  doubled = 2 * orientation[y, x]
  direction = np.arctan2(sums(magnitude[y, x] * np.sin(doubled)), sums(magnitude[y, x] * np.cos(doubled))) / 2
  centre = np.stack([sums(magnitude[y, x] * x), sums(magnitude[y, x] * y)], 1) / mass[:, None]
  extent = np.zeros((count, 4))
  extent[:, :2] = np.inf
  np.minimum.at(extent, (of, 0), x)
  np.minimum.at(extent, (of, 1), y)
  np.maximum.at(extent, (of, 2), x + 1)
  np.maximum.at(extent, (of, 3), y + 1)
  place = np.zeros((count, 2))
  place[of] = np.stack([x, y], 1) + 0.5  # the last of a group in the order of rows stays
  pairs, affinity = _pairs(labels, centre, direction) if neighbours else (np.zeros((0, 2), int), np.zeros(0))
  order = np.argsort(-strength, kind="stable")[:size]  # all, in general
  new = np.full(count, -1)
  new[order] = np.arange(len(order))
  table, value = np.tile(np.arange(size, dtype=np.int32)[:, None], (1, neighbours)), np.zeros((size, neighbours), "f")
  filled = np.zeros(size, int)
  for (a, b), v in zip(new[pairs].tolist(), affinity.tolist()):  # of falling affinity
    if a < 0 or b < 0:
      continue
    for i, j in ((a, b), (b, a)):
      if filled[i] < neighbours:
        table[i, filled[i]], value[i, filled[i]] = j, v
        filled[i] += 1
  fill = lambda rows: np.pad(rows[order].astype("f"), [(0, size - len(order))] + [(0, 0)] * (rows.ndim - 1))
  return Groups(fill(strength), fill(extent), fill(place), table, value)


def _pairs(labels, centre, direction):
  """Groups (M, 2) within reach of each other, the most akin first, and their affinities (M,)."""
  found = []
  height, width = labels.shape
  for dy in range(_NEAR + 1):
    for dx in range(-_NEAR if dy else 1, _NEAR + 1):
      a = labels[:height - dy, max(-dx, 0):width - max(dx, 0)]
      b = labels[dy:, max(dx, 0):width - max(-dx, 0)]
      both = (a >= 0) & (b >= 0) & (a != b)
      found.append(np.stack([a[both], b[both]], 1))
  pairs = np.unique(np.sort(np.concatenate(found), 1), axis=0).reshape(-1, 2)
  between = centre[pairs[:, 1]] - centre[pairs[:, 0]]
  line = np.arctan2(between[:, 1], between[:, 0])
  value = np.abs(np.cos(direction[pairs[:, 0]] - line) * np.cos(direction[pairs[:, 1]] - line)) ** _GAMMA
  order = np.argsort(-value, kind="stable")
  order = order[value[order] >= _LEAST]
  return pairs[order], value[order]
