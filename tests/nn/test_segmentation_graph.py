"""Energies of a graph of segmentations, beside the sum over all of its labelled paths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors
from vidx.nn.segmentation_graph import energies, forward_loss, places

RNG = np.random.default_rng(0)
FRAMES, CLASSES = 22, 4
LOG_PROBS = jax.nn.log_softmax(2 * RNG.normal(size=(FRAMES, CLASSES))).astype(jnp.float32)
CASES = [([2, 0, 2], [6, 9, 5], 20), ([1, 3], [4, 18], 22), ([0], [22], 22), ([3, 1, 0, 1], [2, 2, 2, 10], 16)]


def by_paths(log_probs, transcript, lengths, length, window, step, others):
  """The energies of the valid labellings and of the others, each path and labelling by itself."""
  reach = window // 2 // step * step
  near = [[t for t in range(cut - reach, cut + reach + 1, step) if 0 < t < length]
          for cut in np.cumsum(lengths)[:-1].tolist()]
  valid, invalid = [], []
  for cuts in itertools.product(*near):
    bounds = [0, *cuts, length]
    if any(b <= a for a, b in zip(bounds, bounds[1:])):
      continue
    edges = [-np.asarray(log_probs, np.float64)[a:b].sum(0) for a, b in zip(bounds, bounds[1:])]
    valid.append(sum(e[c] for e, c in zip(edges, transcript)))
    of = [np.where(e < e[own], e, 0) if others == "hard" else e for e, own in zip(edges, transcript)]
    invalid += [sum(e[c] for e, c in zip(of, labels)) for labels in itertools.product(*map(range, map(len, of)))]
  softmin = lambda values: -np.logaddexp.reduce(-np.array(values))
  return softmin(valid), 0.0 if others == "none" else softmin(invalid)


def padded(values, size=5):
  return jnp.asarray(np.pad(values, (0, size - len(values))))


@pytest.mark.parametrize("transcript, lengths, length", CASES)
@pytest.mark.parametrize("window, step", [(0, 1), (4, 1), (10, 5), (9, 2)])
@pytest.mark.parametrize("others", ["none", "hard", "all"])
def test_energies_are_the_sums_over_all_paths(transcript, lengths, length, window, step, others):
  ends = places(padded(lengths), len(transcript), length, window, step)
  found = jax.jit(energies, static_argnums=5)(LOG_PROBS, padded(transcript), *ends, len(transcript), others)
  wanted = by_paths(LOG_PROBS, transcript, lengths, length, window, step, others)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
  loss = forward_loss(LOG_PROBS, padded(transcript), padded(lengths), len(transcript), length, window, step, others)
  np.testing.assert_allclose(loss, (wanted[0] - wanted[1]) / length, atol=1e-5)


def test_without_others_and_a_window_it_is_the_cross_entropy_of_the_segmentation():
  labels = np.repeat([2, 0, 2], [6, 9, 5])
  loss = forward_loss(LOG_PROBS, padded([2, 0, 2]), padded([6, 9, 5]), 3, 20, 0, 1, "none")
  np.testing.assert_allclose(loss, -np.asarray(LOG_PROBS)[np.arange(20), labels].mean(), rtol=1e-5)


def test_of_all_labellings_it_tells_the_share_of_the_valid_ones():
  loss = forward_loss(LOG_PROBS, padded([2, 0, 2]), padded([6, 9, 5]), 3, 20, 0, 1, "all")
  ends = [0, 6, 15, 20]
  sums = [np.asarray(LOG_PROBS, np.float64)[a:b].sum(0) for a, b in zip(ends, ends[1:])]
  shares = [np.exp(s[c]) / np.exp(s).sum() for s, c in zip(sums, (2, 0, 2))]
  np.testing.assert_allclose(20 * loss, -np.log(shares).sum(), rtol=1e-4)


@pytest.mark.parametrize("others", ["none", "hard"])
def test_descent_makes_the_segments_of_the_transcript(others):
  args = padded([1, 3]), padded([10, 12]), 2, FRAMES
  run = jax.jit(jax.value_and_grad(lambda x: forward_loss(jax.nn.log_softmax(x), *args, 10, 5, others)))
  x = jnp.asarray(RNG.normal(size=(FRAMES, CLASSES)), jnp.float32)
  for _ in range(200):
    _, gradient = run(x)
    x -= 5 * gradient
  found = x.argmax(-1)
  assert found[:5].tolist() == [1] * 5 and found[15:].tolist() == [3] * 7 and set(found[5:15].tolist()) <= {1, 3}


def test_what_does_not_fit_costs_nothing():
  loss, gradient = jax.value_and_grad(lambda x: forward_loss(x, padded([1, 3, 2]), padded([0, 2, 0]), 3, 2, 0, 1))(
      LOG_PROBS)
  assert loss == 0 and np.isfinite(gradient).all() and not np.asarray(gradient).any()


def test_frames_and_segments_after_the_end_mean_nothing():
  dirty = LOG_PROBS.at[20:].set(-7.0)
  one, two = (forward_loss(x, jnp.array([2, 0, 2, *rest]), jnp.array([6, 9, 5, 0, 0]), 3, 20)
              for x, rest in ((LOG_PROBS, (0, 0)), (dirty, (3, 1))))
  assert one == two


def test_unknown_others_are_named():
  with pytest.raises((errors.ConfigError, ValueError), match="hards"):
    forward_loss(LOG_PROBS, padded([1]), padded([22]), 1, 22, others="hards")
