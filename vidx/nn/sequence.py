"""Sequences of different lengths in one array: which entries are live, means over them, stretching, smoothness.

Lengths are (B,), live entries in front.
"""

import jax
import jax.numpy as jnp

from vidx.nn import choices, compaction, shapes
from vidx.nn.pool import mean_over_live

STRETCHES = ("nearest", "linear")


def cut(features: jax.Array, length: jax.Array | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Features with zeros after the end, lengths of at least 1, and the mask (B, T) of live entries.

  Args:
    features: (B, T, D).
    length: (B,) live entries; None: all.

  Raises:
    ValueError: other features.
  """
  shapes.check("a network of long videos", features=(features, "B T D"), length=(length, "B"))
  batch, frames = features.shape[:2]
  length = jnp.full((batch,), frames) if length is None else jnp.clip(length, 1, frames)
  mask = jnp.arange(frames) < length[:, None]
  return jnp.where(mask[..., None], features, 0), length.astype(jnp.int32), mask


def mean_live(values: jax.Array, mask: jax.Array) -> jax.Array:
  """Mean of (B, T) over what a mask (B, T) marks: fp32 (B,), 0 where that is nothing."""
  return mean_over_live(values[..., None], mask)[..., 0]


def live_labels(labels: jax.Array, mask: jax.Array) -> jax.Array:
  """Labels as int32, -1 where the mask is not set."""
  return jnp.where(mask, labels, -1).astype(jnp.int32)


def at_labels(values: jax.Array, labels: jax.Array) -> jax.Array:
  """values (..., N) at labels (...), -1 read as 0: (...)."""
  return jnp.take_along_axis(values, jnp.maximum(labels, 0)[..., None], -1)[..., 0]


def stretch(x: jax.Array, live: jax.Array, length: jax.Array, frames: int, method: str = "nearest") -> jax.Array:
  """Every sequence's live entries, spread evenly over the live frames of its video.

  Args:
    x: (B, K, ...).
    live: (B,) live entries, 1..K.
    length: (B,) live frames, 1..T.
    frames: T.
    method: 'nearest', frame t = 0.. takes entry floor(t k / l); or 'linear' between
      the middles of entries, as they lie in time.

  Returns:
    (B, T, ...); what is after the end means nothing.
  """
  choices.check("method", method, STRETCHES)
  t, live, length = jnp.arange(frames), live[:, None], length[:, None]
  if method == "nearest":
    return compaction.take(x, jnp.minimum(t * live // length, live - 1))
  place = jnp.clip((t + 0.5) * live / length - 0.5, 0, live - 1)
  low = jnp.floor(place).astype(jnp.int32)
  share = (place - low).reshape(*place.shape, *[1] * (x.ndim - 2))
  return compaction.take(x, low) * (1 - share) + compaction.take(x, jnp.minimum(low + 1, live - 1)) * share


def smoothing(log_probs: jax.Array, mask: jax.Array, limit: float = 4.0, public: bool = False) -> jax.Array:
  """Truncated mean squared difference of a frame's log-probabilities from those of the frame before, held fixed.

  Farha and Gall: "MS-TCN", 2019; eq. 9.12 and eq. 9.13 of Fayyaz: "Holistic Video
  Understanding: Spatio-Temporal Modeling and Efficiency", 2024.

  Args:
    log_probs: (B, T, N).
    mask: (B, T) live frames.
    limit: largest difference that counts.
    public: truncates the mean over the T - 1 differences, as MuCon's released code does,
      instead of each of them.

  Returns:
    fp32 (B,).
  """
  log_probs = log_probs.astype(jnp.float32)
  step = jnp.abs(log_probs[:, 1:] - jax.lax.stop_gradient(log_probs[:, :-1]))
  step = jnp.where(mask[:, 1:, None], step, 0)
  frames = mask.sum(1) * log_probs.shape[-1]
  if public:
    return jnp.minimum((step**2).sum((1, 2)) / jnp.maximum(frames - log_probs.shape[-1], 1), limit**2)
  return (jnp.minimum(step, limit) ** 2).sum((1, 2)) / jnp.maximum(frames, 1)
