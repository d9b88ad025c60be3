"""The best few classes of an example, and one vector from what they have gathered, by rank.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 4, "Group
Selection and Noun Classification".
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.norm import BatchNorm

FORMS = ("rank", "depthwise", "full")


def top_classes(logits: jax.Array, count: int, label: jax.Array | None = None) -> jax.Array:
  """Class ids (B, count) int32 of the highest logits (B, M), the best first; of equals the lower id first.

  Args:
    logits: (B, M).
    count: classes, K.
    label: (B,) class ids that stand last where they are not among the best; -1: none.
  """
  chosen = jax.lax.top_k(jax.lax.stop_gradient(logits), count)[1]
  if label is None:
    return chosen
  label = label[:, None].astype(chosen.dtype)
  absent = (label >= 0) & ~(chosen == label).any(-1, keepdims=True)
  return jnp.where(absent & (jnp.arange(count) == count - 1), label, chosen)


class RankWeighting(nn.Module):
  """ReLU(BN(f(x))) of K rows in order of rank; weights start as the mean.

  Attributes:
    form: "rank", a number per rank; "depthwise", one per rank and channel; "full", a
      convolution over all ranks from C to C channels.
  """

  form: str = "rank"

  def __post_init__(self):
    choices.check("RankWeighting: form", self.form, FORMS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """fp32 (B, K, C) -> (B, C)."""
    _, ranks, channels = x.shape
    if self.form == "full":
      kernel = self.param("kernel", nn.initializers.lecun_normal(in_axis=(0, 1)), (ranks, channels, channels))
      return nn.relu(BatchNorm(name="norm")(jnp.einsum("bkc,kcd->bd", x, kernel), train))
    shape = (ranks, 1) if self.form == "rank" else (ranks, channels)
    y = (x * self.param("kernel", nn.initializers.constant(1 / ranks), shape)).sum(1)
    if self.form == "depthwise":
      return nn.relu(BatchNorm(name="norm")(y, train))
    return nn.relu(BatchNorm(name="norm")(y[..., None], train)[..., 0])
