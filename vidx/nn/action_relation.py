"""Action-attended relation: one stream of a clip chooses among the candidates of the other.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, eq. 3.9 to 3.11.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

_FAR = -1e9  # logit of a dead candidate: finite, so that no softmax is undefined


class ActionRelation(nn.Module):
  """z = sum_i a_i h_i with a = softmax_i((g A) . (B h_i)), without a scale; the values are the candidates themselves.

  Attributes:
    reduction: C over the width of queries and keys.
    query_side: (g A) B^T is multiplied with the candidates, two small products in place of one per candidate; the
      result is the same.
    scale_logits: divides by the root of the width, which the equation does not.
    dtype: compute dtype; logits and softmax are fp32.
  """

  reduction: int = 4
  query_side: bool = True
  scale_logits: bool = False
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, g: jax.Array, h: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Attends.

    Args:
      g: (B, D), what asks.
      h: (B, N, C) candidates.
      mask: (B, N) of live candidates; None: all. A row without any gives the mean.

    Returns:
      z fp32 (B, C), and the weights fp32 (B, N).
    """
    width = h.shape[-1] // self.reduction
    init = nn.initializers.lecun_normal()
    query = self.param("query", init, (g.shape[-1], width))
    key = self.param("key", init, (h.shape[-1], width))
    dtype = self.dtype or jnp.float32
    q = jnp.asarray(g, dtype) @ query.astype(dtype)
    if self.query_side:
      q = q @ key.astype(dtype).T
      logits = jnp.einsum("bc,bnc->bn", q, h.astype(dtype), preferred_element_type=jnp.float32)
    else:
      logits = jnp.einsum("bd,bnd->bn", q, h.astype(dtype) @ key.astype(dtype), preferred_element_type=jnp.float32)
    logits = logits * width ** -0.5 if self.scale_logits else logits
    if mask is not None:
      logits, h = jnp.where(mask, logits, _FAR), jnp.where(mask[..., None], h, 0)
    a = jax.nn.softmax(logits)
    return jnp.einsum("bn,bnc->bc", a.astype(h.dtype), h, preferred_element_type=jnp.float32), a
