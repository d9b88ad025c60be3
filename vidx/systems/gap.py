"""A trunk with a linear classifier per target on its pooled features: the baselines of verbs and nouns.

On a trunk of single frames it is a TSN with several heads. With one target it is what
SAOA's networks are trained as (Wang: "Collaborative Dual-Stream Modeling for Video
Understanding", 2021, section 3.2).
"""

from collections.abc import Mapping
from typing import Any

from flax import core
from flax import linen as nn
import jax

from vidx import systems
from vidx.nn import pool


class PooledHeads(nn.Module):
  """`trunk`, the mean over space and time, and a classifier of each of `classes`, (target, number) pairs."""

  trunk: nn.Module
  classes: tuple[tuple[str, int], ...]
  dropout: float = 0.0

  inputs = ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  @nn.compact
  def __call__(self, video: jax.Array, train: bool = False, mask: jax.Array | None = None) -> dict[str, jax.Array]:
    """(B, T, H, W, C), normalised -> {'logits': {target: (B, classes)}, 'features': (B, C)}, fp32."""
    x, mask = self.trunk.trunk(video, train, mask)
    features = pool.mean_pool(x, mask)
    y = nn.Dropout(self.dropout, deterministic=not train)(features)
    return {"logits": {name: nn.Dense(count, name=name)(y) for name, count in self.classes}, "features": features}


def gap(num_classes: Mapping[str, int] = core.FrozenDict(verb=97, noun=300), trunk: str = "i3d", dropout: float = 0.0,
        sites=None, dtype: Any = None, **fields) -> PooledHeads:
  """Linear classifiers on one trunk.

  Args:
    num_classes: by target, one or several.
    trunk: name of a trunk of clips or frames.
    dropout: before the classifiers.
    sites: blocks to plug in.
    dtype: compute dtype of the trunk.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, C) -> {'logits': {target: (B, classes)}, 'features'}.
  """
  if not isinstance(num_classes, Mapping) or not num_classes:
    raise ValueError(f"num_classes = {num_classes!r} is not of the form {{'verb': ..., 'noun': ...}}")
  model = systems.create_model(trunk, num_classes=0, sites=sites or {}, dtype=dtype, **fields)
  return PooledHeads(model, tuple(num_classes.items()), dropout)
