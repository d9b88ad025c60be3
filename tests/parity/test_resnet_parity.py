import numpy as np
import pytest

from tests.parity import peers  # noqa: I001: lets torchvision be imported
import vidx
from vidx import interop

torch = peers.torch


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


@pytest.mark.parametrize("name, peer", [
    ("resnet_18", "resnet18"), ("resnet_50", "resnet50"), ("resnet_101", "resnet101")])
def test_image_networks_equal_torchvision(name, peer):
  models = pytest.importorskip("torchvision.models")
  peers.compare(vidx.create_model(name, num_classes=7), getattr(models, peer)(num_classes=7), "torchvision",
                some(2, 65, 64, 3))


@pytest.mark.parametrize("name, peer", [("resnet_18", "resnet18")])
def test_image_networks_equal_timm(name, peer):
  timm = pytest.importorskip("timm")
  peers.compare(vidx.create_model(name, num_classes=7), timm.create_model(peer, num_classes=7), "timm",
                some(1, 64, 64, 3))


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_clip_networks_equal_torchvision(name):
  models = pytest.importorskip("torchvision.models.video")
  peers.compare(vidx.create_model(name, num_classes=7), getattr(models, name)(num_classes=7), "torchvision",
                some(1, 8, 32, 32, 3))


def test_the_release_of_ig65m_equals_torchvision_with_its_middle_widths():
  parts = pytest.importorskip("torchvision.models.video.resnet")
  module = parts.VideoResNet(parts.BasicBlock, [parts.Conv2Plus1D] * 4, [1, 2, 1, 1], parts.R2Plus1dStem, 7)
  for layer, width, middle in ((module.layer2, 128, 288), (module.layer3, 256, 576), (module.layer4, 512, 1152)):
    layer[0].conv2[0] = parts.Conv2Plus1D(width, width, middle)
  for part in module.modules():
    if isinstance(part, torch.nn.BatchNorm3d):
      part.eps = 1e-3
  peers.compare(vidx.create_model("r2plus1d_34", num_classes=7, stages=(1, 2, 1, 1)), module, "torchvision",
                some(1, 8, 32, 32, 3))


class ShiftedNetwork(torch.nn.Module):
  """TSM with the names of its release, written for reading."""

  def __init__(self, models, frames):
    super().__init__()
    self.frames, base = frames, models.resnet18(num_classes=7)
    for stage in (base.layer1, base.layer2, base.layer3, base.layer4):
      for block in stage:
        block.conv1 = Shifted(block.conv1, frames)
    self.new_fc, base.fc = base.fc, torch.nn.Identity()
    self.base_model = base

  def forward(self, x):
    """(B, C, T, H, W) -> (B, classes)."""
    y = self.new_fc(self.base_model(x.transpose(1, 2).flatten(0, 1)))
    return y.unflatten(0, (-1, self.frames)).mean(1)


class Shifted(torch.nn.Module):

  def __init__(self, net, frames):
    super().__init__()
    self.net, self.frames = net, frames

  def forward(self, x):
    x = x.unflatten(0, (-1, self.frames))
    y, fold = x.clone(), x.shape[2] // 8
    for t in range(self.frames):
      y[:, t, :fold] = x[:, t + 1, :fold] if t + 1 < self.frames else 0
      y[:, t, fold:2 * fold] = x[:, t - 1, fold:2 * fold] if t > 0 else 0
    return self.net(y.flatten(0, 1))


def test_tsm_equals_its_reference():
  models = pytest.importorskip("torchvision.models")
  module = torch.nn.Module()
  module.module = ShiftedNetwork(models, 4)
  module.forward = module.module.forward
  peers.compare(vidx.create_model("tsm", trunk="resnet_18", num_classes=7), module, "tsm", some(2, 4, 32, 32, 3))


def test_only_shifted_convolutions_of_deep_stages_are_called_net():
  model = vidx.create_model("tsm_r101", num_classes=7)
  shapes = interop.shapes_of(model)
  keys = {rule.to_key(path) for rule in interop.rules_of(model, "tsm") if not rule.alias for path in shapes} - {None}
  assert {"module.base_model.layer3.0.conv1.net.weight", "module.base_model.layer3.1.conv1.weight",
          "module.base_model.layer3.1.bn1.running_var", "module.new_fc.bias"} <= keys
  assert "module.base_model.layer3.1.conv1.net.weight" not in keys
