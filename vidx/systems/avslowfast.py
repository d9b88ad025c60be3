"""Audiovisual SlowFast: a slow and a fast visual pathway and one of sound, which exchange features at several stages.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020; Xiao: "Learning to Recognize Objects and Actions with Little
Supervision", 2020, chapter 4. The three networks are walked step by step. After a stage,
s and f what the slow and the fast pathway give, a what that of sound gives:

  u = [s, F->S(f)]                  the lateral of SlowFast
  u + m(a)                          `ToFrames`, or the non-local operation of sound on u
  head([mean s, mean f, mean a])    or of every box [max s, max f, mean a], s and f the RoIAlign of their means in time

While training, m(a) is dropped in most steps, for all examples at once (DropPathway),
and the stages at which u has not yet met sound tell in-step sound from other sound by
what is pooled of u and of m(a).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import core
from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.backbones.audio_net import AudioNet
from vidx.backbones.chain import abreast
from vidx.backbones.slowfast import SlowFast, join
from vidx.nn import audio_fusion, choices, pool, sites as sites_lib, synchronization as sync
from vidx.nn.head import Head
from vidx.nn.norm import ConvNormAct
from vidx.nn.roi_align import roi_max
from vidx.nn.rotation import ROTATIONS, quarter_turns

FUSIONS = ("a_fs", "a_f_s", "nonlocal")
SCOPES = ("lateral", "all")
STREAMS = ("both", "sight", "sound")
BOXES = "rois"
BINS = 7  # of a box, along a side
STEPS = ("stem", "res2", "res3", "res4", "res5")  # after which something may be fused or compared


class AVSlowFast(nn.Module):
  """`sight` and `sound` in lockstep; see `avslowfast` for the other fields."""

  sight: SlowFast
  sound: AudioNet | None
  num_classes: Any
  fusion: str
  afs_stages: tuple[bool, ...]
  inner: int
  inner_ratio: float
  drop: float
  drop_scope: str
  drop_fill: str
  avs: tuple[str, ...]
  avs_dim: int
  margin: float
  hard_share: float
  hard_from: float
  score_sync: bool
  rotation: bool
  boxes: bool
  dropout: float
  sites: Any
  dtype: jnp.dtype | None

  @property
  def inputs(self) -> tuple[str, ...]:
    """The batch keys of its arguments."""
    heard = ("audio", "audio_valid") if self.sound is not None else ()
    paired = ("audio_neg", "progress", "weight") if self.avs else ()
    return ("video", *heard, *paired, *(("index",) if self.rotation else ()), *((BOXES,) if self.boxes else ()))

  @property
  def crop(self) -> int:
    """See Trunk.crop."""
    return self.sight.crop

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of SlowFast, then those of the audio pathway behind `audio.`."""
    return self.sight.site_names() + (self.sound.site_names() if self.sound is not None else ())

  @nn.nowrap
  def fused(self) -> tuple[str, ...]:
    """The steps after which sound comes in."""
    return tuple(end for end, there in zip(STEPS, self.afs_stages) if there) if self.sound is not None else ()

  @nn.nowrap
  def blind(self, stage: str) -> bool:
    """Whether what is seen at a stage has not met sound there, of a step that drops nothing."""
    first = min((STEPS.index(end) for end in self.fused()), default=len(STEPS))
    return STEPS.index(stage) < first + (self.fusion != "a_f_s")

  @nn.compact
  def __call__(self, *arrays: jax.Array, train: bool = False) -> dict[str, Any]:
    """Scores clips and their sound.

    Args:
      *arrays: those of `inputs`: video (B, T, H, W, 3), audio and audio_neg (B, Ta, F, 1), normalised,
        audio_valid, progress and weight (B,), index (B,), boxes of people (B, N, 4) in pixels of the clip.
      train: batch statistics of this batch, dropout, DropPathway, rotation drawn at random.

    Returns:
      fp32 'logits' (B, num_classes), or {name: (B, number)} of several heads, 'features' (B, C), what is pooled
      of the slow, the fast and the audio pathway, and with boxes both of each, (B, N, ...); in step with sound also
      'distance' {stage: (B,)} of the clip to its own sound, 0..1, and where sound at another time is compared too,
      'distance_neg' and 'losses' {'avs': (B,)}; with rotation 'turn' (B, 4) and 'turned' (B,), the quarter turns that
      were made.
    """
    if len(arrays) != len(self.inputs):
      raise ValueError(f"{len(arrays)} arrays, where this network takes {', '.join(self.inputs)}")
    given = dict(zip(self.inputs, arrays))
    video, out = given["video"], {}
    if self.rotation:
      turned = (jax.random.randint(self.make_rng("dropout"), (len(video),), 0, ROTATIONS) if train
                else given["index"] % ROTATIONS)
      video, out["turned"] = quarter_turns(video, turned), turned
    pairs = self._pairs(given, train)
    keep = jnp.ones(())
    if train and self.sound is not None and self.drop:
      keep = 1.0 - jax.random.bernoulli(self.make_rng("dropout"), self.drop).astype(jnp.float32)
    seen = {}
    ways = list(self.sight.enter(video, None, train))
    networks = [self.sight.slow, self.sight.fast]
    if self.sound is not None:
      ways += self.sound.enter(pairs["audio"], pairs["valid"], train)
      networks.append(self.sound)
    for _, piece in abreast(networks, lambda name, ways, train: self._exchange(name, ways, pairs, keep, seen, train)):
      ways = piece(ways, train)
    slow, fast, *heard = ways
    parts = [self._of_boxes(*way, given[BOXES]) if self.boxes else self.sight.pooled(*way) for way in (slow, fast)]
    if self.rotation:
      out["turn"] = Head(ROTATIONS, self.dropout, name="turn")(jnp.concatenate(parts, -1), None, train)["logits"]
    if heard:
      sound = pairs["own"](pool.mean_pool(*heard[0]))
      sound = sound * keep if self.drop_scope == "all" else sound
      sound = jnp.repeat(sound, len(parts[0]) // len(sound), 0)  # the same for each box
      parts.append(jnp.broadcast_to(sound[:, None, None, None], (*parts[0].shape[:-1], sound.shape[-1])))
    found = self._heads(jnp.concatenate(parts, -1), train)
    if self.boxes:
      found = jax.tree.map(lambda x: x.reshape(*given[BOXES].shape[:2], -1), found)
    out |= found
    if self.avs:
      out |= self._synchronized(seen, pairs, keep, given, train)
    return out

  def _of_boxes(self, x, mask, boxes):
    """fp32 (B N, 1, 1, 1, C): the largest values inside of each box of the mean over time."""
    y = pool.mean_frames(pool.live_frames(x.astype(jnp.float32), mask), mask)
    y = roi_max(y, boxes, BINS, scale=1 / self.sight.reduction)
    return y.reshape(-1, 1, 1, 1, y.shape[-1])

  def _heads(self, x, train):
    """{'logits', 'features'}."""
    several = isinstance(self.num_classes, Mapping)
    named = self.num_classes.items() if several else [("", self.num_classes)]
    head = lambda name, count: Head(count, self.dropout, each_place=self.sight.each_place,
                                    name=f"head_{name}" if several else "head")
    found = {name: head(name, count)(x, None, train) for name, count in named}
    features = next(iter(found.values()))["features"]
    logits = {name: one["logits"] for name, one in found.items() if "logits" in one}
    return {"features": features, **({"logits": logits if several else logits[""]} if logits else {})}

  def _pairs(self, given, train):
    """What the audio pathway is given: the clip's own sound, and beside it, where both are compared, other sound.

    'own' and 'other' pick from what it makes of them; pairs stand side by side in the batch, so that both share
    batch statistics whatever groups these are taken over.
    """
    if self.sound is None:
      return {}
    audio, valid = given["audio"], given["audio_valid"]
    whole = lambda x: x
    if train:
      self.sow("figures", "with_sound", (valid > 0).astype(jnp.float32).mean())
    if not self.avs or not (train or self.score_sync):
      return dict(audio=audio, valid=valid, own=whole, other=None)
    share, since = (self.hard_share, self.hard_from) if train else (1.0, 0.0)
    other, both = sync.negatives(audio, given["audio_neg"], valid, given["progress"], share, since)
    beside = lambda x, y: jnp.stack([x, y], 1).reshape(-1, *x.shape[1:])
    half = lambda i: lambda x: x.reshape(-1, 2, *x.shape[1:])[:, i]
    return dict(audio=beside(audio, other), valid=beside(valid, both.astype(valid.dtype)), own=half(0), other=half(1),
                tells=both & sync.tells(audio, other))

  def _exchange(self, name, ways, pairs, keep, seen, train):
    """What passes between the pathways after a step; notes in `seen` what the stages of `avs` compare."""
    slow, fast, *heard = ways
    if not heard or name not in (*self.fused(), *self.avs):
      return [*self.sight.exchange(name, (slow, fast), train), *heard]
    (sound, mask), norm = heard[0], self.sight.norms()[1]
    frames, fuse = slow[0].shape[1], name in self.fused()
    to_frames = lambda features, frames, called: audio_fusion.ToFrames(
        features, round(self.inner_ratio * sound.shape[-1]) if self.inner_ratio else self.inner, frames, norm=norm,
        dtype=self.dtype, name=f"{called}_{name}")(sound, mask, train)
    live = None if mask is None else pairs["own"](mask[:, 0])
    drop = audio_fusion.Dropped(self.drop_fill, name=f"drop_{name}") if fuse else None
    if fuse and self.fusion == "a_f_s":
      m = to_frames(fast[0].shape[-1], fast[0].shape[1], "fast")
      fast = fast[0] + drop(pairs["own"](m), keep, train, live)[:, :, None, None], fast[1]
    slow, fast = self.sight.exchange(name, (slow, fast), train)
    u, compared = slow[0], slow[0]
    if not fuse and name not in self.sight.lateral_ends():  # a lateral of its own, for the comparison alone
      y = ConvNormAct(self.sight.fusion_ratio * fast[0].shape[-1], (self.sight.fusion_kernel, 1, 1),
                      (self.sight.alpha, 1, 1), norm=norm, dtype=self.dtype, name=f"lateral_{name}")(fast[0], train)
      compared = join(u, y)[0]
    m = None
    if name in self.avs or (fuse and self.fusion == "a_fs"):
      m = to_frames(compared.shape[-1], frames, "fuse")
    if name in self.avs:
      other = (pairs["other"](m),) if pairs["other"] else ()
      seen[name] = sync.Embeddings(self.avs_dim, name=f"avs_{name}")(compared, pairs["own"](m), *other)
    if fuse and self.fusion == "a_fs":
      u = u + drop(pairs["own"](m), keep, train, live)[:, :, None, None]
    elif fuse and self.fusion == "nonlocal":
      y = audio_fusion.AudioVisualNonLocal(norm, self.dtype, name=f"nonlocal_{name}")(u, pairs["own"](sound), train)
      y = y if live is None else y * live[:, None, None, None, None].astype(y.dtype)
      u = u + drop(y, keep, train, live)
    return [(u, slow[1]), fast, *heard]

  def _synchronized(self, seen, pairs, keep, given, train):
    """Distances of clips to sound at every stage, and the loss of those that have not met it.

    In evaluation those that have met it, which could tell it by that, are left out where there are others.
    """
    blind = {stage: x for stage, x in seen.items() if self.blind(stage)}
    seen = seen if train or not blind else blind
    out = {"distance": {stage: sync.distance(x, own) for stage, (x, own, *_) in seen.items()}}
    if pairs["other"] is None:
      return out
    out["distance_neg"] = {stage: sync.distance(x, other) for stage, (x, _, other) in seen.items()}
    tells = pairs["tells"].astype(jnp.float32)
    scale = 1.0
    if train:  # the step takes the mean over all examples, the loss is that over those which tell
      live = (given["weight"] > 0).astype(jnp.float32)
      scale = live.sum() / jnp.maximum((live * tells).sum(), 1.0)
    total = jnp.zeros(len(tells))
    for stage in seen:
      pair = sync.contrastive(out["distance"][stage], out["distance_neg"][stage], self.margin)
      counts = 1.0 if self.blind(stage) else 1.0 - keep
      each = tells * pair * counts
      total += each
      if train:
        self.sow("figures", f"sync_{stage}", (each * scale).mean())
    return out | {"losses": {"avs": total * scale}, "tells": tells}


def avslowfast(num_classes: int | Mapping[str, int] = 400, trunk: str = "slowfast_r50_4x16", streams: str = "both",
               fusion: str = "a_fs", fs_stages: Sequence[bool] = (0, 0, 1, 1),
               afs_stages: Sequence[bool] = (0, 0, 1, 1), beta: float = 1 / 2, audio: Mapping[str, Any] | None = None,
               inner: int = 64, inner_ratio: float = 0.0, drop: float = 0.8, drop_scope: str = "lateral",
               drop_fill: str = "zeros", avs: Sequence[str] = ("res3", "res4", "res5"), avs_dim: int = 64,
               margin: float = sync.MARGIN, hard_share: float = 0.25, hard_from: float = 0.5,
               score_sync: bool = False, rotation: bool = False, boxes: bool = False, dropout: float = 0.5,
               sites=None, dtype: Any = None, **fields) -> AVSlowFast | AudioNet:
  """Audiovisual SlowFast, or one of its halves.

  Args:
    num_classes: of the head, or {target: number} of several; 0: none.
    trunk: name of a SlowFast.
    streams: 'both'; 'sight', the visual pathways alone; or 'sound', the audio pathway alone (table 7).
    fusion: 'a_fs', sound is added to what the fast pathway has handed to the slow one; 'a_f_s', to the fast
      pathway before that; 'nonlocal' (section 3.2; table 5b).
    fs_stages: after which of the stem and the stages but the last the fast pathway hands over; (1, 1, 1, 1) is
      SlowFast.
    afs_stages: after which sound comes in; (0, 0, 0, 0): at the head alone (table 5a).
    beta: width of the audio pathway over that of the slow one (table 6a).
    audio: further fields of the audio pathway, see AudioNet.
    inner: channels between both convolutions that bring sound to frames.
    inner_ratio: the same as a share of those of sound; 0: `inner`.
    drop: share of the training steps in which sound is dropped, of all examples at once (table 6b).
    drop_scope: 'lateral', sound stays in the head, or 'all'.
    drop_fill: what stands for it: 'zeros', or the running 'mean'.
    avs: stages at which clips are compared with their own and other sound in training (table 6c).
    avs_dim: numbers by which they are.
    margin: least distance of other sound.
    hard_share: share of other sound that is of the same video, at another time.
    hard_from: progress of the training from which there is such.
    score_sync: compares in evaluation, too, with sound of the same video alone.
    rotation: turns every clip by a quarter or more, and tells by how much; of sight alone.
    boxes: people in boxes are scored, each by the largest features inside, in place of the whole clip (section 4.4).
    dropout: before the classifiers.
    sites: blocks to plug in: sites of SlowFast, and those of the audio pathway behind `audio.`.
    dtype: compute dtype.
    **fields: of the trunk.
  """
  for field, value, known in (("streams", streams, STREAMS), ("fusion", fusion, FUSIONS),
                              ("drop_scope", drop_scope, SCOPES), *(("avs", stage, STEPS[1:]) for stage in avs)):
    choices.check(field, value, known)
  if not 0 <= drop <= 1 or not 0 <= hard_share <= 1:
    raise ValueError(f"drop = {drop} and hard_share = {hard_share} are shares, in 0..1")
  audio_fusion.Dropped(drop_fill, parent=None)  # a wrong field is an error here
  sites = sites_lib.merge(sites or {})
  shared = {k: fields[k] for k in ("eps", "momentum", "frozen_bn", "bn_groups", "zero_init") if k in fields}
  fields = {"laterals": tuple(map(bool, fs_stages))[:len(fields.get("stages", fs_stages))], **fields}
  make_sight = lambda sites: systems.create_model(trunk, num_classes=0, dtype=dtype, sites=sites, **fields)
  plain = make_sight({})
  if not isinstance(plain, SlowFast):
    raise ValueError(f"trunk = '{trunk}' is no SlowFast")
  own = {"stages": plain.stages, "width": round(beta * plain.width), **shared, **(audio or {})}
  if streams == "sound":
    if boxes:
      raise ValueError("streams = 'sound' has no boxes, for it sees nothing")
    return AudioNet(num_classes=num_classes, dropout=dropout, sites=sites, dtype=dtype, **own)
  make_sound = lambda sites: AudioNet(num_classes=0, prefix="audio.", sites=sites, dtype=dtype, parent=None, **own)
  heard = streams == "both"
  sight = sites_lib.share(make_sight, sites)
  sound = sites_lib.share(make_sound, sites) if heard else None
  stages = STEPS[1:1 + len(plain.stages)]
  if isinstance(num_classes, Mapping):
    num_classes = core.FrozenDict(num_classes)
  afs_stages = tuple(map(bool, afs_stages))[:len(stages)]
  avs = tuple(stage for stage in stages if stage in avs) if heard else ()
  model = AVSlowFast(
      sight=sight, sound=sound, num_classes=num_classes, fusion=fusion, afs_stages=afs_stages, inner=inner,
      inner_ratio=inner_ratio, drop=drop, drop_scope=drop_scope, drop_fill=drop_fill, avs=avs, avs_dim=avs_dim,
      margin=margin, hard_share=hard_share, hard_from=hard_from, score_sync=score_sync, rotation=rotation, boxes=boxes,
      dropout=dropout, sites=sites, dtype=dtype)
  sites_lib.check(sites, model.site_names())
  return model
