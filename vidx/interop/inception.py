"""Inception networks: torchvision's images and clips, BN-Inception of Caffe and TSM, I3D in PyTorch.

The images' weights of V1 also fill I3D, with `inflate`.
"""

from collections.abc import Iterator

from vidx.interop.images import unit
from vidx.interop.rules import Rule, aliases, drop, linear, pointwise, prefixed


def _blocks(model, first: str) -> Iterator[tuple[str, str]]:
  """(public name such as '3a', path) of every block; `first` is the letter of a stage's first."""
  for stage in model.blocks():
    for j, (name, _) in enumerate(stage):
      number = name.removeprefix("mixed").split(".")[0]
      yield f"{number}{chr(ord(first) + j)}", name.replace(".", "_")


def _googlenet(model) -> list[Rule]:
  """torchvision's GoogLeNet, without its auxiliary classifiers."""
  one = lambda key, path: unit(f"{key}.conv", f"{key}.bn", path)
  rules = one("conv1", "stem/conv") + one("conv2", "conv2/reduce") + one("conv3", "conv2/conv")
  for name, path in _blocks(model, "a"):
    key = f"inception{name}"
    rules += one(f"{key}.branch1", f"{path}/branch0") + one(f"{key}.branch4.1", f"{path}/pool")
    for i in (1, 2):
      rules += one(f"{key}.branch{i + 1}.{{k:[01]}}", f"{path}/branch{i}_{{k}}")
  return rules + linear("fc", "head/fc", head=True) + drop("aux{k:[12]}.{what:.*}", "auxiliary classifier")


def _s3d(model) -> list[Rule]:
  """torchvision's S3D: one list of steps."""
  one = lambda key, path: unit(f"{key}.0", f"{key}.1", path)
  split = lambda key, path: one(f"{key}.0", f"{path}/spatial") + one(f"{key}.1", f"{path}/temporal")
  rules = split("features.0", "stem/conv") + one("features.2", "conv2/reduce") + split("features.3", "conv2/conv")
  n = 5
  for stage in model.blocks():
    for name, _ in stage:
      key, path = f"features.{n}", name.replace(".", "_")
      rules += one(f"{key}.branch0", f"{path}/branch0") + one(f"{key}.branch3.1", f"{path}/pool")
      for i in (1, 2):
        rules += one(f"{key}.branch{i}.0", f"{path}/branch{i}_0") + split(f"{key}.branch{i}.1", f"{path}/branch{i}_1")
      n += 1
    n += 1  # the pooling
  return rules + pointwise("classifier.1", "head/fc", head=True)


def torchvision(model) -> list[Rule]:
  """GoogLeNet, or S3D where convolutions are separable."""
  return _s3d(model) if model.separable else _googlenet(model)


def _caffe(model) -> list[Rule]:
  """BN-Inception without its classifier: flat names."""
  one = lambda key, path: unit(key, f"{key}_bn", path)
  rules = (one("conv1_7x7_s2", "stem/conv") + one("conv2_3x3_reduce", "conv2/reduce")
           + one("conv2_3x3", "conv2/conv"))
  for name, path in _blocks(model, "a"):
    key = f"inception_{name}"
    rules += one(f"{key}_1x1", f"{path}/branch0") + one(f"{key}_pool_proj", f"{path}/pool")
    rules += one(f"{key}_3x3_reduce", f"{path}/branch1_0") + one(f"{key}_3x3", f"{path}/branch1_1")
    rules += one(f"{key}_double_3x3_reduce", f"{path}/branch2_0")
    rules += one(f"{key}_double_3x3_{{k:[12]}}", f"{path}/branch2_{{k}}")
  return rules


def cadene(model) -> list[Rule]:
  """pretrained-models.pytorch; files of TSN and TSM call the classifier `fc`."""
  return (_caffe(model) + linear("last_linear", "head/fc", head=True)
          + aliases(linear("fc", "head/fc", head=True)))


def tsm(model) -> list[Rule]:
  """TSN and TSM releases: below `base_model`, the classifier is `new_fc`."""
  rules = prefixed(_caffe(model), key="base_model.") + linear("new_fc", "head/fc", head=True)
  return prefixed(rules, key="module.") + aliases(rules)


def pytorch_i3d(model) -> list[Rule]:
  """piergiaj's pytorch-i3d; files of trainings in parallel have `module.` in front."""
  one = lambda key, path: unit(f"{key}.conv3d", f"{key}.bn", path)
  rules = (one("Conv3d_1a_7x7", "stem/conv") + one("Conv3d_2b_1x1", "conv2/reduce")
           + one("Conv3d_2c_3x3", "conv2/conv"))
  for name, path in _blocks(model, "b"):
    key = f"Mixed_{name}"
    rules += one(f"{key}.b0", f"{path}/branch0") + one(f"{key}.b3b", f"{path}/pool")
    for i in (1, 2):
      rules += one(f"{key}.b{i}a", f"{path}/branch{i}_0") + one(f"{key}.b{i}b", f"{path}/branch{i}_1")
  rules += pointwise("logits.conv3d", "head/fc", head=True)
  return rules + aliases(prefixed(rules, key="module."))
