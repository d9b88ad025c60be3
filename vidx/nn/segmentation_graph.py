"""A graph of segmentations near a first one, and how likely its valid labellings are beside others.

Li, Lei, Todorovic: "Weakly Supervised Energy-Based Learning for Action Segmentation",
ICCV 2019. Nodes are places near the cuts of a segmentation, an edge goes from a place near
one cut to a later one near the next, and has an energy per class, the sum of -log p(class)
of its frames. A path is valid where each of its edges has the class that the transcript
says. The energy of many paths together is their soft minimum -log sum exp(-E), by a forward
recursion over cuts. The loss is the energy of the valid paths less that of others: of hard
ones (CDFL), on each edge of which the classes count that have less energy than the true
one, and all others as 0, as the authors' release has it; of all labellings of the graph;
or of none.
"""

import jax
import jax.numpy as jnp

from vidx.nn import choices

OTHERS = ("none", "hard", "all")
_CLOSED = 1e9  # energy of what is no edge: its share is 0, and gradients are finite


def places(lengths: jax.Array, segments: jax.Array, length: jax.Array, window: int, step: int
           ) -> tuple[jax.Array, jax.Array]:
  """Where each segment may end: int32 (M, C) frames, and which of them are nodes.

  Args:
    lengths: int32 (M,) of the segments, which sum to the video's.
    segments: () of them that are live, at least 1.
    length: () live frames.
    window: frames around a cut, of which half are on either side.
    step: frames between two places.
  """
  reach = window // 2 // step * step
  offsets = jnp.arange(-reach, reach + 1, step)
  inner = jnp.arange(lengths.shape[0]) < segments - 1
  found = jnp.where(inner[:, None], jnp.cumsum(lengths)[:, None] + offsets, length)
  inside = (found > 0) & (found < length)
  return jnp.clip(found, 0, length), jnp.where(inner[:, None], inside, offsets == 0)


def energies(log_probs: jax.Array, transcript: jax.Array, ends: jax.Array, live: jax.Array, segments: jax.Array,
             others: str = "hard") -> tuple[jax.Array, jax.Array]:
  """Energies of the valid paths, and of the others; fp32 (). Where no path fits the first is about 1e9.

  Work is M C^2 N.

  Args:
    log_probs: (T, N) of one video.
    transcript: int32 (M,) class ids.
    ends: see `places`.
    live: see `places`.
    segments: () live entries of the transcript.
    others: which labellings are the others: 'hard', where a class has the energy 0 on an edge unless it has less there
      than the true one; 'all', with the energies that they have; 'none', an energy of 0.
  """
  choices.check("others", others, OTHERS)
  sums = jnp.pad(jnp.cumsum(-log_probs.astype(jnp.float32), 0), ((1, 0), (0, 0)))
  softmin = lambda energy, axis: -jax.nn.logsumexp(-energy, axis)

  def forward(carry, inputs):
    begins, total, valid, invalid = carry  # of the segments so far, by where they end
    m, label, end, node = inputs
    after = sums[end]
    edge = after[None] - total[:, None]  # (C, C, N), from places before the segment to places behind it
    own = jnp.take(edge, label, 2)
    if others == "hard":
      any_ = softmin(jnp.where(edge < own[..., None], edge, 0), 2)
    else:
      any_ = softmin(edge, 2) if others == "all" else jnp.zeros_like(own)
    is_edge = (end > begins[:, None]) & node
    reached = [softmin(before[:, None] + jnp.where(is_edge, energy, _CLOSED), 0)
               for before, energy in ((valid, own), (invalid, any_))]
    new = (end, after, *reached)
    return jax.tree.map(lambda a, b: jnp.where(m < segments, a, b), new, carry), None

  count = ends.shape[1]
  start = jnp.where(jnp.arange(count) == 0, 0.0, _CLOSED)
  begin = (jnp.zeros(count, ends.dtype), jnp.zeros((count, sums.shape[1])), start, start)
  (_, _, valid, invalid), _ = jax.lax.scan(forward, begin, (jnp.arange(ends.shape[0]), transcript, ends, live))
  return softmin(valid, 0), jnp.zeros(()) if others == "none" else softmin(invalid, 0)


def forward_loss(log_probs: jax.Array, transcript: jax.Array, lengths: jax.Array, segments: jax.Array,
                 length: jax.Array, window: int = 10, step: int = 5, others: str = "hard") -> jax.Array:
  """Energy of the valid paths near a segmentation less that of others, per frame: fp32 (), 0 where no path fits.

  Args:
    log_probs: (T, N) of one video.
    transcript: (M,) class ids.
    lengths: (M,) of the first segmentation.
    segments: () live entries of both.
    length: () live frames.
    window: see `places`.
    step: see `places`.
    others: see `energies`.
  """
  valid, invalid = energies(log_probs, transcript, *places(lengths, segments, length, window, step), segments, others)
  return jnp.where(valid < _CLOSED / 2, valid - invalid, 0) / length
