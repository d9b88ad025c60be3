"""Adaptive token sampling: inside attention, only queries of significant tokens are kept.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 7; Fayyaz et al.: "Adaptive Token Sampling for Efficient Vision
Transformers", 2022. All keys stay, so that dropped tokens still reach those that are
left (eq. 7.6). Beside it, the fixed share and the fusion of Liang et al.: "Not
All Patches are What You Need: Expediting Vision Transformers via Token
Reorganizations", 2022.
"""

import zlib

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import choices, compaction
from vidx.nn.attention import Heads, attention_weights

CHOICES = {
    "score": ("cls", "self", "random_token", "random", "uniform"),
    "value_norm": ("per_head", "per_head_normalised", "concat", "none"),
    "rule": ("inverse", "nearest", "topk"),
    "grid": ("midpoint", "random", "public"),
    "order": ("index", "score"),
    "over_frames": ("apart", "union", "tube"),
}


def samples_by_count(keep: int | float, tokens: int, least: int = 8, oversample: bool = False) -> np.ndarray:
  """K for every number of live tokens n, (tokens + 1,) int32.

  Args:
    keep: K itself, or the share of n, to the nearest whole number.
    tokens: the largest n.
    least: a share gives no fewer.
    oversample: K samples also where there are fewer tokens; otherwise at most n.
  """
  n = np.arange(tokens + 1)
  share = np.maximum(np.floor(np.round(keep * n, 6) + 0.5), least)
  many = np.full(tokens + 1, keep) if isinstance(keep, int) else share
  return np.where(oversample, many, np.minimum(many, n)).astype(np.int32)


def significance(heads: Heads, live: jax.Array, query: jax.Array | int = 0, value_norm: str = "per_head",
                 every_row: bool = False) -> jax.Array:
  """What one query, or all live ones, take of each token: attention times the norm of the value, over all heads.

  To the letter, eq. 7.3 scores per head, each with a sum of 1 over the live tokens
  but the first, and the scores are summed over heads ('per_head_normalised'); 'per_head'
  sums the products as they are, so that heads with large values count more. The public
  code multiplies the heads' attention by the norm of all heads' values together ('concat').

  Args:
    heads: (..., N, H, d).
    live: (..., N) bool.
    query: which query, or one for each of the leading axes (...).
    value_norm: one of CHOICES['value_norm'].
    every_row: adds up the attention of all live queries instead.

  Returns:
    fp32 (..., N).
  """
  if every_row:
    q = heads.q
  else:
    q = compaction.take(heads.q, jnp.broadcast_to(query, heads.q.shape[:-3])[..., None], heads.q.ndim - 3)
  attention = attention_weights(q, heads.k, heads.mask, scale=heads.scale)
  if every_row:
    attention = jnp.where(live[..., None, :, None], attention, 0)
  attention = attention.sum(-2)
  squares = jnp.square(heads.v.astype(jnp.float32)).sum(-1).swapaxes(-1, -2)
  if value_norm.startswith("per_head"):
    each = attention * jnp.sqrt(squares)
    if value_norm == "per_head_normalised":
      each = normalized(each, (live & (jnp.arange(live.shape[-1]) > 0))[..., None, :])
    return each.sum(-2)
  return attention.sum(-2) * (jnp.sqrt(squares.sum(-2)) if value_norm == "concat" else 1)


def normalized(scores: jax.Array, live: jax.Array) -> jax.Array:
  """Scores (..., N) that add up to 1 over live tokens; equal ones where all are zero."""
  scores = jnp.where(live, scores, 0)
  total = scores.sum(-1, keepdims=True)
  equal = live / jnp.maximum(live.sum(-1, keepdims=True), 1)
  return jnp.where(total > 0, scores / jnp.maximum(total, 1e-30), equal)


def _cumulated(scores):
  """Psi of eq. 7.4: fp32 (..., N), not decreasing, at last 1 (0 where all is 0)."""
  psi = jax.lax.cummax(jnp.cumsum(scores.astype(jnp.float32), -1), axis=scores.ndim - 1)
  return psi / jnp.maximum(psi[..., -1:], 1e-30)


def _points(psi, live, count, most, grid, draws):
  """Returns (levels, psi): the CDF levels to invert, (..., most), the first `count` valid, and the rescaled CDF."""
  step = jnp.arange(most, dtype=jnp.float32)
  if grid == "random":
    return jnp.broadcast_to(draws, (*count.shape, most)), psi
  if grid == "midpoint":
    return (step + 0.5) / jnp.maximum(count, 1)[..., None], psi
  low = jnp.where(live, psi, 2.0).min(-1, keepdims=True)
  high = jnp.where(live, psi, 0.0).max(-1, keepdims=True)
  psi = (jnp.clip(psi, low, high) - low) / jnp.maximum(high - low, 1e-30)
  second = jnp.where(live & (psi > 0), psi, 1.0).min(-1, keepdims=True)
  points = second + (1 - second) * step / jnp.maximum(count - 1, 1)[..., None]
  return jnp.minimum(points, psi.max(-1, keepdims=True)), psi


def _inverted(psi, points, drawn, count):
  """How many of the points lie in (Psi(j - 1), Psi(j)], (..., N); `points` None: the midpoints."""
  if points is None:
    below = jnp.floor(psi * count[..., None] + 0.5)
  else:
    below = (drawn[..., None, :] & (points[..., None, :] <= psi[..., :, None])).sum(-1)
  return jnp.diff(below, axis=-1, prepend=0)


def hits(scores: jax.Array, live: jax.Array, count: jax.Array, most: int, rule: str = "inverse",
         grid: str = "midpoint", order: str = "index", draws: jax.Array | None = None) -> jax.Array:
  """How many of K samples fall on each token (section 7.2.2).

  'inverse' takes the first token j with Psi(j) >= k, so that one dominant token is
  the only one and equal scores keep all; 'nearest', the token whose Psi is nearest to
  k, does neither exactly. 'topk' takes the K highest scores, equal ones by index.

  Args:
    scores: fp32 (..., N), 0 for dead tokens, adding up to 1.
    live: (..., N) bool.
    count: (...) int32, K.
    most: at least the largest K.
    rule: one of CHOICES['rule'].
    grid: levels k: 'midpoint', (2 i - 1) / 2K; 'random', `draws`; 'public', K levels
      from the second smallest Psi to 1, where Psi runs from 0 to 1.
    order: in which scores are cumulated: by 'index', which depends on the order of
      the tokens, or by 'score', ascending, which does not.
    draws: (most,) in [0, 1).

  Returns:
    (..., N), 0 for dead tokens.
  """
  if rule == "topk":
    rank = jnp.argsort(jnp.argsort(jnp.where(live, -scores, 1), -1, stable=True), -1)
    return ((rank < count[..., None]) & live).astype(jnp.int32)
  if order == "score":
    rows = jnp.argsort(jnp.where(live, scores, 2), -1, stable=True)
    at = lambda x, rows: jnp.take_along_axis(x, rows, -1)
    return at(hits(at(scores, rows), at(live, rows), count, most, rule, grid, "index", draws), jnp.argsort(rows, -1))
  psi = _cumulated(scores)
  if rule == "inverse" and grid == "midpoint":
    return _inverted(psi, None, None, count).astype(jnp.int32)
  points, psi = _points(psi, live, count, most, grid, draws)
  drawn = (jnp.arange(most) < count[..., None]) & live.any(-1, keepdims=True)
  if rule == "inverse":
    return _inverted(psi, points, drawn, count).astype(jnp.int32)
  away = jnp.where(live[..., None, :], jnp.abs(psi[..., None, :] - points[..., :, None]), jnp.inf)
  chosen = away.argmin(-1)[..., None] == jnp.arange(scores.shape[-1])
  return (chosen & drawn[..., None]).sum(-2)


def all_live(heads: Heads) -> jax.Array:
  """(..., N) bool: the live tokens."""
  return jnp.ones(heads.k.shape[:-2], bool) if heads.mask is None else heads.mask.astype(bool)


def keep_rows(heads: Heads, keep: jax.Array, capacity: int) -> Heads:
  """Heads with the queries of the tokens `keep`, (..., N) bool, in front and room for `capacity`."""
  rows, live = (x[..., :capacity] for x in compaction.live_first(keep))
  return heads.replace(q=compaction.take(heads.q, rows, rows.ndim - 1), rows=rows, live=live)


def _show(sampler, kept, rows, live):
  """Leaves the tokens kept, and which token each place behind the sampler holds (-1: none), in `maps` for who asks."""
  if sampler.is_mutable_collection("maps") and not sampler.is_initializing():
    sampler.sow("maps", "kept", kept.astype(jnp.float32))
    sampler.sow("maps", "rows", jnp.where(live, rows, -1))


class AdaptiveTokenSampler(nn.Module):
  """Keeps the queries of the CLS and of at most K sampled tokens; a plug-in of the sites `*.heads`.

  Nothing is learned, so it goes into a trained network as it is; the choice of tokens
  has no gradient. Equal samples count once: K' <= K tokens are left, fewer where few
  tokens matter. They keep their order, live ones in front. Which are kept does not
  depend on dead tokens or other examples. If the caller makes the collection `maps`
  mutable, the samples per token, (..., N), the CLS among them, are left there as
  `kept`, and which token each place holds, (..., K + 1), -1 for none, as `rows`.

  Attributes:
    keep: K, the CLS not counted, or as a float the share of the live tokens.
    least: a share gives no fewer, as far as there are tokens.
    score: 'cls', what the CLS takes of each token; 'self', what all tokens take
      together; 'random_token', what one random token takes; and two controls:
      'random' numbers, and 'uniform', equal scores, which keeps evenly spread tokens.
    value_norm: see `significance`.
    rule: see `hits`.
    grid: see `hits`.
    order: see `hits`.
    oversample: K samples also where there are fewer tokens, as in the public code.
    over_frames: of tokens (..., T, N): 'apart', frames for themselves; 'tube', by the
      mean of the frames' scores, the same places in all; 'union', frames for
      themselves, but a place that any frame keeps stays in all, dead where that frame
      dropped it, so that places still correspond (live tokens have dead ones between).
    cls_enforced: False: the CLS competes for a place, by the score 'self'; where it
      loses, the first token kept is read in its stead.
    seed: of what is random, the same for all examples; in training it changes with
      every step.
  """

  keep: int | float = 1.0
  least: int = 8
  score: str = "cls"
  value_norm: str = "per_head"
  rule: str = "inverse"
  grid: str = "midpoint"
  order: str = "index"
  oversample: bool = False
  over_frames: str = "apart"
  cls_enforced: bool = True
  seed: int = 0

  def __post_init__(self):
    for field, known in CHOICES.items():
      choices.check(field, getattr(self, field), known)
    if self.keep <= 0 or (isinstance(self.keep, float) and self.keep > 1):
      raise ValueError(f"keep = {self.keep} is neither a share in (0, 1] nor a number of tokens")
    if not self.cls_enforced and self.score == "cls":
      raise ValueError("cls_enforced = False needs the score 'self': the CLS does not score itself")
    super().__post_init__()

  @nn.compact
  def __call__(self, heads: Heads, train: bool = False) -> Heads:
    """(..., N, H, d) -> the same with at most K + 1 queries."""
    live = all_live(heads)
    first = int(self.cls_enforced)
    candidates = live[..., first:]
    scores = normalized(jax.lax.stop_gradient(self._scores(heads, live, train))[..., first:], candidates)
    counted = candidates
    if self.over_frames == "tube":
      counted = candidates.any(-2, keepdims=True)
      scores = normalized(scores.sum(-2, keepdims=True), counted)
    tokens = counted.shape[-1]
    table = samples_by_count(self.keep, tokens, self.least, self.oversample)
    count = jnp.asarray(table)[counted.sum(-1)]
    draws = self._draws(int(table.max()), train) if self.grid == "random" else None
    found = hits(scores, counted, count, int(table.max()), self.rule, self.grid, self.order, draws)
    found = jnp.pad(found, [(0, 0)] * (found.ndim - 1) + [(first, 0)], constant_values=1)
    found = jnp.where(live, found, 0)
    keep, most = found > 0, int(table.max())
    if self.over_frames == "apart":
      left = keep_rows(heads, keep, first + min(tokens, most))
      _show(self, found, left.rows, left.live)
      return left
    most *= keep.shape[-2] if self.over_frames == "union" else 1
    anywhere = jnp.broadcast_to(keep.any(-2, keepdims=True), keep.shape)
    left = keep_rows(heads, anywhere, first + min(tokens, most))
    _show(self, found, left.rows, left.live)
    return left.replace(live=left.live & jnp.take_along_axis(keep, left.rows, -1))

  def _scores(self, heads, live, train):
    """(..., N), not normalised."""
    if self.score == "uniform":
      return live.astype(jnp.float32)
    if self.score == "random":
      return 1 + self._draws(live.shape[-1], train)[jnp.cumsum(live, -1) - 1]
    query = 0
    if self.score == "random_token":
      others = jnp.cumsum(live[..., 1:], -1)
      wanted = jnp.floor(self._draws(1, train)[0] * others[..., -1:])
      query = 1 + (others > wanted).argmax(-1)
    return significance(heads, live, query, self.value_norm, self.score == "self")

  def _draws(self, many, train):
    """(many,) in [0, 1), of which the first do not depend on how many there are."""
    if train and self.has_rng("dropout"):
      key = self.make_rng("dropout")
    else:
      key = jax.random.fold_in(jax.random.PRNGKey(self.seed), zlib.crc32("/".join(self.path).encode()) % 2**31)
    return jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(jnp.arange(many))


class TokenReorganization(nn.Module):
  """Keeps a fixed share of the tokens by the attention of the CLS and fuses the rest into one; a plug-in of `*.heads`.

  The token behind the kept ones is the sum of the dropped ones after attention, each
  times the mean attention that the CLS has for it; of clips, frames are for themselves.
  `kept` and `rows` are left in `maps` as by `AdaptiveTokenSampler`.

  Attributes:
    keep: share of the live tokens, the CLS not counted, rounded up.
    fuse: whether the others become a token.
  """

  keep: float = 0.7
  fuse: bool = True

  @nn.compact
  def __call__(self, heads: Heads) -> Heads:
    """(..., N, H, d) -> the same with the rows that are kept; all queries where others are fused."""
    live = all_live(heads)
    others = live[..., 1:]
    tokens = others.shape[-1]
    table = np.ceil(np.round(self.keep * np.arange(tokens + 1), 6)).astype(np.int32)
    attention = jax.lax.stop_gradient(significance(heads, live, value_norm="none")) / heads.q.shape[-2]
    found = hits(attention[..., 1:], others, jnp.asarray(table)[others.sum(-1)], tokens, "topk")
    found = jnp.concatenate([live[..., :1], found > 0], -1)
    left = keep_rows(heads, found, 1 + int(table[-1]))
    behind = [(0, 0)] * (left.rows.ndim - 1) + [(0, int(self.fuse))]
    rows = jnp.pad(left.rows, behind)
    _show(self, found, rows, jnp.pad(left.live, behind))
    if not self.fuse:
      return left
    dropped = live & ~found
    count = found.sum(-1) + dropped.any(-1)
    return heads.replace(rows=rows, live=jnp.arange(rows.shape[-1]) < count[..., None],
                         fused=jnp.where(dropped, attention, 0))
