import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.region_clusters import clusters, nearest_per_segment, segments_of


def regions(frames=40, each=5, size=16, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(frames * each, size)).astype("f")
  return x / np.linalg.norm(x, axis=1, keepdims=True), rng.uniform(size=len(x)).astype("f"), np.repeat(
      np.arange(frames), each)


def by_loops(x, score, frames, count, segments, k):
  """(score, seed, members) of every seed's cluster."""
  found = []
  for seed in range(len(x)):
    best = []
    for s in range(min(segments, count)):
      there = [r for r in range(len(x)) if frames[r] * min(segments, count) // count == s]
      best.append(max(there, key=lambda r: (x[r] @ x[seed], -r)))
    best = sorted(best, key=lambda r: -(x[r] @ x[seed]))[:k]
    found.append((sum(score[r] * (x[r] @ x[seed]) for r in best), seed, best))
  return found


@pytest.mark.parametrize("k", [3, 10])
def test_clusters_are_those_of_the_loop(k):
  x, score, frames = regions()
  wanted = sorted(by_loops(x, score, frames, 40, 10, k), key=lambda c: -c[0])
  found = clusters(x, score, frames, 40, ks=(k,), likeness=2.0, keep=20)
  np.testing.assert_allclose(found.score, [c[0] for c in wanted[:20]], rtol=1e-5)
  np.testing.assert_array_equal(found.seed, [c[1] for c in wanted[:20]])
  np.testing.assert_array_equal(found.members, [c[2] for c in wanted[:20]])


def test_a_cluster_is_spread_over_the_segments_and_holds_its_seed():
  x, score, frames = regions()
  for k in (4, 10):
    for seed, members in zip(*clusters(x, score, frames, 40, ks=(k,), keep=30)[:2]):
      parts = segments_of(frames[members], 40, 10)
      assert len(set(parts)) == len(parts) == k and members[0] == seed


def test_nearest_neighbours_wherever_they_are_are_of_few_segments():
  rng = np.random.default_rng(0)
  drift = np.cumsum(rng.normal(size=(60, 8)), 0)
  x = (drift / np.linalg.norm(drift, axis=1, keepdims=True)).astype("f")
  found = clusters(x, np.ones(60, "f"), np.arange(60), 60, ks=(9,), spread="plain_knn", keep=1)
  assert len(set(segments_of(found.members[0], 60, 10))) < 5
  near = np.argsort(-(x @ x[found.seed[0]]), kind="stable")[:9]
  assert set(near) == set(found.members[0])


def test_a_seed_like_a_better_one_is_dropped_for_each_k_apart():
  x, score, frames = regions(each=2)
  found = clusters(np.repeat(x, 2, 0), np.repeat(score, 2), np.repeat(frames, 2), 40, ks=(1, 5), likeness=0.8, keep=500)
  for k in (1, 5):
    seeds = [s for s, m in zip(found.seed, found.members) if (m >= 0).sum() == k]
    alike = np.repeat(x, 2, 0)[seeds] @ np.repeat(x, 2, 0)[seeds].T
    assert (alike[~np.eye(len(seeds), dtype=bool)] <= 0.8).all() and len(seeds) > 1
  assert (np.diff(found.score) <= 0).all()


def test_a_video_of_fewer_frames_than_segments_has_a_segment_a_frame():
  x, score, frames = regions(frames=3)
  found = clusters(x, score, frames, 3, ks=(9,), keep=4)
  assert ((found.members >= 0).sum(1) == 3).all()
  one = clusters(*regions(frames=1), 1, keep=2)
  assert (one.members[:, 0] == one.seed).all() and (one.members[:, 1:] == -1).all()


def test_segments_without_regions_and_lowering():
  x = jnp.eye(4)
  place, alike = nearest_per_segment(x, jnp.stack([x, x]), jnp.array([[True] * 4, [False] * 4]))
  np.testing.assert_array_equal(place, [[0, -1], [1, -1], [2, -1], [3, -1]])
  assert np.isneginf(alike[:, 1]).all()
  shapes = [jax.ShapeDtypeStruct(s, d) for s, d in (((512, 8), jnp.float32), ((10, 256, 8), jnp.float32),
                                                    ((10, 256), bool))]
  assert export.export(jax.jit(nearest_per_segment), platforms=["tpu", "cuda"])(*shapes)
