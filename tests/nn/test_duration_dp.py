import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import duration_dp as exported
from vidx.nn.duration_dp import (
    PUBLIC, Alignment, duration_dp, means_per_class, poisson_dp, poisson_log_probs)


def score_of(lengths, log_probs, transcript, table):
  path = np.repeat(transcript, lengths)
  total = float(np.asarray(log_probs, np.float64)[np.arange(len(path)), path].sum())
  return total + (0 if table is None else sum(float(table[m][d - 1]) for m, d in enumerate(lengths)))


def by_enumeration(log_probs, transcript, table=None, grid=1):
  """Best lengths and score of all ways to cut the frames."""
  frames = len(log_probs)
  best, found = -math.inf, None
  for cuts in itertools.combinations(range(grid, frames, grid), len(transcript) - 1):
    lengths = np.diff((0, *cuts, frames))
    if table is not None and max(lengths) > len(table[0]):
      continue
    value = score_of(lengths, log_probs, transcript, table)
    if value > best:
      best, found = value, lengths.tolist()
  return found, best


def check(found, expected):
  assert found.lengths.tolist() == expected[0]
  assert float(found.score) == pytest.approx(expected[1], rel=1e-4)


CAPACITY = (24, 5, 24)  # frames, segments and lengths that the small cases are padded to


jitted = jax.jit(poisson_dp, static_argnames=list(PUBLIC))


@functools.partial(jax.jit, static_argnames="grid")
def run(log_probs, transcript, table, length, segments, grid=1):
  return duration_dp(log_probs, transcript, table, length=length, segments=segments, grid=grid)


def padded(log_probs, transcript, table=None, grid=1, fill=0):
  """What the DP finds within the room of CAPACITY, without the padding."""
  frames, count = len(log_probs), len(transcript)
  room, slots, longest = CAPACITY
  log_probs = np.pad(log_probs, ((0, room - frames), (0, 0)), constant_values=fill)
  ids = np.pad(transcript, (0, slots - count), constant_values=fill)
  if table is not None:
    table = np.pad(table, ((0, 0), (0, longest - len(table[0]))), constant_values=-np.inf)
    table = np.pad(table, ((0, slots - count), (0, 0)), constant_values=fill)
  found = run(log_probs, ids, table, frames, count, grid)
  assert not found.lengths[count:].any()
  return Alignment(found.lengths[:count], found.score)


def random_scores(rng, *shape):
  raw = rng.normal(size=shape).astype("f")
  return raw - np.log(np.exp(raw).sum(-1, keepdims=True))


@pytest.mark.parametrize("frames, transcript, grid, longest", [
    (12, (0, 1, 2, 1), 1, 12), (12, (3, 3, 0), 1, 6), (7, (4,), 1, 7), (9, (2, 0), 1, 5), (4, (0, 1, 2, 3), 1, 4),
    (24, (0, 4, 1, 2, 0), 4, 11), (23, (0, 4, 1), 4, 23), (11, (1, 2), 4, 7), (19, (1, 2, 0), 1, 19)])
def test_equals_enumeration(frames, transcript, grid, longest):
  rng = np.random.default_rng(frames)
  for fill in (0, 3, 4):  # what the padding holds does not matter
    table, log_probs = random_scores(rng, len(transcript), longest), random_scores(rng, frames, 5)
    check(padded(log_probs, transcript, table, grid, fill), by_enumeration(log_probs, transcript, table, grid))
    check(padded(log_probs, transcript, None, grid, fill), by_enumeration(log_probs, transcript, None, grid))


def test_lengths_of_probability_zero_are_not_chosen():
  rng = np.random.default_rng(0)
  table = np.where(np.arange(1, 13) % 2 == 0, 0, -np.inf) + np.zeros((3, 1))
  for _ in range(4):
    log_probs = random_scores(rng, 12, 5)
    found = padded(log_probs, (0, 1, 2), table)
    check(found, by_enumeration(log_probs, (0, 1, 2), table))
    assert all(d % 2 == 0 for d in found.lengths.tolist())


def test_frames_of_probability_zero_are_avoided():
  with np.errstate(divide="ignore"):
    log_probs = np.log(np.eye(5)[np.repeat(np.arange(3), [2, 5, 3])])
  assert padded(log_probs, (0, 1, 2)).lengths.tolist() == [2, 5, 3]


def test_a_batch_gives_what_each_video_gives_alone():
  rng = np.random.default_rng(1)
  log_probs, ids, table = random_scores(rng, 3, 24, 5), rng.integers(0, 5, (3, 5)), random_scores(rng, 3, 5, 24)
  lengths, counts = np.array([24, 20, 9]), np.array([5, 2, 3])
  many = jax.jit(jax.vmap(run))(log_probs, ids, table, lengths, counts)
  for i in range(3):
    alone = run(log_probs[i], ids[i], table[i], lengths[i], counts[i])
    assert many.lengths[i].tolist() == alone.lengths.tolist() and many.score[i] == pytest.approx(alone.score)
  unpadded = jax.jit(duration_dp)(log_probs[2, :9], ids[2, :3], table[2, :3])
  assert unpadded.lengths.tolist() == many.lengths[2, :3].tolist()


@pytest.mark.parametrize("frames, grid", [(3, 1), (15, 1), (12, 4)])
def test_what_cannot_be_cut_has_no_score_and_still_covers_the_video(frames, grid):
  found = padded(np.zeros((frames, 5)), (0, 1, 2, 3), np.zeros((4, 3)), grid)
  assert found.score == -np.inf and found.lengths.sum() == frames


def test_flat_frames_leave_poisson_lengths_near_their_means():
  means = jnp.array([40.0, 11.0, 90.0, 59.0])
  found = jitted(jnp.zeros((200, 3)), jnp.array([0, 1, 2, 0]), means)
  assert found.lengths.sum() == 200 and np.abs(found.lengths - means).max() <= len(means) / 2 + 1


def test_peaked_frames_give_the_true_boundaries():
  lengths = [50, 500, 150, 300]
  labels = np.repeat(np.arange(4), lengths)
  log_probs = 10 * jax.nn.one_hot(labels, 4) - 10
  assert jitted(log_probs, jnp.arange(4), jnp.full(4, 250.0), max_length=600).lengths.tolist() == lengths
  assert jax.jit(duration_dp)(log_probs, jnp.arange(4)).lengths.tolist() == lengths


def test_the_grid_is_the_exact_search_over_its_boundaries():
  ids = jnp.array([0, 3, 1])
  log_probs = random_scores(np.random.default_rng(1), 187, 5)
  means = jnp.array([60.0, 30.0, 97.0])
  found = jitted(log_probs, ids, means, grid=30)
  table = jax.jit(poisson_log_probs, static_argnums=1)(means, 187)
  check(found, by_enumeration(log_probs, (0, 3, 1), table, 30))
  assert all(d % 30 == 0 for d in found.lengths.tolist()[:-1]) and found.lengths[-1] % 30 == 7


def test_the_public_preset_takes_one_mean_per_class():
  ids, means = jnp.array([0, 1, 0, 2]), jnp.array([30.0, 60.0, 90.0, 60.0])
  np.testing.assert_allclose(means_per_class(means, ids), [60, 60, 60, 60])
  np.testing.assert_allclose(means_per_class(means, ids, segments=2)[:2], [30, 60])
  found = jitted(jnp.zeros((240, 3)), ids, means, **PUBLIC)
  assert found.lengths.tolist() == [60, 60, 60, 60]


def test_poisson_log_probs_are_those_of_the_distribution():
  means = [0.2, 1.0, 7.5, 300.0]
  table = jax.jit(poisson_log_probs, static_argnums=(1, 2))
  found = table(jnp.array(means), 400)
  for row, mean in zip(found, means):
    mean = max(mean, 1)
    expected = [d * math.log(mean) - mean - math.lgamma(d + 1) for d in range(1, 401)]
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=2e-3)
  renormalised = table(jnp.array([7.0, 300.0]), 400, True)
  np.testing.assert_allclose([renormalised[0, 6], renormalised[1, 299]], 0, atol=2e-3)


def test_real_label_sequences_are_found_again_from_their_own_transcripts(real_data):
  path = real_data("breakfast_labels/groundtruth_rle.csv")
  column = [line.split(",")[2] for line in path.read_text().splitlines()[1:]]
  cut = [[part.split(":") for part in row.split()] for row in column]
  chosen = sorted((c for c in cut if len(c) <= 12), key=lambda c: sum(int(n) for _, n in c))[-4:]
  names = sorted({a for c in chosen for a, _ in c})
  width, dp = max(sum(int(n) for _, n in c) for c in chosen), jax.jit(duration_dp)
  for c in chosen:
    ids, lengths = np.array([names.index(a) for a, _ in c]), np.array([int(n) for _, n in c])
    total = lengths.sum()
    log_probs = 8 * np.eye(len(names))[np.pad(np.repeat(ids, lengths), (0, width - total))] - 8
    found = dp(log_probs, np.pad(ids, (0, 12 - len(ids))), length=total, segments=len(ids))
    assert found.lengths.tolist() == lengths.tolist() + [0] * (12 - len(ids))


def test_is_exported():
  assert exported is duration_dp
