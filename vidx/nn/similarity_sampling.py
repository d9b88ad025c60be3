"""Similarity guided sampling: frames with similar features are summed into one, so a dull clip gets short.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 6.3; Fayyaz et al.: "3D CNNs with Adaptive Temporal Feature
Resolutions", 2021.
"""

from collections.abc import Sequence

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp

from vidx.nn import choices, compaction, pool
from vidx.nn.conv import stored
from vidx.nn.norm import BatchNorm

_TINY = 1e-12  # under square roots, whose gradient at 0 is infinite
CHOICES = {
    "space": ("paper", "code"),
    "activation": ("relu", "swish"),
    "measure": ("magnitude", "l2_to_mean", "l1_to_mean", "mahalanobis_to_mean", "cosine_to_mean", "angular",
                "spherical"),
    "kernel": ("linear", "linear_normalized", "kronecker", "kronecker_sum"),
    "edge": ("centre", "eps", "literal"),
    "order": ("similarity", "time"),
    "gradient": ("constant_bins", "through_max"),
    "control": ("", "random"),
}
GRIDS = {"angular": (4, 8), "spherical": (2, 4, 4)}  # table 6.1, 32 bins in all


# ---------------------------------------------------------------- similarity


def _norm(z, axis=-1, keepdims=False):
  return jnp.sqrt((z * z).sum(axis, keepdims=keepdims) + _TINY)


def spherical(z: jax.Array) -> jax.Array:
  """Cartesian to spherical coordinates: a radius, L - 2 angles in [0, pi], one in [0, 2 pi).

  Args:
    z: (..., L), L at least 2.

  Returns:
    (..., L), the radius first.
  """
  angles = [jnp.arctan2(_norm(z[..., i + 1:]), z[..., i]) for i in range(z.shape[-1] - 2)]
  angles.append(jnp.mod(jnp.arctan2(z[..., -1], z[..., -2]), 2 * jnp.pi))
  return jnp.stack([_norm(z), *angles], -1)


def measured(z: jax.Array, live: jax.Array, measure: str = "magnitude") -> jax.Array:
  """Delta of every frame: what frames have to have in common to be similar.

  'magnitude' is ||z|| (eq. 6.1); '*_to_mean' are distances from the mean over
  the live frames: of Euclid, of the city block, the squared one of Mahalanobis (the
  covariance is that of the live frames plus 1e-6), and 1 - cosine. 'angular' and
  'spherical' have several coordinates (eq. 6.9).

  Args:
    z: (..., T, L) fp32.
    live: (..., T) bool.
    measure: one of CHOICES['measure'].

  Returns:
    (..., T, K), none below 0; K is 1, 'angular': L - 1, 'spherical': L.
  """
  if measure in GRIDS:
    return spherical(z)[..., measure == "angular":]
  if measure == "magnitude":
    return _norm(z, keepdims=True)
  weight = live[..., None].astype(z.dtype)
  count = jnp.maximum(weight.sum(-2, keepdims=True), 1)
  mean = (z * weight).sum(-2, keepdims=True) / count
  away = z - mean
  if measure == "l2_to_mean":
    delta = _norm(away)
  elif measure == "l1_to_mean":
    delta = jnp.abs(away).sum(-1)
  elif measure == "cosine_to_mean":
    delta = jnp.maximum(1 - (z * mean).sum(-1) / (_norm(z) * _norm(mean)), 0)
  else:
    covariance = jnp.einsum("...ti,...tj->...ij", away * weight, away) / jnp.maximum(count - 1, 1)
    solved = jnp.linalg.solve(covariance + 1e-6 * jnp.eye(z.shape[-1]), jnp.swapaxes(away, -1, -2))
    delta = jnp.maximum((away * jnp.swapaxes(solved, -1, -2)).sum(-1), 0)
  return delta[..., None]


# ---------------------------------------------------------------- bins


@struct.dataclass
class Dealt:
  """Frames in bins.

  Attributes:
    index: (..., T) int32, the bin of each frame.
    weight: (..., T) fp32, the kernel's value there; 0 for dead frames.
    inside: (..., T) bool, whether the frame makes its bin a kept one.
  """

  index: jax.Array
  weight: jax.Array
  inside: jax.Array


def deal(delta: jax.Array, live: jax.Array, bins: int | jax.Array, kernel: str = "linear", edge: str = "centre",
         gradient: str = "constant_bins", grad_scale: float = 1.0) -> Dealt:
  """Deals frames to bins of equal width that tile (0, max Delta] (eq. 6.2 to 6.6).

  In the equations the largest Delta lies on the upper edge of the last bin, where
  every kernel is 0: its frame is lost, and of equal frames all are. 'literal' does
  that; 'eps' adds 1e-7 to the linear kernel and closes the bins of the other, as
  the public code does; 'centre' makes gamma = max Delta / (2 bins - 1), so that the
  largest Delta is the centre of the last bin. A Delta on an edge between two bins
  belongs to the upper one.

  The gradient of the linear kernel is eq. 6.8, with gamma and the centres held
  fixed ('constant_bins') or with that of the maximum ('through_max'). The Kronecker
  kernels have none of their own; frames inside pass it straight through, by Delta
  in units of gamma.

  Args:
    delta: (..., T), none below 0.
    live: (..., T) bool.
    bins: how many; (..., 1) where clips differ.
    kernel: one of CHOICES['kernel']; normalised or not is the same here.
    edge: one of CHOICES['edge'].
    gradient: one of CHOICES['gradient'].
    grad_scale: factor on the gradient of delta.
  """
  top = jnp.maximum(jnp.where(live, delta, 0).max(-1, keepdims=True), 1e-6)
  if gradient == "constant_bins":
    top = jax.lax.stop_gradient(top)
  place = delta / top * (2 * bins - (edge == "centre"))  # Delta / gamma; exact for the largest
  index = jnp.clip(jnp.floor(jax.lax.stop_gradient(place) / 2), 0, bins - 1)
  centre = 2 * index + 1
  fixed = jax.lax.stop_gradient(place)
  inside = jnp.abs(fixed - centre)
  inside = {"literal": inside < 1, "eps": inside <= 1, "centre": jnp.ones_like(live)}[edge] & live
  if grad_scale != 1:
    place = fixed + grad_scale * (place - fixed)
  if kernel.startswith("kronecker"):
    weight = 1 + (place - fixed)
  else:
    distance = jnp.where(place <= centre, centre - place, place - centre)  # gradient at 0: eq. 6.8
    weight = nn.relu(1 + (1e-7 if edge == "eps" else 0) - distance)
  return Dealt(index.astype(jnp.int32), jnp.where(inside, weight, 0), inside)


def deal_grid(delta: jax.Array, live: jax.Array, bins: Sequence[int | jax.Array], **options) -> Dealt:
  """`deal` of several coordinates: bins in a grid, the product of the kernels (eq. 6.9).

  Args:
    delta: (..., T, K).
    live: (..., T) bool.
    bins: per coordinate; the last one varies fastest.
    **options: of `deal`.
  """
  out = Dealt(jnp.zeros(live.shape, jnp.int32), live.astype(jnp.float32), live)
  for k, number in enumerate(bins):
    one = deal(delta[..., k], live, number, **options)
    out = Dealt(out.index * number + one.index, out.weight * one.weight, out.inside & one.inside)
  return out


def sampling_matrix(dealt: Dealt, bins: int, capacity: int, normalized: bool = False, order: str = "similarity"
                    ) -> tuple[jax.Array, jax.Array]:
  """The matrix that sums the frames of each kept bin; kept bins are in front.

  Args:
    dealt: of (B, T) frames.
    bins: their number.
    capacity: rows to return, at least as many as bins can be kept.
    normalized: a bin's sum is divided by the number of its frames.
    order: of kept bins: by 'similarity', that is by Delta, or by the mean 'time' of their frames.

  Returns:
    (B, capacity, T) fp32, rows of zeros behind the kept bins; mask (B, capacity) bool.
  """
  holds = (dealt.index[:, None] == jnp.arange(bins)[:, None]) & dealt.inside[:, None]  # (B, bins, T)
  occupied = holds.any(-1)
  rows, mask = compaction.live_first(occupied)
  if order == "time":
    share = holds * (jax.lax.stop_gradient(dealt.weight)[:, None] + 1e-6)
    time = (share * jnp.arange(holds.shape[-1])).sum(-1) / jnp.maximum(share.sum(-1), 1e-6)
    rows = jnp.argsort(jnp.where(occupied, time, jnp.inf), axis=-1)
  holds = compaction.take(holds, rows[:, :capacity])
  matrix = jnp.where(holds, dealt.weight[:, None], 0)
  if normalized:
    matrix = matrix / jnp.maximum(holds.sum(-1, keepdims=True), 1)
  return matrix, mask[:, :capacity]


# ---------------------------------------------------------------- the module


class SimilarityGuidedSampling(nn.Module):
  """(B, T, H, W, C) -> frames (B, K, H, W, C) and which of them are live, (B, K) bool; live ones in front.

  K = min(T, bins) is room for every clip; how many are live is the clip's own. If
  the caller makes the collection `maps` mutable, `kept`, (B, T), is the weight with
  which each frame entered its sum.

  Attributes:
    bins: 0 for as many as live frames; for 'angular' and 'spherical' one per coordinate, () for those of table 6.1.
    dim: L, of the similarity space; 0 for 8, or for what a grid of bins needs.
    space: two layers after the mean over space: of C and L channels ('paper'), or of
      C / 2 and L with batch normalisation ('code', as in the public models).
    activation: between the layers: 'relu' or 'swish'.
    measure: see `measured`.
    kernel: 'linear' (eq. 6.6), 'kronecker' (eq. 6.5, the mean of a bin);
      'linear_normalized' and 'kronecker_sum' are with and without a division by the
      number of frames.
    edge: see `deal`.
    block_len: frames are merged within blocks of so many; 0 for the whole clip.
    order: see `sampling_matrix`.
    gradient: see `deal`.
    grad_scale: see `deal`.
    control: 'random' deals the Deltas of a clip to its frames at random: as many
      frames as without, but not by similarity; for comparison.
    norm: BatchNorm fields as pairs.
    lead: share of the channels, from the first, that decides which frames are similar;
      where several branches stand side by side, all follow the first.
  """

  bins: int | Sequence[int] = 0
  dim: int = 0
  space: str = "code"
  activation: str = "relu"
  measure: str = "magnitude"
  kernel: str = "linear"
  edge: str = "centre"
  block_len: int = 0
  order: str = "similarity"
  gradient: str = "constant_bins"
  grad_scale: float = 1.0
  control: str = ""
  norm: tuple[tuple[str, object], ...] = ()
  lead: float = 1.0

  def __post_init__(self):
    for field, known in CHOICES.items():
      choices.check(field, getattr(self, field), known)
    if self.measure in GRIDS:
      grid, more = self._grid(0), self.measure == "angular"
      if self.dim not in (0, len(grid) + more):
        raise ValueError(f"measure '{self.measure}' with dim = {self.dim} needs bins for"
                         f" {self.dim - more} coordinates, not {len(grid)}")
    elif not isinstance(self.bins, int):
      raise ValueError(f"measure '{self.measure}' has one coordinate: bins must be one number, not {self.bins}")
    super().__post_init__()

  def _grid(self, frames: int) -> tuple[int, ...]:
    """Bins per coordinate for (a block of) so many frames."""
    if self.measure in GRIDS:
      return tuple(self.bins) if not isinstance(self.bins, int) and self.bins else GRIDS[self.measure]
    return (self.bins or frames,)

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, mask: jax.Array | None = None
               ) -> tuple[jax.Array, jax.Array]:
    """Args: x (B, T, H, W, C); mask (B, T), live frames in front; None: all live."""
    x = x if train else stored(x)  # it is read twice
    batch, frames = x.shape[:2]
    length = min(self.block_len or frames, frames)
    blocks = -(-frames // length)
    grid = self._grid(length)
    bins = 1
    for number in grid:
      bins *= number

    z = self._similarity(x, train, mask)
    live = jnp.ones((batch, frames), bool) if mask is None else mask.astype(bool)
    by_block = lambda a: jnp.pad(a, [(0, 0), (0, blocks * length - frames)] + [(0, 0)] * (a.ndim - 2)).reshape(
        batch, blocks, length, *a.shape[2:])
    z, inner = by_block(z), by_block(live)
    delta = measured(z, inner, self.measure)
    if self.control == "random":
      delta = compaction.take(delta, self._shuffled(inner, train), axis=2)
    own = (jnp.maximum(inner.sum(-1, keepdims=True), 1),) if grid == (length,) and not self.bins else grid
    dealt = deal_grid(delta, inner, own, kernel=self.kernel, edge=self.edge, gradient=self.gradient,
                      grad_scale=self.grad_scale)
    dealt = dealt.replace(index=dealt.index + bins * jnp.arange(blocks)[:, None])
    dealt = jax.tree.map(lambda a: a.reshape(batch, -1)[:, :frames], dealt)
    matrix, mask = sampling_matrix(dealt, blocks * bins, min(frames, blocks * min(bins, length)),
                                   self.kernel in ("linear_normalized", "kronecker"), self.order)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "kept", matrix.sum(1))
    y = jnp.einsum("bkt,btd->bkd", matrix, x.reshape(batch, frames, -1).astype(jnp.float32),
                   precision=jax.lax.Precision.HIGHEST)
    return y.reshape(batch, -1, *x.shape[2:]).astype(x.dtype), mask

  def _similarity(self, x, train, mask):
    """Z = f_s(I), (B, T, L) fp32 (section 6.3.1)."""
    z = pool.mean_pool(x[..., :round(self.lead * x.shape[-1])], mask, frames=True)
    channels = z.shape[-1]
    size = self.dim or (len(self._grid(0)) + (self.measure == "angular") if self.measure in GRIDS else 8)
    act = nn.relu if self.activation == "relu" else nn.swish
    z = act(nn.Dense(channels if self.space == "paper" else max(channels // 2, 1), name="fc1")(z))
    z = nn.Dense(size, name="fc2")(z)
    return z if self.space == "paper" else BatchNorm(**dict(self.norm), name="norm")(z, train, mask)

  def _shuffled(self, live, train):
    """An order of the live frames of each block, drawn anew in training, always the same otherwise."""
    if train and self.has_rng("dropout"):
      draw = jax.random.uniform(self.make_rng("dropout"), live.shape)
    else:
      draw = jax.random.uniform(jax.random.PRNGKey(0), live.shape[-1:])
    return jnp.argsort(jnp.where(live, draw, 2.0), axis=-1)
