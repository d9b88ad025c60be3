"""Pixel-wise temporal projection: what moves at a pixel is what its own subspace of time does not explain.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 3.5.2.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, projector
from vidx.nn.conv import Conv, written
from vidx.nn.norm import BatchNorm, UnitDeviation
from vidx.nn.represent import segments
from vidx.nn.resize import resize

NORMS = ("batch", "layer")
DA_NORMS = ("none", "batch_std")
FLAT = 1e-4  # a column whose square is below has been cancelled by its neighbours


def start_of_basis(key: jax.Array, frames: int, size: int) -> jax.Array:
  """(T, D): columns near the unit constant, each apart from it by a random vector of length 0.3."""
  apart = jax.random.normal(key, (frames, size))
  return frames**-0.5 + 0.3 * apart / jnp.linalg.norm(apart, axis=0)


class BasisNet(nn.Module):
  """The perceptron of figure 3.14: frame relations of a position (..., P) -> its basis (..., T * D)."""

  frames: int
  size: int
  ratio: float
  blocks: int
  bottleneck: float
  norm: str

  @nn.compact
  def __call__(self, u: jax.Array, train: bool = False) -> jax.Array:
    width = int(self.ratio * u.shape[-1])
    inner = max(1, int(self.bottleneck * width))
    x = nn.gelu(nn.Dense(width, name="first")(u))
    for i in range(self.blocks):
      if self.norm == "batch":
        y = BatchNorm(name=f"norm{i}")(x, train)
      else:
        y = nn.LayerNorm(name=f"norm{i}")(x)
      y = nn.gelu(nn.Dense(inner, name=f"down{i}")(y))
      x = x + nn.gelu(nn.Dense(width, name=f"up{i}")(y))
    start = lambda key, shape, dtype: start_of_basis(key, self.frames, self.size).reshape(shape).astype(dtype)
    return nn.Dense(self.frames * self.size, kernel_init=nn.initializers.normal(0.01), bias_init=start, name="last")(x)


class PixelwiseTemporalProjection(nn.Module):
  """(B, S * T, H, W, C) -> dynamic appearance (B, S, H, W, C): per segment of T frames, the mean residual.

  Segments (B, S, T, H, W, C) are taken as they are.

  Attributes:
    consecutive: T, frames per segment; 0: the whole clip is one segment.
    size: D, columns of the basis.
    stride: of the local features, s; the basis is enlarged to the clip's size.
    kernel: of the local features, k.
    features: their channels, C'.
    ratio: width of the perceptron over its input.
    blocks: residual blocks in the perceptron.
    bottleneck: their inner width over the perceptron's, rounded down.
    norm: in the blocks, 'batch' or 'layer'.
    da_norm: of the dynamic appearance: 'none', or 'batch_std', which divides it by its
      standard deviation, as it falls with the energy of the residual.
    weight: of the energy of the residual (ENoPR) among the losses when the block stands at a site; 0: left out.
    dtype: of the result; None is fp32. The projection is fp32.
  """

  consecutive: int = 0
  size: int = 1
  stride: int = 8
  kernel: int = 9
  features: int = 24
  ratio: float = 2
  blocks: int = 1
  bottleneck: float = 0.25
  norm: str = "batch"
  da_norm: str = "none"
  weight: float = 0.0
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("norm", self.norm, NORMS)
    choices.check("da_norm", self.da_norm, DA_NORMS)
    super().__post_init__()

  def setup(self):
    if self.da_norm == "batch_std":
      self.deviation = UnitDeviation()

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Args: x (B, S * T, H, W, C) or (B, S, T, H, W, C)."""
    appearance, losses = self.with_losses(x, train)
    if self.weight and not self.is_initializing():
      self.sow("losses", "enopr", self.weight * jnp.mean(losses["enopr"]))
    return appearance

  def with_losses(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Dynamic appearance and {'enopr': (B,)}, the residual's energy (eq. 3.13 and eq. 3.14)."""
    batch, image = x.shape[0], x.shape[-3:]
    x = segments(x, self.consecutive or x.shape[-4])
    clips = _planes(x.reshape(-1, *x.shape[2:])).astype(jnp.float32)
    if clips.shape[1] < 2:
      raise ValueError("a projection over time needs segments of at least 2 frames")
    basis = self.bases(clips, train)
    mean, energy = jax.checkpoint(projector.pixel_residual)(clips, basis)  # eq. 3.7, eq. 3.11, eq. 3.12
    mean = mean.reshape(batch, -1, *image)
    if not self.is_initializing():
      squares = jax.lax.stop_gradient(jnp.sum(basis * basis, 1))
      self.sow("figures", "appearance_std", jnp.std(jax.lax.stop_gradient(mean)))
      self.sow("figures", "flat_columns", jnp.mean(squares < FLAT))
    if self.da_norm == "batch_std":
      mean = self.deviation(mean, train)
    if not self.is_initializing() and self.is_mutable_collection("maps"):
      self.sow("maps", "appearance", mean)
    return mean.astype(self.dtype or jnp.float32), {"enopr": jnp.mean(energy.reshape(batch, -1), -1)}

  @nn.compact
  def bases(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """The basis of every position, (N, T, H, W, D), for clips (N, T, H, W, C)."""
    _, frames, height, width, _ = clips.shape
    local = Conv(self.features, (self.kernel, self.kernel), self.stride, self.kernel // 2, use_bias=True,
                 kernel_init=nn.initializers.lecun_normal(), name="local")(clips)  # eq. 3.8
    basis = BasisNet(frames, self.size, self.ratio, self.blocks, self.bottleneck, self.norm, name="basis")(
        relations(local), train)  # eq. 3.10
    basis = basis.reshape(*basis.shape[:-1], frames, self.size).transpose(0, 3, 1, 2, 4)
    return resize(basis, (frames, height, width))


def _planes(x: jax.Array) -> jax.Array:
  """x (N, T, H, W, C), which a TPU writes once as planes of pixels, as its few channels would leave registers idle."""
  return jnp.moveaxis(written(jnp.moveaxis(x, -1, -3)), -3, -1)


def relations(x: jax.Array) -> jax.Array:
  """Products of all pairs of frames t1 < t2 per position, over the channels (eq. 3.9).

  Args:
    x: (N, T, H, W, C).

  Returns:
    (N, H, W, T (T - 1) / 2), pairs in the order (0, 1), (0, 2), ..., (1, 2), ...; fp32.
  """
  products = jax.lax.platform_dependent(x.astype(jnp.float32), tpu=_in_planes, default=_in_products)
  return products[(..., *jnp.triu_indices(x.shape[1], 1))]


def _in_products(x):
  return jnp.einsum("nthwc,nvhwc->nhwtv", x, x, precision="highest") / x.shape[-1]


def _in_planes(x):
  """With the positions along a TPU's registers; products of so few frames leave its matrix units idle."""
  n, frames, height, width, channels = x.shape
  x = x.reshape(n, frames, -1, channels).swapaxes(2, 3)
  return jnp.moveaxis(jnp.mean(x[:, :, None] * x[:, None], 3), 3, 1).reshape(n, height, width, frames, frames)
