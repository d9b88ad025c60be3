"""The ways to compute a convolution, which all give the same sums.

Each takes x (B, T, H, W, C), w (kt, kh, kw, C/groups, O), triples of strides, padding and
dilation, and groups; and returns (B, T', H', W', O). `vidx.nn.conv` says which is taken where.
"""

from collections.abc import Callable, Sequence

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

Triple = tuple[int, int, int]


def native(x, w, strides, padding, dilation, groups):
  """XLA's convolution; kernels without reach in time see single images."""
  if w.shape[0] == 1 and padding[0] == 0:
    x = x[:, ::strides[0]]
    return _unfold(_conv2d(_fold(x), w[0], strides, padding, dilation, groups), x)
  return lax.conv_general_dilated(
      x, w, strides, [(p, p) for p in padding], rhs_dilation=dilation, feature_group_count=groups,
      dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


def taps(x, w, strides, padding, dilation, groups):
  """A sum over the kernel's frames of 2-D convolutions."""
  frames = _length(x.shape[1], w.shape[0], strides[0], padding[0], dilation[0])
  x = _pad(x, (padding[0], 0, 0))
  total = 0.0
  for k in range(w.shape[0]):
    part = _slice(x, 1, k * dilation[0], strides[0], frames)
    total += _unfold(_conv2d(_fold(part), w[k], strides, padding, dilation, groups), part)
  return total


def late(x, w, strides, padding, dilation, groups):
  """`taps` whose frames are taken behind the convolutions, of all frames: of kernels that leave smaller images."""
  frames = _length(x.shape[1], w.shape[0], strides[0], padding[0], dilation[0])
  total = 0.0
  for k in range(w.shape[0]):
    y = _pad(_unfold(_conv2d(_fold(x), w[k], strides, padding, dilation, groups), x), (padding[0], 0, 0))
    total += _slice(y, 1, k * dilation[0], strides[0], frames)
  return total


def shifts(x, w, strides, padding, dilation, groups):
  """A sum over the kernel's taps of products with shifted inputs: matrix products, or by channel where depth-wise."""
  out = [_length(n, k, s, p, d) for n, k, s, p, d in zip(x.shape[1:4], w.shape, strides, padding, dilation)]
  x = _pad(x, padding)
  total = 0.0
  for t in range(w.shape[0]):
    xt = _slice(x, 1, t * dilation[0], strides[0], out[0])
    for i in range(w.shape[1]):
      xi = _slice(xt, 2, i * dilation[1], strides[1], out[1])
      for j in range(w.shape[2]):
        total += _channels(_slice(xi, 3, j * dilation[2], strides[2], out[2]), w[t, i, j], groups)
  return total


def patches(x, w, strides, padding, dilation, groups):
  """One matrix product of the kernel with the gathered patches (no groups)."""
  out = [_length(n, k, s, p, d) for n, k, s, p, d in zip(x.shape[1:4], w.shape, strides, padding, dilation)]
  x = _pad(x, padding)
  columns = []
  for t in range(w.shape[0]):
    xt = _slice(x, 1, t * dilation[0], strides[0], out[0])
    for i in range(w.shape[1]):
      xi = _slice(xt, 2, i * dilation[1], strides[1], out[1])
      columns += [_slice(xi, 3, j * dilation[2], strides[2], out[2]) for j in range(w.shape[2])]
  return _channels(jnp.concatenate(columns, -1), w.reshape(-1, w.shape[-1]), groups)


def fan(x, w, strides, padding, dilation, groups):
  """A 2-D convolution of every frame with all the kernel's frames, then a sum over frames of the clip (no groups)."""
  kt, kh, kw, inner, out = w.shape
  frames = _length(x.shape[1], kt, strides[0], padding[0], dilation[0])
  w = w.transpose(1, 2, 3, 0, 4).reshape(1, kh, kw, inner, kt * out)
  lowering = shifts if kh == kw == 1 else native
  y = _pad(lowering(x, w, (1, *strides[1:]), (0, *padding[1:]), dilation, 1), (padding[0], 0, 0))
  return sum(_slice(y[..., k * out:(k + 1) * out], 1, k * dilation[0], strides[0], frames) for k in range(kt))


def fan_ahead(x, w, strides, padding, dilation, groups):
  """`fan` on the way ahead; the gradients are those of `taps` (no groups)."""
  whole = lambda lowering: lambda x, w: lowering(x, w, strides, padding, dilation, groups)
  call = jax.custom_jvp(whole(fan))
  call.defjvp(lambda given, moved: (call(*given), jax.jvp(whole(taps), given, moved)[1]))
  return call(x, w)


def blocks(x, w, strides, padding, dilation, groups):
  """Pixels that a spatial stride steps over become channels; then a convolution with stride 1.

  For kernels without reach in time, groups or dilation, and images that the stride divides.
  """
  (batch, _, height, width, inner), (_, kh, kw, _, out), (_, sh, sw) = x.shape, w.shape, strides
  x = x[:, ::strides[0]].reshape(-1, height // sh, sh, width // sw, sw, inner)
  x = x.transpose(0, 1, 3, 2, 4, 5).reshape(*x.shape[:2], width // sw, -1)
  fronts = [-p % s for p, s in zip(padding[1:], (sh, sw))]  # so that the padding is whole blocks
  reach = [-(-(k + front) // s) for k, front, s in zip((kh, kw), fronts, (sh, sw))]
  around = [(front, n * s - k - front) for front, n, s, k in zip(fronts, reach, (sh, sw), (kh, kw))]
  w = jnp.pad(w[0], [*around, (0, 0), (0, 0)]).reshape(reach[0], sh, reach[1], sw, inner, out)
  w = w.transpose(0, 2, 1, 3, 4, 5).reshape(*reach, -1, out)
  ends = []
  for n, k, s, p, front, blocks_of in zip((height, width), (kh, kw), (sh, sw), padding[1:], fronts, reach):
    low = (p + front) // s
    ends.append((low, _length(n, k, s, p, 1) - 1 + blocks_of - low - n // s))
  y = lax.conv_general_dilated(x, w, (1, 1), ends, dimension_numbers=("NHWC", "HWIO", "NHWC"))
  return y.reshape(batch, -1, *y.shape[1:])


def evened(x, w, strides, padding, dilation, groups):
  """`taps` with one more input channel, of zeros (no groups)."""
  more = lambda z, axis: jnp.pad(z, [(0, int(i == axis)) for i in range(5)])
  return taps(more(x, 4), more(w, 3), strides, padding, dilation, groups)


def stacked(x, w, strides, padding, dilation, groups):
  """A 2-D convolution of the frames that the kernel reaches, one behind another in the channels (no groups)."""
  x, w = stack_frames(x, w, strides[0], padding[0], dilation[0])
  return native(x, w, (1, *strides[1:]), (0, *padding[1:]), dilation, 1)


def banded(x, w, strides, padding, dilation, groups):
  """Rows of pixels as the channels of convolutions along the height, one for each channel; for depth-wise kernels.

  A kernel of a few channels fills no matrix unit; one from all pixels of a row to all does, though most of it is zeros.
  """
  clips = x[:, ::strides[0]]
  x = _fold(clips)
  seen = _seen(x.shape[2], w.shape[2], 1, padding[2], 1).astype(w.dtype)
  bands = jnp.einsum("jwv,ijo->oiwv", seen, w[0, :, :, 0], precision="highest")
  rows = [lax.conv_general_dilated(x[..., i * groups // len(bands)], band, (1,), [(padding[1], padding[1])],
                                   dimension_numbers=("NHC", "HIO", "NHC")) for i, band in enumerate(bands)]
  return _unfold(jnp.stack(rows, -1), clips)


LOWERINGS: dict[str, Callable] = dict(native=native, taps=taps, late=late, shifts=shifts, patches=patches, fan=fan,
                                      fan_ahead=fan_ahead, blocks=blocks, evened=evened, stacked=stacked, banded=banded)


def applies(lowering: str, x_shape: Sequence[int], kernel: Triple, strides: Triple, dilation: Triple,
            groups: int) -> bool:
  """Whether a lowering can compute such a convolution, and is another program than XLA's."""
  match lowering:
    case "taps":
      return kernel[0] > 1
    case "late":
      return kernel[0] > 1 and max(strides[1:]) > 1
    case "fan" | "fan_ahead":  # gradients of the former are slow where the kernel has reach in space
      return kernel[0] > 1 and groups == 1 and (max(kernel[1:]) > 1) == (lowering == "fan_ahead")
    case "patches":
      return groups == 1 and max(kernel) > 1
    case "stacked":
      return kernel[0] > 1 and groups == 1
    case "banded":
      return kernel[0] == 1 and 1 < groups == x_shape[-1] and max(*strides[1:], *dilation) == 1
    case "evened":
      return groups == 1 and x_shape[-1] % 2 == 1 and max(kernel[1:]) > 1
    case "blocks":
      whole = all(n % s == 0 for n, s in zip(x_shape[2:4], strides[1:]))
      return kernel[0] == 1 and groups == 1 and max(dilation) == 1 and max(strides[1:]) > 1 and whole
  return True


def across_frames(w: jax.Array, frames: int, stride: int, padding: int, dilation: int) -> jax.Array:
  """The kernel over frames and channels at once, zeros where an output frame does not see an input frame.

  Args:
    w: (kt, kh, kw, C, O).
    frames: T of the clips.
    stride: in time.
    padding: in time.
    dilation: in time.

  Returns:
    (1, kh, kw, T C, T' O).
  """
  kt, kh, kw, inner, out = w.shape
  seen = _seen(frames, kt, stride, padding, dilation).astype(w.dtype)
  return jnp.einsum("kto,kijcd->ijtcod", seen, w).reshape(1, kh, kw, frames * inner, seen.shape[-1] * out)


def stack_frames(x: jax.Array, w: jax.Array, stride: int, padding: int, dilation: int, clips: int = 1
                 ) -> tuple[jax.Array, jax.Array]:
  """The frames that a kernel reaches one behind another in the channels, and the kernel without time that they need.

  Args:
    x: (B, T, H, W, clips C).
    w: (kt, kh, kw, C, O).
    stride: in time.
    padding: in time.
    dilation: in time.
    clips: that stand side by side in the channels, and still do.

  Returns:
    (B, T', H, W, clips kt C), (1, kh, kw, kt C, O).
  """
  kt, kh, kw, inner, out = w.shape
  frames = _length(x.shape[1], kt, stride, padding, dilation)
  if clips > 1:
    x = x.reshape(*x.shape[:-1], clips, inner)
  x = jnp.pad(x, [(0, 0), (padding, padding), *[(0, 0)] * (x.ndim - 2)])
  x = jnp.concatenate([_slice(x, 1, k * dilation, stride, frames) for k in range(kt)], -1)
  return x.reshape(*x.shape[:4], -1), w.transpose(1, 2, 0, 3, 4).reshape(1, kh, kw, kt * inner, out)


def across_clips(w: jax.Array, clips: int, groups: int) -> jax.Array:
  """The kernel for clips side by side in the channels, of which none sees another.

  Args:
    w: (kt, kh, kw, C / groups, O).
    clips: how many.
    groups: of the channels of one clip.

  Returns:
    (kt, kh, kw, clips C, clips O), zeros off the diagonal; (kt, kh, kw, C / groups, clips O) for several groups.
  """
  if groups > 1:
    return jnp.tile(w, clips)
  kt, kh, kw, inner, out = w.shape
  wide = jnp.einsum("ab,tijcd->tijacbd", jnp.eye(clips, dtype=w.dtype), w)
  return wide.reshape(kt, kh, kw, clips * inner, clips * out)


def _length(n: int, k: int, s: int, p: int, d: int) -> int:
  return (n + 2 * p - d * (k - 1) - 1) // s + 1


def _seen(n: int, k: int, s: int, p: int, d: int) -> np.ndarray:
  """(k, N, N') bool: by which tap of a kernel each of the outputs along an axis sees each of the N inputs."""
  at = np.arange(k)[:, None] * d + np.arange(_length(n, k, s, p, d)) * s - p
  return at[:, None] == np.arange(n)[:, None]


def _pad(x: jax.Array, padding: Sequence[int]) -> jax.Array:
  return jnp.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)]) if any(padding) else x


def _slice(x: jax.Array, axis: int, start: int, stride: int, length: int) -> jax.Array:
  return lax.slice_in_dim(x, start, start + (length - 1) * stride + 1, stride, axis)


def _fold(x: jax.Array) -> jax.Array:
  return x.reshape(-1, *x.shape[2:])


def _unfold(y: jax.Array, like: jax.Array) -> jax.Array:
  return y.reshape(*like.shape[:2], *y.shape[1:])


def _conv2d(x, w, strides, padding, dilation, groups):
  return lax.conv_general_dilated(
      x, w, strides[1:], [(p, p) for p in padding[1:]], rhs_dilation=dilation[1:], feature_group_count=groups,
      dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _channels(x: jax.Array, w: jax.Array, groups: int) -> jax.Array:
  """(..., C) with (C/groups, O) -> (..., O)."""
  if groups == 1:
    return lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())))
  inner, out = w.shape[0], w.shape[1] // groups
  if inner == out == 1:
    return x * w[0]
  y = jnp.einsum("...gi,igo->...go", x.reshape(*x.shape[:-1], groups, inner), w.reshape(inner, groups, out))
  return y.reshape(*x.shape[:-1], groups * out)
