"""Streams of features that gate one another, step by step, and become one sequence.

Wang et al.: "Controllable Video Captioning with POS Sequence Guidance Based on Gated Fusion Network", 2019.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.embedding import Linear
from vidx.nn.norm import BatchNorm
from vidx.nn.recurrent import StackedLSTM


class StreamGate(nn.Module):
  """g t + t with g = relu(W s + b): channels of a target made larger by what a source says.

  Attributes:
    dropout: of the gate.
    dtype: compute dtype of the product.
  """

  dropout: float = 0.5
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, source: jax.Array, target: jax.Array, train: bool = False) -> jax.Array:
    """(..., D), (..., C) -> (..., C)."""
    gate = nn.relu(Linear(target.shape[-1], self.dtype, name="fc")(source))
    return nn.Dropout(self.dropout, deterministic=not train)(gate) * target + target


class GatedStreams(nn.Module):
  """One or two streams as one sequence: each through a dense layer and an LSTM, each gated by the other, and joined.

  Attributes:
    hidden: H, of states and of the result.
    gated: whether streams gate one another.
    dropout: of dense layers and gates.
    dtype: compute dtype; states and statistics are fp32.
  """

  hidden: int = 512
  gated: bool = True
  dropout: float = 0.5
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, streams: Sequence[jax.Array], masks: Sequence[jax.Array], train: bool = False
               ) -> tuple[jax.Array, jax.Array]:
    """Joins.

    Args:
      streams: (B, K_i, D_i) each; a shorter one is as if it were padded.
      masks: (B, K_i), 1 for live steps, live ones in front.
      train: dropout and batch statistics.

    Returns:
      fp32 (B, K, H), zero where no stream is live, and bool (B, K), where one is.

    Raises:
      ValueError: neither one nor two streams.
    """
    if len(streams) not in (1, 2):
      raise ValueError(f"{len(streams)} streams; one, or two that gate one another")
    steps = max(x.shape[1] for x in streams)
    grown = lambda x: jnp.pad(x, [(0, 0), (0, steps - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])
    drop = nn.Dropout(self.dropout, deterministic=not train)
    states = []
    for i, (x, mask) in enumerate(zip(streams, masks)):
      x, mask = grown(x), grown(mask) > 0
      x = BatchNorm(name=f"norm_{i}")(Linear(self.hidden, self.dtype, name=f"fc_{i}")(x), train, mask)
      x = drop(nn.relu(x)) * mask[..., None]  # behind its end a stream is zero, whatever it was padded with
      states.append(StackedLSTM(self.hidden, 1, forget=0.0, dtype=self.dtype, name=f"lstm_{i}")(x, train))
    if self.gated and len(states) == 2:
      gate = lambda i: StreamGate(self.dropout, self.dtype, name=f"gate_{i}")(states[1 - i], states[i], train)
      states = [gate(0), gate(1)]
    live = sum(grown(m) for m in masks) > 0
    joined = nn.relu(Linear(self.hidden, self.dtype, name="join")(jnp.concatenate(states, -1)))
    return drop(joined).astype(jnp.float32) * live[..., None], live
