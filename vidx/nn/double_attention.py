"""Double attention: features of the whole clip are gathered, then dealt out to its positions.

Chen, Kalantidis, Li, Yan, Feng: "A2-Nets: Double Attention Networks", 2018.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool
from vidx.nn.conv import Conv
from vidx.nn.norm import ConvNormAct


class DoubleAttention(nn.Module):
  """z_i = x_i + BN(W_z sum_n v_in g_n), with g_n = sum_j b_jn a_j; starts as x.

  a, b and v are linear in x. b is a softmax over the positions j of the clip, v one over the n: each of n vectors is
  gathered from all positions, and each position takes from them what it needs.

  Attributes:
    reduction: C over the channels of a and over the number of vectors.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; both softmaxes are fp32.
  """

  reduction: int = 4
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) of live frames -> (B, T, H, W, C), dtype of `x`."""
    inner = max(1, x.shape[-1] // self.reduction)
    linear = lambda name: Conv(inner, (1, 1, 1), use_bias=True, dtype=self.dtype, name=name)(x)
    live = None if mask is None else mask[:, :, None, None, None] > 0
    gather = jax.nn.softmax(linear("gather").astype(jnp.float32), axis=(1, 2, 3), where=live)
    deal = jax.nn.softmax(linear("deal").astype(jnp.float32), axis=-1)
    given = pool.live_frames(linear("given"), mask).astype(jnp.float32)
    vectors = jnp.einsum("bthwc,bthwn->bnc", given, gather, preferred_element_type=jnp.float32)
    y = jnp.einsum("bthwn,bnc->bthwc", deal, vectors, preferred_element_type=jnp.float32).astype(x.dtype)
    norm = (*self.norm, ("scale_init", 0.0))
    return x + ConvNormAct(x.shape[-1], (1, 1, 1), act=None, use_bias=True, norm=norm, dtype=self.dtype, name="out")(
        y, train, mask).astype(x.dtype)
