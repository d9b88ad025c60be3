"""Densely connected networks: Hara et al.'s release."""

from vidx.interop.images import unit
from vidx.interop.rules import Rule, aliases, batch_norm, conv, linear, prefixed


def _network(dot: str) -> list[Rule]:
  """All names; `dot` stands in front of the numbers of a layer's parts."""
  path = "block{i}_{j}"
  key = lambda part: f"features.denseblock{{i}}.denselayer{{j+1}}.{part}{dot}{{k}}"
  layers = batch_norm(key("norm"), f"{path}/act{{k}}/norm") + conv(key("conv"), f"{path}/conv{{k}}")
  between = (batch_norm("features.transition{i}.norm", "transition{i}/act/norm")
             + conv("features.transition{i}.conv", "transition{i}/conv"))
  return unit("features.conv0", "features.norm0", "stem/conv") + layers + between


def kenshohara(model) -> list[Rule]:
  """3D-ResNets-PyTorch and T3D; early files have `module.` in front, and `norm.1` where later ones have `norm1`."""
  last = len(model.layers) + 1
  ends = batch_norm(f"features.norm{last}", "last/act/norm") + linear("classifier", "head/fc", head=True)
  rules, early = _network("") + ends, aliases(_network(".") + ends)
  return rules + early + aliases(prefixed([*rules, *early], key="module."))
