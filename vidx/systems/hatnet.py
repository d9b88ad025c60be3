"""HATNet: a 3D network for what happens and a 2D network for what is seen, which merge their features at every stage.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 5.3.3; Diba et al.: "Large Scale Holistic Video Understanding", 2020.

Both branches are residual networks, walked step by step. With A_s and B_s what their
stages make of U3_{s-1} and U2_{s-1}, and M_s = [A_s, B_s]:

  U3_s = R3_s(M_s),  U2_s = R2_s(M_s)     each branch goes on from its own
  U    = R(M_4)                           the last stage: one final merge, then the head

Sites: those of a ResNet behind `temporal.` and `appearance.`, and `stem`, `res2`, ...,
where both branches stand side by side in channels, the temporal one's first (of the
last stage, what is merged): blocks that drop frames belong there, so that the branches
stay aligned.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.backbones.chain import Chain, Trunk, abreast, as_clip
from vidx.backbones.resnet import BLOCK_SITES, ResNet
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.channel_correlation import ChannelCorrelation
from vidx.nn.merge_reduce import MergeReduce
from vidx.terminal import counted

BRANCHES = ("temporal", "appearance")
STEMS = {"video": "image_flat", "hara": "hara_flat"}  # of the 3D branch: of the 2D one
EVERY = ("stage", "block", "never")
ALIGN = {"stride": "every", "pool": "mean"}


class HATNet(Chain):
  """Two residual networks with merge-and-reduce blocks, on clips; see Chain and Trunk for the fields that trunks share.

  Attributes:
    stages: blocks per stage, of both branches.
    block: 'basic' or 'bottleneck'.
    width: see ResNet.
    strides: spatial stride per stage.
    time_strides: temporal stride per stage; the 2D branch follows, see `t_align`.
    stem: 'video' (3x7x7, no pooling: 56 x 56 for clips of 112), or 'hara' (7x7x7, max pooling).
    t_align: where time is strided, the 2D branch keeps every second frame ('stride') or
      the means of two ('pool').
    stc: the 3D branch is an STC-Net, see ChannelCorrelation; its residual branches then do
      not start as nothing, as the gates would see nothing.
    zero_init: residual branches start as nothing.
    merge_every: 'stage', 'block' (after each residual block), or 'never': late fusion,
      only the final merge.
    merge_stem: merges behind the stem as well.
    mr_init: see MergeReduce; of the final merge 'select' means the 3D branch.
    mr_plain: MergeReduce.plain.
    clip_norm: (mean, std) by which clips come normalised, each of three numbers in 0..1 units.
    appearance_norm: (mean, std) that the 2D branch wants, such as ImageNet's; () for the same.
  """

  num_classes: int = 3142
  stages: Sequence[int] = (2, 2, 2, 2)
  block: str = "basic"
  width: int = 64
  strides: Sequence[int] = (1, 2, 2, 2)
  time_strides: Sequence[int] = (1, 2, 2, 2)
  stem: str = "video"
  t_align: str = "stride"
  stc: bool = False
  zero_init: bool = True
  merge_every: str = "stage"
  merge_stem: bool = False
  mr_init: str = "he"
  mr_plain: bool = False
  clip_norm: Sequence[Sequence[float]] = ()
  appearance_norm: Sequence[Sequence[float]] = ()
  consensus: bool = False

  def __post_init__(self):
    for field, known in (("stem", STEMS), ("t_align", ALIGN), ("merge_every", EVERY)):
      choices.check(field, getattr(self, field), known)
    if self.appearance_norm and not self.clip_norm:
      raise ValueError("appearance_norm is given, but not clip_norm: how clips come normalised")
    MergeReduce(self.mr_init, parent=None)  # a wrong field is an error here
    super().__post_init__()

  @nn.nowrap
  def branch(self, name: str) -> ResNet:
    """The 'temporal' or the 'appearance' network."""
    temporal = name == "temporal"
    own = dict(dims=3, stem=self.stem, temporal=(3,) * len(self.stages)) if temporal else dict(
        dims=2, stem=STEMS[self.stem], temporal=(1,) * len(self.stages), thin=ALIGN[self.t_align])
    shared = {f: getattr(self, f) for f in ("stages", "block", "width", "strides", "time_strides", "zero_init", "eps",
                                            "momentum", "frozen_bn", "bn_groups", "dtype")}
    gates = {}
    if temporal and self.stc:
      shared["zero_init"], gates = False, {f"{self.prefix}temporal.*.residual": ChannelCorrelation}
    return sites_lib.share(
        lambda sites: ResNet(num_classes=0, prefix=f"{self.prefix}{name}.", sites=sites_lib.merge(gates, sites),
                             parent=None, **own, **shared), self.sites)

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    of = lambda end: [*(f"{name}.{end}" for name in BRANCHES), end]
    names = of("stem")
    for i, blocks in enumerate(self.stages):
      names += [f"{name}.res{i + 2}.{j}.{part}" for j in range(blocks) for name in BRANCHES for part in BLOCK_SITES]
      names += of(f"res{i + 2}")
    return tuple(names)

  @nn.nowrap
  def ends(self) -> tuple[str, ...]:
    """The steps behind which both branches stand at one site."""
    return "stem", *(f"res{i + 2}" for i in range(len(self.stages)))

  @nn.nowrap
  def merged(self) -> tuple[str, ...]:
    """The steps behind which both branches merge and go on, the final merge not among them."""
    last = len(self.stages) - 1
    behind = {"never": [], "stage": [f"res{i + 2}" for i in range(last)],
              "block": [f"res{i + 2}.{j}" for i, blocks in enumerate(self.stages)
                        for j in range(blocks - (i == last))]}[self.merge_every]
    return *(["stem"] if self.merge_stem else []), *behind

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    self.temporal, self.appearance = (self.branch(name) for name in BRANCHES)
    _, norm = self.norms()
    merge = lambda name: MergeReduce(self.mr_init, self.mr_plain, norm, self.dtype, name=name)
    self.merges = {step: tuple(merge(f"merge_{step.replace('.', '_')}_{name}") for name in BRANCHES)
                   for step in self.merged()}
    self.final = merge("merge_final")
    self.joint = {end: sites_lib.at(self.placed, end, f"at_{end}") for end in self.ends()}
    self.head = self.pooled_head()

  def steps(self):
    """((name, 3D module), (name, 2D module)) pairs; see Trunk.steps."""
    return list(zip(self.temporal.steps(), self.appearance.steps()))

  def enter(self, video, mask=None, train=False):
    """See Trunk.enter: the clip of the 3D branch first."""
    clip = as_clip(video, self.stills)
    if not self.appearance_norm:
      return [(clip, mask), (clip, mask)]
    (mean, std), (own_mean, own_std) = (np.asarray(n, np.float32) for n in (self.clip_norm, self.appearance_norm))
    own = clip.astype(jnp.float32) * (std / own_std) + (mean - own_mean) / own_std
    return [(clip, mask), (own.astype(clip.dtype), mask)]

  def pieces(self):
    """See Trunk.pieces."""
    return abreast((self.temporal, self.appearance), self._exchange)

  def _exchange(self, name, ways, train):
    if name == self.ends()[-1]:
      (x, mask), (y, _) = ways
      return [self.joint[name](self.final(x, y, train, mask), mask, train)]
    if name in self.merges:
      (x, mask), (y, _) = ways
      temporal, appearance = self.merges[name]
      ways = [(temporal(x, y, train, mask), mask), (appearance(y, x, train, mask), mask)]
    if name in self.joint:
      (x, mask), (y, _) = ways
      if x.shape[:-1] != y.shape[:-1]:
        raise ValueError(f"behind {name} the branches have {x.shape[1]} and {counted(y.shape[1], 'frame')}: plug blocks"
                         f" that drop frames into a site of both, {', '.join(self.ends())}")
      both, mask = self.joint[name](jnp.concatenate([x, y], -1), mask, train)
      ways = [(both[..., :x.shape[-1]], mask), (both[..., x.shape[-1]:], mask)]
    return ways

  # Both branches have the same live frames, so the trunk is cut as if it were one pathway.

  @nn.nowrap
  def lead(self, site: str) -> float:
    """See Trunk.lead: where both branches stand side by side, the 3D one decides."""
    return 0.5 if site.removeprefix(self.prefix) in self.ends()[:-1] else 1.0

  @nn.nowrap
  def lengths(self, ways) -> jax.Array:
    """See Trunk.lengths: (B, 1), of both branches."""
    return Trunk.lengths(self, ways[:1])

  @nn.nowrap
  def capacities(self, ways) -> tuple[int, ...]:
    """See Trunk.capacities: one number, of both branches."""
    return Trunk.capacities(self, ways[:1])

  @nn.nowrap
  def fit(self, ways, sizes):
    """See Trunk.fit: `sizes` has one number, for both branches."""
    return [Trunk.fit(self, [way], sizes)[0] for way in ways]
