"""What trunks share: fields, the walk through their steps, the head."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
from typing import Any

from flax import core
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import axes, choices, compaction, conv, pool
from vidx.nn import sites as sites_lib
from vidx.nn.category_heads import CONVS, CategoryHeads
from vidx.nn.head import Head
from vidx.nn.norm import ConvNormAct

FROZEN = ("", "all", "all_but_first")
AVERAGES = {"probabilities": "softmax", "sigmoids": "sigmoid", "logits": ""}  # what a head takes at each place
Ways = list[tuple[jax.Array, jax.Array | None]]  # (x, mask) of each pathway


class Trunk(nn.Module):
  """A network with sites, whose `setup` puts (name, module) pairs into `_steps` and a head into `head`.

  `own_sites()` gives the names of its sites without the prefix, and steps get `placed` for them.

  Attributes:
    num_classes: 0 leaves the logits out; {category: number} is a head for each, see CategoryHeads.
    dropout: before the last layer.
    head_std: of its initialisation.
    head_conv: convolutions in front of it where categories have heads of their own; see CategoryHead.
    consensus: mean of per-frame logits.
    crop: side of the crops of training, in pixels. Where a clip is larger, the head sees every window of the size
      of such a crop, as that of PySlowFast and pytorchvideo does; 0: one mean over the clip.
    average: over these windows in evaluation, of 'probabilities' as in PySlowFast, of 'sigmoids' where a video has
      several classes, each by itself, or of 'logits' as in pytorchvideo's networks without a softmax. Training
      takes what fits its task unless told.
    sites: blocks to plug in; see vidx.nn.sites.
    prefix: of the names of the sites, where the trunk is one of several networks.
    stills: whether it takes images (B, H, W, 3), as clips of one frame. `vidx.create_model` and training set
      False in networks of clips, of which one without the axis of the batch looks like images.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int | Mapping[str, int] = 1000
  dropout: float = 0.0
  head_std: float = 0.01
  head_conv: str = "1x1x1"
  consensus: bool = True
  crop: int = 0
  average: str = "probabilities"
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  prefix: str = ""
  stills: bool = True
  dtype: jnp.dtype | None = None

  inputs = ("video",)

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    if isinstance(self.num_classes, Mapping):
      self.num_classes = core.FrozenDict(self.num_classes)
    choices.check("head_conv", self.head_conv, CONVS)
    choices.check("average", self.average, AVERAGES)
    super().__post_init__()

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return tuple(self.prefix + name for name in self.own_sites())

  @property
  def placed(self) -> sites_lib.Placed:
    """The blocks to plug in, for the steps, which name their sites without the prefix."""
    return sites_lib.Prefixed(self.sites, self.prefix)

  @nn.nowrap
  def pooled_head(self) -> Head | CategoryHeads:
    """The head of most trunks, for `setup`."""
    fields = (self.dropout, self.head_std, self.consensus)
    if not isinstance(self.num_classes, Mapping):
      return Head(self.num_classes, *fields, each_place=self.each_place)
    _, norm = self.norms()
    return CategoryHeads(tuple(self.num_classes.items()), self.head_conv, self.is_bottleneck, *fields, norm, self.dtype)

  @property
  def windowed(self) -> bool:
    """Whether the head sees windows of the size of a training crop."""
    return self.crop > 0 and not isinstance(self.num_classes, Mapping)

  @property
  def each_place(self) -> str:
    """What the head does with each of these windows in evaluation; see vidx.nn.head.Head."""
    return AVERAGES[self.average] if self.windowed else ""

  @property
  def reduction(self) -> int:
    """Pixels of the clip per position of the head's input, along a side."""
    return 32

  def pooled(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """fp32 means over the live frames and each window, or over all: (B, T, H, W, C) -> (B, 1, h, w, C)."""
    if not self.windowed:
      return pool.mean_pool(x, mask)[:, None, None, None]
    side = -(-self.crop // self.reduction)
    y = pool.mean_frames(pool.live_frames(x.astype(jnp.float32), mask), mask)
    return pool.windows(y[:, None], None, (1, side, side))[0]

  @property
  def is_bottleneck(self) -> bool:
    """Whether residual blocks are bottlenecks."""
    return getattr(self, "block", "") == "bottleneck"

  @nn.nowrap
  def norms(self) -> tuple[tuple, tuple]:
    """BatchNorm fields of the first normalisation and of the others, as pairs."""
    return (), ()

  @nn.nowrap
  def lead(self, site: str) -> float:
    """The share of a site's channels, from the first, by which a sampler there compares frames."""
    del site
    return 1.0

  def steps(self) -> list[tuple[str, nn.Module]]:
    """(name, module) pairs; each module is called as (x, mask, train) -> (x, mask)."""
    return self._steps

  def enter(self, video: jax.Array, mask: jax.Array | None = None, train: bool = False) -> Ways:
    """What the first piece is given, one (x, mask) per pathway."""
    return [(as_clip(video, self.stills), mask)]

  def pieces(self) -> list[tuple[str, Callable[[Ways, bool], Ways]]]:
    """(name, call) pairs; folding `enter`'s result through the calls (ways, train) -> ways gives what `leave` takes.

    Between two of them the trunk may be cut: dead entries behind the live ones can
    be left out (see `fit`), and examples be regrouped.
    """
    return [(name, lambda ways, train, step=step: [step(*ways[0], train)]) for name, step in self.steps()]

  def walk(self, ways: Ways, train: bool = False, start: int = 0, stop: int | None = None) -> Ways:
    """What leaves the pieces from `start` up to `stop`."""
    for _, piece in self.pieces()[start:stop]:
      ways = piece(ways, train)
    return ways

  def leave(self, ways: Ways, train: bool = False) -> dict[str, jax.Array]:
    """The outputs for what leaves the last piece."""
    return self.scores(*ways[0], train)

  @nn.nowrap
  def lengths(self, ways: Ways) -> jax.Array:
    """Entries (frames, or tokens of the longest group) that hold all live ones: (B, number of pathways) int32."""
    return jnp.stack([_length(*way) for way in ways], -1)

  @nn.nowrap
  def capacities(self, ways: Ways) -> tuple[int, ...]:
    """Entries per pathway, dead ones included."""
    return tuple(mask.shape[-1] for _, mask in ways)

  @nn.nowrap
  def fit(self, ways: Ways, sizes: Sequence[int]) -> Ways:
    """The ways with as many entries as `sizes` says; dead ones are cut off or added behind."""
    return [_fit(*way, size) for way, size in zip(ways, sizes, strict=True)]

  def trunk(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None
            ) -> tuple[jax.Array, jax.Array | None]:
    """What the head is given, (B, T', H', W', C) or tokens, and its mask."""
    [way] = self.walk(self.enter(video, mask, train), train)
    return way

  def scores(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """The outputs for what `trunk` gives."""
    return self.head(self.pooled(x, mask), None, train) if self.windowed else self.head(x, mask, train)

  def __call__(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None) -> dict[str, jax.Array]:
    """Scores images or clips.

    Args:
      video: (B, H, W, 3) or (B, T, H, W, 3), normalised.
      train: batch statistics of this batch, dropout.
      mask: (B, T), 1 for live frames, live ones in front; None: all live. Transformers
        also take live patches, points or pixels: see their class.

    Returns:
      {'logits': (B, num_classes), 'features': (B, C)}, fp32.
    """
    return self.scores(*self.trunk(video, train, mask), train)


def _length(x, mask):
  if mask is None:
    raise ValueError("lengths: nothing in this trunk says which entries are live; plug a sampler into it")
  return compaction.length(mask.astype(bool)).reshape(x.shape[0], -1).max(-1)


def _fit(x, mask, size):
  axis = mask.ndim - 1  # of the entries
  more = size - x.shape[axis]
  if more <= 0:
    return x[(slice(None),) * axis + (slice(size),)], mask[..., :size]
  xp = np if isinstance(x, np.ndarray) else jnp
  behind = lambda z: xp.pad(z, [(0, more if i == axis else 0) for i in range(z.ndim)])
  return behind(x), behind(mask)


def as_clip(video: jax.Array, stills: bool = True) -> jax.Array:
  """Clips as they are, and (B, H, W, 3) as clips of one frame, where `stills` allows; a ValueError for others."""
  axes.check_pixels(video)
  if video.ndim == 4 and stills:
    return video[:, None]
  if video.ndim != 5:
    raise ValueError(f"an array of shape {video.shape}, where this network takes {'images (B, H, W, 3) or ' * stills}"
                     "clips (B, T, H, W, 3): give one clip as video[None], images as video[:, None]")
  return video


class Chain(Trunk):
  """A trunk with batch normalisation; see Trunk for the other fields.

  Attributes:
    eps: of batch normalisation.
    momentum: share of stored batch statistics kept per step.
    frozen_bn: '', 'all', or 'all_but_first'.
    bn_groups: see BatchNorm.groups.
  """

  eps: float = 1e-5
  momentum: float = 0.9
  frozen_bn: str = ""
  bn_groups: int = 1

  def __post_init__(self):
    choices.check("frozen_bn", self.frozen_bn, FROZEN)
    super().__post_init__()

  @nn.nowrap
  def is_plugged(self, step: str) -> bool:
    """Whether something is plugged in at a site of a step."""
    return any(sites_lib.plugged(self.sites, site) for site in self.site_names()
               if f"{site}.".startswith(f"{self.prefix}{step}."))

  def folded(self, clips: int, few: Callable[[nn.Module], bool]) -> list[tuple[str, Callable[..., Any]]]:
    """The steps, of which the first ones that are bare see so many clips side by side; see vidx.nn.conv.folded.

    Args:
      clips: at most; a power of two.
      few: whether a step has so few channels.
    """
    first = list(itertools.takewhile(lambda step: few(step[1]) and not self.is_plugged(step[0]), self._steps))
    return [*conv.folded(first, clips, self.bn_groups), *self._steps[len(first):]]

  @nn.nowrap
  def norms(self) -> tuple[tuple, tuple]:
    """BatchNorm fields of the first normalisation and of the others."""
    norm = (("eps", self.eps), ("momentum", self.momentum), ("groups", self.bn_groups))
    return (*norm, ("frozen", self.frozen_bn == "all")), (*norm, ("frozen", self.frozen_bn != ""))


def abreast(trunks: Sequence[Trunk], exchange: Callable[[str, Ways, bool], Ways]
            ) -> list[tuple[str, Callable[[Ways, bool], Ways]]]:
  """Pieces (see Trunk.pieces) of trunks of equally many steps side by side, which exchange features after each.

  Args:
    trunks: the pathways.
    exchange: (name of the first trunk's step, ways, train) -> ways.
  """
  def piece(name, steps):
    return lambda ways, train: exchange(name, [step(*way, train) for step, way in zip(steps, ways)], train)

  return [(steps[0][0], piece(steps[0][0], [step for _, step in steps]))
          for steps in zip(*(trunk.steps() for trunk in trunks), strict=True)]


def lockstep(trunks: Sequence[Trunk], ways: Ways, exchange: Callable[[str, Ways, bool], Ways], train: bool = False
             ) -> Ways:
  """What leaves trunks that walk `abreast`, (x, mask) for each as Trunk.trunk gives it."""
  for _, piece in abreast(trunks, exchange):
    ways = piece(ways, train)
  return ways


class ConvStep(nn.Module):
  """A convolution of single frames with its normalisation and activation, then a site.

  Attributes:
    unit: fields of ConvNormAct, as pairs.
    site: the name of the site; '' for none.
    sites: of the trunk.
  """

  unit: tuple[tuple[str, Any], ...]
  site: str = ""
  sites: sites_lib.Placed = dataclasses.field(default_factory=dict)

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    x = ConvNormAct(**dict(self.unit), name="conv")(x, train, mask)
    if not self.site:
      return x, mask
    return sites_lib.at(self.sites, self.site, "at_end")(x, mask, train)
