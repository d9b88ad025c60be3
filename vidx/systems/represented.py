"""A trunk that sees one image per segment: plain frames, their differences, band-passed motion, ...

The comparison of Huang: "Spatio-Temporal Modeling for Action Recognition in Videos",
2022, tables 3.12, 5.1 and 5.2: the same network behind different representations.
"""

from collections.abc import Mapping
import importlib
from typing import Any

from flax import linen as nn
import jax

from vidx import systems
from vidx.nn import axes, choices
from vidx.nn.represent import segments
from vidx.systems.dan import dan

#: name: (the block that makes the images, consecutive frames per segment).
REPRESENTATIONS = {
    "rgb": ("vidx.nn.represent:MiddleFrame", 1),
    "rgb_difference": ("vidx.nn.represent:FrameDifference", 6),
    "dynamic_image": ("vidx.nn.dynamic_image:DynamicImage", 6),
    "squeezed": ("vidx.nn.squeeze:one_image", 6),
    "appearance": ("vidx.nn.pixel_projection:PixelwiseTemporalProjection", 6),
    "stacked": ("vidx.nn.represent:Stacked", 5),
    "band_pass": ("vidx.nn.band_pass:MotionBandPass", 3),
}


class Represented(nn.Module):
  """`trunk` on the images that `image` makes of segments of `consecutive` frames."""

  image: nn.Module
  trunk: nn.Module
  consecutive: int

  inputs = ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  def __call__(self, video: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """(B, N, d, H, W, 3) or (B, N d, H, W, 3), normalised -> {'logits': (B, num_classes), 'features': (B, C)}."""
    axes.check_pixels(video)
    return self.trunk(self.image(segments(video, self.consecutive), train=train), train=train)


def represented(num_classes: int = 400, representation: str = "rgb", consecutive: int = 0, trunk: str = "tsm_r50",
                image: Mapping[str, Any] | None = None, **fields) -> nn.Module:
  """A trunk behind a representation.

  Args:
    num_classes: classes.
    representation: a key of REPRESENTATIONS.
    consecutive: frames per segment; 0: as many as the representation is made for.
    trunk: name of a trunk or system of clips; its first layer takes the channels that come.
    image: fields of the representation's block.
    **fields: of the trunk.

  Returns:
    A module (B, N d, H, W, 3) -> {'logits', 'features'}; of dynamic appearance, `vidx.systems.dan.dan`, which
    puts out a loss as well.
  """
  choices.check("representation", representation, REPRESENTATIONS)
  path, own = REPRESENTATIONS[representation]
  if representation == "appearance":
    return dan(num_classes, trunk, consecutive or own, image, **fields)
  module, _, name = path.partition(":")
  block = systems.block("image", getattr(importlib.import_module(module), name), **(image or {}))
  return Represented(block, systems.create_model(trunk, num_classes=num_classes, **fields), consecutive or own)
