"""From clusters to tubes: detectors are grown, and each takes the best path through the video's boxes."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx.infer.proposals import stages as stages_lib
from vidx.infer.proposals.candidates import Candidates
from vidx.infer.proposals.growing import grow
from vidx.infer.proposals.regions import Regions
from vidx.infer.proposals.stages import BLOCK, Stages
from vidx.metrics import tubes as metrics
from vidx.nn import linear_detector, region_clusters, tube_search

_FRAMES = 64  # a path's arrays are padded to a multiple of so many


class Tubes(NamedTuple):
  """Tubes, the best cluster's first.

  Attributes:
    boxes: fp32 (K, N, 4).
    score: fp32 (K,), of their clusters.
  """

  boxes: np.ndarray
  score: np.ndarray


def find(candidates: Candidates, regions: Regions, config: ConfigDict, stages: Stages) -> tuple[Tubes, str]:
  """The tubes of a video, and what they depend on."""
  frames = len(regions)
  key = stages_lib.key_of(regions.key, config.clusters, config.boxes.top)

  def make_clusters():
    features, of_frame, rows = regions.best(config.boxes.top)
    objectness = candidates.blocks.whole("objectness")[0][of_frame, rows]
    c = config.clusters
    found = region_clusters.clusters(features, objectness, of_frame, frames, segments=c.segments, ks=tuple(c.k),
                                     spread=c.spread, likeness=c.likeness, keep=c.keep)
    place = np.concatenate([np.arange(n) for n in np.bincount(of_frame, minlength=frames)])  # in the frame
    seeds = np.full((len(found.seed), frames), -1)
    for k, members in enumerate(found.members):
      for m in members[members >= 0][::-1]:  # of two in a frame, the more alike one stays
        seeds[k, of_frame[m]] = place[m]
    return {"seeds": seeds, "score": found.score}

  clusters = stages.one("clusters", key, make_clusters)
  key = stages_lib.key_of(key, config.growing, {k: v for k, v in config.tubes.items() if k != "masked"})

  def make():
    boxes = _grown(candidates, regions, clusters["seeds"], config)
    kept = metrics.distinct(boxes, config.tubes.nms)
    return {"boxes": boxes[kept], "score": clusters["score"][kept]}

  found = stages.one("tubes", key, make)
  return Tubes(found["boxes"], found["score"]), key


def _grown(candidates, regions, seeds, config):
  """fp32 (K, N, 4)."""
  frames, c = len(regions), config.growing

  def read(i):
    return regions.blocks[i]["features"], _of_rows(candidates, regions, i, "boxes"), regions.blocks[i]["rows"] >= 0

  moments = _moments(regions) if c.detector == "lda" else None
  out = []
  for start in range(0, len(seeds), c.objects):
    some = seeds[start:start + c.objects]
    padded = np.concatenate([some, some[:1].repeat(c.objects - len(some), 0)])  # one program for all
    w = grow(read, len(regions.blocks), BLOCK, frames, padded, mode=c.mode, reach=c.reach, overlap=c.overlap,
             negatives=c.negatives, detector=c.detector, regularisation=c.regularisation, steps=c.steps,
             moments=moments).detectors
    out.append(_paths(candidates, regions, read, w, frames, config.tubes)[:len(some)])
  return np.concatenate(out) if out else np.zeros((0, frames, 4), np.float32)


def _of_rows(candidates, regions, i, name):
  """What the candidates of block i know of the boxes that are looked at, (F, P, ...)."""
  return np.take_along_axis(candidates.blocks[i][name], np.maximum(regions.blocks[i]["rows"], 0)[..., None], 1)


def _paths(candidates, regions, read, w, frames, settings):
  """The boxes (K, N, 4) of each detector's path; those of a frame that score highest alone are looked at."""
  top, room = settings.top, -(-frames // _FRAMES) * _FRAMES
  kept = []
  for i in range(len(candidates.blocks)):
    features, boxes, valid = read(i)
    shift = _of_rows(candidates, regions, i, "shift")
    kept.append([np.asarray(x) for x in _pruned(features, boxes, valid, shift, w, min(top, valid.shape[1]))])
  scores, boxes, moved = (np.concatenate(x, 1) for x in zip(*kept))  # (K, N, T, ...)
  if not settings.dp:
    best = scores.argmax(2)
    return np.take_along_axis(boxes, best[..., None, None], 2)[:, :, 0]
  pad = lambda x: np.pad(x, [(0, 0), (0, room - frames)] + [(0, 0)] * (x.ndim - 2))
  scaled = np.where(np.isfinite(scores), settings.score_scale * scores, -np.inf)
  path = np.asarray(_search(pad(scaled), pad(boxes), pad(moved), frames).path)[:, :frames]
  return np.take_along_axis(boxes, path[..., None, None], 2)[:, :, 0]


@functools.partial(jax.jit, static_argnums=5)
def _pruned(features, boxes, valid, shift, w, top):
  """Scores (K, F, T), boxes and moved boxes (K, F, T, 4) of the boxes that each detector likes best."""
  scores = linear_detector.scores(features.astype(jnp.float32), w)
  scores = jnp.where(valid[..., None], scores, -jnp.inf)
  best, rows = jax.lax.top_k(jnp.moveaxis(scores, -1, 0), top)
  take = lambda x: jax.vmap(lambda r: jnp.take_along_axis(x, r[..., None], 1))(rows)
  return best, take(boxes), tube_search.moved_by(take(boxes), take(shift))


@jax.jit
def _search(scores, boxes, moved, frames):
  return jax.lax.map(lambda x: tube_search.best_tube(*x, frames), (scores, boxes, moved))


def _moments(regions):
  """Mean and covariance of the features of all boxes."""
  total, square, count = 0.0, 0.0, 0
  for i in range(len(regions.blocks)):
    x = regions.blocks[i]["features"][regions.blocks[i]["rows"] >= 0].astype(np.float32)
    total, square, count = total + x.sum(0), square + x.T @ x, count + len(x)
  mean = total / count
  return mean, square / count - np.outer(mean, mean)
