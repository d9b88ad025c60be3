"""Spatio-temporal channel correlation (STC): channels are rescaled by what the whole clip and its single frames hold.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency", 2024,
section 4.2; Diba et al.: "Spatio-Temporal Channel Correlation Networks for Action
Classification", 2018. The temporal branch, TCB, averages over time as well and cannot
know the order of frames; the spatial branch, SCB, averages over space alone and keeps
time. They are called as in the text.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, pool

BRANCHES = ("both", "tcb", "scb")
GATES = ("sigmoid_relu", "linear")
PLACEMENTS = ("residual", "after", "concat")
PRESETS = {"table": 16, "text": 4}  # reduction: hidden C / 16 (Table 4.1), or C / r and T C / r (section 4.4.2)

_init = nn.initializers.he_normal()


class Bottleneck(nn.Module):
  """Two fully connected layers (eq. 4.2, eq. 4.5), (B, N) -> (B, features): sigmoid(W_2 relu(W_1 z)), or W_2 W_1 z."""

  hidden: int
  features: int
  gate: str
  use_bias: bool

  @nn.compact
  def __call__(self, z):
    dense = lambda width, name: nn.Dense(width, self.use_bias, kernel_init=_init, name=name)
    hidden = dense(self.hidden, "squeeze")(z)
    if self.gate == "linear":
      return dense(self.features, "excite")(hidden)
    return nn.sigmoid(dense(self.features, "excite")(nn.relu(hidden)))


class ChannelCorrelation(nn.Module):
  """x (s_tcb + s_scb) / 2: one factor per clip and channel from two bottlenecks (eq. 4.1 to 4.7).

  The first layer of the SCB sees T C numbers: a block that has it belongs to clips of
  one length. If the caller makes the collection `maps` mutable, the factors are left
  there as `gates`, (B, C), and how much of the hidden layer of the SCB each frame
  brings, as `frame_share`, (B, T), which sums to 1.

  Attributes:
    preset: hidden widths, "table": C / 16 in both branches, or "text": C / 4 in the TCB
      and T C / 4 in the SCB.
    reduction: in place of 16 or 4; 0: that of the preset.
    branches: "both", or one of "tcb" and "scb", which is then not halved.
    gate: "sigmoid_relu", or "linear" as the equations are printed.
    gate_scale: factor on the gates; at 2 a fresh block leaves its input about as it is.
    use_bias: of the fully connected layers.
    placement: "residual", x is what a residual branch adds; "after", the block is a
      residual unit of its own, x + x s; "concat", x and x s one behind the other, 2 C channels.
    gate_override: a number in place of s; the block then has no parameters.
  """

  preset: str = "table"
  reduction: int = 0
  branches: str = "both"
  gate: str = "sigmoid_relu"
  gate_scale: float = 1.0
  use_bias: bool = False
  placement: str = "residual"
  gate_override: float | None = None

  def __post_init__(self):
    choices.check("ChannelCorrelation: preset", self.preset, PRESETS)
    choices.check("ChannelCorrelation: branches", self.branches, BRANCHES)
    choices.check("ChannelCorrelation: gate", self.gate, GATES)
    choices.check("ChannelCorrelation: placement", self.placement, PLACEMENTS)
    super().__post_init__()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None) -> jax.Array:
    """Rescales channels; statistics and factors are fp32.

    Args:
      x: (B, T, H, W, C).
      train: same in training and evaluation.
      mask: (B, T), 1 for live frames; None: all live. Dead frames are zero to the SCB.

    Returns:
      (B, T, H, W, C), or of 2 C channels where concatenated; dtype of `x`.

    Raises:
      ValueError: a clip of another length than the parameters are for.
    """
    del train
    if self.gate_override is None:
      s = self._gates(x, mask)
    else:
      s = jnp.full((x.shape[0], x.shape[-1]), self.gate_override, jnp.float32)
    y = x * s[:, None, None, None].astype(x.dtype)
    if self.placement == "residual":
      return y
    return x + y if self.placement == "after" else jnp.concatenate([x, y], -1)

  def _gates(self, x, mask):
    """s, (B, C)."""
    frames, channels = x.shape[1], x.shape[-1]
    r = self.reduction or PRESETS[self.preset]
    make = lambda width, name: Bottleneck(max(1, width // r), channels, self.gate, self.use_bias, name=name)
    means = pool.mean_pool(x, mask, frames=True)  # (B, T, C), of which both branches are made
    gates = []
    if self.branches != "scb":
      gates.append(make(channels, "tcb")(pool.mean_frames(means, mask)))  # eq. 4.1, eq. 4.2
    if self.branches != "tcb":
      self._check_length(frames, channels)
      z = means.reshape(len(x), -1)  # eq. 4.4
      gates.append(make(channels * (frames if self.preset == "text" else 1), "scb")(z))  # eq. 4.5
    s = self.gate_scale * sum(gates) / len(gates)  # eq. 4.3, eq. 4.6, eq. 4.7
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "gates", s)
      if self.branches != "tcb":
        self.sow("maps", "frame_share", self._shares(means))
    return s

  def _check_length(self, frames, channels):
    kernel = self.variables.get("params", {}).get("scb", {}).get("squeeze", {}).get("kernel")
    if kernel is not None and kernel.shape[0] != frames * channels:
      raise ValueError(f"ChannelCorrelation: the parameters are for {kernel.shape[0] / channels:g} frames of {channels}"
                       f" channels, and {frames} are given; a block that keeps time belongs to clips of one length")

  def _shares(self, means):
    """(B, T): the norm of what a frame adds to the hidden layer of the SCB, over the sum of these norms."""
    batch, frames, channels = means.shape
    kernel = self.variables["params"]["scb"]["squeeze"]["kernel"].reshape(frames, channels, -1)
    norms = jnp.linalg.norm(jnp.einsum("btc,tch->bth", means, kernel), axis=-1)
    return norms / jnp.maximum(norms.sum(1, keepdims=True), 1e-12)
