"""Inception-ResNet-V2: timm, and the Cadene files from which it comes."""

from vidx.backbones import inception_resnet
from vidx.interop.images import unit
from vidx.interop.rules import Rule, conv, linear


def _branches(name: str, key: str, path: str) -> list[Rule]:
  """The convolutions of one step's branches; a branch of one convolution has no number for it."""
  rules = []
  for i, branch in enumerate(inception_resnet.BRANCHES[name]):
    for j, part in enumerate(branch):
      if not isinstance(part, str):
        place = f"{key}.branch{i}" + (f".{j}" if len(branch) > 1 else "")
        rules += unit(f"{place}.conv", f"{place}.bn", f"{path}/branches/branch{i}_{j}")
  return rules


def _network(model, classifier: str) -> list[Rule]:
  rules = []
  for name, features, *_ in inception_resnet.STEM:
    place = f"conv2d_{name.removeprefix('conv')}"
    rules += unit(f"{place}.conv", f"{place}.bn", f"{name}/conv") if features else []
  keys = ("repeat", "repeat_1", "repeat_2")
  for (mixed, group, _), repeat, count in zip(inception_resnet.GROUPS, keys, model.repeats):
    rules += _branches(mixed, mixed.replace("mixed", "mixed_"), mixed)
    for j in range(count):
      key = "block8" if group == "block_c" and j == count - 1 else f"{repeat}.{j}"
      rules += _branches(group, key, f"{group}_{j}") + conv(f"{key}.conv2d", f"{group}_{j}/up")
  return rules + unit("conv2d_7b.conv", "conv2d_7b.bn", "conv7b/conv") + linear(classifier, "head/fc", head=True)


def timm(model) -> list[Rule]:
  """timm's inception_resnet_v2."""
  return _network(model, "classif")


def cadene(model) -> list[Rule]:
  """pretrained-models.pytorch; the classifier is called `last_linear`."""
  return _network(model, "last_linear")
