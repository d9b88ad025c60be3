"""Plain chains of 3x3 convolutions with three dense layers: VGG-16 and VGG-19 on frames, C3D on clips.

Simonyan and Zisserman: "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2015. Tran et al.: "Learning Spatiotemporal Features with 3D
Convolutional Networks", 2015.

Steps and sites: `conv1.0`, `conv1.1`, `pool1`, `conv2.0`, ...
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.backbones.chain import Chain
from vidx.nn import pool, sites as sites_lib
from vidx.nn.conv import Conv


def adaptive_mean(x: jax.Array, size: int) -> jax.Array:
  """(B, T, H, W, C) -> (B, T, size, size, C): means over torch's adaptive windows, which may overlap."""
  for axis, letter in ((2, "h"), (3, "w")):
    n = x.shape[axis]
    if n != size:
      weights = np.zeros((size, n), np.float32)
      for i in range(size):
        start, end = i * n // size, -(-(i + 1) * n // size)
        weights[i, start:end] = 1 / (end - start)
      x = jnp.einsum(f"bthwc,o{letter}->bt{'owc' if letter == 'h' else 'hoc'}", x, weights.astype(x.dtype))
  return x


class ConvReLU(nn.Module):
  """Convolution with bias and ReLU, then its site."""

  site: str
  features: int
  kernel: tuple[int, ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None
  strides: int = 1
  padding: int | None = None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = nn.relu(Conv(self.features, self.kernel, self.strides, self.padding, use_bias=True, dtype=self.dtype,
                     name="conv")(x))
    x = pool.live_frames(x, mask)
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class Pool(nn.Module):
  """Max pooling, then its site."""

  site: str
  window: tuple[int, int, int]
  padding: tuple[int, int, int]
  sites: sites_lib.Placed

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = pool.max_pool(x, self.window, self.window, self.padding)
    mask = pool.stride_mask(mask, self.window[0], self.window[0], self.padding[0], x.shape[1])
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)


class DenseHead(nn.Module):
  """Hidden dense layers with ReLU and dropout, and a linear one.

  Attributes:
    hidden: widths.
    grid: image side to which features are averaged; 0 takes them as they are.
    frames: every frame is scored and the logits averaged; otherwise all frames are one vector.
    drop_first: dropout is in front of every hidden layer; otherwise behind each.
  """

  num_classes: int
  hidden: Sequence[int]
  dropout: float
  std: float
  grid: int
  frames: bool
  dtype: jnp.dtype | None
  drop_first: bool = False

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, T, H, W, C), mask (B, T) -> {'logits': (B, num_classes), 'features': (B, hidden[-1])}, fp32."""
    x = adaptive_mean(x, self.grid) if self.grid else x
    if self.frames:
      x = jnp.moveaxis(x, -1, 2).reshape(*x.shape[:2], -1)
    else:
      x = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
    drop = lambda x: nn.Dropout(self.dropout, deterministic=not train)(x)
    for i, width in enumerate(self.hidden):
      x = drop(x) if i or self.drop_first else x
      x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"hidden{i + 1}")(x))
    x = x.astype(jnp.float32)
    live = lambda y: y if mask is None else y * mask[..., None].astype(y.dtype)
    over_frames = (lambda y: pool.mean_frames(live(y), mask)) if self.frames else (lambda y: y)
    out = {"features": over_frames(x)}
    if self.num_classes:
      given = x if self.drop_first else drop(x)
      y = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(self.std), name="fc")(given)
      out["logits"] = over_frames(y)
    return out


class VGG(Chain):
  """VGG-16, VGG-19 or C3D; see Chain for the fields that trunks share (there is no batch normalisation).

  Attributes:
    widths: channels of the convolutions, per stage; a stage ends in max pooling.
    hidden: widths of the dense layers.
    dims: 2 for single frames; 3 for clips, whose frames and image side are then fixed.
    grid: see DenseHead; of images only.
  """

  widths: Sequence[Sequence[int]] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
  hidden: Sequence[int] = (4096, 4096)
  dims: int = 2
  grid: int = 7
  dropout: float = 0.5

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = []
    for i, widths in enumerate(self.widths, start=1):
      names += [f"conv{i}.{j}" for j in range(len(widths))] + [f"pool{i}"]
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    steps, clips = [], self.dims == 3
    for i, widths in enumerate(self.widths, start=1):
      steps += [(f"conv{i}.{j}", ConvReLU(f"conv{i}.{j}", width, (3,) * self.dims, self.placed, self.dtype,
                                          name=f"conv{i}_{j}")) for j, width in enumerate(widths)]
      window = (2 if clips and i > 1 else 1, 2, 2)
      padding = (0, 1, 1) if clips and i == len(self.widths) else (0, 0, 0)
      steps.append((f"pool{i}", Pool(f"pool{i}", window, padding, self.placed, name=f"pool{i}")))
    self._steps = steps
    self.head = DenseHead(self.num_classes, self.hidden, self.dropout, self.head_std, 0 if clips else self.grid,
                          not clips, self.dtype)
