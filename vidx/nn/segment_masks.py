"""Segments as differentiable masks over frames, and lengths that a network can learn.

Souri et al.: "Fast Weakly Supervised Action Segmentation Using Mutual Consistency",
2021 (MuCon), and Fayyaz and Gall: "SCT: Set Constrained Temporal Transformer for Set
Supervised Action Segmentation", 2020. A template of J points is laid over the l frames
of a segment that starts after p frames: frame t = 1..T reads the template at
u = J (t - p) / l, between points linearly and 0 beyond 0 and J + 1.

Everything is fp32 and of shape (..., M) or (..., M, T), M segments and T frames.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices

TEMPLATES = ("box", "bell", "trapezoid")
CORNERS = ("frame", "align", "centre")
_LEAST = 1e-6  # frames: a shorter segment has no mask


def project_lengths(relative: jax.Array, frames: jax.Array | int, mask: jax.Array | None = None) -> jax.Array:
  """Lengths that sum to the frames of the video, from relative log lengths: T softmax(l).

  Args:
    relative: (..., M).
    frames: (...) true frames of each video.
    mask: (..., M) live segments; the others get length 0.

  Returns:
    (..., M) real lengths.
  """
  relative = relative.astype(jnp.float32)
  if mask is not None:
    relative = jnp.where(mask, relative, -jnp.inf)
  return jnp.asarray(frames, jnp.float32)[..., None] * jax.nn.softmax(relative)


def starts_of(lengths: jax.Array) -> jax.Array:
  """Frames before each segment: (..., M) -> (..., M)."""
  lengths = lengths.astype(jnp.float32)
  return jnp.cumsum(lengths, -1) - lengths


def excess(relative: jax.Array, limit: float) -> jax.Array:
  """How far relative log lengths are beyond +-limit, so that none vanishes: eq. 8.14 and eq. 9.11, each term."""
  relative = relative.astype(jnp.float32)
  return jax.nn.relu(relative - limit) + jax.nn.relu(-relative - limit)


def round_lengths(lengths: jax.Array) -> jax.Array:
  """Integer lengths between the rounded boundaries: (..., M) -> (..., M) int32 of the rounded sum, some perhaps 0."""
  ends = jnp.round(jnp.cumsum(lengths.astype(jnp.float32), -1)).astype(jnp.int32)
  return jnp.diff(ends, prepend=0)


def segment_of_frame(lengths: jax.Array, frames: int) -> jax.Array:
  """Which segment each frame lies in: integer lengths (..., M) -> (..., T) int32, the last one beyond their sum."""
  ends = jnp.cumsum(lengths, -1)
  inside = ends[..., None, :] <= jnp.arange(frames)[:, None]
  return jnp.minimum(inside.sum(-1), lengths.shape[-1] - 1)


def widen(starts: jax.Array, lengths: jax.Array, overlap: float, public: bool = False) -> tuple[jax.Array, jax.Array]:
  """Starts and lengths of segments that reach into their neighbours.

  Args:
    starts: (..., M).
    lengths: (..., M).
    overlap: share of a segment's length that is added at each side.
    public: as in MuCon's released code, which adds less before and more after:
      of a tenth .06 and .14.
  """
  longer = lengths * (1 + 2 * overlap)
  return starts - overlap * (longer / 2 if public else lengths), longer


def template(name: str, points: int = 100) -> np.ndarray:
  """Values of a template at its points: (J,) fp32.

  "box" is 1; "bell" a Gaussian of deviation J / 5 about the middle; "trapezoid"
  rises from .5 to 1 over the first quarter and falls alike over the last.
  """
  choices.check("template", name, TEMPLATES)
  values = np.ones(points, np.float32)
  if name == "bell":
    values = np.exp(-0.5 * ((np.arange(points) - (points - 1) / 2) / (points / 5)) ** 2)
  elif name == "trapezoid":
    ramp = np.linspace(0.5, 1, points // 4)
    values[:len(ramp)], values[points - len(ramp):] = ramp, ramp[::-1]
  return values.astype(np.float32)


def read_template(u: jax.Array, name: str = "box", points: int = 100) -> jax.Array:
  """sum_j U[j] max(0, 1 - |u - j|) over the points j = 1..J, in closed form, at any u (eq. 9.7)."""
  values = template(name, points)
  if name == "box":
    return jnp.clip(u, 0, 1) * jnp.clip(points + 1 - u, 0, 1)
  values = jnp.pad(values, (1, 1))  # 0 at 0 and at J + 1
  u = jnp.clip(u, 0, points + 1)
  low = jnp.minimum(jnp.floor(jax.lax.stop_gradient(u)), points)
  index, share = low.astype(jnp.int32), u - low
  return values[index] * (1 - share) + values[index + 1] * share


def segment_masks(lengths: jax.Array, frames: int, *, starts: jax.Array | None = None, length: jax.Array | None = None,
                  mask: jax.Array | None = None, name: str = "box", points: int = 100, overlap: float = 0.0,
                  public_overlap: bool = False, corner: str = "frame") -> jax.Array:
  """Every segment's share in every frame, differentiable in the lengths and starts.

  For whole lengths a box sums to its length exactly, but for the ramp of the last
  segment, which falls after the video. The gradient lives on the ramps, l / J
  frames at each border of a box: fewer points make wider ramps. Both ramps of a box
  lie behind their border (its middle l / 2J frames), so that lengths that are learnt
  with few points end too early: "centre" puts them about the border.

  Args:
    lengths: (..., M) frames of each segment, perhaps of padding (0).
    frames: T, of the padded video.
    starts: (..., M) frames before each segment, `starts_of(lengths)` where None;
      pass it through `jax.lax.stop_gradient` to let lengths act on their own segment only.
    length: (...) true frames of each video, T where None; the masks are 0 after them.
    mask: (..., M) live segments; the others have no mask.
    name: of TEMPLATES.
    points: J.
    overlap: see `widen`.
    public_overlap: see `widen`.
    corner: "frame" as above, or "align": the first frame reads the first point of
      a template at the start and the last frame the video's end, as grid sampling
      with aligned corners does in MuCon's released code; or "centre", u = J (t - 1/2 - p) / l
      + 1/2, the middle of a frame and half a box's value at each border.

  Returns:
    (..., M, T) in [0, 1], fp32.
  """
  choices.check("corner", corner, CORNERS)
  lengths = lengths.astype(jnp.float32)
  starts = starts_of(lengths) if starts is None else starts.astype(jnp.float32)
  live = lengths > _LEAST if mask is None else mask & (lengths > _LEAST)
  starts, lengths = widen(starts, jnp.where(live, lengths, 1), overlap, public_overlap)
  starts, lengths = starts[..., None], lengths[..., None]
  total = jnp.asarray(frames if length is None else length, jnp.float32)[..., None, None]
  t = jnp.arange(frames, dtype=jnp.float32)
  if corner == "frame":
    u = points * (t + 1 - starts) / lengths
  elif corner == "centre":
    u = points * (t + 0.5 - starts) / lengths + 0.5
  else:
    u = 1 + (points - 1) * (t * total / jnp.maximum(total - 1, 1) - starts) / lengths
  return jnp.where(live[..., None] & (t < total), read_template(u, name, points), 0)


def shares(lengths: jax.Array, frames: int, *, starts: jax.Array | None = None, length: jax.Array | None = None,
           mask: jax.Array | None = None) -> jax.Array:
  """How much of every frame lies in each segment: masks whose ramps are one frame wide, at every border.

  What `integrate_segments` sums without them. For the arguments see `segment_masks`.

  Returns:
    (..., M, T) in [0, 1], fp32.
  """
  lengths = lengths.astype(jnp.float32)
  starts = starts_of(lengths) if starts is None else starts.astype(jnp.float32)
  live = lengths > _LEAST if mask is None else mask & (lengths > _LEAST)
  total = jnp.asarray(frames if length is None else length, jnp.float32)[..., None, None]
  t = jnp.arange(frames, dtype=jnp.float32)
  inside = jnp.minimum(t + 1, (starts + lengths)[..., None]) - jnp.maximum(t, starts[..., None])
  return jnp.where(live[..., None] & (t < total), jnp.clip(inside, 0, 1), 0)


def pool_segments(values: jax.Array, masks: jax.Array) -> jax.Array:
  """Sums of the frames' values under each mask: (..., T, N), (..., M, T) -> (..., M, N)."""
  return jnp.einsum("...mt,...tn->...mn", masks, values.astype(jnp.float32), precision="highest")


def spread_segments(values: jax.Array, masks: jax.Array, normalise: bool = False) -> jax.Array:
  """Every frame's sum of the segments' values by their masks.

  Args:
    values: (..., M, N) of segments.
    masks: (..., M, T).
    normalise: divide by the sum of a frame's masks, so that rows that sum to 1
      stay so on ramps.

  Returns:
    (..., T, N).
  """
  spread = jnp.einsum("...mt,...mn->...tn", masks, values.astype(jnp.float32), precision="highest")
  return spread / jnp.maximum(masks.sum(-2), _LEAST)[..., None] if normalise else spread


def integrate_segments(values: jax.Array, lengths: jax.Array, starts: jax.Array | None = None,
                       length: jax.Array | None = None) -> jax.Array:
  """Sums of the frames' values between real boundaries: the box without a mask, with a gradient at every border.

  Differences of the running sum, linear within a frame: work T N + M N instead of
  M T N, and the gradient of a boundary is the value there. For whole lengths the
  sum of the segment's frames; a box mask differs from it on its ramps.

  Args:
    values: (..., T, N).
    lengths: (..., M).
    starts: (..., M), `starts_of(lengths)` where None.
    length: (...) true frames of each video, T where None; what is after them counts as 0.

  Returns:
    (..., M, N) fp32.
  """
  frames = values.shape[-2]
  values = values.astype(jnp.float32)
  if length is not None:
    values = jnp.where(jnp.arange(frames)[:, None] < jnp.asarray(length)[..., None, None], values, 0)
  lengths = lengths.astype(jnp.float32)
  starts = starts_of(lengths) if starts is None else starts.astype(jnp.float32)
  sums = jnp.cumsum(values, -2) - values

  def at(place):
    """Running sum at real places (..., M)."""
    place = jnp.clip(place, 0, frames)
    low = jnp.minimum(jnp.floor(jax.lax.stop_gradient(place)), frames - 1)
    index = low.astype(jnp.int32)[..., None]
    gather = lambda x: jnp.take_along_axis(x, index, -2)
    return gather(sums) + (place - low)[..., None] * gather(values)

  return at(starts + lengths) - at(starts)
