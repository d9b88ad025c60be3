"""TSM networks with space-time attention after some residual blocks: RNL, CPA, non-local, channel gates.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, chapter 4.
In ResNet-50, two blocks stand in res3 and three in res4 (section 4.5); an SE block in
front of each makes a chain of channel and space-time attention (section 4.4).
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

from flax import linen as nn

from vidx import systems
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.channel_gate import ChannelGate
from vidx.nn.non_local import NonLocal
from vidx.nn.pyramid_attention import ConvolutionPyramidAttention
from vidx.nn.region_non_local import RegionNonLocal

KERNELS = {"res3": (3, 7, 7), "res4": (3, 3, 3)}
CHAINS = (False, True, "se", "gc")


def rnl(num_classes: int = 400, trunk: str = "tsm_r50", form: str = "gaussian", descriptor: str = "dwconv",
        kernels: Mapping[str, Sequence[int]] = KERNELS, scale: float = 1.0, chunk: int = 512,
        query: Sequence[float] = RegionNonLocal.query, se: bool | str = False, se_reduction: int = 16,
        places: Sequence[str] = (), sites=None, dtype: Any = None, **fields) -> nn.Module:
  """A trunk with region-based non-local blocks.

  Args:
    num_classes: classes.
    trunk: name of a trunk or system whose blocks have sites `res3.0.out` and so on.
    form: see RegionNonLocal.
    descriptor: see RegionNonLocal.
    kernels: of the region, per stage; (3, 3, 3) in stages not named.
    scale: see RegionNonLocal.
    chunk: see RegionNonLocal.
    query: see RegionNonLocal.
    se: a channel gate in front of the blocks: True or "se" puts SE at every place,
      "gc" the gate of the public models (GC with C/2 hidden channels) at the first.
    se_reduction: C over the hidden width of SE; 2 is what the text says.
    places: sites of the blocks; by default the published ones that the trunk has.
    sites: further blocks to plug in, behind these.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  def block(site):
    kernel = tuple(kernels.get(site.split(".")[0], (3, 3, 3)))
    return functools.partial(RegionNonLocal, form=form, descriptor=descriptor, kernel=kernel, scale=scale, chunk=chunk,
                             query=tuple(query), dtype=dtype)

  return _attended(block, num_classes, trunk, se, se_reduction, places, sites, dtype, fields)


def cpa(num_classes: int = 400, trunk: str = "tsm_r50",
        pyramid: Sequence[Sequence[int]] = ConvolutionPyramidAttention.pyramid, mode: str = "rescale",
        se: bool | str = False, se_reduction: int = 16, places: Sequence[str] = (), sites=None,
        dtype: Any = None, **fields) -> nn.Module:
  """A trunk with convolution pyramid attention; see ConvolutionPyramidAttention and `rnl` for the fields."""
  block = functools.partial(ConvolutionPyramidAttention, pyramid=tuple(map(tuple, pyramid)), mode=mode)
  return _attended(lambda site: block, num_classes, trunk, se, se_reduction, places, sites, dtype, fields)


def nonlocal_net(num_classes: int = 400, trunk: str = "tsm_r50", form: str = "embedded_gaussian", scale: float = 1.0,
                 chunk: int = 512, query: Sequence[float] = NonLocal.query, se: bool | str = False,
                 se_reduction: int = 16, places: Sequence[str] = (), sites=None, dtype: Any = None,
                 **fields) -> nn.Module:
  """A trunk with non-local blocks; see NonLocal and `rnl` for the fields."""
  block = functools.partial(NonLocal, form=form, scale=scale, chunk=chunk, query=tuple(query), dtype=dtype)
  return _attended(lambda site: block, num_classes, trunk, se, se_reduction, places, sites, dtype, fields)


def channel_gated(num_classes: int = 400, trunk: str = "tsm_r50", form: str = "se", reduction: int = 16,
                  multiply: bool = False, places: Sequence[str] = (), sites=None, dtype: Any = None,
                  **fields) -> nn.Module:
  """A trunk with channel gates alone: SE, GC or CBAM; see ChannelGate and `rnl` for the fields."""
  block = functools.partial(ChannelGate, form=form, reduction=reduction, multiply=multiply, dtype=dtype)
  return _attended(lambda site: block, num_classes, trunk, False, 16, places, sites, dtype, fields)


def published_places(names: Sequence[str]) -> list[str]:
  """res3.0, res3.2, res4.0, .2, .4, or .0, .8, .16 in a stage of 23 blocks: those among the sites of a trunk."""
  step = 8 if "res4.22.out" in names else 2
  places = ["res3.0.out", "res3.2.out", *(f"res4.{i * step}.out" for i in range(3))]
  return [place for place in places if place in names]


def _attended(block: Callable[[str], Callable], num_classes, trunk, se, se_reduction, places, sites, dtype, fields):
  """The trunk with `block(site)` at its places, behind channel gates where there are any."""
  choices.check("se", se, CHAINS)
  make = functools.partial(systems.create_model, trunk, num_classes=num_classes, dtype=dtype, **fields)
  places = tuple(places) or published_places(make().site_names())
  if not places:
    raise ValueError(f"{trunk} has none of the published places; name its sites in 'places'")
  channel = {place: functools.partial(ChannelGate, form="se", reduction=se_reduction, dtype=dtype) for place in places}
  if se == "gc":
    norm = (("momentum", 0.99),)
    channel = {places[0]: functools.partial(ChannelGate, form="gc", reduction=2, norm=norm, dtype=dtype)}
  chain = {place: (channel[place], block(place)) if se and place in channel else block(place) for place in places}
  for factory in map(block, places):
    factory()  # a wrong field is an error here
  return make(sites=sites_lib.merge(chain, sites or {}))
