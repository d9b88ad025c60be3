"""R-FCN and Fast R-CNN, detectors of single frames, and STMN, which gives them a memory.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, chapter 3. Dai et al.: "R-FCN: Object Detection via Region-based Fully
Convolutional Networks", 2016. Girshick: "Fast R-CNN", 2015.

A detector is a trunk, a neck, a *swap* layer, and heads over proposed boxes. The swap
layer of a detector of frames is one convolution with ReLU; STMN puts a memory in both
directions in its place, and every other parameter keeps its name. Boxes are proposed by
files, or by a region proposal network on conv4 that is trained with the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.backbones import vgg
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.detector_heads import STRIDE, ConvAct, DenseHeads, Neck, PositionSensitiveHeads
from vidx.nn.region_proposals import Proposed, RegionProposals
from vidx.nn.spatial_memory import BothWays, SpatialMemory, State

BASES = ("rfcn", "fast_rcnn_vgg16")
COPIES = ("all", "candidate")
PROPOSALS = ("file", "rpn")
WAYS = ("forward", "backward")


class Detector(nn.Module):
  """A detector over proposed boxes; see `rfcn`, `fast_rcnn_vgg16` and `stmn`.

  Attributes:
    trunk: network of frames.
    last: the step of the trunk that is the last one taken.
    frozen: the step up to which there is no gradient; '' for none.
    neck: between trunk and swap layer, or None.
    swap: ConvAct, or BothWays with a memory.
    heads: (map, boxes) -> scores and moves.
    rpn: what proposes boxes; None: they are given.
    seen: the step of the trunk whose map it looks at.
    copies: see `split_swap`.
  """

  trunk: nn.Module
  last: str
  frozen: str
  neck: nn.Module | None
  swap: nn.Module
  heads: nn.Module
  rpn: RegionProposals | None = None
  seen: str = ""
  copies: str = "all"

  @property
  def inputs(self) -> tuple[str, ...]:
    """What it is called with."""
    return ("video", *(() if self.rpn else ("rois", "roi_mask")), "boxes", "box_mask", "extent")

  @property
  def remembers(self) -> bool:
    """Whether frames are looked at together."""
    return isinstance(self.swap, BothWays)

  @property
  def num_classes(self) -> int:
    """Classes besides the background."""
    return self.heads.num_classes

  @property
  def sites(self) -> sites_lib.Sites:
    """The blocks of the trunk."""
    return self.trunk.sites

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  @nn.nowrap
  def place_mask(self, video_shape: Sequence[int], mask: jax.Array | None, extent: jax.Array | None
                 ) -> jax.Array | None:
    """(B, T, h, w), 1 for places of the frames in the padding: of live frames, and inside of `extent`."""
    if mask is None and extent is None:
      return None
    batch, frames, height, width = video_shape[:4]
    h, w = -(-height // STRIDE), -(-width // STRIDE)
    live = jnp.ones((batch, frames, h, w), jnp.float32)
    if mask is not None:
      live *= mask[:, :, None, None].astype(jnp.float32)
    if extent is not None:
      inside = lambda side, n: (jnp.arange(n) * STRIDE < side[:, None]).astype(jnp.float32)
      live *= (inside(extent[:, 0], h)[:, :, None] * inside(extent[:, 1], w)[:, None])[:, None]
    return live

  @property
  def held(self) -> tuple[str, ...]:
    """Patterns of the parameters that get no gradient: those of the steps up to `frozen`."""
    names = self.trunk.site_names()
    still = [i for i, name in enumerate(names) if self.frozen and f"{name}.".startswith(f"{self.frozen}.")]
    steps = dict.fromkeys("_".join(name.split(".")[:2]) for name in names[:still[-1] + 1]) if still else ()
    return tuple(f"^trunk/{step}/" for step in steps)

  def features(self, video: jax.Array, train: bool = False) -> jax.Array:
    """F of frames (B, T, H, W, 3), one by one: (B, T, h, w, D)."""
    return self.encode(video, train)[0]

  def encode(self, video: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array | None]:
    """F as `features`, and the map (B, T, h, w, C) in which boxes are sought, None where they are given."""
    seen = None
    ways = self.trunk.enter(video, None, train)
    for name, piece in self.trunk.pieces():
      ways = piece(ways, train)
      if name == self.frozen:
        ways = [(jax.lax.stop_gradient(x), mask) for x, mask in ways]
      if self.rpn is not None and name == self.seen:
        seen = ways[0][0]
      if name == self.last:
        break
    x = ways[0][0]
    return (x if self.neck is None else self.neck(x)), seen

  def propose(self, seen: jax.Array, extent: jax.Array) -> tuple[Proposed, dict[str, jax.Array]]:
    """Boxes (B, T, R, 4) of maps (B, T, h, w, C) of images (B, 2), and what a loss needs of anchors; see `__call__`."""
    batch, frames, height, width = seen.shape[:4]
    flat = seen.reshape(-1, *seen.shape[2:])
    logits, deltas = self.rpn(flat)
    anchors = self.rpn.anchors(height, width)
    found = self.rpn.best(logits, deltas, anchors, jnp.repeat(extent, frames, 0))
    whole = lambda x: x.reshape(batch, frames, *x.shape[1:])
    return Proposed(*map(whole, found)), {"anchors": anchors, "anchor_logits": whole(logits),
                                          "anchor_deltas": whole(deltas)}

  def remember(self, x: jax.Array, mask: jax.Array | None = None, state: State | None = None
               ) -> tuple[jax.Array, State | None]:
    """What the heads see for features (B, T, h, w, D): the memory and its state, or a convolution and None."""
    if self.remembers:
      return self.swap(x, mask, state)
    return self.swap(x), None

  def detect(self, x: jax.Array, rois: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Scores boxes (B, T, R, 4) on what `remember` gives, (B, T, h, w, C); see `__call__`."""
    flat = lambda y: y.reshape(-1, *y.shape[2:])
    logits, deltas = self.heads(flat(x), flat(rois), train)
    whole = lambda y: y.astype(jnp.float32).reshape(*rois.shape[:3], -1)
    return {"logits": whole(logits), "deltas": whole(deltas)}

  def __call__(self, video: jax.Array, *given: jax.Array | None, train: bool = False, mask: jax.Array | None = None,
               **named: jax.Array | None) -> dict[str, jax.Array]:
    """Scores proposed boxes in every frame.

    Args:
      video: (B, T, H, W, 3), normalised.
      *given: further arrays in the order of `inputs`, as far as they are there: rois (B, T, R, 4) as x0, y0, x1, y1 in
        pixels of the frames and roi_mask (B, T, R), 0 for padding, where there is no network that proposes; boxes
        (B, T, G, 4) and box_mask (B, T, G), the truth, which training looks at behind the proposals; extent (B, 2)
        height and width of the image in the frames' upper left corner, None: no padding.
      train: dropout; a trunk without frozen BatchNorm takes the batch's statistics.
      mask: (B, T), 1 for live frames, live ones in front; None: all live.
      **named: the same by name.

    Returns:
      {'logits': (B, T, R, num_classes + 1), class 0 is the background, 'deltas': (B, T, R, 4), see
      vidx.nn.boxes.decode, of all classes, 'rois' and 'roi_mask' that they are of}, fp32; in training also 'key', for
      whoever draws boxes; of a network that proposes 'anchors' (A, 4), 'anchor_logits' (B, T, A) and 'anchor_deltas'.
    """
    named = {**dict(zip(self.inputs[1:], given)), **named}
    extent = named.get("extent")
    x, seen = self.encode(video, train)
    out = {}
    if self.rpn is not None:
      whole = jnp.broadcast_to(jnp.asarray(video.shape[2:4], jnp.float32), (len(video), 2))
      (rois, roi_mask), out = self.propose(seen, whole if extent is None else extent)
    elif named.get("rois") is None:
      raise ValueError("without proposals='rpn' this network takes rois (B, T, R, 4) beside the video")
    else:
      rois, roi_mask = named["rois"], named.get("roi_mask")
      roi_mask = jnp.ones(rois.shape[:3], jnp.float32) if roi_mask is None else roi_mask
    if train and named.get("boxes") is not None:
      rois = jnp.concatenate([rois, named["boxes"].astype(rois.dtype)], 2)
      roi_mask = jnp.concatenate([roi_mask, named["box_mask"]], 2)
    x, _ = self.remember(x, self.place_mask(video.shape, mask, extent))
    out |= {**self.detect(x, rois, train), "rois": rois, "roi_mask": roi_mask}
    return {**out, "key": self.make_rng("dropout")} if train and self.has_rng("dropout") else out

  @nn.nowrap
  def adopt(self, path: str, given: Mapping[str, Any]) -> tuple[str, Callable[[Any], Any]] | None:
    """The kernels of a memory that start from those of the swap layer of a detector of frames; see `split_swap`."""
    names = path.split("/")
    if names[:2] != ["params", "swap"] or names[2:4] not in [[way, "input"] for way in WAYS]:
      return None
    source = f"params/swap/conv/{names[4]}"
    if source not in given:
      return None
    return source, lambda leaf: _split(given[source], leaf, WAYS.index(names[2]), self.copies)


def rfcn(num_classes: int = 30, trunk: str = "resnet_101", inner: int = 512, features: int = 1024,
         frozen: str = "res2", frozen_bn: str = "all", proposals: str = "file", rpn: Mapping[str, Any] | None = None,
         sites=None, dtype: Any = None, **fields) -> Detector:
  """R-FCN with stride 16: conv5 keeps its input's size, and its 2nd and later blocks are dilated by 2.

  Args:
    num_classes: besides the background.
    trunk: a residual network of frames.
    inner: channels between the 3x3 and the 1x1 convolution of the neck, and in front of the heads.
    features: channels of the neck's output and of the swap layer.
    frozen: the step of the trunk up to which there is no gradient; '' for none.
    frozen_bn: see Chain.
    proposals: 'file', boxes are given, or 'rpn'.
    rpn: fields of RegionProposals.
    sites: blocks to plug into the trunk.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  return _rfcn(num_classes, ConvAct(features, 3, dtype=dtype), trunk, inner, features, frozen, frozen_bn,
               _rpn(proposals, rpn, dtype), sites, dtype, fields)


def _rpn(proposals, rpn, dtype):
  choices.check("proposals", proposals, PROPOSALS)
  fields = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in dict(rpn or {}).items()}
  return RegionProposals(dtype=dtype, **fields) if proposals == "rpn" else None


def _rfcn(num_classes, swap, trunk, inner, features, frozen, frozen_bn, rpn, sites, dtype, fields, copies="all"):
  stages = fields.get("stages") or getattr(systems.create_model(trunk), "stages", None)
  if not stages or not hasattr(systems.create_model(trunk), "dilations"):
    raise ValueError(f"trunk '{trunk}' is no residual network of frames")
  blocks = (1,) + (2,) * (stages[-1] - 1)
  ends = len(stages) - 1
  fields = {"strides": (1,) + (2,) * (ends - 1) + (1,), "dilations": (1,) * ends + (blocks,), **fields}
  net = systems.create_model(trunk, num_classes=0, frozen_bn=frozen_bn, dtype=dtype, sites=sites or {}, **fields)
  last = f"res{len(stages) + 1}"
  choices.check("frozen", frozen, ("", "stem", *(f"res{i + 2}" for i in range(len(stages)))))
  if net.reduction != STRIDE:
    raise ValueError(f"{trunk} has {net.reduction} pixels per entry with these strides; a detector needs {STRIDE}")
  return Detector(net, last, frozen, Neck(inner, features, dtype), swap,
                  PositionSensitiveHeads(num_classes, inner, dtype), rpn, f"res{len(stages)}", copies)


def fast_rcnn_vgg16(num_classes: int = 30, widths: Sequence[Sequence[int]] = (), hidden: Sequence[int] = (4096, 4096),
                    dropout: float = 0.5, frozen: str = "conv2.1", proposals: str = "file",
                    rpn: Mapping[str, Any] | None = None, sites=None, dtype: Any = None) -> Detector:
  """Fast R-CNN on VGG-16, whose conv5_3 is the swap layer.

  Args:
    num_classes: besides the background.
    widths: channels of the convolutions, per stage, conv5_3 included; empty: those of VGG-16.
    hidden: widths of the dense layers.
    dropout: behind each of them.
    frozen: the step of the trunk up to which there is no gradient; '' for none.
    proposals: see `rfcn`.
    rpn: see `rfcn`; it looks at the map in front of conv5_3.
    sites: blocks to plug into the trunk.
    dtype: compute dtype.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  net, last, width = _vgg(widths, frozen, sites, dtype)
  return Detector(net, last, frozen, None, ConvAct(width, 3, dtype=dtype),
                  DenseHeads(num_classes, tuple(hidden), dropout, dtype), _rpn(proposals, rpn, dtype), last)


def _vgg(widths, frozen, sites, dtype):
  """VGG without classes, the step in front of its last convolution, and the width of that."""
  widths = [list(stage) for stage in widths or vgg.VGG.widths]
  if len(widths) != 5 or len(widths[-1]) < 2:
    raise ValueError("a detector on VGG needs five stages, the last one of two or more convolutions")
  width = widths[-1].pop()
  net = systems.create_model("vgg16", num_classes=0, dtype=dtype, sites=sites or {}, widths=tuple(map(tuple, widths)))
  choices.check("frozen", frozen, ("", *net.site_names()))
  return net, f"conv5.{len(widths[-1]) - 1}", width


def stmn(num_classes: int = 30, base: str = "rfcn", trunk: str = "resnet_101", inner: int = 512, features: int = 1024,
         memory: int = 0, cell: str = "stmm", align: bool | None = None, affinity: str = "cosine", reach: int = 2,
         stop_grad: bool = True, stats: str = "positive", stats_over: str = "sample", input_gain: float = 1.0,
         gate_override: float | None = None, hidden: Sequence[int] = (4096, 4096), dropout: float = 0.5,
         frozen: str | None = None, frozen_bn: str = "all", proposals: str = "file",
         rpn: Mapping[str, Any] | None = None, copies: str = "all", sites=None, dtype: Any = None, **fields
         ) -> Detector:
  """A detector whose swap layer is a memory in both directions.

  Args:
    num_classes: besides the background.
    base: the detector, one of BASES.
    trunk: of R-FCN.
    inner: see `rfcn`.
    features: see `rfcn`.
    memory: channels per direction; 0: half of the swap layer's, so that all other parameters fit.
    cell: see SpatialMemory; 'gru' is the ablation ConvGRU of section 3.3.3.
    align: see SpatialMemory; None: with 'stmm' and not with 'gru'.
    affinity: see `match_weights`; the thesis has 'dot', the authors' code 'cosine'.
    reach: see `match_weights`.
    stop_grad: see `match_weights`.
    stats: see `bn_star`.
    stats_over: see `bn_star`.
    input_gain: see SpatialMemory.
    gate_override: see SpatialMemory.
    hidden: see `fast_rcnn_vgg16`.
    dropout: see `fast_rcnn_vgg16`.
    frozen: see `rfcn`; None: as the base has it.
    frozen_bn: see Chain; of R-FCN.
    proposals: see `rfcn`.
    rpn: see `rfcn`.
    copies: what starts from the swap layer of a detector of frames, see `split_swap`.
    sites: blocks to plug into the trunk.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  choices.check("base", base, BASES)
  choices.check("copies", copies, COPIES)
  align = cell == "stmm" if align is None else align
  way = lambda channels: SpatialMemory(memory or channels // 2, cell, align, affinity, reach, stop_grad, stats,
                                       stats_over, input_gain, gate_override, dtype)
  if base == "rfcn":
    return _rfcn(num_classes, BothWays(way(features), way(features)), trunk, inner, features,
                 "res2" if frozen is None else frozen, frozen_bn, _rpn(proposals, rpn, dtype), sites, dtype, fields,
                 copies)
  if others := [name for name in fields if name != "widths"]:
    raise ValueError(f"{', '.join(others)} is a field of a residual network; {base} has widths alone")
  frozen = "conv2.1" if frozen is None else frozen
  net, last, width = _vgg(fields.get("widths", ()), frozen, sites, dtype)
  return Detector(net, last, frozen, None, BothWays(way(width), way(width)),
                  DenseHeads(num_classes, tuple(hidden), dropout, dtype), _rpn(proposals, rpn, dtype), last, copies)


def split_swap(swap: Mapping[str, Any], memory: Mapping[str, Any], copies: str = "all") -> dict[str, Any]:
  """The parameters of a memory in both directions that starts from a swap layer (section 3.2, end).

  The first half of the kernel's output channels goes to the way ahead, the other half to the
  way back; in each to the candidate and, where `copies` is 'all', to both gates too.

  Args:
    swap: {'conv': {'kernel' (3, 3, D, 2 M), 'bias'}} of the detector of frames.
    memory: {'forward', 'backward'} as initialised; what is not copied stays.
    copies: one of COPIES.

  Raises:
    ValueError: the swap layer has not the channels of both directions.
  """
  choices.check("copies", copies, COPIES)
  out = dict(memory)
  for i, way in enumerate(WAYS):
    own = {name: _split(swap["conv"][name], leaf, i, copies) for name, leaf in memory[way]["input"].items()}
    out[way] = {**memory[way], "input": own}
  return out


def _split(given, leaf, way, copies):
  """Kernel or bias of a memory's input, gates first, from that of the swap layer; what is not copied is the leaf's."""
  m = leaf.shape[-1] // 3
  if given.shape[-1] != 2 * m:
    raise ValueError(f"the swap layer has {given.shape[-1]} channels; two directions of {m} need {2 * m}")
  half = given[..., way * m:(way + 1) * m]
  kept = leaf[..., :0] if copies == "all" else leaf[..., :2 * m]
  return jnp.concatenate([kept] + [half] * (3 if copies == "all" else 1), -1)


def from_frames(variables: Mapping[str, Any], frames: Mapping[str, Any], copies: str = "all",
                fresh: Sequence[str] = ()) -> dict[str, Any]:
  """Variables of an STMN that start from those of the detector of frames with the same base.

  Args:
    variables: of the STMN, as initialised.
    frames: of the detector.
    copies: see `split_swap`.
    fresh: parts that stay as initialised, such as 'heads' for the ablation ConvGRU-FreshFC.
  """
  params = {name: value if name in fresh else frames["params"][name]
            for name, value in variables["params"].items() if name != "swap"}
  params["swap"] = split_swap(frames["params"]["swap"], variables["params"]["swap"], copies)
  return {**variables, **{k: v for k, v in frames.items() if k != "params"}, "params": params}
