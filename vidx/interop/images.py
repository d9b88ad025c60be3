"""Chains of steps: MobileNetV2, ShuffleNetV2, VGG-16 and VGG-19, AlexNet, C3D."""

from vidx.interop.rules import Rule, aliases, batch_norm, conv, linear, prefixed
from vidx.nn import sites as sites_lib
from vidx.nn.temporal_shift import TemporalShift


def unit(conv_key: str, norm_key: str, path: str) -> list[Rule]:
  """Convolution and batch normalisation of one ConvNormAct."""
  return conv(conv_key, f"{path}/conv") + batch_norm(norm_key, f"{path}/norm")


def _inverted(model):
  """(index, path, expands, shifted) of MobileNetV2's blocks."""
  for n, (name, _, expansion, _, _) in enumerate(model.blocks(), start=1):
    factories = sites_lib.plugged(model.sites, f"{name}.branch")
    yield (n, name.replace(".", "_"), expansion != 1,
           any(isinstance(sites_lib.make(f), TemporalShift) for f in factories))


def mobilenet_torchvision(model) -> list[Rule]:
  """torchvision's MobileNetV2."""
  rules, last = unit("features.0.0", "features.0.1", "stem/conv"), len(model.blocks()) + 1
  for n, path, expands, _ in _inverted(model):
    key, k = f"features.{n}.conv", int(expands)
    rules += unit(f"{key}.0.0", f"{key}.0.1", f"{path}/expand") if expands else []
    rules += unit(f"{key}.{k}.0", f"{key}.{k}.1", f"{path}/depthwise")
    rules += unit(f"{key}.{k + 1}", f"{key}.{k + 2}", f"{path}/project")
  return (rules + unit(f"features.{last}.0", f"features.{last}.1", "last/conv")
          + linear("classifier.1", "head/fc", head=True))


def mobilenet_timm(model) -> list[Rule]:
  """timm's mobilenetv2_100."""
  rules = unit("conv_stem", "bn1", "stem/conv")
  for _, path, expands, _ in _inverted(model):
    stage, block = path.removeprefix("stage").split("_")
    key, k = f"blocks.{int(stage) - 1}.{block}", int(expands)
    rules += unit(f"{key}.conv_pw", f"{key}.bn1", f"{path}/expand") if expands else []
    rules += unit(f"{key}.conv_dw", f"{key}.bn{k + 1}", f"{path}/depthwise")
    rules += unit(f"{key}.conv_pw{'l' * k}", f"{key}.bn{k + 2}", f"{path}/project")
  return rules + unit("conv_head", "bn2", "last/conv") + linear("classifier", "head/fc", head=True)


def mobilenet_tsm(model) -> list[Rule]:
  """TSM's release: flat blocks, a shifted convolution is called `net`, the classifier `new_fc`."""
  rules, last = unit("features.0.0", "features.0.1", "stem/conv"), len(model.blocks()) + 1
  for n, path, expands, shifted in _inverted(model):
    key, k = f"features.{n}.conv", 3 * int(expands)
    rules += unit(f"{key}.0{'.net' * shifted}", f"{key}.1", f"{path}/expand") if expands else []
    rules += unit(f"{key}.{k}", f"{key}.{k + 1}", f"{path}/depthwise")
    rules += unit(f"{key}.{k + 3}", f"{key}.{k + 4}", f"{path}/project")
  rules += unit(f"features.{last}.0", f"features.{last}.1", "last/conv")
  rules = prefixed(rules, key="base_model.") + linear("new_fc", "head/fc", head=True)
  return prefixed(rules, key="module.") + aliases(rules)


def shufflenet_torchvision(model) -> list[Rule]:
  """torchvision's ShuffleNetV2."""
  del model
  key, path = "stage{i}.{j}", "stage{i}_{j}"
  left, right = f"{key}.branch1", f"{key}.branch2"
  return (unit("conv1.0", "conv1.1", "stem/conv") + unit(f"{left}.0", f"{left}.1", f"{path}/left1")
          + unit(f"{left}.2", f"{left}.3", f"{path}/left2") + unit(f"{right}.0", f"{right}.1", f"{path}/right1")
          + unit(f"{right}.3", f"{right}.4", f"{path}/right2") + unit(f"{right}.5", f"{right}.6", f"{path}/right3")
          + unit("conv5.0", "conv5.1", "last/conv") + linear("fc", "head/fc", head=True))


def vgg_torchvision(model) -> list[Rule]:
  """torchvision's VGG without batch normalisation."""
  rules, n = [], 0
  for i, widths in enumerate(model.widths, start=1):
    for j in range(len(widths)):
      rules += conv(f"features.{n}", f"conv{i}_{j}/conv")
      n += 2
    n += 1
  for i in range(len(model.hidden)):
    rules += linear(f"classifier.{3 * i}", f"head/hidden{i + 1}")
  return rules + linear(f"classifier.{3 * len(model.hidden)}", "head/fc", head=True)


def alexnet_torchvision(model) -> list[Rule]:
  """torchvision's AlexNet."""
  rules = []
  for n, i in zip((0, 3, 6, 8, 10), range(1, 6)):
    rules += conv(f"features.{n}", f"conv{i}/conv")
  for i in range(len(model.hidden)):
    rules += linear(f"classifier.{3 * i + 1}", f"head/hidden{i + 1}")
  return rules + linear(f"classifier.{3 * len(model.hidden)}", "head/fc", head=True)


def c3d(model) -> list[Rule]:
  """The PyTorch copies of C3D's Sports-1M weights: conv1, conv3a, ..., fc6, fc7, fc8."""
  rules = []
  for i, widths in enumerate(model.widths, start=1):
    for j in range(len(widths)):
      rules += conv(f"conv{i}{'ab'[j] if len(widths) > 1 else ''}", f"conv{i}_{j}/conv")
  return (rules + linear("fc6", "head/hidden1") + linear("fc7", "head/hidden2") + linear("fc8", "head/fc", head=True))
