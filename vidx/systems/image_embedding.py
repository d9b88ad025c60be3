"""Features of single images, of length 1: what judges whether two images show the same object.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. Trained by `task.name =
"affinity"` from a trunk that knows ImageNet: `train.init_from = (("/trunk/", RUN),)`.
"""

from typing import Any

from flax import linen as nn
import jax

from vidx import systems
from vidx.nn import sites as sites_lib
from vidx.nn.embedding import unit_rows


class ImageEmbedding(nn.Module):
  """A trunk that sees every image by itself."""

  trunk: nn.Module

  inputs = ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """Those of the trunk."""
    return self.trunk.site_names()

  def __call__(self, video: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """(B, T, H, W, 3), normalised -> {'features': fp32 (B, T, D) of length 1}."""
    images = video.reshape(-1, 1, *video.shape[2:])
    x = unit_rows(self.trunk(images, train=train)["features"], 1e-6)
    return {"features": x.reshape(*video.shape[:2], -1)}


def image_embedding(trunk: str = "resnet_50", num_classes: Any = 0, sites=None, dtype: Any = None, **fields
                    ) -> ImageEmbedding:
  """The penultimate features of a trunk.

  Args:
    trunk: name of a trunk that sees single frames.
    num_classes: what trunks are told of the data, of which features make no use.
    sites: blocks to plug in.
    dtype: compute dtype of the trunk; features are fp32.
    **fields: of the trunk.
  """
  del num_classes
  return ImageEmbedding(sites_lib.share(
      lambda sites: systems.create_model(trunk, num_classes=0, dtype=dtype, sites=sites, **fields),
      sites_lib.merge(sites or {})))
