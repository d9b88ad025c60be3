"""Convolution pyramid attention: where to look, from single-channel kernels of several sizes.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 4.3.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.region_non_local import depthwise

MODES = ("rescale", "literal", "residual")


class ConvolutionPyramidAttention(nn.Module):
  """a = softmax_THW(sum_k f^k(mean_C x)); a weighs the positions of x (eq. 4.10, eq. 4.11).

  The sum over kernels is taken before the convolution, which is linear. If the
  caller makes the collection `maps` mutable, a is left there as `attention`,
  (B, T, H, W).

  Attributes:
    pyramid: odd kernel sizes, in time, height, width.
    mode: "rescale", z = THW a x with kernels that start at zero, so z starts as x;
      "literal", z = a x (eq. 4.10), which shrinks x about THW times; "residual",
      z = x + gamma THW a x with gamma, a scalar, starting at zero.
  """

  pyramid: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (3, 3, 3), (3, 7, 7), (3, 9, 9))
  mode: str = "rescale"

  def __post_init__(self):
    choices.check("ConvolutionPyramidAttention: mode", self.mode, MODES)
    if any(size % 2 == 0 for kernel in self.pyramid for size in kernel):
      raise ValueError(f"ConvolutionPyramidAttention: kernel sizes must be odd, not {self.pyramid}")
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) of live frames -> (B, T, H, W, C), dtype of `x`."""
    del train  # same in training and evaluation
    scores = self._scores(x.mean(-1, keepdims=True, dtype=jnp.float32))[..., 0]
    live = jnp.ones_like(scores) if mask is None else jnp.broadcast_to(mask[:, :, None, None], scores.shape)
    a = jax.nn.softmax(scores, axis=(1, 2, 3), where=live > 0)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "attention", a)
    if self.mode == "literal":
      return x * a[..., None].astype(x.dtype)
    factor = a * live.sum((1, 2, 3), keepdims=True, dtype=jnp.float32)
    if self.mode == "residual":
      factor = 1 + self.param("gamma", nn.initializers.zeros, (), jnp.float32) * factor
    return x * factor[..., None].astype(x.dtype)

  def _scores(self, mean):
    """F(mean), (B, T, H, W, 1): all kernels added into one of the largest size."""
    largest = tuple(map(max, zip(*self.pyramid)))
    init = nn.initializers.zeros if self.mode == "rescale" else nn.initializers.lecun_normal()
    total = 0.0
    for kernel in self.pyramid:
      w = self.param("kernel_{}x{}x{}".format(*kernel), init, (*kernel, 1, 1), jnp.float32)
      total += jnp.pad(w, [((n - k) // 2,) * 2 for n, k in zip(largest, kernel)] + [(0, 0)] * 2)
    return depthwise(mean, total)
