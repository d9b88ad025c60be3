import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import interop

torch = peers.torch
nn, F = torch.nn, torch.nn.functional


class Block(nn.Module):
  """A residual block; kernels is 3, 3 for a basic one, 1, 3, 1 for a bottleneck."""

  def __init__(self, widths, kernels, stride, groups, shortcut):
    super().__init__()
    self.depth, self.stride, self.out = len(kernels), stride, widths[-1]
    wide = kernels.index(3)  # the convolution that strides
    for k, kernel in enumerate(kernels):
      setattr(self, f"conv{k + 1}", nn.Conv3d(
          widths[k], widths[k + 1], kernel, stride if k == wide else 1, kernel // 2, bias=False,
          groups=groups if k == wide else 1))
      setattr(self, f"bn{k + 1}", nn.BatchNorm3d(widths[k + 1]))
    if shortcut == "B" and (stride > 1 or widths[0] != self.out):
      self.downsample = nn.Sequential(nn.Conv3d(widths[0], self.out, 1, stride, bias=False), nn.BatchNorm3d(self.out))

  def forward(self, x):
    y = x
    for k in range(1, self.depth + 1):
      y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
      y = F.relu(y) if k < self.depth else y
    if hasattr(self, "downsample"):
      x = self.downsample(x)
    else:  # type A: every stride-th entry, then zero channels
      x = x[:, :, ::self.stride, ::self.stride, ::self.stride]
      x = torch.cat([x, x.new_zeros(len(x), self.out - x.shape[1], *x.shape[2:])], 1)
    return F.relu(y + x)


class Network(nn.Module):
  """The residual networks of 3D-ResNets-PyTorch with the names of their weights, written for reading."""

  def __init__(self, stages, kernels, width, stem, inner, groups, shortcut, classes):
    super().__init__()
    self.conv1 = nn.Conv3d(3, stem, 7, (1, 2, 2), 3, bias=False)
    self.bn1 = nn.BatchNorm3d(stem)
    self.stages, before = len(stages), stem
    for i, count in enumerate(stages):
      middle = [int(inner * width)] * (len(kernels) - 1)
      out = width if len(kernels) == 2 else 4 * width
      blocks = []
      for j in range(count):
        stride = 2 if i and not j else 1
        blocks.append(Block([before, *middle, out], kernels, stride, groups, shortcut))
        before = out
      setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
      width *= 2
    self.fc = nn.Linear(before, classes)

  def forward(self, x):
    x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
    for i in range(self.stages):
      x = getattr(self, f"layer{i + 1}")(x)
    return self.fc(x.mean((2, 3, 4)))


def original(model):
  """The reference with the fields of a trunk."""
  kernels = (3, 3) if model.block == "basic" else (1, 3, 1)
  return Network(model.stages, kernels, model.width, model.stem_features or model.width, model.inner, model.groups,
                 model.shortcut, model.num_classes)


NAMES = ("resnet3d_18", "resnet3d_34", "resnet3d_50", "resnet3d_101", "resnext3d_101")


@pytest.mark.parametrize("name, shortcut, stem", [
    ("resnet3d_18", "A", 0), ("resnet3d_18", "B", 0), ("resnet3d_50", "A", 0), ("resnet3d_50", "B", 0),
    ("resnext3d_101", "A", 0), ("resnext3d_101", "B", 24)])
def test_equals_its_reference(name, shortcut, stem):
  model = vidx.create_model(name, num_classes=5, width=16, stages=(1, 2, 1), shortcut=shortcut, stem_features=stem)
  x = np.random.default_rng(0).normal(size=(1, 8, 32, 34, 3)).astype("f")
  peers.compare(model, original(model), "kenshohara", x)


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_whole_depth_has_its_place_and_comes_back(name, shortcut):
  model = vidx.create_model(name, num_classes=5, width=16, shortcut=shortcut)
  state = peers.arrays(peers.randomised(original(model)))
  assert any("downsample" in key for key in state) == (shortcut == "B")
  for prefix in ("", "module."):
    variables, report = interop.from_torch(model, {prefix + k: v for k, v in state.items()}, "kenshohara")
    assert set(report.mapped) | set(report.dropped) == {prefix + k for k in state}
    assert not report.changed and not report.fresh
  back = interop.to_torch(model, variables, "kenshohara")
  assert set(back) == set(state) and all(np.array_equal(back[k], state[k]) for k in state)
