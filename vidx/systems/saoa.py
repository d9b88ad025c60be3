"""SAOA: verbs look at objects and nouns at motion, each stream choosing among candidates of the other; SAP.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 3. Two
networks, one of verbs and one of nouns, are trained before; features of detected objects
come with the clip. SAP, the earlier form, aligns both streams globally.
"""

from collections.abc import Mapping
from typing import Any

from flax import core
from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.nn import choices, pool
from vidx.nn import sites as sites_lib
from vidx.nn.action_relation import ActionRelation
from vidx.nn.cross_gate import CrossGate
from vidx.nn.roi_align import roi_max

#: What a classifier sees: candidates aligned with the clip as a whole or with what lies inside their
#: boxes; or of the baselines: the network's own features, those of both networks, the candidates
#: alone, or the network's features beside the candidates' maxima.
ALIGNMENTS = ("global", "local", "none", "fusion", "detections", "concat")
SCALINGS = ("none", "l2_rescale")
TIMES = ("mean", "max", "frame")
DETECTIONS = ("detections/features", "detections/boxes", "detections/mask")
TASKS = ("verb", "noun")
_EPS = 1e-6  # inside the root of a length


def length(x: jax.Array) -> jax.Array:
  """fp32 |x| along the last axis, which stays; its gradient at 0 is finite."""
  return jnp.sqrt(jnp.square(x.astype(jnp.float32)).sum(-1, keepdims=True) + _EPS)


class Candidates(nn.Module):
  """h_i = ReLU(W x + W_o f_i + b): a detected object beside features of the clip (eq. 3.1, eq. 3.2).

  Attributes:
    channels: C.
    use_clip: whether there is the term W x.
    scaling: "l2_rescale": f_i takes the length of x, whatever its own.
    dtype: compute dtype.
  """

  channels: int
  use_clip: bool = True
  scaling: str = "none"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, features: jax.Array) -> jax.Array:
    """x (B, 1 or N, C), features (B, N, C1) -> (B, N, C)."""
    dense = lambda name, bias: nn.Dense(self.channels, use_bias=bias, dtype=self.dtype, name=name)
    if self.scaling == "l2_rescale":
      features = features / length(features) * (length(x) if self.use_clip else 1.0)
    of_object = dense("object", not self.use_clip)(features)
    return nn.relu(dense("clip", True)(x) + of_object if self.use_clip else of_object)


class Stream(nn.Module):
  """One of the two classifiers; see `saoa` for the fields."""

  classes: int
  align: str
  gate: bool
  cross_stream: bool
  arm: bool
  pool: str
  use_clip: bool
  scaling: str
  reduction: int
  query_side: bool
  scale_logits: bool
  dropout: float
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, own: jax.Array, other: jax.Array, features: jax.Array | None, mask: jax.Array | None,
               local: jax.Array | None, train: bool) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Classifies.

    Args:
      own: (B, C) of this stream's network.
      other: (B, C) of the other's.
      features: (B, N, C1) of candidates.
      mask: (B, N) bool.
      local: (B, N, C), this stream's features inside the candidates' boxes.
      train: dropout.

    Returns:
      logits (B, classes), what they are of (B, D), both fp32, and weights (B, N) or None.
    """
    weights = None
    if self.align == "none":
      z = own
    elif self.align == "fusion":
      z = jnp.concatenate([own, other], -1)
    elif self.align == "detections":
      z = pool.pool_candidates(features, mask, self.pool)
    elif self.align == "concat":
      z = jnp.concatenate([own, pool.pool_candidates(features, mask, "max")], -1)
    else:
      z, weights = self._attended(own, other, features, mask, local)
    y = nn.Dropout(self.dropout, deterministic=not train)(z.astype(jnp.float32))
    return nn.Dense(self.classes, name="fc")(y), z.astype(jnp.float32), weights

  def show(self, boxes: jax.Array, weights: jax.Array, per_frame: int) -> None:
    """Leaves boxes (B, N, 4) with their weights (B, N) in `maps`, (B, frames, per_frame, 5)."""
    if self.is_mutable_collection("maps") and not self.is_initializing():
      shown = jnp.concatenate([boxes, weights[..., None]], -1)
      self.sow("maps", "candidates", shown.reshape(len(boxes), -1, per_frame, 5))

  def _attended(self, own, other, features, mask, local):
    """A clip without any live candidate has a virtual one: its own features and no object."""
    live = jnp.ones(features.shape[:2], bool) if mask is None else mask > 0
    first = ~live.any(1, keepdims=True) & (jnp.arange(live.shape[1]) == 0)
    features = jnp.where(live[..., None], features, 0)
    x = own[:, None]
    if local is not None:
      x = jnp.where(first[..., None], x.astype(local.dtype), jnp.where(live[..., None], local, 0))
    counted = live | first
    h = Candidates(own.shape[-1], self.use_clip, self.scaling, self.dtype, name="align")(x, features)
    asking = other if self.cross_stream else own
    if self.gate:
      h = CrossGate(self.dtype, name="gate")(h, asking)
    if not self.arm:
      return pool.pool_candidates(h, counted, self.pool), None
    relation = ActionRelation(self.reduction, self.query_side, self.scale_logits, self.dtype, name="relation")
    z, weights = relation(asking, h, counted)
    return z, weights * live


class SymbioticAttention(nn.Module):
  """`verb_net` and `noun_net` give maps and features, `verb` and `noun` classify; see `saoa` for the other fields."""

  verb_net: nn.Module
  noun_net: nn.Module
  verb: Stream
  noun: Stream
  frozen: bool
  mask_padding: bool
  per_frame: int
  local_frames: int
  roi: Mapping[str, Any]

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch: detections where a stream looks at them."""
    plain = {self.verb.align, self.noun.align} <= {"none", "fusion"}
    return ("video",) if plain else ("video", *DETECTIONS)

  @property
  def encoders(self) -> tuple[str, ...]:
    """The parts that `encode`, where they stay as they are."""
    return ("verb_net", "noun_net") if self.frozen else ()

  @property
  def held(self) -> tuple[str, ...]:
    """Patterns of the parameters that get no gradient."""
    return tuple(f"^{name}/" for name in self.encoders)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of a network; what is plugged in stands in both."""
    return self.verb_net.site_names()

  def __call__(self, video: jax.Array | Mapping[str, jax.Array], features: jax.Array | None = None,
               boxes: jax.Array | None = None, mask: jax.Array | None = None, train: bool = False
               ) -> dict[str, jax.Array]:
    """Scores verbs and nouns.

    Args:
      video: (B, T, H, W, C), normalised; or what `encode` made of it.
      features: (B, N, C1) of detected objects, `per_frame` of each frame in order of time,
        around the middle of the clip.
      boxes: (B, N, 4) as x0, y0, x1, y1 in pixels of `video`.
      mask: (B, N), 1 for live ones.
      train: dropout; and the networks', unless they are frozen.

    Returns:
      {'logits': {'verb', 'noun': (B, classes)}, 'features': (B, D), and where a stream
      attends 'weights/verb' or 'weights/noun': (B, N')}, fp32.
    """
    seen = video if isinstance(video, Mapping) else self.encode(video, train)
    frame = seen["frame"][:, :1], seen["frame"][:, 1:]  # height and width, (B, 1)
    if features is not None and not self.mask_padding:
      mask = None
    out, logits, told = {}, {}, []
    for name, stream in (("verb", self.verb), ("noun", self.noun)):
      own, other = seen[name], seen["noun" if name == "verb" else "verb"]
      given, live, local = features, mask, None
      placed = boxes
      if stream.align == "local":
        given, live = self._middle(features), None if mask is None else self._middle(mask)
        placed = self._middle(boxes)
        local = self._inside(seen[f"{name}_map"], placed, frame)
      logits[name], z, weights = stream(own, other, given, live, local, train)
      told.append(z)
      if weights is not None:
        out[f"weights/{name}"] = weights
        stream.show(placed, weights, self.per_frame)
    return {"logits": logits, **out, "features": jnp.concatenate(told, -1)}

  def encode(self, video: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """What both networks make of clips, as far as the streams look at it: may stand in place of the video.

    Args:
      video: (B, T, H, W, C), normalised.
      train: the networks', unless they are frozen.

    Returns:
      {'verb', 'noun': (B, C) fp32 means; 'verb_map' or 'noun_map' of a stream that aligns locally: (B, T', H', W', C),
      T' = 1 where `roi` pools over time; 'frame': (B, 2) fp32 height and width of the video}.
    """
    frame = jnp.array(video.shape[2:4], jnp.float32)
    found = {"frame": jnp.broadcast_to(frame, (video.shape[0], 2))}
    for name, net, stream in (("verb", self.verb_net, self.verb), ("noun", self.noun_net, self.noun)):
      x, _ = net.trunk(video, train and not self.frozen)
      x = jax.lax.stop_gradient(x) if self.frozen else x
      found[name] = pool.mean_pool(x)
      if stream.align == "local":
        over_time = {"mean": jnp.mean, "max": jnp.max}.get(self.roi["time"])
        found[f"{name}_map"] = over_time(x, axis=1, keepdims=True) if over_time else x
    return found

  def _middle(self, x):
    """The candidates of the frames nearest to the middle, those that local alignment looks at."""
    frames = x.shape[1] // self.per_frame
    kept = min(self.local_frames, frames)
    first = (frames - kept) // 2 * self.per_frame
    return x[:, first:first + kept * self.per_frame]

  def _inside(self, x, boxes, frame):
    """(B, N, C): the largest features inside each box, of the mean over time unless `roi` says otherwise."""
    scale = (x.shape[2] / frame[0], x.shape[3] / frame[1])
    pooled = lambda x, boxes: roi_max(x, boxes, self.roi["bins"], scale=scale, samples=self.roi["samples"])
    if self.roi["time"] != "frame":
      return pooled(x[:, 0], boxes)
    frames = boxes.shape[1] // self.per_frame
    parts = []
    for i in range(frames):
      share = (i - (frames - 1) / 2) / self.roi["rate"] / self.roi["span"] + 0.5  # of the clip, 0..1 inside it
      t = min(max(int(share * x.shape[1] // 1), 0), x.shape[1] - 1)
      parts.append(pooled(x[:, t], boxes[:, i * self.per_frame:(i + 1) * self.per_frame]))
    return jnp.concatenate(parts, 1)


#: RoIAlign of local alignment: bins and samples per axis; the map of features is the 'mean' or 'max'
#: over time, or the slice nearest to each box's 'frame', which follow one another `rate` times a second
#: around the middle of a clip of `span` seconds.
ROI = {"bins": 7, "samples": 2, "time": "mean", "rate": 2.0, "span": 64 * 2 / 60}


def saoa(num_classes: Mapping[str, int] = core.FrozenDict(verb=125, noun=352), trunk: str = "resnet3d_50",
         align_verb: str = "local", align_noun: str = "global", gate: bool = True, cross_stream: bool = True,
         arm: bool = True, pool_by: str = "mean", use_clip: bool = True, scaling: str = "", reduction: int = 4,
         query_side: bool = True, scale_logits: bool = False, frozen: bool = True, mask_padding: bool = True,
         per_frame: int = 5, local_frames: int = 8, roi: Mapping[str, Any] | None = None, dropout: float = 0.0,
         sites=None, dtype: Any = None, **fields) -> SymbioticAttention:
  """Symbiotic attention with object-centric alignment.

  Args:
    num_classes: of 'verb' and 'noun'.
    trunk: name of a trunk of clips, of which there are two.
    align_verb: a key of ALIGNMENTS; "global" is SAP, "none" the baseline and "fusion" that on both networks
      (Table 3.3).
    align_noun: the same; "detections", "concat" and "local" are rows of Table 3.2.
    gate: cross-stream gating (eq. 3.3 to 3.8); Table 3.1, "w/o Gating".
    cross_stream: gates and queries come from the other stream; "w/o Cross-Stream"; without both, "w/o CSG".
    arm: the action-attended relation (eq. 3.9 to 3.11), or else pooling; "w/o ARM".
    pool_by: where candidates are pooled, "mean" or "max".
    use_clip: candidates hold features of the clip beside those of the object.
    scaling: of the object's features to the length of the clip's, "l2_rescale", or "none"; '': as published,
      the former for Inception networks.
    reduction: C over the width of queries and keys.
    query_side: see ActionRelation.
    scale_logits: see ActionRelation.
    frozen: the networks are not trained, their batch statistics are the stored ones.
    mask_padding: places without a detection take no part; otherwise they are candidates of zeros.
    per_frame: candidates of a frame.
    local_frames: frames that local alignment looks at, those nearest to the middle.
    roi: values that differ from ROI.
    dropout: before both classifiers.
    sites: blocks to plug into both networks.
    dtype: compute dtype; logits, softmax and lengths are fp32.
    **fields: of the trunks.

  Returns:
    A module (video, detections) -> {'logits': {'verb', 'noun'}, ...}.
  """
  check_tasks(num_classes, TASKS)
  for field, value, known in (("align_verb", align_verb, ALIGNMENTS), ("align_noun", align_noun, ALIGNMENTS),
                              ("pool_by", pool_by, ("mean", "max"))):
    choices.check(field, value, known)
  scaling = scaling or ("l2_rescale" if trunk.startswith(("i3d", "inception", "s3d")) else "none")
  choices.check("scaling", scaling, SCALINGS)
  if per_frame < 1 or local_frames < 1:
    raise ValueError(f"per_frame = {per_frame} and local_frames = {local_frames} are at least 1")
  unknown = set(roi or {}) - set(ROI)
  if unknown:
    raise ValueError(f"roi has no field '{min(unknown)}'; its fields are {', '.join(ROI)}")
  roi = core.FrozenDict({**ROI, **(roi or {})})
  choices.check("roi.time", roi["time"], TIMES)
  net = lambda: systems.create_model(trunk, num_classes=0, sites=sites_lib.merge(sites or {}), dtype=dtype, **fields)
  stream = lambda name, align: Stream(num_classes[name], align, gate, cross_stream, arm, pool_by, use_clip, scaling,
                                      reduction, query_side, scale_logits, dropout, dtype)
  return SymbioticAttention(net(), net(), stream("verb", align_verb), stream("noun", align_noun), frozen, mask_padding,
                            per_frame, local_frames, roi)


def check_tasks(num_classes: Any, names: tuple[str, ...]) -> None:
  """Raises ValueError where `num_classes` is no mapping of exactly these names, or of some of them, to numbers."""
  if not isinstance(num_classes, Mapping) or set(num_classes) != set(names):
    wanted = ", ".join(f"'{name}': ..." for name in names)
    raise ValueError(f"num_classes = {num_classes!r} is not of the form {{{wanted}}}")
