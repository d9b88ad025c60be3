"""Convolution: the one module through which every convolution goes, with a lowering per platform and shape.

All lowerings compute the same sums. On a CPU XLA's 3-D convolution is many times
slower than sums of 2-D convolutions or matrix products over shifted inputs, and on
a TPU its compiler makes better programs of those, too. `choose` says which lowering
is taken where; `using("native")` overrides it for a block of code.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import contextvars
import functools

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from vidx.nn.initialisers import param

Triple = tuple[int, int, int]

_forced: contextvars.ContextVar[str] = contextvars.ContextVar("lowering", default="auto")
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)
_frames: contextvars.ContextVar[int] = contextvars.ContextVar("frames", default=1)


@contextlib.contextmanager
def using(lowering: str) -> Iterator[None]:
  """Within the block, convolutions that leave the choice open are traced with `lowering`."""
  token = _forced.set(lowering)
  try:
    yield
  finally:
    _forced.reset(token)


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
  """Within the block, networks take the form for 'cpu', 'tpu', ..., in place of that for the machine they run on."""
  token = _target.set(platform)
  try:
    yield
  finally:
    _target.reset(token)


# ---------------------------------------------------------------- frames among the channels
# A TPU lays out 128 channels at a time, so that a pathway of 8 or 16 channels leaves most of its registers and matrix
# units idle. There, its layers take the frames of a clip as parts of one long vector of channels; each is then a dense
# product over frames and channels, most of whose kernel is zeros, and still costs less than what lay idle.


_LONGEST = 64  # frames; the products grow with their square


def narrow_form(x: jax.Array, mask: jax.Array | None) -> bool:
  """Whether layers with few channels are to see clips x (B, T, H, W, C) with their frames among the channels."""
  target = _target.get()
  wanted = _forced.get() == "auto" and (jax.default_backend() if target is None else target) == "tpu"
  return wanted and mask is None and 1 < x.shape[1] <= _LONGEST


@contextlib.contextmanager
def frames_among_channels(frames: int) -> Iterator[None]:
  """Within the block, `Conv` and `BatchNorm` take and give clips of so many frames as (B, 1, H, W, T C)."""
  token = _frames.set(frames)
  try:
    yield
  finally:
    _frames.reset(token)


def frames_inside() -> int:
  """How many frames stand among the channels here; 1 outside of `frames_among_channels`."""
  return _frames.get()


def to_channels(x: jax.Array) -> jax.Array:
  """(B, T, H, W, C) -> (B, 1, H, W, T C)."""
  return x.transpose(0, 2, 3, 1, 4).reshape(x.shape[0], 1, *x.shape[2:4], -1)


def from_channels(x: jax.Array, frames: int) -> jax.Array:
  """(B, 1, H, W, T C) -> (B, T, H, W, C)."""
  return x.reshape(x.shape[0], *x.shape[2:4], frames, -1).transpose(0, 3, 1, 2, 4)


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
  after = _length(frames, kt, stride, padding, dilation)
  at = np.arange(kt)[:, None] * dilation + np.arange(after) * stride - padding  # the frame that a tap sees
  seen = (at[:, None] == np.arange(frames)[:, None]).astype(w.dtype)  # (kt, T, T')
  return jnp.einsum("kto,kijcd->ijtcod", seen, w).reshape(1, kh, kw, frames * inner, after * out)


# ---------------------------------------------------------------- lowerings
# Each takes x (B, T, H, W, C), w (kt, kh, kw, C/groups, O), triples of strides,
# padding and dilation, and groups; and returns (B, T', H', W', O).


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
  kt, kh, kw, inner, out = w.shape
  frames = _length(x.shape[1], kt, strides[0], padding[0], dilation[0])
  x = _pad(x, (padding[0], 0, 0))
  x = jnp.concatenate([_slice(x, 1, k * dilation[0], strides[0], frames) for k in range(kt)], -1)
  w = w.transpose(1, 2, 0, 3, 4).reshape(1, kh, kw, kt * inner, out)
  return native(x, w, (1, *strides[1:]), (0, *padding[1:]), dilation, 1)


def dense(x, w, strides, padding, dilation, groups):
  """A convolution without groups, whose kernel has zeros where an output channel does not see an input channel."""
  inner, out = w.shape[3:]
  seen = np.arange(inner * groups)[:, None] // inner == np.arange(out) // (out // groups)
  return native(x, jnp.tile(w, (1, 1, 1, groups, 1)) * seen.astype(w.dtype), strides, padding, dilation, 1)


LOWERINGS: dict[str, Callable] = dict(native=native, taps=taps, shifts=shifts, patches=patches, fan=fan, dense=dense,
                                      fan_ahead=fan_ahead, blocks=blocks, evened=evened, stacked=stacked)


def applies(lowering: str, x_shape: Sequence[int], kernel: Triple, strides: Triple, dilation: Triple,
            groups: int) -> bool:
  """Whether a lowering can compute such a convolution, and is another program than XLA's."""
  match lowering:
    case "taps":
      return kernel[0] > 1
    case "fan" | "fan_ahead":  # gradients of the former are slow where the kernel has reach in space
      return kernel[0] > 1 and groups == 1 and (max(kernel[1:]) > 1) == (lowering == "fan_ahead")
    case "patches":
      return groups == 1 and max(kernel) > 1
    case "stacked":
      return kernel[0] > 1 and groups == 1
    case "dense":
      return groups > 1
    case "evened":
      return groups == 1 and x_shape[-1] % 2 == 1 and max(kernel[1:]) > 1
    case "blocks":
      whole = all(n % s == 0 for n, s in zip(x_shape[2:4], strides[1:]))
      return kernel[0] == 1 and groups == 1 and max(dilation) == 1 and max(strides[1:]) > 1 and whole
  return True


def choose(platform: str, x_shape: Sequence[int], w_shape: Sequence[int], strides: Triple, groups: int,
           dilation: Triple = (1, 1, 1)) -> str:
  """The name of the quickest lowering: on a CPU as measured, on a TPU as its compiler estimates.

  Args:
    platform: 'cpu', 'tpu', 'cuda', ...
    x_shape: (B, T, H, W, C).
    w_shape: (kt, kh, kw, C/groups, O).
    strides: in time, height, width.
    groups: of channels.
    dilation: steps between the kernel's taps, per axis.
  """
  if platform == "tpu":
    return _on_tpu(x_shape, w_shape, strides, groups)
  if platform != "cpu":
    return "native"
  kt, kh, kw, inner, out = w_shape
  if kh == kw == 1 and kt > 1 and 4 * out <= inner and strides[0] == groups == 1:
    return "fan"  # the products read the input once
  if kh == kw == 1 or groups > 1:
    return "shifts"  # a matrix product, or products by channel; XLA's gradients of grouped kernels are slowest of all
  side, kernel = min(-(-n // s) for n, s in zip(x_shape[2:4], strides[1:])), max(kh, kw)
  if side < kernel or (side <= 2 * kernel + 1 and kernel <= 3 and inner >= 128):
    return "patches"  # XLA's path for small images is slow, and slowest for a kernel as large as the image
  if inner <= 4 and kernel <= 3 and applies("blocks", x_shape, (kt, kh, kw), strides, dilation, groups):
    return "blocks"  # XLA's path for small kernels of few channels is slow
  if inner % 2 and 1 < inner < 22 and 16 < out <= 32:
    return "evened"  # XLA's path for an odd number of few channels to so many is up to ten times as slow
  if kt > 1 and inner <= 4 and out <= 16 and not 16 < kt * out <= 32 and strides[0] == groups == 1:
    return "fan_ahead"  # a stem of few channels: one product fills the registers; gradients have no use for it
  return "taps" if kt > 1 else "native"


def _on_tpu(x_shape, w_shape, strides, groups) -> str:
  """XLA lays clips out well for its 2-D convolutions and products, and less well for kernels with reach in time."""
  kt, kh, kw, inner, _ = w_shape
  if kt == 1:  # whole registers would go to every one of few channels
    return "dense" if groups > 1 and inner * groups <= 8 else "native"
  if inner <= 4 and groups == 1:
    return "stacked"  # products over 3 channels leave the matrix units idle
  if min(-(-n // s) for n, s in zip(x_shape[2:4], strides[1:])) <= 16:
    return "native"  # on small frames slices cost more than they spare
  if kh == kw == 1:
    return "shifts"
  return "taps" if inner == 1 < groups else "native"


def convolve(x: jax.Array, w: jax.Array, strides: Triple, padding: Triple, dilation: Triple = (1, 1, 1),
         groups: int = 1, lowering: str = "auto") -> jax.Array:
  """Convolution of clips, explicitly and symmetrically padded.

  'auto' takes XLA's convolution but where `choose` knows a quicker way; which platform
  it is, is decided when the program is lowered, so an export for another platform gets
  that platform's choice.

  Args:
    x: (B, T, H, W, C).
    w: (kt, kh, kw, C/groups, O).
    strides: in time, height, width.
    padding: zeros on both sides, per axis.
    dilation: steps between the kernel's taps, per axis.
    groups: of channels.
    lowering: a key of LOWERINGS, or 'auto'.

  Returns:
    (B, T', H', W', O), dtype of `x`.
  """
  if lowering == "auto":
    lowering = _forced.get()
  if lowering != "auto":
    return LOWERINGS[lowering](x, w, strides, padding, dilation, groups)
  ways = tuple((platform, way) for platform in ("cpu", "tpu")
               if (way := choose(platform, x.shape, w.shape, strides, groups, dilation)) != "native")
  return _by_platform(x, w, ways, strides, padding, dilation, groups)


@functools.partial(jax.jit, static_argnums=range(2, 7), inline=True)
def _by_platform(x, w, ways, strides, padding, dilation, groups):
  """The lowering of each platform in `ways`, elsewhere XLA's; of its own, so that equal layers are traced once.

  Inlined, because XLA's CPU runs the gradients of convolutions inside a call four times as slowly.
  """
  call = lambda name: lambda a, b: LOWERINGS[name](a, b, strides, padding, dilation, groups)
  if not ways:
    return call("native")(x, w)
  lean = {platform: jax.checkpoint(call(way)) for platform, way in ways}  # keeps x and w for gradients, no slices
  return lax.platform_dependent(x, w, **lean, default=call("native"))


def stored(x: jax.Array) -> jax.Array:
  """x, which a CPU computes once, however many use it.

  XLA's CPU repeats sums and products, and so whole depth-wise convolutions, for
  every user, and drops barriers before it decides so. A choice between two equal
  values, which it cannot decide beforehand, stops it.
  """
  def here(x):
    first = x[(0,) * x.ndim]
    return lax.cond(first == first, lambda x: x, lambda x: jnp.where(x == x, x, jnp.nan), x)
  return lax.platform_dependent(x, cpu=here, default=lambda x: x)


# ---------------------------------------------------------------- the module


class Conv(nn.Module):
  """Convolution of images (B, H, W, C) or clips (B, T, H, W, C).

  A kernel (kh, kw) sees single frames and is stored as (kh, kw, C/groups, O); a
  kernel (kt, kh, kw) is stored as (kt, kh, kw, C/groups, O).

  Attributes:
    features: output channels.
    kernel: size per axis.
    strides: per axis of the kernel, or one number.
    padding: zeros on both sides, per axis of the kernel or one number; None
      keeps the size at stride 1.
    groups: of channels.
    dilation: per axis of the kernel, or one number.
    use_bias: adds a bias.
    dtype: compute dtype; None is fp32.
    kernel_init: initialiser; He, fan-out.
    lowering: see `convolve`.
  """

  features: int
  kernel: tuple[int, ...]
  strides: int | tuple[int, ...] = 1
  padding: int | tuple[int, ...] | None = None
  groups: int = 1
  dilation: int | tuple[int, ...] = 1
  use_bias: bool = False
  dtype: jnp.dtype | None = None
  kernel_init: Callable = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  lowering: str = "auto"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    dtype = self.dtype or jnp.float32
    rank = len(self.kernel)
    strides, dilation = _spread(self.strides, rank), _spread(self.dilation, rank)
    padding = self.padding
    if padding is None:
      padding = tuple(d * (k - 1) // 2 for k, d in zip(self.kernel, dilation))
    padding = _spread(padding, rank)
    frames = frames_inside()
    shape = (*self.kernel, x.shape[-1] // frames // self.groups, self.features)
    w = param(self, "kernel", self.kernel_init, shape, jnp.float32).astype(dtype)
    x = x.astype(dtype)
    if rank == 2:
      w, strides, padding, dilation = w[None], (1, *strides), (0, *padding), (1, *dilation)
    image, lowering = x.ndim == 4, self.lowering
    if frames > 1:
      w = across_frames(w, frames, strides[0], padding[0], dilation[0])
      strides, padding = (1, *strides[1:]), (0, *padding[1:])
      lowering = "shifts" if max(w.shape[1:3]) == 1 else lowering  # gradients of a product are products
    y = convolve(x[:, None] if image else x, w, strides, padding, dilation, self.groups, lowering)
    if self.use_bias:
      bias = param(self, "bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(dtype)
      y = y + (jnp.tile(bias, y.shape[-1] // self.features) if frames > 1 else bias)
    return y[:, 0] if image else y


def _spread(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
  return (value,) * rank if isinstance(value, int) else tuple(value)


def _length(n: int, k: int, s: int, p: int, d: int) -> int:
  return (n + 2 * p - d * (k - 1) - 1) // s + 1


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
