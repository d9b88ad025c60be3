"""The classification head that trunks share."""

import math

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import pool


def mean_chance(y: jax.Array, of: str) -> jax.Array:
  """Logits of the mean of probabilities over places, by "softmax" or "sigmoid": (B, H, W, C) -> (B, C)."""
  mean = lambda log_chances: jax.nn.logsumexp(log_chances, (1, 2)) - math.log(y.shape[1] * y.shape[2])
  if of == "softmax":
    return mean(jax.nn.log_softmax(y))
  return mean(jax.nn.log_sigmoid(y)) - mean(jax.nn.log_sigmoid(-y))


class Head(nn.Module):
  """Mean over space and time, dropout, a linear layer.

  With `consensus`, classes are scored per frame and the logits averaged (the
  segment consensus of TSN); otherwise the pooled clip is scored.

  Attributes:
    num_classes: 0 leaves the logits out.
    dropout: rate before the linear layer.
    std: of its normal initialisation.
    consensus: mean of the frames' logits.
    each_place: in evaluation each of several positions is scored, and the logits are those of the mean of their
      probabilities: "softmax", of one class among all, or "sigmoid", of each class by itself; "": of the mean.
  """

  num_classes: int
  dropout: float = 0.0
  std: float = 0.01
  consensus: bool = False
  each_place: str = ""

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """(B, T, H, W, C), mask (B, T) -> {'logits': (B, num_classes), 'features': (B, C)}, fp32."""
    each = bool(self.each_place) and not train and x.shape[2] * x.shape[3] > 1
    y = pool.mean_pool(x, mask, frames=self.consensus)
    out = {"features": pool.mean_frames(y, mask) if self.consensus else y}
    if each:
      y = pool.mean_frames(pool.live_frames(x.astype(jnp.float32), mask), mask)  # (B, H, W, C)
    if self.num_classes:
      y = nn.Dropout(self.dropout, deterministic=not train)(y)
      y = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(self.std), name="fc")(y)
      if self.consensus and mask is not None:
        y = y * mask[..., None]
      if each:
        y = mean_chance(y, self.each_place)
      out["logits"] = pool.mean_frames(y, mask) if self.consensus else y
    return out
