"""Inception-V3: torchvision's files, and those of pytorch-fid, which have the same names."""

from vidx.backbones import inception_resnet, inception_v3
from vidx.interop.images import unit
from vidx.interop.rules import Rule, drop, linear

_FIRST = ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool")
_SECOND = ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool")
_THIRD = ("branch1x1", "branch3x3", "branch3x3dbl", "branch_pool")
_BRANCHES = {"mixed6a": ("branch3x3", "branch3x3dbl"), "mixed7a": ("branch3x3", "branch7x7x3")}
_KERNELS = {"conv3b": "1x1"}  # of the stem; the others are 3x3


def torchvision(model) -> list[Rule]:
  """torchvision's inception_v3, whose auxiliary classifier has no place; the weights of the Frechet distance."""
  del model
  rules = []
  for name, features, *_ in inception_resnet.STEM:
    key = f"Conv2d_{name.removeprefix('conv')}_{_KERNELS.get(name, '3x3')}"
    rules += unit(f"{key}.conv", f"{key}.bn", f"{name}/conv") if features else []
  for name, branches in inception_v3.BRANCHES.items():
    group = {"5": _FIRST, "6": _SECOND, "7": _THIRD}[name[5]]
    for i, (branch, key) in enumerate(zip(branches, _BRANCHES.get(name, group))):
      convolutions = [(j, part) for j, part in enumerate(branch) if not isinstance(part, str)]
      for n, (j, part) in enumerate(convolutions, start=1):
        number = f"_{n}" if len(convolutions) > 1 else ""
        for letter in ("a", "b") if isinstance(part[0], tuple) else ("",):
          place = f"Mixed_{name.removeprefix('mixed')}.{key}{number}{letter}"
          rules += unit(f"{place}.conv", f"{place}.bn", f"{name}/branches/branch{i}_{j}{letter}")
  return rules + linear("fc", "head/fc", head=True) + drop("AuxLogits.{what:.*}", "auxiliary classifier")
