"""Cosine classifier: the similarity of features and class prototypes, both of unit length, times a scale.

Gidaris and Komodakis: "Dynamic Few-Shot Visual Learning without Forgetting", 2018.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

EPS = 1e-6


def unit(x: jax.Array, eps: float = EPS) -> jax.Array:
  """fp32 x / sqrt(|x|^2 + eps) along the last axis: of unit length, and zero where x is, with a finite gradient."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + eps)


def prototype_init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
  """Normal values of variance 1 / C for prototypes or centres (..., C), about of unit length."""
  return jax.random.normal(key, shape, dtype) * shape[-1] ** -0.5


class CosineClassifier(nn.Module):
  """Logits s cos(x, p_c), without a bias.

  Attributes:
    classes: of the prototypes; 0 where they are given in the call.
    scale: s = 1 / tau, at the start.
    learned: whether s is learned.
    bounds: in which a learned s is kept.
  """

  classes: int = 0
  scale: float = 10.0
  learned: bool = True
  bounds: tuple[float, float] = (1.0, 100.0)

  @nn.compact
  def __call__(self, x: jax.Array, prototypes: jax.Array | None = None) -> jax.Array:
    """(..., C), prototypes (classes, C) or the module's own -> fp32 (..., classes)."""
    if prototypes is None:
      prototypes = self.param("prototypes", prototype_init, (self.classes, x.shape[-1]))
    scale = self.scale
    if self.learned:
      scale = jnp.clip(self.param("scale", nn.initializers.constant(scale), ()), *self.bounds)
    return scale * jnp.einsum("...c,kc->...k", unit(x), unit(prototypes), precision=jax.lax.Precision.HIGHEST)
