"""R-FCN and Fast R-CNN, detectors of single frames, and STMN, which gives them a memory.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, chapter 3. Dai et al.: "R-FCN: Object Detection via Region-based Fully
Convolutional Networks", 2016. Girshick: "Fast R-CNN", 2015.

A detector is a trunk, a neck, a *swap* layer, and heads over proposed boxes. The swap
layer of a detector of frames is one convolution with ReLU; STMN puts a memory in both
directions in its place, and every other parameter keeps its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.backbones import vgg
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.conv import Conv
from vidx.nn.ps_roi_pool import ps_roi_pool
from vidx.nn.roi_pool import roi_pool
from vidx.nn.spatial_memory import BothWays, SpatialMemory, State

STRIDE = 16  # pixels per entry of a map
BINS = 7
BASES = ("rfcn", "fast_rcnn_vgg16")
COPIES = ("all", "candidate")


class ConvAct(nn.Module):
  """A convolution with bias and ReLU."""

  features: int
  kernel: int
  dilation: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, T, h, w, C) -> (B, T, h, w, features)."""
    return nn.relu(Conv(self.features, (self.kernel,) * 2, dilation=self.dilation, use_bias=True, dtype=self.dtype,
                        name="conv")(x))


class Neck(nn.Module):
  """Reduces the trunk's channels over a wide reach, and expands them: F of the thesis."""

  inner: int
  features: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, T, h, w, C) -> (B, T, h, w, features)."""
    x = ConvAct(self.inner, 3, 6, self.dtype, name="reduce")(x)
    return ConvAct(self.features, 1, 1, self.dtype, name="expand")(x)


class PositionSensitiveHeads(nn.Module):
  """Scores and moves of boxes from maps with channels for each of 7 x 7 parts of a box."""

  num_classes: int
  inner: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array, rois: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """x (B, h, w, C), rois (B, R, 4) -> logits (B, R, num_classes + 1) and deltas (B, R, 4), fp32."""
    del train
    conv = lambda features, name: Conv(features, (1, 1), use_bias=True, dtype=self.dtype, name=name)
    x = conv(self.inner, "post")(x)
    pooled = lambda channels, name: ps_roi_pool(conv(channels * BINS**2, name)(x).astype(jnp.float32), rois, BINS,
                                                scale=1 / STRIDE).mean((2, 3))
    return pooled(self.num_classes + 1, "cls"), pooled(4, "box")


class DenseHeads(nn.Module):
  """Scores and moves of boxes from two dense layers over what a box pools."""

  num_classes: int
  hidden: Sequence[int]
  dropout: float
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: jax.Array, rois: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """x (B, h, w, C), rois (B, R, 4) -> logits (B, R, num_classes + 1) and deltas (B, R, 4), fp32."""
    x = roi_pool(x, rois, BINS, scale=1 / STRIDE)
    x = jnp.moveaxis(x, -1, 2).reshape(*x.shape[:2], -1)  # channels first, as the dense layers of VGG have them
    for i, width in enumerate(self.hidden, 1):
      x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"hidden{i}")(x))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    x = x.astype(jnp.float32)
    dense = lambda features, std, name: nn.Dense(features, kernel_init=nn.initializers.normal(std), name=name)(x)
    return dense(self.num_classes + 1, 0.01, "cls"), dense(4, 0.001, "box")


class Detector(nn.Module):
  """A detector over proposed boxes; see `rfcn`, `fast_rcnn_vgg16` and `stmn`.

  Attributes:
    trunk: network of frames.
    last: the step of the trunk that is the last one taken.
    frozen: the step up to which there is no gradient; '' for none.
    neck: between trunk and swap layer, or None.
    swap: ConvAct, or BothWays with a memory.
    heads: (map, boxes) -> scores and moves.
  """

  trunk: nn.Module
  last: str
  frozen: str
  neck: nn.Module | None
  swap: nn.Module
  heads: nn.Module

  inputs = ("video", "rois")

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

  def features(self, video: jax.Array, train: bool = False) -> jax.Array:
    """F of frames (B, T, H, W, 3), one by one: (B, T, h, w, D)."""
    ways = self.trunk.enter(video, None, train)
    for name, piece in self.trunk.pieces():
      ways = piece(ways, train)
      if name == self.frozen:
        ways = [(jax.lax.stop_gradient(x), mask) for x, mask in ways]
      if name == self.last:
        break
    x = ways[0][0]
    return x if self.neck is None else self.neck(x)

  def remember(self, x: jax.Array, mask: jax.Array | None = None, state: State | None = None
               ) -> tuple[jax.Array, State | None]:
    """What the heads see for features (B, T, h, w, D): the memory and its state, or a convolution and None."""
    if isinstance(self.swap, BothWays):
      return self.swap(x, mask, state)
    return self.swap(x), None

  def detect(self, x: jax.Array, rois: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Scores boxes (B, T, R, 4) on what `remember` gives, (B, T, h, w, C); see `__call__`."""
    flat = lambda y: y.reshape(-1, *y.shape[2:])
    logits, deltas = self.heads(flat(x), flat(rois), train)
    whole = lambda y: y.astype(jnp.float32).reshape(*rois.shape[:3], -1)
    return {"logits": whole(logits), "deltas": whole(deltas)}

  def __call__(self, video: jax.Array, rois: jax.Array, train: bool = False, mask: jax.Array | None = None,
               extent: jax.Array | None = None) -> dict[str, jax.Array]:
    """Scores proposed boxes in every frame.

    Args:
      video: (B, T, H, W, 3), normalised.
      rois: (B, T, R, 4) as x0, y0, x1, y1 in pixels of the frames.
      train: dropout; a trunk without frozen BatchNorm takes the batch's statistics.
      mask: (B, T), 1 for live frames, live ones in front; None: all live.
      extent: (B, 2) height and width of the image in the frames' upper left corner; None: no padding.

    Returns:
      {'logits': (B, T, R, num_classes + 1), class 0 is the background, 'deltas': (B, T, R, 4), see
      vidx.nn.boxes.decode, of all classes}, fp32.
    """
    x, _ = self.remember(self.features(video, train), self.place_mask(video.shape, mask, extent))
    return self.detect(x, rois, train)


def rfcn(num_classes: int = 30, trunk: str = "resnet_101", inner: int = 512, features: int = 1024,
         frozen: str = "res2", frozen_bn: str = "all", sites=None, dtype: Any = None, **fields) -> Detector:
  """R-FCN with stride 16: conv5 keeps its input's size, and its 2nd and later blocks are dilated by 2.

  Args:
    num_classes: besides the background.
    trunk: a residual network of frames.
    inner: channels between the 3x3 and the 1x1 convolution of the neck, and in front of the heads.
    features: channels of the neck's output and of the swap layer.
    frozen: the step of the trunk up to which there is no gradient; '' for none.
    frozen_bn: see Chain.
    sites: blocks to plug into the trunk.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  return _rfcn(num_classes, ConvAct(features, 3, dtype=dtype), trunk, inner, features, frozen, frozen_bn, sites, dtype,
               fields)


def _rfcn(num_classes, swap, trunk, inner, features, frozen, frozen_bn, sites, dtype, fields):
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
                  PositionSensitiveHeads(num_classes, inner, dtype))


def fast_rcnn_vgg16(num_classes: int = 30, widths: Sequence[Sequence[int]] = (), hidden: Sequence[int] = (4096, 4096),
                    dropout: float = 0.5, frozen: str = "conv2.1", sites=None, dtype: Any = None) -> Detector:
  """Fast R-CNN on VGG-16, whose conv5_3 is the swap layer.

  Args:
    num_classes: besides the background.
    widths: channels of the convolutions, per stage, conv5_3 included; empty: those of VGG-16.
    hidden: widths of the dense layers.
    dropout: behind each of them.
    frozen: the step of the trunk up to which there is no gradient; '' for none.
    sites: blocks to plug into the trunk.
    dtype: compute dtype.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  net, last, width = _vgg(widths, frozen, sites, dtype)
  return Detector(net, last, frozen, None, ConvAct(width, 3, dtype=dtype),
                  DenseHeads(num_classes, tuple(hidden), dropout, dtype))


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
         frozen: str | None = None, frozen_bn: str = "all", sites=None, dtype: Any = None, **fields) -> Detector:
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
    sites: blocks to plug into the trunk.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3), (B, T, R, 4) -> {'logits', 'deltas'}.
  """
  choices.check("base", base, BASES)
  align = cell == "stmm" if align is None else align
  way = lambda channels: SpatialMemory(memory or channels // 2, cell, align, affinity, reach, stop_grad, stats,
                                       stats_over, input_gain, gate_override, dtype)
  if base == "rfcn":
    return _rfcn(num_classes, BothWays(way(features), way(features)), trunk, inner, features,
                 "res2" if frozen is None else frozen, frozen_bn, sites, dtype, fields)
  if others := [name for name in fields if name != "widths"]:
    raise ValueError(f"{', '.join(others)} is a field of a residual network; {base} has widths alone")
  frozen = "conv2.1" if frozen is None else frozen
  net, last, width = _vgg(fields.get("widths", ()), frozen, sites, dtype)
  return Detector(net, last, frozen, None, BothWays(way(width), way(width)),
                  DenseHeads(num_classes, tuple(hidden), dropout, dtype))


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
  kernel, bias = swap["conv"]["kernel"], swap["conv"]["bias"]
  out = dict(memory)
  for i, way in enumerate(("forward", "backward")):
    own = dict(memory[way]["input"])
    m = own["bias"].shape[0] // 3
    if kernel.shape[-1] != 2 * m:
      raise ValueError(f"the swap layer has {kernel.shape[-1]} channels; two directions of {m} need {2 * m}")
    for name, given in (("kernel", kernel), ("bias", bias)):
      half = given[..., i * m:(i + 1) * m]
      kept = own[name][..., :0] if copies == "all" else own[name][..., :2 * m]
      own[name] = jnp.concatenate([kept] + [half] * (3 if copies == "all" else 1), -1)
    out[way] = {**memory[way], "input": own}
  return out


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
