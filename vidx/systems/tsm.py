"""TSM: TSN whose residual branches see some channels of the neighbouring frames.

Lin, Gan, Han: "TSM: Temporal Shift Module for Efficient Video Understanding", 2019.
"""

import functools

from flax import linen as nn

from vidx.nn import sites as sites_lib
from vidx.nn.temporal_shift import TemporalShift
from vidx.systems.tsn import tsn


def tsm(num_classes: int = 400, trunk: str = "resnet_50", dropout: float = 0.5, head_std: float = 1e-3,
        fraction: float = 1 / 8, sites=None, **fields) -> nn.Module:
  """TSN with a temporal shift at the input of every residual branch.

  In stages of 23 blocks or more, every second block is shifted (as published for
  ResNet-101).

  Args:
    num_classes: classes.
    trunk: name of a trunk that sees single frames.
    dropout: before the last layer.
    head_std: of the last layer's initialisation.
    fraction: share of the channels that moves in each direction; 0 is TSN.
    sites: further blocks to plug in, after the shifts.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  make = functools.partial(tsn, num_classes, trunk, dropout, head_std, **fields)
  blocks = {name: int(name.split(".")[-2]) for name in make().site_names() if name.endswith(".branch")}
  step = 2 if max(blocks.values(), default=0) >= 22 else 1
  shift = functools.partial(TemporalShift, fraction)
  shifted = {name: shift for name, number in blocks.items() if number % step == 0}
  return make(sites=sites_lib.merge(shifted, sites or {}))
