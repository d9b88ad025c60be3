"""Scores of factored embeddings and losses that rank pairs above others.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, eq. 6.4 and
section 6.2.4; Miech et al. 2018; Gabeur et al. 2020. B is the global batch: under
`jax.jit` every text meets every video however the batch is sharded.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

EPS = 1e-5  # least sum of the weights of the experts that a video has
LOSSES = ("all", "hard")


def scores(text: Mapping[str, jax.Array], video: Mapping[str, jax.Array], parts: Sequence[str] = ()) -> jax.Array:
  """The similarity of every text with every video.

  Args:
    text: 'global' (Q, N, C) and 'weights' (Q, N) of N experts, 'local' (Q, K, C) of K centres, those that there are.
    video: 'global' (B, N, C) and 'available' (B, N), 'local' (B, K, C); rows are of unit length.
    parts: 'global', 'local' or both; empty: those that both have.

  Returns:
    fp32 (Q, B) in -1..1: the mean of the parts; the global one is sum_n w_n <t_n, v_n> under weights that are
    shared out anew over the experts that a video has, 0 where it has none.
  """
  product = lambda spec, *xs: jnp.einsum(spec, *(x.astype(jnp.float32) for x in xs),
                                         precision=jax.lax.Precision.HIGHEST)
  used = [p for p in ("global", "local") if p in text and p in video and (not parts or p in parts)]
  if not used:
    raise ValueError(f"embeddings have no {' or '.join(parts) or 'global or local part'}")
  found = []
  if "global" in used:
    said = text["global"] * text["weights"][..., None]
    seen = video["global"] * video["available"][..., None]
    share = product("qn,bn->qb", text["weights"], video["available"])
    found.append(product("qnc,bnc->qb", said, seen) / jnp.maximum(share, EPS))
  if "local" in used:
    found.append(product("qkc,bkc->qb", text["local"], video["local"]) / text["local"].shape[1])
  return sum(found) / len(found)


def margin_loss(similarity: jax.Array, margin: float, which: str = "all", negative: jax.Array | None = None
                ) -> jax.Array:
  """Bi-directional max-margin ranking loss of each pair; their mean is that of a batch.

  'all' is the mean over all negatives of both directions, of which the mean over pairs is
  1 / (2 n (n - 1)) sum_{i != j} [m + S_ij - S_ii]_+ + [m + S_ji - S_ii]_+; 'hard' adds the
  largest term of either direction.

  Args:
    similarity: fp32 S (B, B), pairs on the diagonal.
    margin: m.
    which: one of LOSSES.
    negative: (B, B) symmetric, whether i and j are no pair; None: all but the diagonal.

  Returns:
    fp32 (B,); 0 where a pair has no negatives.
  """
  if which not in LOSSES:
    raise ValueError(f"loss '{which}' is not one of {', '.join(LOSSES)}")
  right = jnp.diagonal(similarity)
  off = ~jnp.eye(len(similarity), dtype=bool)
  live = off if negative is None else (off & negative)
  over = lambda s: jnp.where(live, jnp.maximum(margin + s - right[:, None], 0), 0)
  text, video = over(similarity), over(similarity.T)
  if which == "hard":
    return text.max(1) + video.max(1)
  return (text + video).sum(1) / (2 * jnp.maximum(live.sum(1), 1))
