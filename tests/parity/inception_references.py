"""Small torch references of BN-Inception and I3D, with the names of their public weights.

Written for reading, from the published tables; evaluation only.
"""

import torch
from torch import nn
from torch.nn import functional as F


class BNInception(nn.Module):
  """Rows are (name, 1x1, 3x3 branch, double 3x3 branch, pooling, projection); 0 where a block has none."""

  def __init__(self, rows, classes):
    super().__init__()
    self.rows = rows
    self._add("conv1_7x7_s2", 3, 64, 7, 2)
    self._add("conv2_3x3_reduce", 64, 64)
    self._add("conv2_3x3", 64, 192, 3)
    width = 192
    for name, one, (reduce, out), (reduce2, mid2, out2), _, projection in rows:
      key, stride = f"inception_{name}", 1 if one else 2
      if one:
        self._add(f"{key}_1x1", width, one)
        self._add(f"{key}_pool_proj", width, projection)
      self._add(f"{key}_3x3_reduce", width, reduce)
      self._add(f"{key}_3x3", reduce, out, 3, stride)
      self._add(f"{key}_double_3x3_reduce", width, reduce2)
      self._add(f"{key}_double_3x3_1", reduce2, mid2, 3)
      self._add(f"{key}_double_3x3_2", mid2, out2, 3, stride)
      width = one + out + out2 + (projection if one else width)
    self.last_linear = nn.Linear(width, classes)

  def _add(self, name, before, after, kernel=1, stride=1):
    self.add_module(name, nn.Conv2d(before, after, kernel, stride, kernel // 2))
    self.add_module(f"{name}_bn", nn.BatchNorm2d(after))

  def _unit(self, name, x):
    return getattr(self, f"{name}_bn")(getattr(self, name)(x)).relu()

  def forward(self, x):
    smaller = lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = smaller(self._unit("conv1_7x7_s2", x))
    x = smaller(self._unit("conv2_3x3", self._unit("conv2_3x3_reduce", x)))
    for name, one, *_, kind, _ in self.rows:
      unit = lambda part, x: self._unit(f"inception_{name}_{part}", x)
      outs = [unit("1x1", x)] if one else []
      outs.append(unit("3x3", unit("3x3_reduce", x)))
      outs.append(unit("double_3x3_2", unit("double_3x3_1", unit("double_3x3_reduce", x))))
      if not one:
        outs.append(smaller(x))
      elif kind == "avg":
        outs.append(unit("pool_proj", F.avg_pool2d(x, 3, 1, 1, count_include_pad=True)))
      else:
        outs.append(unit("pool_proj", F.max_pool2d(x, 3, 1, 1)))
      x = torch.cat(outs, 1)
    return self.last_linear(x.mean((2, 3)))


def same(x, kernel, stride):
  """Zeros around (B, C, T, H, W) so that each axis gives ceil(size / stride) windows, the odd one behind."""
  pads = []
  for n, k, s in zip(x.shape[2:], kernel, stride):
    total = max(k - (n % s or s), 0)
    pads = [total // 2, total - total // 2, *pads]
  return F.pad(x, pads)


class Unit3D(nn.Module):

  def __init__(self, before, after, kernel=1, stride=1):
    super().__init__()
    self.conv3d = nn.Conv3d(before, after, kernel, stride, bias=False)
    self.bn = nn.BatchNorm3d(after, eps=1e-3)

  def forward(self, x):
    return self.bn(self.conv3d(same(x, self.conv3d.kernel_size, self.conv3d.stride))).relu()


class Block3D(nn.Module):

  def __init__(self, before, one, branch1, branch2, projection):
    super().__init__()
    self.b0, self.b3b = Unit3D(before, one), Unit3D(before, projection)
    self.b1a, self.b1b = Unit3D(before, branch1[0]), Unit3D(*branch1, 3)
    self.b2a, self.b2b = Unit3D(before, branch2[0]), Unit3D(*branch2, 3)

  def forward(self, x):
    pooled = F.max_pool3d(same(x, (3, 3, 3), (1, 1, 1)), 3, 1)
    return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3D(nn.Module):
  """Rows are {'3b': (1x1, branch, branch, projection)}; the mean in front of the logits is over `window`."""

  def __init__(self, rows, classes, window, channels=3, widths=(64, 64, 192)):
    super().__init__()
    self.window = window
    first, second, width = widths
    self.Conv3d_1a_7x7 = Unit3D(channels, first, 7, 2)
    self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit3D(first, second), Unit3D(second, width, 3)
    self.names = []
    for name, row in rows.items():
      self.names.append(f"Mixed_{name}")
      self.add_module(self.names[-1], Block3D(width, *row))
      width = row[0] + row[1][-1] + row[2][-1] + row[3]
    self.logits = nn.Module()
    self.logits.conv3d = nn.Conv3d(width, classes, 1)

  def forward(self, x):
    def pool(x, kernel, stride):
      return F.max_pool3d(same(x, kernel, stride), kernel, stride)

    x = pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
    x = pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
    for name in self.names:
      if name == "Mixed_4b":
        x = pool(x, (3, 3, 3), (2, 2, 2))
      elif name == "Mixed_5b":
        x = pool(x, (2, 2, 2), (2, 2, 2))
      x = getattr(self, name)(x)
    return self.logits.conv3d(F.avg_pool3d(x, self.window, 1)).mean((2, 3, 4))
