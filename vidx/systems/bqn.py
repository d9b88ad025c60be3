"""Busy-Quiet Net: a full-resolution pathway for motion and a low-resolution one for static content.

Band-pass laterals join them.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, chapter 5;
Huang, Bors: "Busy-Quiet Video Disentangling for Video Classification", 2022.

Both pathways are the same trunk, walked step by step. Sites: those of the trunk
behind `busy.` and `quiet.`.
"""

from collections.abc import Sequence
import fnmatch
import itertools

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.backbones.chain import lockstep
from vidx.nn import axes, choices
from vidx.nn import sites as sites_lib
from vidx.nn.band_pass import PHIS, BandPassLateral, MotionBandPass
from vidx.nn.conv import written
from vidx.nn.head import Head
from vidx.nn.represent import segments
from vidx.nn.resize import resize, resize_short

TO_BUSY, TO_QUIET = "to_busy", "to_quiet"
#: name: (directions of one connection after the other, again and again; whether those to Busy are band-passed).
DESIGNS = {
    "LC-I": (((TO_BUSY,),), True),
    "LC-II": (((TO_QUIET,),), True),
    "LC-III": (((TO_BUSY, TO_QUIET),), True),
    "LC-IV": (((TO_QUIET,), (TO_BUSY,)), True),  # eq. 5.5
    "LC-V": (((TO_QUIET,), (TO_BUSY,)), False),
}
QUIET = ("complement", "first_frame", "mean")
FUSIONS = ("average_logits", "max_logits", "average_features", "concatenate_features")


class BusyQuiet(nn.Module):
  """Two pathways on clips of N segments of 3 consecutive frames; see `bqn` for the fields.

  Attributes:
    laterals: (step, directions, size of the band-pass kernel) per place.
    norm: BatchNorm fields of the laterals, as pairs.
  """

  busy: nn.Module
  quiet: nn.Module
  laterals: Sequence[tuple[str, tuple[str, ...], int]]
  num_classes: int
  size: int
  sigma: float
  trainable: bool
  quiet_input: str
  complement_gain: float
  quiet_size: int
  quiet_frames: int
  lateral_sigma: float
  phi: str
  fusion: str
  shared_head: bool
  dropout: float
  norm: tuple[tuple[str, object], ...]
  dtype: jnp.dtype | None

  inputs = ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    step = lambda name: name.rpartition(".")[0] if name.count(".") > 1 else name
    grouped = [[list(group) for _, group in itertools.groupby(way.site_names(), lambda name: step(name))]
               for way in (self.busy, self.quiet)]
    return tuple(name for pair in zip(*grouped) for group in pair for name in group)

  def setup(self):
    self.band_pass = MotionBandPass(self.size, self.sigma, trainable=self.trainable)
    self.exchanges = {
        f"{way}_{step}": BandPassLateral(size if way == TO_BUSY else 0, self.lateral_sigma, self.phi, self.norm,
                                         self.dtype, name=f"{way}_{step.replace('.', '_')}")
        for step, ways, size in self.laterals for way in ways}
    if self.fusion.endswith("features"):
      self.head = Head(self.num_classes, self.dropout, self.busy.head_std)

  def pathways(self, video: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the pathways see: Busy (B, N, H, W, C), and Quiet, smaller (eq. 5.4)."""
    axes.check_pixels(video)
    frames = segments(video, 3)
    busy = self.band_pass(frames)
    if self.quiet_input == "first_frame":
      quiet = frames[:, :, 0]
    else:
      quiet = frames.astype(jnp.float32).mean(2)
      if self.quiet_input == "complement":
        quiet = quiet - self.complement_gain * busy
    quiet = resize_short(quiet, self.quiet_size)
    return busy, resize(quiet, (self.quiet_frames or quiet.shape[1], *quiet.shape[2:4]))

  def steps(self):
    """((name, Busy module), (name, Quiet module)) pairs; see Trunk.steps."""
    return list(zip(self.busy.steps(), self.quiet.steps()))

  def _exchange(self, name, ways, train):
    """Sums of eq. 5.5; where both directions have a place, both see what was there before."""
    (busy, busy_mask), (quiet, quiet_mask) = ways
    busy, quiet = written(busy), written(quiet)
    sums = {TO_BUSY: (busy, quiet), TO_QUIET: (quiet, busy)}
    for way, (x, other) in tuple(sums.items()):
      if f"{way}_{name}" in self.exchanges:
        sums[way] = x + self.exchanges[f"{way}_{name}"](other, x.shape[1:4], train).astype(x.dtype), other
    return [(sums[TO_BUSY][0], busy_mask), (sums[TO_QUIET][0], quiet_mask)]

  def __call__(self, video: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Scores clips.

    Args:
      video: (B, N, 3, H, W, 3) or (B, 3 N, H, W, 3), normalised.
      train: batch statistics of this batch, dropout.

    Returns:
      {'logits': (B, num_classes), 'features': (B, 2 C), Busy's first}, fp32.
    """
    ways = [(x, None) for x in self.pathways(video)]
    busy, quiet = lockstep((self.busy, self.quiet), ways, self._exchange, train)
    outs = self.busy.scores(*busy, train), (self.busy if self.shared_head else self.quiet).scores(*quiet, train)
    features = [out["features"] for out in outs]
    result = {"features": jnp.concatenate(features, -1)}
    if self.fusion.endswith("features"):
      y = result["features"] if self.fusion == "concatenate_features" else (features[0] + features[1]) / 2
      return {**self.head(y[:, None, None, None], None, train), **result}
    if self.num_classes:
      logits = [out["logits"] for out in outs]
      result["logits"] = jnp.maximum(*logits) if self.fusion == "max_logits" else (logits[0] + logits[1]) / 2
    return result


def bqn(num_classes: int = 400, trunk: str = "tsm_r50", size: int = 9, sigma: float = 1.1, trainable: bool = True,
        quiet_input: str = "complement", complement_gain: float = 1.0, quiet_size: int = 160, quiet_frames: int = 0,
        design: str = "LC-IV", places: Sequence[str] = ("*",), every: int = 1, lateral_size: int = 7,
        deep_size: int = 3, lateral_sigma: float = 0.9, phi: str = "identity", fusion: str = "average_logits",
        shared_head: bool = True, dropout: float = 0.5, sites=None, dtype=None, **fields) -> BusyQuiet:
  """Busy-Quiet Net.

  The Busy pathway sees the clip at its own size (published: 256), the Quiet one at
  `quiet_size`. A connection stands after a block, which is a step of the trunk with
  a dot in its name; its direction follows from its running number.

  Args:
    num_classes: 0 leaves the logits out.
    trunk: name of a trunk or system of clips, for each of the pathways.
    size: of the spatial kernel that makes the Busy input.
    sigma: of its Gaussian.
    trainable: whether the kernels of the input are parameters.
    quiet_input: 'complement', the mean of three frames less the Busy image;
      'first_frame' of the three (as in the public code); or their 'mean'.
    complement_gain: factor on the Busy image in the complement.
    quiet_size: shorter side of the Quiet input; 0: that of the clip.
    quiet_frames: its length, resampled in time; 0: as many as Busy's.
    design: a key of DESIGNS.
    places: patterns of the blocks that have a connection: ('*',) for all, () for
      none, ('res*.0',) for the first of each stage.
    every: takes the n-th, 2n-th, 3n-th, ... of those.
    lateral_size: of the spatial kernel in connections to Busy.
    deep_size: the same after blocks of the last stage of residual networks.
    lateral_sigma: of their Gaussians.
    phi: of the other connections; see BandPassLateral.
    fusion: one of FUSIONS.
    shared_head: one classifier, and what else stands behind the pooling, for both.
    dropout: before the last layer, per pathway.
    sites: blocks to plug in.
    dtype: compute dtype; None is fp32.
    **fields: of the trunk.

  Returns:
    A module (B, 3 N, H, W, 3) -> {'logits', 'features'}.
  """
  for field, value, known in (("quiet_input", quiet_input, QUIET), ("design", design, DESIGNS), ("phi", phi, PHIS),
                              ("fusion", fusion, FUSIONS)):
    choices.check(field, value, known)
  sites = sites_lib.merge(sites or {})
  classes = 0 if fusion.endswith("features") else num_classes

  def pathway(name, num_classes):
    return sites_lib.share(
        lambda sites: systems.create_model(trunk, num_classes=num_classes, dropout=dropout, dtype=dtype,
                                           prefix=f"{name}.", sites=sites, **fields), sites)

  busy, quiet = pathway("busy", classes), pathway("quiet", 0 if shared_head else classes)
  sites_lib.check(sites, busy.site_names() + quiet.site_names())
  _, norm = busy.norms()
  laterals = connections(busy.site_names(), design, places, every, lateral_size, deep_size)
  return BusyQuiet(
      busy, quiet, laterals, num_classes=num_classes, size=size, sigma=sigma, trainable=trainable,
      quiet_input=quiet_input, complement_gain=complement_gain, quiet_size=quiet_size, quiet_frames=quiet_frames,
      lateral_sigma=lateral_sigma, phi=phi, fusion=fusion, shared_head=shared_head, dropout=dropout, norm=norm,
      dtype=dtype)


def connections(site_names: Sequence[str], design: str = "LC-IV", places: Sequence[str] = ("*",), every: int = 1,
                lateral_size: int = 7, deep_size: int = 3) -> tuple[tuple[str, tuple[str, ...], int], ...]:
  """Where the connections of a trunk stand: (block, directions, size of the kernel of those to Busy).

  Args:
    site_names: of a pathway, such as 'busy.res2.0.out'.
    design: see `bqn`.
    places: see `bqn`.
    every: see `bqn`.
    lateral_size: see `bqn`.
    deep_size: see `bqn`.

  Raises:
    ValueError: a pattern that matches no block.
  """
  blocks = [name.partition(".")[2].removesuffix(".out") for name in site_names if name.endswith(".out")]
  sites_lib.check(dict.fromkeys(places), blocks)
  chosen = [name for name in blocks if any(fnmatch.fnmatchcase(name, pattern) for pattern in places)]
  ways, filtered = DESIGNS[design]
  sizes = [0 if not filtered else deep_size if name.startswith("res5.") else lateral_size for name in chosen]
  return tuple(zip(chosen[every - 1::every], itertools.cycle(ways), sizes[every - 1::every]))
