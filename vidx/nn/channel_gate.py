"""Channel attention: what to look for, from the whole clip.

Hu et al.: "Squeeze-and-Excitation Networks", 2018 (SE). Cao et al.: "GCNet", 2019
(GC). Woo et al.: "CBAM: Convolutional Block Attention Module", 2018. The additive SE
block: Huang, "Spatio-Temporal Modeling for Action Recognition in Videos", 2022,
eq. 4.12 to 4.14.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, pool
from vidx.nn.conv import Conv
from vidx.nn.norm import BatchNorm, ConvNormAct

FORMS = ("se", "gc", "cbam")


class ChannelGate(nn.Module):
  """A channel vector of the clip, added to every position: v = x + W_2 ReLU(BN(W_1 s)).

  The additive forms start as the identity. If the caller makes the collection
  `maps` mutable, the weights of the positions, where the form has any, are left
  there as `attention`, (B, T, H, W).

  Attributes:
    form: "se", s is the mean over the clip; "gc", a learned softmax average over its
      positions; "cbam", x sigmoid(MLP(mean) + MLP(max)), then the same over space and
      time: a sigmoid of a convolution of the channels' mean and maximum.
    reduction: C over the hidden width.
    multiply: of "se" and "gc": x sigmoid(s) in place of x + s.
    kernel: of the convolution of "cbam", in time, height, width.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; the vector is fp32.
  """

  form: str = "se"
  reduction: int = 16
  multiply: bool = False
  kernel: tuple[int, int, int] = (7, 7, 7)
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("ChannelGate: form", self.form, FORMS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) of live frames -> (B, T, H, W, C), dtype of `x`."""
    live = None if mask is None else mask[:, :, None, None, None] > 0
    if self.form == "cbam":
      return self._cbam(x, train, mask, live)
    pooled = pool.mean_pool(x, mask) if self.form == "se" else self._attended(x, live)
    hidden = nn.Dense(x.shape[-1] // self.reduction, name="squeeze")(pooled)
    hidden = nn.relu(BatchNorm(**dict(self.norm), name="norm")(hidden, train))
    init = nn.initializers.lecun_normal() if self.multiply else nn.initializers.zeros
    s = nn.Dense(x.shape[-1], kernel_init=init, name="excite")(hidden)[:, None, None, None]
    if self.multiply:
      return x * nn.sigmoid(s).astype(x.dtype)
    return x + (s if live is None else jnp.where(live, s, 0)).astype(x.dtype)

  def _attended(self, x, live):
    """(B, C): the average over positions by a softmax of a learned score."""
    scores = Conv(1, (1, 1, 1), use_bias=True, name="score")(x)
    a = jax.nn.softmax(scores, axis=(1, 2, 3), where=live)
    self._show(a)
    return jnp.einsum("bthwo,bthwc->bc", a, x, preferred_element_type=jnp.float32)

  def _cbam(self, x, train, mask, live):
    squeeze, excite = (nn.Dense(n, name=name) for n, name in
                       ((x.shape[-1] // self.reduction, "squeeze"), (x.shape[-1], "excite")))
    largest = jnp.max(x, (1, 2, 3), initial=-jnp.inf, where=live).astype(jnp.float32)
    s = sum(excite(nn.relu(squeeze(pooled))) for pooled in (pool.mean_pool(x, mask), largest))
    x = x * nn.sigmoid(s)[:, None, None, None].astype(x.dtype)
    both = jnp.concatenate([x.mean(-1, keepdims=True), x.max(-1, keepdims=True)], -1)
    gate = nn.sigmoid(ConvNormAct(1, self.kernel, act=None, norm=self.norm, dtype=self.dtype, name="where")(
        both, train, mask))
    self._show(gate)
    return x * gate.astype(x.dtype)

  def _show(self, a):
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "attention", a[..., 0].astype(jnp.float32))
