"""STMM: a recurrent memory with a map's shape, whose convolutions start from those of a trained detector.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, section 3.2. Ballas et al.: "Delving Deeper into Convolutional Networks
for Learning Video Representations", 2016, has the ConvGRU.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.conv import Conv, convolve
from vidx.nn.initialisers import kernel_init
from vidx.nn.match_transform import AFFINITIES, step_weights, take_over

CELLS = ("stmm", "gru")
STATS = ("positive", "all")
OVER = ("sample", "batch")
State = tuple[jax.Array, jax.Array]  # the memory (B, h, w, M), and the features (B, h, w, D) that it was made at


def bn_star(x: jax.Array, mask: jax.Array | None = None, *, stats: str = "positive", stats_over: str = "sample",
            deviations: float = 3.0) -> jax.Array:
  """BN*: x over mean + `deviations` standard deviations, cut at 1 (section 3.2, Fig. 3.3).

  There are no parameters and no stored statistics, so training and evaluation agree.
  The divisor counts as a constant in the gradient, which is 0 for what is cut. It is 1
  where there are not two entries to take statistics of.

  Args:
    x: (B, h, w, C), not negative.
    mask: (B, h, w), 1 for places that statistics are taken of; None: all.
    stats: 'positive', of the entries above 0, or 'all'.
    stats_over: 'sample', statistics per example, or 'batch', of all.
    deviations: K.

  Returns:
    fp32 (B, h, w, C) in 0..1.
  """
  choices.check("stats", stats, STATS)
  choices.check("stats_over", stats_over, OVER)
  x = x.astype(jnp.float32)
  counted = x > 0 if stats == "positive" else jnp.ones(x.shape, bool)
  if mask is not None:
    counted &= mask[..., None] > 0
  axes = (1, 2, 3) if stats_over == "sample" else (0, 1, 2, 3)
  total = lambda y: jnp.where(counted, y, 0).sum(axes, keepdims=True)
  count = total(jnp.ones_like(x))
  mean = total(x) / jnp.maximum(count, 1)
  deviation = jnp.sqrt(total(jnp.square(x - mean)) / jnp.maximum(count - 1, 1))
  bound = mean + deviations * deviation
  bound = jax.lax.stop_gradient(jnp.where((count > 1) & (bound > 0), bound, 1))
  return jnp.where(x < bound, x, bound) / bound


class SpatialMemory(nn.Module):
  """A memory in one direction (eq. 3.1-3.4).

  z = BN*(relu(W_z F + U_z M')), r = BN*(relu(W_r F + U_r M')), C = relu(W F + U (M' r)),
  M = (1 - z) M' + z C, where M' is the memory of the frame before, moved by MatchTrans.
  Kernels are 3x3; W have a bias, U none. Parameters: `input` {'kernel' (3, 3, D, 3 M), 'bias'} of
  z, r and C; `gates` (3, 3, M, 2 M) of z and r; `candidate` (3, 3, M, M).

  Attributes:
    channels: M.
    cell: 'stmm', or 'gru' with sigmoid gates, a candidate of tanh, and without BN* (section 3.3.3).
    align: whether MatchTrans moves the memory.
    affinity: see `match_weights`.
    reach: see `match_weights`.
    stop_grad: see `match_weights`.
    stats: see `bn_star`.
    stats_over: see `bn_star`.
    input_gain: factor on the terms with W; 20 in the authors' weights.
    gate_override: z in place of what the gate says.
    dtype: of the convolutions; None is fp32. The rest is fp32.
  """

  channels: int = 512
  cell: str = "stmm"
  align: bool = True
  affinity: str = "cosine"
  reach: int = 2
  stop_grad: bool = True
  stats: str = "positive"
  stats_over: str = "sample"
  input_gain: float = 1.0
  gate_override: float | None = None
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("cell", self.cell, CELLS)
    choices.check("affinity", self.affinity, AFFINITIES)
    choices.check("stats", self.stats, STATS)
    choices.check("stats_over", self.stats_over, OVER)
    super().__post_init__()

  def setup(self):
    m = self.channels
    self.input = Conv(3 * m, (3, 3), use_bias=True, dtype=self.dtype, kernel_init=kernel_init("uniform"))
    self.gates = self.param("gates", kernel_init("uniform"), (3, 3, m, 2 * m))
    self.candidate = self.param("candidate", kernel_init("uniform"), (3, 3, m, m))

  def __call__(self, x: jax.Array, mask: jax.Array | None = None, state: State | None = None
               ) -> tuple[jax.Array, State]:
    """Remembers.

    Args:
      x: (B, T, h, w, D) features.
      mask: (B, T, h, w), 1 for places of a live frame: others give and keep nothing. None: all are.
      state: what another call left, of the frames before; None for a start.

    Returns:
      fp32 (B, T, h, w, M), and the state behind the last frame.
    """
    batch, _, height, width, _ = x.shape
    if mask is not None:
      x = jnp.where(mask[..., None] > 0, x, 0)
    live = jnp.ones(x.shape[:4], jnp.float32) if mask is None else mask.astype(jnp.float32)
    if state is None:
      state = jnp.zeros((batch, height, width, self.channels), jnp.float32), x[:, 0]
    steps = [self.input(x) * self.input_gain, live]
    if self.align:
      frames = jnp.concatenate([state[1][:, None].astype(x.dtype), x], 1)
      steps.append(step_weights(frames, mask, reach=self.reach, affinity=self.affinity, stop_grad=self.stop_grad))
    gates, candidate = self.gates, self.candidate
    step = jax.checkpoint(lambda memory, seen: self._step(gates, candidate, memory, *seen))
    memory, out = jax.lax.scan(step, state[0], tuple(jnp.moveaxis(s, 1, 0) for s in steps))
    return jnp.moveaxis(out, 0, 1), (memory, x[:, -1])

  def _step(self, gates, candidate, memory, x, live, shares=None):
    memory = memory if shares is None else take_over(memory, shares)
    of_z, of_r, of_c = jnp.split(x.astype(jnp.float32), 3, -1)
    add_z, add_r = jnp.split(self._conv(memory, gates), 2, -1)
    z, r = self._gate(of_z + add_z, live), self._gate(of_r + add_r, live)
    if self.gate_override is not None:
      z = jnp.full_like(z, self.gate_override)
    act = nn.relu if self.cell == "stmm" else jnp.tanh
    c = act(of_c + self._conv(memory * r, candidate))
    memory = ((1 - z) * memory + z * c) * live[..., None]
    return memory, memory

  def _conv(self, x, w):
    dtype = self.dtype or jnp.float32
    return convolve(x[:, None].astype(dtype), w[None].astype(dtype), (1, 1, 1), (0, 1, 1))[:, 0].astype(jnp.float32)

  def _gate(self, x, live):
    if self.cell == "gru":
      return nn.sigmoid(x)
    return bn_star(nn.relu(x), live, stats=self.stats, stats_over=self.stats_over)


class BothWays(nn.Module):
  """The memory of what was and of what will be, beside each other on the channels.

  Each way has parameters of its own, `forward` and `backward`; see SpatialMemory for them.
  """

  forward: SpatialMemory
  backward: SpatialMemory

  def __call__(self, x: jax.Array, mask: jax.Array | None = None, state: State | None = None
               ) -> tuple[jax.Array, State]:
    """Remembers, as SpatialMemory does.

    Args:
      x: (B, T, h, w, D).
      mask: (B, T, h, w) or None; live frames are consecutive.
      state: of the way ahead, from another call; the way back starts anew.

    Returns:
      fp32 (B, T, h, w, 2 M), and the state of the way ahead.
    """
    ahead, state = self.forward(x, mask, state)
    back, _ = self.backward(x[:, ::-1], None if mask is None else mask[:, ::-1])
    return jnp.concatenate([ahead, back[:, ::-1]], -1), state
