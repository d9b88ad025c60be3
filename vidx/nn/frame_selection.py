"""Frames chosen by their scores, and predictions fused by them.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, eq. 5.3
to 5.6. Pure functions; N candidate frames, M of them kept, K classes.
"""

import dataclasses

import jax
import jax.numpy as jnp

FUSIONS = ("logits", "probabilities")


@dataclasses.dataclass(frozen=True)
class FrameChoice:
  """A system declares by this as its `frame_choice` that it chooses frames by `score` and `choose` alone.

  Its `classify` then needs the chosen frames only.

  Attributes:
    keep: frames that it chooses, M.
    size: side in pixels of the frames that are scored; 0: that of the ones to classify.
  """

  keep: int
  size: int = 0


def best_frames(scores: jax.Array, keep: int) -> jax.Array:
  """Indices (B, M) int32 of the highest of scores (B, N), the highest first; of equals, the earlier first."""
  return jax.lax.top_k(scores, keep)[1]


def uniform_frames(frames: int, keep: int) -> jax.Array:
  """(M,) int32: the middle one of each of M equal parts of N frames."""
  return (2 * jnp.arange(keep) + 1) * frames // (2 * keep)


def fuse(frame_logits: jax.Array, weights: jax.Array, fusion: str = "logits") -> jax.Array:
  """Logits of a video from those of its frames.

  Args:
    frame_logits: (B, N, K).
    weights: (B, N), not negative.
    fusion: of 'logits', z = q^T l, or of 'probabilities': the logarithm of sum q softmax(l).

  Returns:
    fp32 (B, K), of which the softmax is the prediction (eq. 5.4).
  """
  frame_logits, weights = frame_logits.astype(jnp.float32), weights.astype(jnp.float32)
  if fusion == "probabilities":
    frame_logits = jax.nn.softmax(frame_logits)
  z = jnp.einsum("bn,bnk->bk", weights, frame_logits)
  return jnp.log(jnp.maximum(z, 1e-30)) if fusion == "probabilities" else z


def excess(weights: jax.Array, keep: int) -> jax.Array:
  """(B,): by how much the weights (B, N) of a video sum up to more than M (eq. 5.6); its gradient at M is 0."""
  over = weights.astype(jnp.float32).sum(-1) - keep
  return jnp.where(over > 0, over, 0.0)
