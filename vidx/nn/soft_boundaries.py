"""Soft boundaries that move: a transcript whose entries are repeated where its boundaries should move away from.

After Ding and Xu: "Weakly-Supervised Action Segmentation with Iterative Soft Boundary
Assignment", CVPR 2018. A video is cut evenly into the entries of its transcript. In each
round every boundary looks at the frames around it, and the entry on the side of the class
that they show is inserted once more; the video is cut evenly again, so that this boundary
moves towards the other class. Targets change from class to class along a ramp.
"""

import jax
import jax.numpy as jnp

from vidx.nn.segment_masks import segment_of_frame
from vidx.nn.sequence import at_labels


def insert_entries(probs: jax.Array, labels: jax.Array, live: jax.Array, length: jax.Array, limit: int,
                   rounds: jax.Array | int | None = None) -> jax.Array:
  """How often each segment's entry stands in the transcript after some rounds.

  With M segments there are M + r (M - 1) entries after r rounds; a segment takes its share of them of the video. A
  boundary compares its two classes over the entry's length around it, half of it on either side; the earlier one is
  inserted where both are equal.

  Args:
    probs: (B, T, N) of frames.
    labels: int32 (B, M) class ids.
    live: (B, M) segments, in front; at least one.
    length: (B,) live frames.
    limit: most rounds.
    rounds: () of them that are made; None: all.

  Returns:
    int32 (B, M), 0 where not live.
  """
  own = jnp.take_along_axis(probs.astype(jnp.float32), labels[:, None], 2)  # (B, T, M)
  sums = jnp.pad(jnp.cumsum(own, 1), ((0, 0), (1, 0), (0, 0))).swapaxes(1, 2)  # (B, M, T + 1)
  inner = live[:, 1:]
  counts = live.astype(jnp.int32)
  for done in range(limit):
    total = counts.sum(1, keepdims=True)
    ends = jnp.cumsum(counts, 1)[:, :-1]  # of segments that another follows, in entries

    def place(entries):
      return jnp.clip(jnp.round(entries * length[:, None] / total), 0, length[:, None]).astype(jnp.int32)[..., None]

    first, last = place(ends - 0.5), place(ends + 0.5)
    around = lambda of: (jnp.take_along_axis(of, last, 2) - jnp.take_along_axis(of, first, 2))[..., 0]
    before, after = around(sums[:, :-1]), around(sums[:, 1:])
    left = inner & (before >= after)
    more = jnp.pad(left, ((0, 0), (0, 1))).astype(jnp.int32) + jnp.pad(inner & ~left, ((0, 0), (1, 0)))
    counts = jnp.where(True if rounds is None else done < rounds, counts + more, counts)
  return counts


def entry_labels(labels: jax.Array, counts: jax.Array, size: int) -> jax.Array:
  """Class ids (B, size) of the entries, segment by segment; what is after their end means nothing.

  Args:
    labels: (B, M).
    counts: (B, M), as `insert_entries` gives them.
    size: at least the largest sum of them.
  """
  return jnp.take_along_axis(labels, segment_of_frame(counts, size), 1)


def soft_loss(log_probs: jax.Array, entries: jax.Array, total: jax.Array, length: jax.Array, mask: jax.Array
              ) -> jax.Array:
  """Mean cross-entropy with soft targets, which go linearly from the middle of an entry to that of the next.

  Args:
    log_probs: (B, T, N).
    entries: (B, K) class ids.
    total: (B,) live entries.
    length: (B,) live frames.
    mask: (B, T) live frames.

  Returns:
    fp32 (B,).
  """
  frames = log_probs.shape[1]
  t = jnp.arange(frames)
  place = jnp.clip((t + 0.5) * total[:, None] / length[:, None] - 0.5, 0, total[:, None] - 1)
  low = jnp.floor(place).astype(jnp.int32)
  high = jnp.minimum(low + 1, total[:, None] - 1)
  at = lambda which: -at_labels(log_probs, jnp.take_along_axis(entries, which, 1))
  share = place - low
  each = jnp.where(mask, (1 - share) * at(low) + share * at(high), 0)
  return each.sum(1) / jnp.maximum(mask.sum(1), 1)
