"""DAN: a trunk that sees the dynamic appearance of each segment in place of its frames.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 3.5.3
and figure 3.11. `task.name = "joint"` trains both objectives of section 3.5.4.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax

from vidx import systems
from vidx.nn import axes
from vidx.nn.pixel_projection import PixelwiseTemporalProjection


class DynamicAppearanceNet(nn.Module):
  """`projection` makes one image per segment of `consecutive` frames, `trunk` scores the images as a clip."""

  projection: PixelwiseTemporalProjection
  trunk: nn.Module

  inputs = ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  def __call__(self, video: jax.Array, train: bool = False) -> dict[str, Any]:
    """Scores clips.

    Args:
      video: (B, S, T, H, W, 3) or (B, S T, H, W, 3), normalised.
      train: see Trunk.

    Returns:
      The trunk's outputs and, as `losses`, {'enopr': (B,)}: the energy that the
      projection leaves (eq. 3.13).
    """
    axes.check_pixels(video)
    appearance, losses = self.projection.with_losses(video, train)
    return {**self.trunk(appearance, train=train), "losses": losses}


def dan(num_classes: int = 400, trunk: str = "tsm_r50", consecutive: int = 8,
        projection: Mapping[str, Any] | None = None, dtype: Any = None, **fields) -> DynamicAppearanceNet:
  """A dynamic appearance net.

  Args:
    num_classes: classes.
    trunk: name of a trunk or system of clips: tsm_r50, x3d_xs, x3d_m.
    consecutive: frames per segment, T.
    projection: further fields of PixelwiseTemporalProjection.
    dtype: compute dtype of the trunk.
    **fields: of the trunk.

  Returns:
    A module (B, S T, H, W, 3) -> {'logits', 'features', 'losses'}.
  """
  block = systems.block("projection", PixelwiseTemporalProjection, consecutive, **(projection or {}))
  return DynamicAppearanceNet(block, systems.create_model(trunk, num_classes=num_classes, dtype=dtype, **fields))
