"""TeSNet: a trunk that sees a few squeezed images in place of many frames.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 3.2.3.
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.squeeze import TemporalSqueezePooling
from vidx.systems.represented import Represented

CONSENSUS = ("average", "concat")
#: The rows of table 3.2, and the network for clips of 64 frames.
PLACEMENTS = {
    1: (("input", 10, 3),),
    2: (("input", 10, 1),),
    3: (("conv1a", 10, 3), ("conv4a", 3, 1)),
    4: (("conv1a", 10, 3), ("block_a", 3, 1)),
    5: (("conv1a", 10, 3), ("block_b:8", 3, 1)),
    "64 frames": (("conv1a", 64, 16), ("block_b:8", 16, 4)),
}


def frames_to_channels(x: jax.Array) -> jax.Array:
  """(B, T, H, W, C) -> (B, 1, H, W, T * C)."""
  return jnp.moveaxis(x, 1, -2).reshape(x.shape[0], 1, *x.shape[2:4], -1)


def site_of(point: str) -> str:
  """The site of a placement: 'block_b:8' stands behind the eighth block, 'block_b.7.out'."""
  stage, colon, block = point.partition(":")
  if colon and not (block.isdigit() and int(block)):
    raise ValueError(f"'{point}' is no placement: blocks are counted from 1")
  return f"{stage}.{int(block) - 1}.out" if colon else point


def tesnet(num_classes: int = 101, trunk: str = "inception_resnet_v2",
           placements: Sequence[tuple[str, int, int]] | None = PLACEMENTS[1], squeeze: Mapping[str, Any] | None = None,
           consensus: str = "average", dropout: float = 0.5, sites=None, dtype: Any = None, **fields) -> nn.Module:
  """A temporal squeeze network.

  Args:
    num_classes: classes.
    trunk: name of a trunk that sees single frames.
    placements: (point, K, D), in the order of the flow: behind `point`, K frames become
      D. A point is 'input', a site of the trunk, or such as 'block_b:8', behind the
      eighth block of a stage. None: TSN.
    squeeze: further fields of TemporalSqueezePooling.
    consensus: of the D images that are left: 'average' of their logits, or 'concat',
      one classifier on the features of all.
    dropout: before the last layer.
    sites: further blocks to plug in, behind these.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, K, H, W, C) -> {'logits', 'features'}; any C, so also for optical flow.
    At the input, longer clips are squeezed in segments of K.
  """
  choices.check("consensus", consensus, CONSENSUS)
  pooling = functools.partial(TemporalSqueezePooling, dtype=dtype, **(squeeze or {}))
  inside = sites_lib.merge(*({site_of(point): functools.partial(pooling, images, frames)}
                             for point, frames, images in placements or () if point != "input"))
  make = functools.partial(systems.create_model, trunk, num_classes=num_classes, dropout=dropout, dtype=dtype, **fields)
  last = {make().site_names()[-1]: frames_to_channels} if consensus == "concat" else {}
  model = make(sites=sites_lib.merge(inside, sites or {}, last))
  at_input = [(frames, images) for point, frames, images in placements or () if point == "input"]
  if not at_input:
    return model
  (frames, images), = at_input
  return Represented(systems.block("squeeze", pooling, images, frames), model, frames)
