import numpy as np
import pytest

from tests.parity import peers  # noqa: I001: lets torchvision be imported
import vidx
from vidx import interop
from vidx.nn import conv

torch = peers.torch
models = pytest.importorskip("torchvision.models")


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


def test_mobilenet_equals_torchvision():
  peers.compare(vidx.create_model("mobilenet_v2", num_classes=7), models.mobilenet_v2(num_classes=7), "torchvision",
                some(2, 64, 64, 3))


def test_mobilenet_equals_timm():
  timm = pytest.importorskip("timm")
  peers.compare(vidx.create_model("mobilenet_v2", num_classes=7), timm.create_model("mobilenetv2_100", num_classes=7),
                "timm", some(2, 64, 64, 3))


def test_shifted_mobilenet_has_the_names_of_its_release():
  model = vidx.create_model("tsm_mobilenet_v2", num_classes=7)
  shapes = interop.shapes_of(model)
  keys = {rule.to_key(path) for rule in interop.rules_of(model, "tsm") if not rule.alias for path in shapes} - {None}
  base = "module.base_model.features"
  assert {f"{base}.3.conv.0.net.weight", f"{base}.2.conv.0.weight", f"{base}.17.conv.7.running_var",
          f"{base}.1.conv.3.weight", f"{base}.18.0.weight", "module.new_fc.weight"} <= keys
  assert sum(key.endswith("net.weight") for key in keys) == 10


def test_shufflenet_equals_torchvision():
  peers.compare(vidx.create_model("shufflenet_v2", num_classes=7), models.shufflenet_v2_x1_0(num_classes=7),
                "torchvision", some(2, 64, 64, 3))


def test_vgg_equals_torchvision():
  peers.compare(vidx.create_model("vgg16", num_classes=7), models.vgg16(num_classes=7, init_weights=False),
                "torchvision", some(1, 96, 64, 3))


def test_deeper_vgg_equals_torchvision():
  model = vidx.create_model("vgg19", num_classes=7, hidden=(16, 16))
  module = models.vgg19(num_classes=7, init_weights=False)
  module.classifier = torch.nn.Sequential(torch.nn.Linear(512 * 49, 16), torch.nn.ReLU(), torch.nn.Dropout(),
                                          torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Dropout(),
                                          torch.nn.Linear(16, 7))
  peers.compare(model, module, "torchvision", some(1, 64, 32, 3))


def test_alexnet_equals_torchvision():
  peers.compare(vidx.create_model("alexnet", num_classes=7), models.alexnet(num_classes=7), "torchvision",
                some(1, 127, 95, 3))


class C3D(torch.nn.Module):
  """The published network at an eighth of its width, written for reading."""

  def __init__(self):
    super().__init__()
    conv3d = lambda i, o: torch.nn.Conv3d(i, o, 3, padding=1)
    self.conv1, self.conv2, self.conv3a, self.conv3b = conv3d(3, 8), conv3d(8, 16), conv3d(16, 32), conv3d(32, 32)
    self.conv4a, self.conv4b, self.conv5a, self.conv5b = conv3d(32, 64), conv3d(64, 64), conv3d(64, 64), conv3d(64, 64)
    self.fc6, self.fc7, self.fc8 = torch.nn.Linear(64 * 16, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 7)

  def forward(self, x):
    pool = torch.nn.functional.max_pool3d
    x = pool(self.conv1(x).relu(), (1, 2, 2))
    x = pool(self.conv2(x).relu(), 2)
    x = pool(self.conv3b(self.conv3a(x).relu()).relu(), 2)
    x = pool(self.conv4b(self.conv4a(x).relu()).relu(), 2)
    x = pool(self.conv5b(self.conv5a(x).relu()).relu(), 2, padding=(0, 1, 1))
    return self.fc8(self.fc7(self.fc6(x.flatten(1)).relu()).relu())


def test_c3d_equals_its_reference():
  model = vidx.create_model("c3d", widths=((8,), (16,), (32, 32), (64, 64), (64, 64)), hidden=(32, 32), num_classes=7)
  peers.compare(model, C3D(), "c3d", some(1, 16, 112, 112, 3))
