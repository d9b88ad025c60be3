"""Non-local operation: each position of a clip gathers from all others.

Wang, Girshick, Gupta, He: "Non-local Neural Networks", 2018; as revisited in Huang:
"Spatio-Temporal Modeling for Action Recognition in Videos", 2022, eq. 4.1.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, pool
from vidx.nn.attention import attend, attention_weights
from vidx.nn.conv import Conv
from vidx.nn.norm import ConvNormAct

FORMS = {"gaussian": "softmax", "embedded_gaussian": "softmax", "dot": "linear", "concatenation": "relu"}


class NonLocal(nn.Module):
  """y_i = 1/C(x) sum_j f(x_i, x_j) W_g x_j (eq. 4.1); z = BN(W_z y) + x, which starts as x.

  The matrix of all pairs of positions is never held. If the caller makes the
  collection `maps` mutable, what the position at `query` takes from each other is
  left there as `attention`, (B, T, H, W).

  Attributes:
    form: f and C: "gaussian", exp(x_i^T x_j), or "embedded_gaussian",
      exp(theta(x_i)^T phi(x_j)), with C = sum_j f; "dot", theta^T phi, or
      "concatenation", ReLU(w_f^T [theta, phi]), with C = THW.
    scale: factor of the products inside f.
    chunk: positions that gather at a time; 0 for all.
    pool: keys and values are of the largest features of windows of so many frames, rows and columns;
      () for all positions. Needs a form with weights of its own for them.
    query: place whose map is shown, as shares of time, height, width.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype; f is fp32.
  """

  form: str = "embedded_gaussian"
  scale: float = 1.0
  chunk: int = 512
  pool: tuple[int, ...] = ()
  query: tuple[float, float, float] = (0.5, 0.5, 0.5)
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("NonLocal: form", self.form, FORMS)
    if self.pool and (len(self.pool) != 3 or self.form == "gaussian"):
      raise ValueError(f"NonLocal: pool = {self.pool} is three numbers, of a form other than 'gaussian'")
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """(B, T, H, W, C), mask (B, T) of live frames -> (B, T, H, W, C)."""
    inner = x.shape[-1] // 2
    linear = lambda name, x: Conv(inner, (1, 1, 1), use_bias=True, dtype=self.dtype, name=name)(x)
    given, live = x, mask
    if self.pool:
      given = pool.max_pool(pool.live_frames(x, mask), self.pool, self.pool, (0, 0, 0))
      live = pool.stride_mask(mask, self.pool[0], self.pool[0], 0, given.shape[1])
    theta, phi = (x, x) if self.form == "gaussian" else (linear("theta", x), linear("phi", given))
    if self.form == "concatenation":  # w_f^T [theta_i, phi_j] is the product of [a_i, 1] and [1, b_j]
      w = self.param("w_f", nn.initializers.normal(inner ** -0.5), (2, inner), jnp.float32)
      a, b = (jnp.einsum("...c,c->...", y, v, preferred_element_type=jnp.float32) for y, v in zip((theta, phi), w))
      theta, phi = jnp.stack([a, jnp.ones_like(a)], -1), jnp.stack([jnp.ones_like(b), b], -1)
    y = gather(self, theta, phi, linear("g", given), FORMS[self.form], live)
    return add(self, x, y, train, mask)


def gather(block: nn.Module, q: jax.Array, k: jax.Array, v: jax.Array, form: str,
           mask: jax.Array | None) -> jax.Array:
  """What each position takes from all: `attend` over the positions of a clip.

  Args:
    block: has `scale`, `chunk` and `query`, and is left the map.
    q: (B, T, H, W, d).
    k: (B, T', H', W', d).
    v: (B, T', H', W', e).
    form: of `attend`.
    mask: (B, T'), live frames; None: all live.

  Returns:
    (B, T, H, W, e).
  """
  positions, clip = q.shape[:-1], v.shape[:-1]
  if mask is not None:
    mask = jnp.broadcast_to(mask[:, :, None, None], clip).reshape(clip[0], -1).astype(bool)
  q, k, v = (x.reshape(clip[0], -1, 1, x.shape[-1]) for x in (q, k, v))
  if block.is_mutable_collection("maps") and not block.is_initializing():
    t, i, j = (min(int(share * size), size - 1) for share, size in zip(block.query, positions[1:]))
    at = (t * positions[2] + i) * positions[3] + j
    row = attention_weights(q[:, at:at + 1], k, mask, scale=block.scale, form=form)
    block.sow("maps", "attention", nn.relu(row).reshape(clip))
  return attend(q, k, v, mask, scale=block.scale, form=form, chunk=block.chunk).reshape(*positions, -1)


def add(block: nn.Module, x: jax.Array, y: jax.Array, train: bool, mask: jax.Array | None) -> jax.Array:
  """z = BN(W_z y) + x (eq. 4.8, with the batch normalisation of the public models), within a compact call."""
  norm = (*block.norm, ("scale_init", 0.0))
  return x + ConvNormAct(x.shape[-1], (1, 1, 1), act=None, use_bias=True, norm=norm, dtype=block.dtype,
                         name="out")(y, train, mask)


