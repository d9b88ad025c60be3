import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.semi_markov import semi_markov

FRAMES, CLASSES, LONGEST = 8, 3, 6


def by_enumeration(scores, table, grid):
  """Best labels and score of all ways to cut frames at multiples of the grid, and to name the parts."""
  frames = len(scores)
  cells = -(-frames // grid)
  best, found = -math.inf, None
  for count in range(1, cells + 1):
    for cuts in itertools.combinations(range(1, cells), count - 1):
      bounds = (0, *cuts, cells)
      total, labels = 0.0, []
      for a, b in zip(bounds, bounds[1:]):
        span = slice(a * grid, min(b * grid, frames))
        size = (b - a) * grid
        gains = [float(scores[span, c].sum()) + (float(table[c][size - 1]) if size <= len(table[c]) else -math.inf)
                 for c in range(CLASSES)]
        total += max(gains)
        labels += [int(np.argmax(gains))] * (span.stop - span.start)
      if total > best:
        best, found = total, labels
  return found, best


run = jax.jit(functools.partial(semi_markov), static_argnames="grid")


@pytest.mark.parametrize("frames, grid", [(8, 1), (5, 1), (1, 1), (8, 2), (7, 2), (6, 3)])
def test_equals_enumeration(frames, grid):
  for seed in range(4):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(FRAMES, CLASSES)).astype("f")
    table = rng.normal(size=(CLASSES, LONGEST)).astype("f") * 2
    labels, score = run(scores, table, length=frames, grid=grid)
    expected = by_enumeration(scores[:frames], table, grid)
    assert labels[:frames].tolist() == expected[0]
    assert float(score) == pytest.approx(expected[1], abs=1e-4)


def test_what_no_lengths_add_up_to_has_no_score():
  table = np.where(np.arange(1, LONGEST + 1) == 5, 0, -np.inf) + np.zeros((CLASSES, 1))
  assert run(np.zeros((FRAMES, CLASSES)), table, length=7, grid=1)[1] == -np.inf
  assert jnp.isfinite(run(np.zeros((FRAMES, CLASSES)), table, length=5, grid=1)[1])
