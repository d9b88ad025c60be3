"""Motion band-pass: what changes in time at the scale of edges, in a few hundred parameters.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, chapter 5;
Huang, Bors: "Busy-Quiet Video Disentangling for Video Classification", 2022.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices, pool
from vidx.nn.conv import Conv, convolve
from vidx.nn.norm import BatchNorm
from vidx.nn.represent import segments
from vidx.nn.resize import resize

NORMALISATIONS = ("sum1", "zero_mean", "l1")
PHIS = ("identity", "conv1x1", "mlp")
HIGH_PASS = (-1 / 3, 2 / 3, -1 / 3)  # eq. 5.1, over three frames


def laplacian_of_gaussian(size: int, sigma: float, normalisation: str = "sum1") -> np.ndarray:
  """The Laplacian of a Gaussian on whole pixels, eq. 5.2, in float64.

    LoG(x, y) = -1 / (pi sigma^4) [1 - r^2 / (2 sigma^2)] exp(-r^2 / (2 sigma^2)),  r^2 = x^2 + y^2

  Its sum is nearly 0, so that dividing by it (as published) gives a kernel with a
  gain of 1 for uniform images and of several hundred for edges.

  Args:
    size: odd, in pixels.
    sigma: of the Gaussian, in pixels.
    normalisation: 'sum1' divides by the sum; 'zero_mean' takes the mean away and
      divides by the sum of magnitudes; 'l1' divides by that alone.

  Returns:
    (size, size).
  """
  if size % 2 == 0:
    raise ValueError(f"size = {size} has no middle: take an odd one")
  choices.check("normalisation", normalisation, NORMALISATIONS)
  axis = np.arange(size, dtype=np.float64) - size // 2
  r2 = (axis**2 + axis[:, None]**2) / (2 * sigma**2)
  kernel = -(1 - r2) * np.exp(-r2) / (np.pi * sigma**4)
  if normalisation == "sum1":
    return kernel / kernel.sum()
  if normalisation == "zero_mean":
    kernel = kernel - kernel.mean()
  return kernel / np.abs(kernel).sum()


class MotionBandPass(nn.Module):
  """Depth-wise Laplacian of Gaussian in space, high-pass over three frames in time (eq. 5.3).

  Always in fp32: the kernel's large positive and negative entries cancel, and half
  precision, or TF32, loses what is left. As both filters are linear and act on each
  channel alone, their order does not matter; differences in time come first, before
  they are amplified, which at stride 3 also takes a third of the products.

  Attributes:
    size: of the spatial kernel, odd.
    sigma: of its Gaussian at the start.
    stride: 3 for one image per three frames; 1 for one per frame, the first and last
      frame standing for those outside the clip.
    normalisation: see `laplacian_of_gaussian`.
    trainable: the kernels are parameters; otherwise they stay as they are.
    temporal_first: differences in time before the spatial filter.
    dtype: of the result; None is fp32.
  """

  size: int = 9
  sigma: float = 1.1
  stride: int = 3
  normalisation: str = "sum1"
  trainable: bool = True
  temporal_first: bool = True
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None):
    """(B, T, H, W, C), or segments (B, N, 3, H, W, C) at stride 3 -> (B, T / stride, H, W, C).

    With a mask (B, T), live frames in front, also gives the mask of the result.
    """
    del train
    choices.check("stride", self.stride, (1, 3))
    if self.stride == 3:
      x = segments(x, 3)
      x = x.reshape(x.shape[0], -1, *x.shape[3:])
    channels = x.shape[-1]
    spatial = self._kernel("spatial", laplacian_of_gaussian(self.size, self.sigma, self.normalisation), channels)
    temporal = self._kernel("temporal", np.asarray(HIGH_PASS), channels)
    if self.trainable and not self.is_initializing():  # decay works on large kernels
      self.sow("figures", "kernel_norm", jnp.linalg.norm(jax.lax.stop_gradient(spatial)))
    x = x.astype(jnp.float32)
    if self.temporal_first:
      y = filter_space(filter_time(x, temporal, self.stride, mask), spatial)
    else:
      y = filter_time(filter_space(x, spatial), temporal, self.stride, mask)
    y = y.astype(self.dtype or jnp.float32)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "band_pass", y)
    if mask is None:
      return y
    mask = pool.stride_mask(mask, 3, self.stride, 0 if self.stride == 3 else 1, y.shape[1])
    return pool.live_frames(y, mask), mask

  def _kernel(self, name, values, channels):
    start = np.repeat(values[..., None], channels, -1).astype(np.float32)
    return self.param(name, lambda _: jnp.asarray(start)) if self.trainable else jnp.asarray(start)


def filter_time(x: jax.Array, kernel: jax.Array, stride: int, mask: jax.Array | None = None) -> jax.Array:
  """A kernel (3, C) over time: (B, T, H, W, C) -> (B, T / stride, H, W, C); see MotionBandPass.stride."""
  if stride == 1:
    frames = np.arange(-1, x.shape[1] + 1)
    if mask is None:
      x = x[:, np.clip(frames, 0, x.shape[1] - 1)]
    else:  # the last live frame stands for those behind it
      last = jnp.maximum(mask.sum(1, dtype=jnp.int32), 1)[:, None] - 1
      index = jnp.clip(jnp.asarray(frames), 0, last)
      x = jnp.take_along_axis(x, index[:, :, None, None, None], 1)
  out = (x.shape[1] - 3) // stride + 1
  return sum(kernel[t] * x[:, t:t + (out - 1) * stride + 1:stride] for t in range(3))


def filter_space(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """A kernel (k, k, C) over every frame of (B, T, H, W, C), which goes on as its mirror image outside."""
  k = kernel.shape[0] // 2
  x = jnp.pad(x, [(0, 0), (0, 0), (k, k), (k, k), (0, 0)], mode="reflect")
  with jax.default_matmul_precision("highest"):
    return convolve(x, kernel[None, :, :, None], (1, 1, 1), (0, 0, 0), groups=x.shape[-1])


class BandPassLateral(nn.Module):
  """What one pathway hands to another of another size: filtered, resized, normalised (eq. 5.5).

  The normalisation starts as nothing, so that at first the pathways are independent.

  Attributes:
    size: of the spatial kernel of a MotionBandPass of every frame; 0: none.
    sigma: of its Gaussian.
    phi: without a MotionBandPass, 'identity', 'conv1x1', or 'mlp', two such
      convolutions with a quarter of the channels between them.
    norm: BatchNorm fields as pairs.
    dtype: compute dtype of all but the filter; None is fp32.
  """

  size: int = 7
  sigma: float = 0.9
  phi: str = "identity"
  norm: tuple[tuple[str, object], ...] = ()
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, shape: tuple[int, int, int] | None = None, train: bool = False) -> jax.Array:
    """(B, T, H, W, C) -> (B, *shape, C); shape (T', H', W'), None: as it is."""
    channels = x.shape[-1]
    conv = lambda features, name: Conv(features, (1, 1), dtype=self.dtype, name=name)
    if self.size:
      x = MotionBandPass(self.size, self.sigma, stride=1, name="band_pass")(x)
    elif self.phi == "conv1x1":
      x = conv(channels, "phi")(x)
    elif self.phi == "mlp":
      x = conv(channels, "phi2")(nn.relu(conv(max(channels // 4, 1), "phi1")(x)))
    else:
      choices.check("phi", self.phi, PHIS)
    if shape is not None:
      x = resize(x, shape)
    return BatchNorm(**{**dict(self.norm), "scale_init": 0.0}, dtype=self.dtype, name="norm")(x, train)
