"""Gated embeddings of unit length, and a small encoder of tokens: what retrieval compares.

Miech et al.: "Learning a Text-Video Embedding from Incomplete and Heterogeneous Data",
2018. Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, section 6.2.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.attention import Attention
from vidx.nn.initialisers import bias_init, kernel_init
from vidx.nn.norm import BatchNorm

xavier = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


def unit_rows(x: jax.Array, eps: float = 1e-12) -> jax.Array:
  """fp32 x / max(|x|, eps) along the last axis: zero where x is, with a finite gradient (eq. 6.3)."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), eps * eps))


class Linear(nn.Module):
  """A dense layer that starts as one of PyTorch."""

  features: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., D) -> (..., features)."""
    return nn.Dense(self.features, dtype=self.dtype, kernel_init=kernel_init("uniform"),
                    bias_init=bias_init("uniform", x.shape[-1]), name="dense")(x)


class GatedEmbedding(nn.Module):
  """h = W1 x + b1; h sigmoid(BN(W2 h + b2)) of unit length.

  Attributes:
    features: C of the result.
    dtype: of the products; lengths and batch statistics are fp32.
  """

  features: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, live: jax.Array | None = None, train: bool = False) -> jax.Array:
    """Embeds.

    Args:
      x: (B, D).
      live: (B,), 0 for rows that take no part in the statistics and are zero in the result; None: all are live.
      train: statistics of the batch.

    Returns:
      fp32 (B, C).
    """
    h = Linear(self.features, self.dtype, name="project")(x)
    gate = BatchNorm(name="norm")(Linear(self.features, self.dtype, name="gate")(h), train, live)
    y = unit_rows(h * jax.nn.sigmoid(gate))
    return y if live is None else y * (live[:, None] > 0)


class TokenEncoder(nn.Module):
  """One transformer layer, normalised before its branches and behind it; tokens keep their number and have no places.

  Attributes:
    heads: of attention.
    hidden: width between the two dense layers of the second branch; 0: that of the tokens.
    dropout: of both branches.
    dtype: compute dtype.
  """

  heads: int = 4
  hidden: int = 0
  dropout: float = 0.1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
    """(B, N, D), mask (B, N) of live tokens -> (B, N, D)."""
    norm = lambda name: nn.LayerNorm(1e-5, dtype=self.dtype, name=name)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    attention = Attention(self.heads, dtype=self.dtype, kernel_init=xavier, name="attn")
    dense = lambda width, name: nn.Dense(width, dtype=self.dtype, kernel_init=xavier, name=name)
    x = x + drop(attention(norm("norm1")(x), None if mask is None else mask > 0)[0])
    y = dense(x.shape[-1], "fc2")(nn.relu(dense(self.hidden or x.shape[-1], "fc1")(norm("norm2")(x))))
    return norm("norm")(x + drop(y))
