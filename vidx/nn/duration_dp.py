"""Duration DP: the best lengths of a given transcript's segments, from frame scores and a model of lengths.

With y the frame probabilities and a_1..a_M the transcript, the lengths l that sum to
T and maximise

  sum_t log y_t[a(t)] + sum_m log p_m(l_m)

where p_m is any table of length probabilities: Souri et al.: "Fast Weakly Supervised
Action Segmentation Using Mutual Consistency", 2021 (Poisson), after Richard et al.:
"NeuralNetwork-Viterbi", CVPR 2018. Without a table it is the forced alignment of the
transcript (Viterbi).

The scan over segments is D_m[t] = C_m[t] + max_d (D_{m-1}[t-d] - C_m[t-d] + log p_m(d)),
C_m the sums of log y[a_m] up to a frame; boundaries are found on the way back, so no
choice is stored. All functions are of one video and made for `jax.vmap`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

FLOOR = -1e3
_LANES = 16  # durations that one step of the inner loop looks at
PUBLIC = dict(max_length=2000, grid=30, per_class=True, renormalise=True)  # `poisson_dp` as MuCon's code


class Alignment(NamedTuple):
  """Lengths (M,) int32 of the segments, and their score, fp32: -inf where no lengths fit the limits."""

  lengths: jax.Array
  score: jax.Array


def duration_dp(log_probs: jax.Array, transcript: jax.Array, length_log_probs: jax.Array | None = None, *,
                length: jax.Array | int | None = None, segments: jax.Array | int | None = None,
                grid: int = 1) -> Alignment:
  """The best lengths, each at least 1, that sum to the video's.

  Work is M T L / grid^2 for tables of L lengths, M T / grid without one. Where
  nothing fits (more segments than frames, or M L < T) the score is -inf and the
  lengths mean nothing, though they still sum to the video's.

  Args:
    log_probs: (T, N) log-probabilities of the classes; below -1000 counts as -1000.
    transcript: (M,) class ids.
    length_log_probs: (M, L) log-probabilities of the lengths 1..L of each
      segment, not normalised if need be; longer ones are not allowed, and -inf
      forbids one. None: every length is as good.
    length: frames of the video, at most T (all of them); the others are padding.
    segments: entries of the transcript, at most M (all of them); the others are
      padding of length 0.
    grid: boundaries lie on multiples of so many frames; the last segment takes
      the remainder and is scored with it.
  """
  size, count = log_probs.shape[0], transcript.shape[0]
  length = jnp.int32(size if length is None else length)
  segments = jnp.int32(count if segments is None else segments)
  frames = jnp.arange(size)
  scores = jnp.maximum(log_probs.astype(jnp.float32), FLOOR)[:, transcript].T  # (M, T)
  live = jnp.arange(count) < segments
  scores -= jnp.max(scores, 0, where=live[:, None], initial=FLOOR)  # changes no choice; keeps digits
  sums = jnp.pad(jnp.cumsum(scores, 1), ((0, 0), (1, 0)))  # (M, T + 1)
  places = jnp.arange(size // grid + 1) * grid
  at_places = sums[:, places]

  def forward(reached, inputs):
    m, total, table = inputs
    ends = total + _best_before(reached - total, table)
    return jnp.where(m < segments, ends, reached), reached

  tables = None if length_log_probs is None else length_log_probs.astype(jnp.float32)
  start = jnp.where(places == 0, 0.0, -jnp.inf)
  on_grid = None if tables is None else tables[:, grid - 1::grid]
  _, reached = jax.lax.scan(forward, start, (jnp.arange(count), at_places, on_grid))  # (M, places) before segment m

  def backward(end, inputs):
    m, before, total, table = inputs
    spans = end - places
    value = before - total
    if table is not None:
      value += jnp.where(spans <= table.shape[0], table[jnp.clip(spans - 1, 0, table.shape[0] - 1)], -jnp.inf)
    value = jnp.where(spans >= 1, value, -jnp.inf)
    best = jnp.argmax(value)
    begin = jnp.where(m < segments, places[best], end)
    return begin, (end - begin, (m >= segments) | (value[best] > -jnp.inf))

  _, (lengths, fits) = jax.lax.scan(backward, length, (jnp.arange(count), reached, at_places, tables), reverse=True)

  owner = jnp.clip(jnp.searchsorted(jnp.cumsum(lengths), frames, side="right"), 0, count - 1)
  own = jnp.maximum(log_probs.astype(jnp.float32)[frames, transcript[owner]], FLOOR)
  score = jnp.sum(jnp.where(frames < length, own, 0))
  if tables is not None:
    of_lengths = jnp.take_along_axis(tables, jnp.clip(lengths - 1, 0, tables.shape[1] - 1)[:, None], 1)[:, 0]
    score += jnp.sum(jnp.where(live, of_lengths, 0))
  return Alignment(lengths.astype(jnp.int32), jnp.where(fits.all(), score, -jnp.inf))


def _best_before(value: jax.Array, table: jax.Array | None) -> jax.Array:
  """max over d >= 1 of value[s - d] + table[d - 1], at every s: (S,), table (K,) or None for zeros -> (S,)."""
  if table is None:
    return jnp.concatenate([jnp.full((1,), -jnp.inf), jax.lax.cummax(value)[:-1]])
  size = value.shape[0]
  table = table[:size]
  longest = max(-(-table.shape[0] // _LANES), 1) * _LANES
  table = jnp.pad(table, (0, longest - table.shape[0]), constant_values=-jnp.inf)
  value = jnp.pad(value, (longest, 0), constant_values=-jnp.inf)

  def body(i, best):
    gains = jax.lax.dynamic_slice(table, (i * _LANES,), (_LANES,))
    window = jax.lax.dynamic_slice(value, (longest - (i + 1) * _LANES,), (size + _LANES - 1,))
    for lane in range(_LANES):
      best = jnp.maximum(best, window[_LANES - 1 - lane:][:size] + gains[lane])
    return best

  return jax.lax.fori_loop(0, longest // _LANES, body, jnp.full((size,), -jnp.inf))


def poisson_log_prob(lengths: jax.Array, means: jax.Array) -> jax.Array:
  """log of means^l e^-means / l!, also between whole lengths."""
  return lengths * jnp.log(means) - means - jax.lax.lgamma(lengths + 1)


def poisson_log_probs(means: jax.Array, max_length: int, renormalise: bool = False) -> jax.Array:
  """Log-probabilities of the lengths 1..L under Poisson distributions.

  Args:
    means: (M,), at least 1 each (smaller ones count as 1).
    max_length: L.
    renormalise: divide by the value at the mean, r^r e^-r / floor(mean)! with
      r the rounded mean, so that the most likely length has a share of about 1.

  Returns:
    (M, L) fp32.
  """
  means = jnp.maximum(means.astype(jnp.float32), 1)[:, None]
  lengths = jnp.arange(1, max_length + 1, dtype=jnp.float32)
  table = poisson_log_prob(lengths, means)
  if renormalise:
    nearest = jnp.round(means)
    table -= nearest * jnp.log(nearest) - nearest - jax.lax.lgamma(jnp.floor(means) + 1)
  return table


def means_per_class(means: jax.Array, transcript: jax.Array, segments: jax.Array | int | None = None) -> jax.Array:
  """Every segment's mean replaced by the average over the transcript's segments of its class: (M,) -> (M,)."""
  live = jnp.arange(transcript.shape[0]) < (transcript.shape[0] if segments is None else segments)
  same = (transcript[:, None] == transcript) & live
  return jnp.sum(jnp.where(same, means, 0), 1) / jnp.maximum(same.sum(1), 1)


def poisson_dp(log_probs: jax.Array, transcript: jax.Array, means: jax.Array, *, length: jax.Array | int | None = None,
               segments: jax.Array | int | None = None, max_length: int | None = None, grid: int = 1,
               per_class: bool = False, renormalise: bool = False) -> Alignment:
  """`duration_dp` with Poisson lengths; `**PUBLIC` is what MuCon's released code does.

  Args:
    log_probs: (T, N).
    transcript: (M,).
    means: (M,) expected lengths.
    length: frames of the video.
    segments: entries of the transcript.
    max_length: longest segment, T where None.
    grid: multiples of so many frames are boundaries.
    per_class: one mean per class of the transcript instead of one per segment.
    renormalise: see `poisson_log_probs`.
  """
  if per_class:
    means = means_per_class(means, transcript, segments)
  table = poisson_log_probs(means, max_length or log_probs.shape[0], renormalise)
  return duration_dp(log_probs, transcript, table, length=length, segments=segments, grid=grid)
