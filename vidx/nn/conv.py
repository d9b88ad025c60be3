"""Convolution: the one module through which every convolution goes, with a lowering per platform and shape.

All lowerings compute the same sums. On a CPU XLA's 3-D convolution is many times
slower than sums of 2-D convolutions or matrix products over shifted inputs, and on
a TPU its compiler makes better programs of those, too. `choose` says which lowering
is taken where; `using("native")` overrides it for a block of code.
"""

from collections.abc import Callable, Sequence
import contextlib
import contextvars
import functools
import math
from typing import Any

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp

from vidx.nn import tracing
from vidx.nn.initialisers import param
from vidx.nn.lowerings import LOWERINGS, Triple, across_clips, across_frames, applies, stack_frames

_forced: contextvars.ContextVar[str] = contextvars.ContextVar("lowering", default="auto")
_frames: contextvars.ContextVar[int] = contextvars.ContextVar("frames", default=1)
_clips: contextvars.ContextVar[int] = contextvars.ContextVar("clips", default=1)


def using(lowering: str) -> contextlib.AbstractContextManager[None]:
  """Within the block, convolutions that leave the choice open are traced with `lowering`."""
  return tracing.setting(_forced, lowering)


# ---------------------------------------------------------------- frames among the channels
# A TPU lays out 128 channels at a time, so that a pathway of 8 or 16 channels leaves most of its registers and matrix
# units idle. There, its layers take the frames of a clip as parts of one long vector of channels; each is then a dense
# product over frames and channels, most of whose kernel is zeros, and still costs less than what lay idle.


LANES = 128  # channels that a TPU lays out at a time


def copies_that_fit(width: int) -> int:
  """How many times so many channels fit into the lanes, as a power of two; at least 1."""
  return 1 << max(0, (LANES // width).bit_length() - 1)


_LONGEST = 64  # frames; the products grow with their square


def narrow_form(x: jax.Array, mask: jax.Array | None) -> bool:
  """Whether layers with few channels are to see clips x (B, T, H, W, C) with their frames among the channels."""
  wanted = _forced.get() == "auto" and tracing.platform() == "tpu"
  return wanted and mask is None and 1 < x.shape[1] <= _LONGEST


def frames_among_channels(frames: int) -> contextlib.AbstractContextManager[None]:
  """Within the block, `Conv` and `BatchNorm` take and give clips of so many frames as (B, 1, H, W, T C)."""
  return tracing.setting(_frames, frames)


def frames_inside() -> int:
  """How many frames stand among the channels here; 1 outside of `frames_among_channels`."""
  return _frames.get()


def frames_behind(kernel: Sequence[int], strides: int | Sequence[int]) -> int:
  """How many frames stand among the channels behind a convolution that keeps the size at stride 1; see `Conv`."""
  return -(-frames_inside() // _spread(strides, len(kernel))[0]) if len(kernel) == 3 else frames_inside()


def to_channels(x: jax.Array) -> jax.Array:
  """(B, T, H, W, C) -> (B, 1, H, W, T C)."""
  return x.transpose(0, 2, 3, 1, 4).reshape(x.shape[0], 1, *x.shape[2:4], -1)


def from_channels(x: jax.Array, frames: int) -> jax.Array:
  """(B, 1, H, W, T C) -> (B, T, H, W, C)."""
  return x.reshape(x.shape[0], *x.shape[2:4], frames, -1).transpose(0, 3, 1, 2, 4)


def runs_to_batch(x: jax.Array, frames: int, run: int, reach: int) -> jax.Array:
  """(B, 1, H, W, T C) -> (B T / run, 1, H, W, (run + 2 reach) C): runs of frames, with those in front and behind."""
  x = from_channels(x, frames)
  x = jnp.pad(x, ((0, 0), (reach, reach), *[(0, 0)] * 3))
  x = jnp.stack([x[:, start:start + run + 2 * reach] for start in range(0, frames, run)], 1)
  return to_channels(x.reshape(-1, *x.shape[2:]))


def runs_from_batch(x: jax.Array, runs: int) -> jax.Array:
  """(B runs, 1, H, W, run C) -> (B, 1, H, W, T C)."""
  return to_channels(x.reshape(-1, runs, *x.shape[2:])) if runs > 1 else x


def narrow(step: Callable[..., Any], x: jax.Array, mask: jax.Array | None = None, train: bool = False
           ) -> tuple[jax.Array, jax.Array | None]:
  """What a step of a trunk gives, with the frames among the channels of its layers where `narrow_form` says so.

  Args:
    step: called as (x, mask, train) -> (x, mask); it must not change the number of frames.
    x: (B, T, H, W, C).
    mask: (B, T).
    train: passed on.

  Returns:
    (B, T, H', W', C'), mask.
  """
  if not narrow_form(x, mask):
    return step(x, mask, train)
  frames = x.shape[1]
  with frames_among_channels(frames):
    x, _ = step(to_channels(x), None, train)
  x = lax.optimization_barrier(x)  # it stays so for the next step, and is transposed for others alone
  return from_channels(x, frames), None


# ---------------------------------------------------------------- clips among the channels
# Where kernels are depth-wise, or split in space and time, a pathway of few channels fills the registers of a TPU with
# several clips side by side instead: kernels go along time as before, and no clip sees another.


def clips_among_channels(clips: int) -> contextlib.AbstractContextManager[None]:
  """Within the block, `Conv` and `BatchNorm` take and give so many clips side by side, as (B / clips, ..., clips C)."""
  return tracing.setting(_clips, clips)


def clips_inside() -> int:
  """How many clips stand among the channels here; 1 outside of `clips_among_channels`."""
  return _clips.get()


def copies_inside() -> int:
  """How many times a layer's own channels stand side by side here: once per frame, or per clip."""
  return frames_inside() * clips_inside()


def clips_to_channels(x: jax.Array, clips: int, parts: int = 1) -> jax.Array:
  """(B, T, H, W, C) -> (B / clips, T, H, W, clips C): those of each of so many parts of the batch side by side."""
  x = x.reshape(parts, clips, -1, *x.shape[1:]).transpose(0, 2, 3, 4, 5, 1, 6)
  return x.reshape(-1, *x.shape[2:5], clips * x.shape[-1])


def clips_from_channels(x: jax.Array, clips: int, parts: int = 1, to_stay: bool = False) -> jax.Array:
  """The inverse of `clips_to_channels`, in a form that XLA drops in front of that, or a quicker one where it stays."""
  x = x.reshape(parts, -1, *x.shape[1:])
  if to_stay:
    each = jnp.stack(jnp.split(x, clips, -1), 1)
  else:
    each = x.reshape(*x.shape[:5], clips, -1).transpose(0, 5, 1, 2, 3, 4, 6)
  return each.reshape(-1, *each.shape[3:])


def clips_side_by_side(x: jax.Array, mask: jax.Array | None, most: int, groups: int = 1) -> tuple[int, int]:
  """How many clips layers with few channels are to see side by side, 1 where not on a TPU; and of how many parts.

  Args:
    x: (B, T, H, W, C).
    mask: (B, T), with which clips stay apart.
    most: a power of two, how many fill the registers.
    groups: BatchNorm.groups, which stay apart, too, like what may lie on other devices.
  """
  wanted = _forced.get() == "auto" and tracing.platform() == "tpu"
  if not wanted or mask is not None or not isinstance(x.shape[0], int):  # a program for any batch knows none
    return 1, 1
  parts = math.lcm(tracing.spread_at_most(), groups)
  return (1, 1) if x.shape[0] % parts else (math.gcd(x.shape[0] // parts, most), parts)


def folded(steps: Sequence[tuple[str, Callable[..., Any]]], most: int, groups: int = 1
           ) -> list[tuple[str, Callable[..., Any]]]:
  """Steps of a trunk, one behind another, that see clips side by side where `clips_side_by_side` says so.

  An entry of one clip that is not finite makes those beside it so, too: what a kernel has for
  them is zero, and zero times infinity is not.

  Args:
    steps: (name, step) pairs; a step is called as (x, mask, train) -> (x, mask).
    most: see `clips_side_by_side`.
    groups: see there.
  """
  def call(step, last, x, mask=None, train=False):
    clips, parts = clips_side_by_side(x, mask, most, groups)
    if clips == 1:
      return step(x, mask, train)
    with clips_among_channels(clips):
      x, _ = step(clips_to_channels(x, clips, parts), None, train)
    return clips_from_channels(x, clips, parts, last), None

  return [(name, functools.partial(call, step, i == len(steps) - 1)) for i, (name, step) in enumerate(steps)]


# ---------------------------------------------------------------- which lowering


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
    return _on_tpu(x_shape, w_shape, strides, groups, dilation)
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


_FEW = 4  # channels that leave the matrix units of a TPU idle


def _on_tpu(x_shape, w_shape, strides, groups, dilation) -> str:
  """XLA lays clips out well for its 2-D convolutions and products, and less well for kernels with reach in time."""
  kt, kh, kw, inner, _ = w_shape
  if kt == 1:  # whole registers would go to every one of few channels
    few = inner * groups <= 8 and x_shape[3] <= 512
    return "banded" if few and applies("banded", x_shape, (kt, kh, kw), strides, dilation, groups) else "native"
  if inner <= _FEW and groups == 1:
    return "stacked"  # products over 3 channels leave the matrix units idle
  if inner == 1 < groups and max(strides[1:]) > 1:
    return "late"
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
  if w.shape[0] > 1 and "tpu" in dict(ways):
    x = written(x)  # which is sliced, or read once per tap
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


@jax.custom_jvp
def written(x: jax.Array) -> jax.Array:
  """x (B, T, ..., C), which a TPU writes once, however many read it; gradients pass as they are.

  For readers that slice or shift x, XLA keeps there what the convolution before gives,
  in fp32, and normalises that once more for each of them. Frames are written as images,
  which is how convolutions lay them out.
  """
  here = lambda x: lax.optimization_barrier(x.reshape(-1, *x.shape[2:])).reshape(x.shape)
  return lax.platform_dependent(x, tpu=here, default=lambda x: x)


written.defjvp(lambda given, moved: (written(*given), *moved))


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
    frames, clips, groups = frames_inside(), clips_inside(), self.groups
    shape = (*self.kernel, x.shape[-1] // copies_inside() // groups, self.features)
    w = param(self, "kernel", self.kernel_init, shape, jnp.float32).astype(dtype)
    x = x.astype(dtype)
    if rank == 2:
      w, strides, padding, dilation = w[None], (1, *strides), (0, *padding), (1, *dilation)
    image, lowering = x.ndim == 4, self.lowering
    runs = 1
    if frames > 1:
      x, w, runs, groups = _with_frames(x, w, frames, strides[0], padding[0], dilation[0])
      strides, padding = (1, *strides[1:]), (0, *padding[1:])
      lowering = "shifts" if max(w.shape[1:3]) == 1 else lowering  # gradients of a product are products
    if clips > 1:
      if w.shape[0] > 1 and w.shape[3] <= _FEW and groups == 1:  # ahead of the others: as `stacked` for one
        x, w = stack_frames(x, w, strides[0], padding[0], dilation[0], clips)
        strides, padding = (1, *strides[1:]), (0, *padding[1:])
      w, groups = across_clips(w, clips, groups), groups if groups == 1 else groups * clips
    y = convolve(x[:, None] if image else x, w, strides, padding, dilation, groups, lowering)
    y = runs_from_batch(y, runs)
    if self.use_bias:
      bias = param(self, "bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(dtype)
      y = y + jnp.tile(bias, y.shape[-1] // self.features)
    return y[:, 0] if image else y


def _with_frames(x, w, frames, stride, padding, dilation):
  """What a kernel over frames and channels takes, that kernel, over how many runs of frames it goes, and its groups."""
  kt, kh, kw, inner, out = w.shape
  run = math.gcd(frames, copies_that_fit(out))
  if run < frames and kt == stride == 1 < min(run, max(kh, kw)):  # no frame sees another: as few zeros as fill the lanes
    return x, jnp.tile(across_frames(w, run, 1, 0, 1), frames // run), 1, frames // run
  keeps_frames = kt == 2 * padding + 1 and stride == dilation == 1
  if kt == 1 or inner > _FEW or run == frames or not keeps_frames:
    return x, across_frames(w, frames, stride, padding, dilation), 1, 1
  # A kernel on pixels: shorter runs, which fill the lanes behind it, have fewer zeros, and few frames in common.
  return runs_to_batch(x, frames, run, padding), across_frames(w, run + kt - 1, 1, 0, 1), frames // run, 1


def _spread(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
  return (value,) * rank if isinstance(value, int) else tuple(value)
