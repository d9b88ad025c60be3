"""Soft assignment to centres and the residuals gathered by it: NetVLAD, with a background centre.

Arandjelovic et al.: "NetVLAD", 2016; Zhong et al.: "GhostVLAD for Set-based Face
Recognition", 2018. Wang: "Collaborative Dual-Stream Modeling for Video Understanding",
2021: eq. 4.3 to 4.5 with the verbs' prototypes as centres, eq. 6.1 to 6.3 with residual centres of
their own. N positions of C channels, K centres.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.cosine_classifier import prototype_init
from vidx.nn.norm import BatchNorm

NORMS = ("", "bias", "bn")


def assignment_logits(z: jax.Array, centres: jax.Array) -> jax.Array:
  """Products z_i . c_j without any scale, fp32: (..., N, C), (K, C) -> (..., N, K)."""
  return jnp.einsum("...nc,kc->...nk", z, centres.astype(z.dtype), preferred_element_type=jnp.float32)


def residual_groups(z: jax.Array, a: jax.Array, centres: jax.Array) -> jax.Array:
  """g_j = sum_i a_ij (z_i - c_j) = sum_i a_ij z_i - s_j c_j (eq. 4.4, eq. 4.5, eq. 6.2).

  Args:
    z: (B, N, C).
    a: (B, N, K) fp32, zero for dead positions.
    centres: (K, C), or (B, K, C) of each example.

  Returns:
    fp32 (B, K, C).
  """
  a = a.astype(z.dtype)  # rounded alike in both terms, which nearly cancel
  gathered = jnp.einsum("bnk,bnc->bkc", a, z, preferred_element_type=jnp.float32)
  return gathered - a.sum(-2, dtype=jnp.float32)[..., None] * centres.astype(jnp.float32)


class SoftAssignVLAD(nn.Module):
  """Groups of positions by their soft assignment to centres.

  With a background the softmax runs over one more centre, whose column is dropped, so
  that the weights of a position sum to less than 1. If the caller makes the collection
  `maps` mutable, the weights, background last, are left there as `assignment`.

  Attributes:
    centres: K; those of the call where it gives some.
    background: whether there is a background centre.
    own_residual: whether residuals are taken from centres c' of their own, not from those of the assignment.
    norm: of the products: '' nothing, 'bias' a number per centre, 'bn' batch normalisation over live positions.
    modalities: of 'bn', each with its own normalisation; see the call.
  """

  centres: int
  background: bool = True
  own_residual: bool = False
  norm: str = ""
  modalities: tuple[str, ...] = ("",)

  def __post_init__(self):
    choices.check("SoftAssignVLAD: norm", self.norm, NORMS)
    super().__post_init__()

  @nn.compact
  def __call__(self, z: jax.Array, mask: jax.Array | None = None, train: bool = False,
               centres: jax.Array | None = None, residual: jax.Array | None = None, select: jax.Array | None = None,
               modality: str = "", stop_centres: bool = False) -> tuple[jax.Array, jax.Array]:
    """Assigns and gathers.

    Args:
      z: (B, N, C).
      mask: (B, N), 1 for live positions; None: all.
      train: of batch normalisation.
      centres: (K, C) shared with something else, in place of the layer's own.
      residual: (K, C), the same for the centres of the residuals.
      select: (B, K') int32, the only groups that are made, of centres shared or own.
      modality: one of `modalities`: the other parameters are shared between them.
      stop_centres: no gradient reaches the centres through the assignment.

    Returns:
      groups fp32 (B, K or K', C), not normalised, and weights fp32 (B, N, K + 1) or
      (B, N, K) without a background, zero for dead positions.
    """
    channels, count = z.shape[-1], self.centres
    if centres is None:
      centres = self.param("centres", prototype_init, (count, channels))
    assigned = centres
    if self.background:
      assigned = jnp.concatenate([centres, self.param("background", prototype_init, (1, channels))])
    if residual is None:
      residual = self.param("residual", prototype_init, (count, channels)) if self.own_residual else centres
    logits = assignment_logits(z, jax.lax.stop_gradient(assigned) if stop_centres else assigned)
    a = jax.nn.softmax(self._normalised(logits, mask, train, modality))
    if mask is not None:
      live = mask[..., None] > 0
      a, z = jnp.where(live, a, 0), jnp.where(live, z, 0)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "assignment", a)
    weights = a[..., :count]
    if select is not None:
      weights, residual = jnp.take_along_axis(a, select[:, None], -1), residual[select]
    return residual_groups(z, weights, residual), a

  def _normalised(self, logits, mask, train, modality):
    if self.norm == "bias":
      return logits + self.param("bias", nn.initializers.zeros, logits.shape[-1:])
    if self.norm == "bn":
      norms = {name: BatchNorm(name=f"norm_{name}" if name else "norm") for name in self.modalities}
      if self.is_initializing():  # all have their parameters, whichever the first call is of
        return [norm(logits, train, mask) for norm in norms.values()][self.modalities.index(modality)]
      return norms[modality](logits, train, mask)
    return logits
