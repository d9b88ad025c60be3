"""Temporal squeeze pooling: K frames become D images, their coefficients in a subspace that the clip chooses.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 3.2.1.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, pool, projector

ACTIVATIONS = {"sigmoid": nn.sigmoid, "tanh": nn.tanh, "relu": nn.relu,
               "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.01)}
BASES = ("dct", "orthogonal", "normal")
PHIS = ("identity", "qr")


def cosine_basis(frames: int, size: int) -> jax.Array:
  """(K, D): the first D vectors of the orthonormal discrete cosine transform (type 2) of K values."""
  t, d = jnp.arange(frames)[:, None], jnp.arange(size)
  scale = jnp.where(d == 0, 1.0, 2.0**0.5) / frames**0.5
  return scale * jnp.cos(jnp.pi * (t + 0.5) * d / frames)


class TemporalSqueezePooling(nn.Module):
  """(B, K, H, W, C) -> (B, D, H, W, C); adds `beta` times its projection loss to the losses.

  Segments (B, N, K, H, W, C) are squeezed one by one: (B, N * D, H, W, C).

  Attributes:
    images: D.
    frames: K; 0 takes what comes.
    beta: weight of the projection loss.
    activations: of the two layers that choose the basis, keys of ACTIVATIONS.
    basis_init: where the basis starts, whatever the clip: 'dct', 'orthogonal' or 'normal'.
    phi: 'identity', or 'qr', which makes the columns orthonormal.
    use_bias: of the two layers, which eq. 3.2 does without; with one the clip moves the
      basis a little at first (by entries of about 0.02 for K = 10), without it all comes from the clip.
    normalize: divides every image by its standard deviation.
    figures: whether the log shows, of `pixels`, the loss `projection` and the mean
      absolute error `mae`; the `condition` of the basis; and `gain`, |y| / |x|.
    pixels: (mean, std) with which the clip was normalised; (0, 1): as it is.
    dtype: of the result; None is fp32. The projection is fp32.
  """

  images: int = 3
  frames: int = 0
  beta: float = 10.0
  activations: tuple[str, str] = ("sigmoid", "leaky_relu")
  basis_init: str = "dct"
  phi: str = "identity"
  use_bias: bool = True
  normalize: bool = False
  figures: bool = False
  pixels: tuple[float, float] = (0.0, 1.0)
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    for field, value, allowed in (*(("activations", a, ACTIVATIONS) for a in self.activations),
                                  ("basis_init", self.basis_init, BASES), ("phi", self.phi, PHIS)):
      choices.check(field, value, allowed)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None):
    """Args: x (B, K, H, W, C); mask (B, K), 1 for live frames. With a mask, returns (images, None): all are live."""
    del train  # same in training and evaluation
    if x.ndim == 6:
      y = self(x.reshape(-1, *x.shape[2:]), mask=None)
      return y.reshape(x.shape[0], -1, *x.shape[3:])
    if self.frames not in (0, x.shape[1]):
      raise ValueError(f"temporal squeeze pooling of {self.frames} frames was given {x.shape[1]}")
    if self.images > x.shape[1]:
      raise ValueError(f"{x.shape[1]} frames cannot be squeezed into {self.images} images")
    x = x.astype(jnp.float32)
    live = None if mask is None else mask.astype(jnp.float32)
    x = pool.live_frames(x, live)
    basis = self._basis(x)
    if live is not None:
      basis = basis * live[..., None]
    if self.phi == "qr":
      basis = projector.orthonormal(basis)
    y, energy = projector.coefficients(x, basis)
    if not self.is_initializing():
      # The norm of eq. 3.5 is not squared, so its gradient at 0 needs the constant.
      self.sow("losses", "projection", self.beta * jnp.mean(jnp.sqrt(energy + 1e-12)))
    if self.figures and not self.is_initializing() and self.is_mutable_collection("figures"):
      for name, value in self._figures(x, basis, y).items():
        self.sow("figures", name, jax.lax.stop_gradient(value))
    if self.normalize:
      y = y / (jnp.std(y, (2, 3, 4), keepdims=True) + 1e-6)
    if not self.is_initializing() and self.is_mutable_collection("maps"):
      self.sow("maps", "squeezed", y)
    y = y.astype(self.dtype or jnp.float32)
    return y if mask is None else (y, None)

  def _basis(self, x: jax.Array) -> jax.Array:
    """(B, K, D) of eq. 3.1 to 3.3."""
    frames, first, second = x.shape[1], *(ACTIVATIONS[a] for a in self.activations)
    start = lambda key, shape, dtype=jnp.float32: self._start(key, frames).reshape(shape).astype(dtype)
    z = jnp.mean(pool.mean_pool(x, frames=True), -1)  # eq. 3.1
    a = first(nn.Dense(frames, use_bias=self.use_bias, name="squeeze")(z))
    little = nn.initializers.normal(0.01) if self.use_bias else nn.linear.default_kernel_init
    a = second(nn.Dense(frames * self.images, use_bias=self.use_bias, kernel_init=little, bias_init=start,
                        name="excite")(a))  # eq. 3.2
    return a.reshape(-1, frames, self.images)

  def _figures(self, x: jax.Array, basis: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
    mean, std = self.pixels
    pixels = mean + std * x
    images, energy = projector.coefficients(pixels, basis)
    error = pixels - jnp.einsum("bkd,bd...->bk...", basis, images, precision="highest")
    squares = jnp.linalg.eigvalsh(projector.gram(basis)[0])
    return {"projection": jnp.mean(jnp.sqrt(energy)), "mae": jnp.mean(jnp.abs(error)),
            "condition": jnp.mean(jnp.sqrt(squares[:, -1] / jnp.maximum(squares[:, 0], 1e-30))),
            "gain": jnp.linalg.norm(y) / jnp.linalg.norm(x)}

  def _start(self, key: jax.Array, frames: int) -> jax.Array:
    if self.basis_init == "dct":
      return cosine_basis(frames, self.images)
    init = nn.initializers.orthogonal() if self.basis_init == "orthogonal" else nn.initializers.normal(frames**-0.5)
    return init(key, (frames, self.images), jnp.float32)


one_image = functools.partial(TemporalSqueezePooling, 1)
