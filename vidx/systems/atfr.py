"""3D CNNs with adaptive temporal feature resolutions: a trunk whose later layers see as many frames as a clip needs.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 6; Fayyaz et al.: "3D CNNs with Adaptive Temporal Feature
Resolutions", 2021.
"""

from collections.abc import Sequence
import functools
from typing import Any

from flax import linen as nn

from vidx import systems
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.similarity_sampling import GRIDS, SimilarityGuidedSampling
from vidx.nn.uniform_sampling import UniformSampling

CONTROLS = ("", "none", "random", "uniform")
PATHWAYS = ("slow", "fast")


def atfr(num_classes: int = 400, trunk: str = "resnet3d_slim_18", place: str = "res2",
         bins: int | Sequence[int] = 0, dim: int = 0, space: str = "code", activation: str = "relu",
         measure: str = "magnitude", kernel: str = "linear", edge: str = "centre",
         block_len: int | Sequence[int] = 0, order: str = "similarity", gradient: str = "constant_bins",
         grad_scale: float = 1.0, pathways: Sequence[str] = PATHWAYS, control: str = "", keep: int | Sequence[int] = 0,
         sites=None, dtype: Any = None, **fields) -> nn.Module:
  """A trunk with one similarity guided sampling, or one in each of its two pathways.

  Args:
    num_classes: classes.
    trunk: name of a trunk of clips.
    place: its site: 'stem' (after the first convolution), 'res2' (published), 'res3',
      ... In a trunk with pathways, that site of each.
    bins: see SimilarityGuidedSampling; a pair (slow, fast) where pathways differ.
    dim: see SimilarityGuidedSampling.
    space: see SimilarityGuidedSampling.
    activation: see SimilarityGuidedSampling.
    measure: see SimilarityGuidedSampling.
    kernel: see SimilarityGuidedSampling.
    edge: see SimilarityGuidedSampling.
    block_len: see SimilarityGuidedSampling; a pair (slow, fast) where pathways differ.
    order: see SimilarityGuidedSampling.
    gradient: see SimilarityGuidedSampling.
    grad_scale: see SimilarityGuidedSampling.
    pathways: those of a trunk with pathways that have one.
    control: what stands there instead, for comparison: 'random', the same number of
      frames made of frames drawn by lot; 'uniform', `keep` frames; 'none', nothing.
    keep: frames that 'uniform' leaves, 0 for half of the published clip's; a pair
      (slow, fast) where pathways differ.
    sites: further blocks to plug in, behind these.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  choices.check("control", control, CONTROLS)
  for way in pathways:
    choices.check("pathways", way, PATHWAYS)
  make = functools.partial(systems.create_model, trunk, num_classes=num_classes, dtype=dtype, **fields)
  if control == "none":
    return make(sites=sites or {})
  plain = make()
  names = plain.site_names()
  wanted = [f"{way}.{place}" for way in pathways if f"{way}.{place}" in names] or [place]
  if wanted[0] not in names:
    raise ValueError(f"{trunk} has no site '{place}'; the sites are {', '.join(names)}")
  shared = dict(
      dim=dim, space=space, activation=activation, measure=measure, kernel=kernel, edge=edge, order=order,
      gradient=gradient, grad_scale=grad_scale, control=control,
      norm=(("eps", plain.eps), ("momentum", plain.momentum), ("groups", plain.bn_groups)))

  def block(site):
    way = PATHWAYS.index(site.split(".")[0]) if len(wanted) > 1 or site != place else None
    own = lambda value: value if way is None or isinstance(value, int) else value[way]
    if control == "uniform":
      return functools.partial(UniformSampling, own(keep) or _frames(trunk, way, plain) // 2)
    return functools.partial(
        SimilarityGuidedSampling, bins=bins if measure in GRIDS else own(bins), block_len=own(block_len),
        lead=plain.lead(site), **shared)

  blocks = {site: block(site) for site in wanted}
  for factory in blocks.values():
    factory()  # a wrong field is an error here
  return make(sites=sites_lib.merge(blocks, sites or {}))


def _frames(trunk, way, model):
  """Frames of the published clip, in the slow pathway of two a share of them."""
  frames = systems.rows()[trunk].inputs[0][1]
  return frames // model.alpha if way == PATHWAYS.index("slow") else frames
