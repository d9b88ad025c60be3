"""A head of its own for every category of classes, behind one trunk: multi-task classification.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, sections 5.3.2 and 5.4.3.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool
from vidx.nn.head import Head
from vidx.nn.norm import ConvNormAct

CONVS = ("1x1x1", "3x3x3", "last_block", "none")


class CategoryHead(nn.Module):
  """Convolutions, then mean over space and time, dropout, a linear layer.

  Attributes:
    num_classes: of the category.
    conv: '1x1x1' or '3x3x3', one ConvNormAct that keeps the width; 'last_block', a
      residual block; 'none'.
    bottleneck: whether that block is one.
    dropout: rate before the linear layer.
    std: of its normal initialisation.
    consensus: mean of the frames' logits.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int
  conv: str = "1x1x1"
  bottleneck: bool = False
  dropout: float = 0.0
  std: float = 0.01
  consensus: bool = False
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) -> logits (B, num_classes), fp32."""
    if self.conv == "last_block":
      width, three = x.shape[-1], (3, 3, 3)
      layers = [(width // 4, (1, 1, 1)), (width // 4, three), (width, (1, 1, 1))] if self.bottleneck else [
          (width, three)] * 2
      x = nn.relu(x.astype(self.dtype or jnp.float32) + self._convolved(x, layers, mask, train))
    elif self.conv != "none":
      x = nn.relu(self._convolved(x, [(x.shape[-1], tuple(map(int, self.conv.split("x"))))], mask, train))
    return Head(self.num_classes, self.dropout, self.std, self.consensus, name="out")(x, mask, train)["logits"]

  def _convolved(self, x, layers, mask, train):
    for i, (features, kernel) in enumerate(layers):
      act = None if i == len(layers) - 1 else nn.relu
      x = ConvNormAct(features, kernel, act=act, norm=self.norm, dtype=self.dtype, name=f"conv{i + 1}")(x, train, mask)
    return x


class CategoryHeads(nn.Module):
  """{'logits': {category: (B, n)}, 'features': (B, C)} from what a trunk gives; see CategoryHead for the fields.

  Attributes:
    num_classes: (category, number of classes) pairs.
  """

  num_classes: tuple[tuple[str, int], ...]
  conv: str = "1x1x1"
  bottleneck: bool = False
  dropout: float = 0.0
  std: float = 0.01
  consensus: bool = False
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """(B, T, H, W, C), mask (B, T) -> fp32; 'features' are the means of x, which all categories share."""
    fields = (self.conv, self.bottleneck, self.dropout, self.std, self.consensus, self.norm, self.dtype)
    logits = {name: CategoryHead(n, *fields, name=name)(x, mask, train) for name, n in self.num_classes}
    return {"logits": logits, "features": pool.mean_pool(x, mask)}
