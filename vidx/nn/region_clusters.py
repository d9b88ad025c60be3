"""Clusters of regions of a video around seeds, with one member per part of the video.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural Language",
2020, section 2.2.1. Regions are rows of length 1, so that products are cosines.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices

SPREADS = ("segments", "plain_knn")
_BLOCK = 256  # seeds at once
_HIGH = jax.lax.Precision.HIGHEST


class Clusters(NamedTuple):
  """Clusters, best first.

  Attributes:
    seed: int (K,) regions.
    members: int (K, M) regions, the most alike first, -1 for none. The seed is one of them.
    score: fp32 (K,), the sum over members of objectness times likeness.
  """

  seed: np.ndarray
  members: np.ndarray
  score: np.ndarray


def segments_of(frames: np.ndarray, count: int, segments: int) -> np.ndarray:
  """The contiguous part, of up to `segments` about equal ones, that each of `frames` is of, in a video of `count`."""
  return np.asarray(frames) * min(segments, count) // count


def nearest_per_segment(seeds: jax.Array, pools: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The region of each segment that is the most alike to a seed, the first of equals.

  Args:
    seeds: (R, D) of length 1.
    pools: (S, F, D), the regions of each of S segments, of length 1; products are summed in fp32.
    valid: bool (S, F), False for padding.

  Returns:
    int32 (R, S) places in 0..F - 1, -1 where a segment has no region, and fp32 (R, S) likeness, -inf there.
  """
  def of(seed):
    alike = jnp.einsum("sfd,d->sf", pools, seed, precision=_HIGH, preferred_element_type=jnp.float32)
    alike = jnp.where(valid, alike, -jnp.inf)
    best = alike.max(1)
    return jnp.where(best > -jnp.inf, alike.argmax(1), -1).astype(jnp.int32), best

  return jax.lax.map(of, seeds, batch_size=_BLOCK)


def clusters(features: np.ndarray, objectness: np.ndarray, frames: np.ndarray, count: int, *, segments: int = 10,
             ks: tuple[int, ...] = (9,), spread: str = "segments", likeness: float = 0.8, keep: int = 85) -> Clusters:
  """Seeds' clusters of k members, ranked, without those whose seed is alike to a better one's.

  Args:
    features: (R, D) of length 1.
    objectness: (R,).
    frames: int (R,), of a video's frames 0..count - 1.
    count: of frames.
    segments: parts of the video, of each of which a seed takes the region most alike to it.
    ks: how many of these are kept, the most alike; for each number there are clusters of their own.
    spread: 'segments', or 'plain_knn': the k most alike regions wherever they are.
    likeness: cosine to the seed of a better cluster of the same k above which a cluster is dropped.
    keep: K.
  """
  choices.check("spread", spread, SPREADS)
  features, objectness = np.asarray(features, np.float32), np.asarray(objectness, np.float32)
  size, most = len(features), max(ks)
  if spread == "segments":
    rows, alike = _spread(features, segments_of(frames, count, segments), min(segments, count))
  else:
    rows, alike = _top(features, min(most, size))
  order = np.argsort(-alike, 1, kind="stable")[:, :most]
  rows, alike = np.take_along_axis(rows, order, 1), np.take_along_axis(alike, order, 1)
  gain = np.where(rows >= 0, objectness[rows] * np.where(rows >= 0, alike, 0), 0)
  found = []
  for k in dict.fromkeys(ks):
    score = gain[:, :k].sum(1)
    for seed in _suppressed(features, score, likeness, keep):
      members = np.full(most, -1)
      members[:min(k, rows.shape[1])] = rows[seed, :k]
      found.append((score[seed], seed, members))
  found = sorted(found, key=lambda c: -c[0])[:keep]
  members = np.array([c[2] for c in found], np.int64).reshape(-1, most)
  return Clusters(np.array([c[1] for c in found], np.int64), members, np.array([c[0] for c in found], np.float32))


def _suppressed(features, score, likeness, keep):
  """Seeds by falling score, none of which is alike to one before it."""
  closest, kept = np.full(len(score), -np.inf, np.float32), []
  for seed in np.argsort(-score, kind="stable"):
    if closest[seed] <= likeness:
      kept.append(seed)
      closest = np.maximum(closest, features @ features[seed])
      if len(kept) == keep:
        break
  return kept


def _spread(features, part, parts):
  """`nearest_per_segment` of all regions, as (R, S) numbers of regions and likeness."""
  round_up = lambda n: -(-max(n, 1) // _BLOCK) * _BLOCK  # one program for videos of about as many regions
  held = [np.flatnonzero(part == s) for s in range(parts)]
  room = round_up(max(map(len, held)))
  pools, valid = np.zeros((parts, room, features.shape[1]), np.float32), np.zeros((parts, room), bool)
  index = np.full((parts, room), -1)
  for s, rows in enumerate(held):
    pools[s, :len(rows)], valid[s, :len(rows)], index[s, :len(rows)] = features[rows], True, rows
  seeds = np.pad(features, ((0, round_up(len(features)) - len(features)), (0, 0)))
  place, alike = (np.asarray(x)[:len(features)] for x in _nearest(seeds, pools, valid))
  return np.where(place >= 0, index[np.arange(parts), place], -1), alike


_nearest = jax.jit(nearest_per_segment)


def _top(features, k):
  """The k most alike regions of each, a block of regions at a time."""
  rows, alike = [], []
  for start in range(0, len(features), _BLOCK):
    product = features[start:start + _BLOCK] @ features.T
    best = np.argsort(-product, 1, kind="stable")[:, :k]
    rows.append(best)
    alike.append(np.take_along_axis(product, best, 1))
  return np.concatenate(rows), np.concatenate(alike)
