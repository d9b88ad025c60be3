"""Detectors that begin with a cluster's easy instances and grow over a video, a few frames at a time.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural Language",
2020, section 2.2.2. A round trains a linear detector on the frames that are covered, finds
the object anew in these and in those within reach of them, and so covers exactly the
frames within `reach` times the number of rounds of the cluster's. Features are read a block
of frames at a time; of all frames only the instance and the hardest negatives are held.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import boxes as boxes_lib
from vidx.nn import linear_detector


class Grown(NamedTuple):
  """Detectors of K objects.

  Attributes:
    detectors: fp32 (K, D + 1), the last ones.
    instances: int (K, N), the box of each frame at the end; -1 where a frame was not reached.
    covered: list over rounds, the cluster before them first, of bool (K, N).
  """

  detectors: np.ndarray
  instances: np.ndarray
  covered: list[np.ndarray]


Read = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def reached(covered: np.ndarray, reach: int) -> np.ndarray:
  """bool (..., N): frames within `reach` of a covered one."""
  out = covered.copy()
  for step in range(1, min(reach, covered.shape[-1] - 1) + 1):
    out[..., step:] |= covered[..., :-step]
    out[..., :-step] |= covered[..., step:]
  return out


def grow(read: Read, blocks: int, block: int, frames: int, seeds: np.ndarray, *, mode: str = "iterative",
         reach: int = 3, overlap: float = 0.4, negatives: int = 50, detector: str = "svm", regularisation: float = 1e-2,
         steps: int = 10, moments: tuple[np.ndarray, np.ndarray] | None = None) -> Grown:
  """Detectors of some objects, all grown side by side.

  Args:
    read: number of a block -> features (F, P, D), boxes (F, P, 4) and whether each is one (F, P), of frames
      block * number and following; of the last block there may be fewer.
    blocks: how many there are.
    block: F, frames of each.
    frames: N.
    seeds: int (K, N), the instance of each frame of an object's cluster, -1 for none.
    mode: 'iterative', or 'none': the detector is trained on the cluster alone.
    reach: frames.
    overlap: with the instance of its frame below which a box is a negative.
    negatives: of a frame that are learned from, those that the detector before likes best; of the first detector, those
      most alike to the mean of the instances.
    detector: 'svm', or 'lda' with the `moments` of the video.
    regularisation: of the SVM.
    steps: of Newton's method.
    moments: mean (D,) and covariance (D, D) of all boxes.

  Raises:
    ValueError: an object without an instance.
  """
  covered, instances = seeds >= 0, seeds.copy()
  if not covered.any(1).all():
    raise ValueError("an object has no instance to begin with")
  run = _Rounds(read, blocks, block, frames, overlap, negatives, detector, regularisation, steps, moments)
  history = [covered]
  w = run.train(instances, run.mean_instance(instances), covered, first=True)
  while mode == "iterative" and not covered.all():
    covered = reached(covered, reach)
    instances = run.find(w, covered)
    w = run.train(instances, w, covered, first=False)
    history.append(covered)
  return Grown(w, instances, history)


class _Rounds:
  """Passes over the blocks of a video."""

  def __init__(self, read, blocks, block, frames, overlap, negatives, detector, regularisation, steps, moments):
    self._read, self._blocks, self._block, self._frames = read, blocks, block, frames
    self._overlap, self._negatives, self._detector, self._moments = overlap, negatives, detector, moments
    self._fit = _fitter(regularisation, steps)

  def _padded(self, i):
    """Block i, with frames that hold nothing where it has fewer than others: fp32 (F, P, D), (F, P, 4), (F, P)."""
    found = self._read(i)
    room = self._block - len(found[0]) if self._blocks > 1 else 0
    return tuple(np.pad(x, [(0, room)] + [(0, 0)] * (x.ndim - 1)) if room else np.asarray(x) for x in found)

  def _each(self, wanted):
    """Numbers of the blocks in which a frame is wanted, and their frames."""
    for i in range(self._blocks):
      span = slice(i * self._block, min((i + 1) * self._block, self._frames))
      if wanted[:, span].any():
        yield i, span

  def find(self, w, wanted):
    """int (K, N): the best box of each wanted frame, -1 of the others."""
    out = np.full(wanted.shape, -1)
    for i, span in self._each(wanted):
      features, _, valid = self._padded(i)
      best = np.asarray(_best(features, valid, w))[:, :span.stop - span.start]
      out[:, span] = np.where(wanted[:, span], best, -1)
    return out

  def mean_instance(self, instances):
    """fp32 (K, D + 1), a detector that likes what is like the mean of an object's instances."""
    total = 0.0
    for i, span in self._each(instances >= 0):
      features, *_ = self._padded(i)
      own = instances[:, span]
      picked = features[np.arange(own.shape[1]), np.maximum(own, 0)].astype(np.float32)
      total = total + (picked * (own >= 0)[..., None]).sum(1)
    return np.pad(total, ((0, 0), (0, 1))).astype(np.float32)

  def train(self, instances, w, covered, first):
    """Detectors of the covered frames: instances, and of each frame the hardest negatives by the detector w."""
    count, size = len(w), w.shape[1] - 1
    most, room = self._negatives, self._room(int(covered.sum(1).max()))
    positive = np.zeros((count, room, size), np.float16)
    weight = np.zeros((count, room), np.int8)
    negative = np.zeros((count, room, most, size), np.float16)
    hard = np.zeros((count, room, most), bool)
    filled = np.zeros(count, int)
    for i, span in self._each(covered):
      features, boxes, valid = self._padded(i)
      own = np.full((count, len(features)), -1)
      own[:, :span.stop - span.start] = np.where(covered[:, span], instances[:, span], -1)
      rows, some = _hardest(features, boxes, valid, own, w, self._overlap, most)
      rows, some = np.asarray(rows), np.asarray(some)  # (K, F, M)
      for k in range(count):
        t = np.flatnonzero(own[k] >= 0)
        at = slice(filled[k], filled[k] + len(t))
        positive[k, at], weight[k, at] = features[t, own[k, t]], 1
        m = rows.shape[2]
        negative[k, at, :m], hard[k, at, :m] = features[t[:, None], rows[k, t]], some[k, t]
        filled[k] += len(t)
    if self._detector == "lda":
      return np.stack([np.asarray(linear_detector.lda(positive[k], weight[k], *map(jnp.asarray, self._moments)))
                       for k in range(count)])
    out = []
    for k in range(count):  # one after the other: of each all rows are held
      x = np.concatenate([positive[k], negative[k].reshape(-1, size)])
      label = np.concatenate([weight[k], -hard[k].reshape(-1).astype(np.int8)])
      out.append(np.asarray(self._fit(x, label, jnp.zeros(size + 1) if first else w[k])))
    return np.stack(out)

  def _room(self, frames):
    """Frames that arrays of examples have room for: one of few sizes, so that few programs are compiled."""
    size = 16
    while size < frames:
      size *= 2
    return size


@functools.cache
def _fitter(regularisation, steps):
  return jax.jit(lambda x, label, w: linear_detector.squared_hinge_svm(x, label, regularisation, steps, w))


@jax.jit
def _best(features, valid, w):
  """int32 (K, F): the box that each detector likes best."""
  scores = linear_detector.scores(features.astype(jnp.float32), w)
  return jnp.where(valid[..., None], scores, -jnp.inf).argmax(1).T.astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=6)
def _hardest(features, boxes, valid, own, w, overlap, most):
  """Boxes away from an object's instance that score highest in each frame: int32 (K, F, M), and which are some."""
  scores = linear_detector.scores(features.astype(jnp.float32), w)  # (F, P, K)
  most = min(most, boxes.shape[1])

  def of(own, scores):
    here = jnp.take_along_axis(boxes, jnp.maximum(own, 0)[:, None, None], 1)  # (F, 1, 4)
    away = (boxes_lib.iou(here, boxes)[:, 0] < overlap) & valid & (own >= 0)[:, None]
    value, rows = jax.lax.top_k(jnp.where(away, scores, -jnp.inf), most)
    return rows.astype(jnp.int32), value > -jnp.inf

  return jax.vmap(of, (0, 2))(own, scores)
