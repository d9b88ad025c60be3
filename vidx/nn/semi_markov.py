"""Semi-Markov decoding: the best segmentation where no transcript is given, from frame scores and a model of lengths.

The search over labels of Richard et al.: "NeuralNetwork-Viterbi", CVPR 2018, and of
"Action Sets", CVPR 2018, without a grammar: any class may follow any other. Of all ways
to cut T frames into segments with classes c and lengths l, the one with the greatest

  sum_t s_t[c(t)] + sum_m log p_{c_m}(l_m).

Of one video, and made for `jax.vmap`.
"""

import jax
import jax.numpy as jnp

from vidx.nn.duration_dp import FLOOR


def semi_markov(scores: jax.Array, length_log_probs: jax.Array, *, length: jax.Array | int | None = None,
                grid: int = 1) -> tuple[jax.Array, jax.Array]:
  """The classes of the frames of the best segmentation, and its score.

  Work is T L C / grid^2. A video that no allowed lengths add up to has score -inf.

  Args:
    scores: (T, C) log-probabilities, normalised or not; below -1000 counts as -1000.
    length_log_probs: (C, L) log-probabilities of the lengths 1..L; -inf forbids one.
    length: live frames, at least 1; the others are padding.
    grid: boundaries lie on multiples of so many frames; an incomplete step at the end counts as a whole one.

  Returns:
    int32 (T,), of padding the last segment's, and fp32 ().
  """
  frames, classes = scores.shape
  length = jnp.int32(frames if length is None else length)
  scores = jnp.where((jnp.arange(frames) < length)[:, None], jnp.maximum(scores.astype(jnp.float32), FLOOR), 0)
  best = scores.max(-1, keepdims=True)
  cells = -(-frames // grid)
  sums = jnp.cumsum(scores - best, 0)  # of small numbers: the best class costs nothing
  sums = jnp.pad(sums, ((1, cells * grid - frames), (0, 0)), mode="edge").at[0].set(0)[::grid]  # (cells + 1, C)
  table = length_log_probs.astype(jnp.float32)[:, grid - 1::grid].T  # (K, C)
  count = table.shape[0]

  def forward(carry, total):
    window, reached = carry  # what segments gain that begin 1, 2, ... steps ago
    window = jnp.concatenate([reached - total[0][None], window[:-1]])
    gains = (window + table + total[1]).reshape(-1)
    choice = jnp.argmax(gains)
    return (window, gains[choice]), (gains[choice], choice.astype(jnp.int32))

  carry = (jnp.full((count, classes), -jnp.inf), jnp.float32(0))
  _, (reached, choices) = jax.lax.scan(forward, carry, (sums[:-1], sums[1:]))
  end = -(-length // grid)

  def backward(carry, inputs):
    begin, label = carry
    place, choice = inputs  # what ends after this step
    turn = (place < begin) & (place < end)
    begin = jnp.where(turn, place - choice // classes, begin)
    label = jnp.where(turn, choice % classes, label)
    return (begin, label), label

  start = (end, choices[end - 1] % classes)
  _, labels = jax.lax.scan(backward, start, (jnp.arange(cells), choices), reverse=True)
  total = jnp.where(jnp.arange(frames)[:, None] < length, best, 0).sum()
  return jnp.repeat(labels, grid)[:frames], reached[end - 1] + total
