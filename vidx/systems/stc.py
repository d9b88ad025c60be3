"""STC-Net: a 3D CNN whose channels are rescaled, behind every residual block, by what the clip holds.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 4; Diba et al.: "Spatio-Temporal Channel Correlation Networks for
Action Classification", 2018. The start from a network of images is in
vidx/systems/transfer.py.
"""

from collections.abc import Sequence
import fnmatch
import functools
from typing import Any

from flax import linen as nn
import jax

from vidx import errors, systems
from vidx.backbones.chain import as_clip
from vidx.nn import sites as sites_lib
from vidx.nn.channel_correlation import ChannelCorrelation
from vidx.terminal import counted

STAGES = (1, 2, 3, 4)


class STCNet(nn.Module):
  """`trunk` with its blocks, for clips of `frames` frames."""

  trunk: nn.Module
  frames: int

  inputs = ("video",)

  @property
  def num_classes(self) -> int:
    """Classes of the head."""
    return self.trunk.num_classes

  @property
  def sites(self) -> sites_lib.Sites:
    """The blocks of the trunk."""
    return self.trunk.sites

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  def __call__(self, video: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Scores clips.

    Args:
      video: (B, T, H, W, 3), normalised, T = `frames`.
      train: see Trunk.

    Returns:
      {'logits': (B, num_classes), 'features': (B, C)}, fp32.

    Raises:
      ConfigError: clips of another length.
    """
    video = as_clip(video, stills=False)
    if video.shape[1] != self.frames:
      raise errors.ConfigError(f"stc is made for clips of {counted(self.frames, 'frame')} and is given"
                               f" {video.shape[1]}: set system.frames and data.frames alike; weights of the SCB fit one"
                               " length only.")
    return self.trunk(video, train=train)


def stc(num_classes: int = 400, trunk: str = "resnet3d_101", frames: int = 16, preset: str = "table",
        reduction: int = 0, branches: str = "both", gate: str = "sigmoid_relu", gate_scale: float = 1.0,
        use_bias: bool = False, placement: str = "residual", gated_stages: Sequence[int] = (),
        gate_override: float | None = None, stem: str = "", sites=None, dtype: Any = None, **fields) -> STCNet:
  """An STC-Net.

  Args:
    num_classes: classes.
    trunk: name of a trunk of clips with sites `res2.0.residual` and so on; of densely
      connected ones, `placement` "after" or "concat" at the end of each dense block.
    frames: of a clip, T; published: 16, 32 and 64.
    preset: see ChannelCorrelation.
    reduction: see ChannelCorrelation.
    branches: see ChannelCorrelation (Table 4.5).
    gate: see ChannelCorrelation.
    gate_scale: see ChannelCorrelation.
    use_bias: see ChannelCorrelation.
    placement: where blocks stand: "residual", on what each residual branch adds, in front
      of the sum and its ReLU (section 4.2, end); "after" or "concat", behind the ReLU.
    gated_stages: stages with blocks, 1 to 4 as in Table 4.1; empty: all.
    gate_override: see ChannelCorrelation.
    stem: "table" as Table 4.1 prints it, with stride 2 in time, pooling at stride 1 and a
      first stage that strides space, or a stem of the trunk; "": that of the trunk, where
      the pooling strides time (as in the networks of Hara et al.).
    sites: further blocks to plug in, behind these.
    dtype: compute dtype.
    **fields: of the trunk. Residual branches do not start as nothing, as the gates
      would then see nothing; `zero_init` says otherwise.

  Returns:
    A module (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  block = functools.partial(ChannelCorrelation, preset, reduction, branches, gate, gate_scale, use_bias, placement,
                            gate_override)
  block()  # a wrong field is an error here
  if frames < 1:
    raise ValueError(f"frames = {frames} are none")
  if stem == "table":
    fields = {"strides": (2, 2, 2, 2), **fields, "stem": "hara_table"}
  elif stem:
    fields["stem"] = stem
  if "zero_init" in systems.field_names(trunk):
    fields.setdefault("zero_init", False)
  make = functools.partial(systems.create_model, trunk, num_classes=num_classes, dtype=dtype, **fields)
  gated = {name: block for name in places(make().site_names(), placement, gated_stages, trunk)}
  return STCNet(make(sites=sites_lib.merge(gated, sites or {})), frames)


def places(names: Sequence[str], placement: str, gated_stages: Sequence[int], trunk: str) -> list[str]:
  """The sites of the blocks among those of a trunk.

  Raises:
    ValueError: a trunk or stage that has none.
  """
  part = "residual" if placement == "residual" else "out"

  def of_stage(stage):
    found = fnmatch.filter(names, f"res{stage + 1}.*.{part}")
    return found if found or placement == "residual" else [n for n in names if n == f"block{stage}"]

  found = {stage: of_stage(stage) for stage in STAGES}
  have = [stage for stage, sites in found.items() if sites]
  if not have:
    other = "; set placement = 'after'" if placement == "residual" else ""
    raise ValueError(f"{trunk} has no stages of residual blocks for placement = '{placement}'{other}")
  for stage in gated_stages:
    if stage not in have:
      raise ValueError(f"gated_stages names {stage}; the stages of {trunk} are {', '.join(map(str, have))}")
  return [name for stage in gated_stages or have for name in found[stage]]
