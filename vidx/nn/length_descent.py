"""Segment lengths by gradient descent: the objective of the duration DP, relaxed by soft masks.

After Souri et al.: "FIFA: Fast Inference Approximation for Action Segmentation", 2021.
"""

import jax
import jax.numpy as jnp
import optax

from vidx.nn.duration_dp import poisson_log_prob
from vidx.nn.segment_masks import pool_segments, project_lengths, round_lengths, segment_masks


def descend_lengths(log_probs: jax.Array, transcript: jax.Array, means: jax.Array, *, length: jax.Array,
                    segments: jax.Array, steps: int = 50, rate: float = 0.1, points: int = 4) -> jax.Array:
  """Lengths near those of `duration_dp.poisson_dp`, at a cost that does not grow with the longest segment.

  Args:
    log_probs: (T, N) log-probabilities of the classes.
    transcript: (M,) class ids.
    means: (M,) expected lengths, from which the descent starts.
    length: () live frames.
    segments: () live segments, the others are padding.
    steps: of Adam.
    rate: of Adam, in log lengths.
    points: of the masks' template; few make wide ramps.

  Returns:
    int32 (M,) that sum to `length`; of one video, and made for `jax.vmap`.
  """
  frames, live = log_probs.shape[0], jnp.arange(transcript.shape[0]) < segments
  means = jnp.maximum(means, 1)
  own = log_probs[:, transcript]  # (T, M)

  def energy(relative):
    lengths = project_lengths(relative, length, live)
    masks = segment_masks(lengths, frames, length=length, mask=live, points=points)
    scores = jnp.diagonal(pool_segments(own, masks))
    return -jnp.where(live, scores + poisson_log_prob(lengths, means), 0).sum()

  adam = optax.adam(rate)

  def step(carry, _):
    relative, state = carry
    updates, state = adam.update(jax.grad(energy)(relative), state)
    return (optax.apply_updates(relative, updates), state), None

  relative = jnp.log(means)
  (relative, _), _ = jax.lax.scan(step, (relative, adam.init(relative)), None, length=steps)
  return round_lengths(project_lengths(relative, length, live))
